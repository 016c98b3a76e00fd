"""Pages of the estate: the units, and the switch between projects."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import Form, Request
from starlette.responses import RedirectResponse, Response

from cloud.estate import calendar_pages, service
from cloud.estate.occupancies import pages as occupancies_pages
from cloud.estate.service import EstateFilter
from cloud.estate.shown import PROJECT_COOKIE, OptionalId, OptionalText, shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit.pages import set_cookie
from cloud.kit.paging import MAX_LIMIT, PageRequest, page_request
from cloud.kit.periods import local_day
from cloud.kit.routing import page_router, take_in

router = page_router()
take_in(router, calendar_pages.router, occupancies_pages.router)


@router.get("/estate/units")
async def units(
    request: Request,
    scope: Annotated[Scope, allow_page("estate.read")],
    building_id: OptionalId = None,
    code: OptionalText = None,
    cursor: str | None = None,
) -> Response:
    """Units of the project, by building and beginning of their code."""
    page = await shown(request, scope)
    wanted = EstateFilter(project_id=page.project.id, building_id=building_id, code=code)
    found = await service.list_units(scope.conn, page_request(None, cursor), wanted)
    ids = [unit.id for unit in found.items]
    today = local_day(datetime.now(UTC), page.project.zone)
    may_see_people = scope.caller.may("people.read", page.project.id)
    return page.page(
        "estate/units.html",
        units=found,
        occupants=await service.occupants(scope.conn, ids, today) if may_see_people else None,
        persons=await service.household_persons(scope.conn, ids, today),
        buildings=(
            await service.list_buildings(scope.conn, PageRequest(MAX_LIMIT), EstateFilter(project_id=page.project.id))
        ).items,
        wanted=wanted,
    )


@router.post("/project")
async def choose_project(
    request: Request, scope: Annotated[Scope, allow_page("self.read")], project_id: Annotated[int, Form()]
) -> Response:
    """Remembers in this browser which project its pages show."""
    await service.get_project(scope.conn, project_id)
    answer = RedirectResponse("/", 303)
    set_cookie(request, answer, PROJECT_COOKIE, str(project_id), max_age_s=365 * 24 * 3600)
    return answer
