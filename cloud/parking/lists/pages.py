"""Page of the black and white lists: who is on them, a plate more, a plate off."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Final

from fastapi import Form, Request
from starlette.responses import RedirectResponse, Response

from cloud.estate.shown import OptionalId, OptionalText, shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit import forms
from cloud.kit.errors import GatemeterError
from cloud.kit.paging import MAX_LIMIT, PageRequest, page_request
from cloud.kit.routing import page_router
from cloud.parking.lists import service
from cloud.parking.lists.models import EntryIn
from cloud.parking.lists.records import LISTINGS, EntryFilter
from cloud.parking.places.service import list_lots

router = page_router()

Reading = Annotated[Scope, allow_page("parking.read")]
Writing = Annotated[Scope, allow_page("parking.write")]

_SHOWN: Final = 50


@router.get("/parking-lists")
async def entries(
    request: Request,
    scope: Reading,
    listing: OptionalText = None,
    plate: OptionalText = None,
    lot_id: OptionalId = None,
    over: bool = False,
    cursor: str | None = None,
) -> Response:
    """Plates on the lists; with `over` also those that were."""
    if scope.caller.kind == "resident":
        return RedirectResponse("/my/stays", 303)
    page = await shown(request, scope)
    on_list = next((one for one in LISTINGS if one == listing), None)
    wanted = EntryFilter(page.project.id, lot_id, on_list, plate, None if over else datetime.now(UTC))
    return await _list(request, scope, wanted, cursor)


@router.post("/parking-lists")
async def add(request: Request, scope: Writing) -> Response:
    """Puts a plate on a list; what is wrong is said beside the form."""
    typed = await forms.typed(request)
    page = await shown(request, scope)
    now = datetime.now(UTC)

    async def make() -> None:
        values = forms.with_times(typed, page.project.zone, "valid_from", "valid_until")
        body = forms.read(EntryIn, {**values, "project_id": page.project.id})
        await service.add(scope.conn, body.new(now), scope.caller.actor, now)

    problem = await forms.refused(scope.conn, make)
    if problem is not None:
        return await _list(request, scope, EntryFilter(page.project.id, current_at=now), None, typed, problem)
    return RedirectResponse("/parking-lists?done=saved", 303)


@router.post("/parking-lists/{entry_id}/end")
async def end(scope: Writing, entry_id: int, reason: Annotated[str, Form(max_length=500)]) -> Response:
    """Takes a plate off its list, with the reason."""
    await service.end(scope.conn, entry_id, reason, scope.caller.actor, datetime.now(UTC))
    return RedirectResponse("/parking-lists?done=saved", 303)


async def _list(
    request: Request,
    scope: Scope,
    wanted: EntryFilter,
    cursor: str | None,
    values: Mapping[str, str] | None = None,
    problem: GatemeterError | None = None,
) -> Response:
    page = await shown(request, scope)
    lots = (await list_lots(scope.conn, PageRequest(MAX_LIMIT), page.project.id)).items
    return page.page(
        "parking/lists.html",
        status=problem.status if problem else 200,
        found=await service.list_entries(scope.conn, page_request(_SHOWN, cursor), wanted),
        lot_choices=[(one.id, one.name) for one in lots],
        wanted=wanted,
        values=values or {},
        problem=problem,
        now=datetime.now(UTC),
        may_write=scope.caller.may("parking.write", page.project.id),
    )
