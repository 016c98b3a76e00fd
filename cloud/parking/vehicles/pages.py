"""Page of vehicles: whose a plate is, a vehicle more, the end of one."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Final

from fastapi import Request
from starlette.responses import RedirectResponse, Response

from cloud.estate.shown import OptionalText, shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit import forms
from cloud.kit.errors import GatemeterError
from cloud.kit.paging import page_request
from cloud.kit.routing import page_router
from cloud.parking.people import names_of, person_named
from cloud.parking.vehicles import service
from cloud.parking.vehicles.models import VehicleIn

router = page_router()

Reading = Annotated[Scope, allow_page("parking.read")]
Writing = Annotated[Scope, allow_page("parking.write")]

_SHOWN: Final = 50


@router.get("/vehicles")
async def vehicles(
    request: Request, scope: Reading, plate: OptionalText = None, over: bool = False, cursor: str | None = None
) -> Response:
    """Vehicles by the beginning of their plate; with `over` also those that were somebody's."""
    if scope.caller.kind == "resident":
        return RedirectResponse("/my/stays", 303)
    return await _list(request, scope, plate, cursor, over=over)


@router.post("/vehicles")
async def register(request: Request, scope: Writing) -> Response:
    """Registers a vehicle of a person; what is wrong is said beside the form."""
    typed = await forms.typed(request)
    page = await shown(request, scope)

    async def make() -> None:
        values = forms.with_times(typed, page.project.zone, "valid_from", "valid_until")
        person_id = await person_named(request, scope, page.project.id, str(values.pop("person", "")))
        body = forms.read(VehicleIn, {**values, "project_id": page.project.id, "person_id": person_id})
        await service.register_vehicle(scope.conn, **body.model_dump())

    problem = await forms.refused(scope.conn, make)
    if problem is not None:
        return await _list(request, scope, None, None, values=typed, problem=problem)
    return RedirectResponse("/vehicles?done=saved", 303)


@router.post("/vehicles/{vehicle_id}/end")
async def end(scope: Writing, vehicle_id: int) -> Response:
    """The vehicle is no longer that person's from now on."""
    await service.end_vehicle(scope.conn, vehicle_id, datetime.now(UTC))
    return RedirectResponse("/vehicles?done=saved", 303)


async def _list(
    request: Request,
    scope: Scope,
    plate: str | None,
    cursor: str | None,
    *,
    over: bool = False,
    values: Mapping[str, str] | None = None,
    problem: GatemeterError | None = None,
) -> Response:
    page = await shown(request, scope)
    project_id = page.project.id
    now = datetime.now(UTC)
    found = await service.list_vehicles(
        scope.conn, page_request(_SHOWN, cursor), project_id, plate, None if over else now
    )
    return page.page(
        "parking/vehicles.html",
        status=problem.status if problem else 200,
        found=found,
        names=await names_of(request, scope, project_id, {one.person_id for one in found.items}),
        plate=plate,
        over=over,
        now=now,
        values=values or {},
        problem=problem,
        may_write=scope.caller.may("parking.write", project_id),
    )
