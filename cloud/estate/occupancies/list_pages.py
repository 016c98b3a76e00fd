"""Lists beside units: moves in and out, people, and the page of one person."""

from datetime import UTC, date, datetime
from typing import Annotated, Literal

from fastapi import Query, Request
from starlette.responses import Response

from cloud.estate import service as estate
from cloud.estate.occupancies.moves import SHOWN, MoveFilter, Show, homes_of, list_moves
from cloud.estate.service import EstateFilter
from cloud.estate.shown import OptionalId, OptionalText, shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit.errors import NotFound
from cloud.kit.paging import MAX_LIMIT, PageRequest, page_request
from cloud.kit.periods import local_day, month_of
from cloud.kit.routing import page_router

router = page_router()

Reader = Annotated[Scope, allow_page("people.read")]
Month = Annotated[str, Query(pattern=r"^((19|20|21)[0-9]{2}-(0[1-9]|1[0-2]))?$")]


@router.get("/estate/moves")
async def moves(
    request: Request,
    scope: Reader,
    building_id: OptionalId = None,
    month: Month = "",
    show: Literal["", Show] = "",
    cursor: str | None = None,
) -> Response:
    """Who moved in and out, latest first; of a building, of a month, or what is still open."""
    page = await shown(request, scope)
    days = month_of(date.fromisoformat(f"{month}-01")) if month else None
    wanted = MoveFilter(
        page.project.id, building_id, days.start if days else None, days.end if days else None, show or None
    )
    return page.page(
        "estate/moves.html",
        moves=await list_moves(scope.conn, page_request(None, cursor, key_length=3), wanted),
        buildings=(
            await estate.list_buildings(scope.conn, PageRequest(MAX_LIMIT), EstateFilter(project_id=page.project.id))
        ).items,
        wanted=wanted,
        month=month,
        shown_kinds=SHOWN,
        may_bill=scope.caller.may("bills.run", page.project.id),
    )


@router.get("/estate/people")
async def people(request: Request, scope: Reader, name: OptionalText = None, cursor: str | None = None) -> Response:
    """People of the project by a part of their name, and where they live."""
    page = await shown(request, scope)
    found = await estate.list_people(
        scope.conn,
        request.app.state.sealer,
        page_request(None, cursor),
        project_id=page.project.id,
        name=name,
        full_in=[page.project.id],
    )
    today = local_day(datetime.now(UTC), page.project.zone)
    homes = await homes_of(scope.conn, [one.id for one in found.items], today)
    return page.page("estate/people.html", people=found, homes=homes, name=name or "")


@router.get("/estate/people/{person_id}")
async def person(request: Request, scope: Reader, person_id: int) -> Response:
    """One person: where he lives and lived, and what he pays for."""
    page = await shown(request, scope)
    project_id = await estate.project_of_person(scope.conn, person_id)
    found = await estate.people_by_id(scope.conn, request.app.state.sealer, [person_id], full_in=[project_id])
    if person_id not in found:
        raise NotFound("no-such-person", f"there is no person {person_id}", field="person_id")
    zone = (await estate.get_project(scope.conn, project_id)).zone
    wanted = EstateFilter(person_id=person_id)
    return page.page(
        "estate/person.html",
        person=found[person_id],
        homes=(await homes_of(scope.conn, [person_id])).get(person_id, ()),
        accounts=(await estate.list_accounts(scope.conn, PageRequest(MAX_LIMIT), wanted)).items,
        today=local_day(datetime.now(UTC), zone),
    )
