"""Pages of spaces: the list of a lot, many at once, a table, one space and whose it is."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Final

from fastapi import File, Form, Request, UploadFile
from starlette.responses import RedirectResponse, Response

from cloud.estate import service as estate
from cloud.estate.service import EstateFilter
from cloud.estate.shown import OptionalText, shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit import forms
from cloud.kit.errors import GatemeterError
from cloud.kit.paging import MAX_LIMIT, PageRequest, page_request
from cloud.kit.periods import local_day
from cloud.kit.routing import page_router
from cloud.parking.people import names_of, person_named
from cloud.parking.permits import standing
from cloud.parking.places.service import get_lot
from cloud.parking.spaces import importing, service
from cloud.parking.spaces.importing import Answer
from cloud.parking.spaces.models import HolderEndIn, HolderIn, SpaceIn, SpacePatch, SpaceRangeIn, content_of
from cloud.parking.spaces.records import STATES, SpaceFilter, SpaceState

router = page_router()

Reading = Annotated[Scope, allow_page("parking.read")]
Writing = Annotated[Scope, allow_page("parking.write")]

_SHOWN: Final = 50


@router.get("/parking-lots/{lot_id}/spaces")
async def spaces(
    request: Request,
    scope: Reading,
    lot_id: int,
    state: OptionalText = None,
    number: OptionalText = None,
    place: OptionalText = None,
    cursor: str | None = None,
) -> Response:
    """Spaces of a lot, by state, beginning of the number and place."""
    if scope.caller.kind == "resident":
        return RedirectResponse("/my/stays", 303)
    known: SpaceState | None = next((one for one in STATES if one == state), None)
    wanted = SpaceFilter(lot_id=lot_id, state=known, number=number, place=place)
    return await _list(request, scope, lot_id, wanted, cursor=cursor)


@router.post("/parking-lots/{lot_id}/spaces")
async def create(request: Request, scope: Writing, lot_id: int) -> Response:
    """A new space, or those from the first number to the last when there is a last."""
    typed = await forms.typed(request)

    async def make() -> None:
        values = {**typed, "lot_id": lot_id}
        if "last" in values:
            many = forms.read(SpaceRangeIn, values)
            await service.create_range(scope.conn, lot_id, many.first, many.last, many.new(many.first))
        else:
            one = forms.read(
                SpaceIn, {("number" if name == "first" else name): value for name, value in values.items()}
            )
            await service.create(scope.conn, lot_id, one.new(one.number), _now())

    problem = await forms.refused(scope.conn, make)
    if problem is not None:
        return await _list(request, scope, lot_id, SpaceFilter(lot_id=lot_id), values=typed, problem=problem)
    return _to_list(lot_id)


@router.post("/parking-lots/{lot_id}/spaces/import")
async def import_table(
    request: Request,
    scope: Writing,
    lot_id: int,
    file: Annotated[UploadFile, File()],
    dry_run: Annotated[bool, Form()] = False,
) -> Response:
    """Makes the spaces of a file and shows the answer to each row; with `dry_run` only what would happen."""
    answers: list[Answer] = []
    content = await content_of(file)

    async def named(project_id: int, text: str) -> int:
        return await person_named(request, scope, project_id, text)

    async def make() -> None:
        actor = scope.caller.actor
        done = await importing.import_table(scope.conn, lot_id, content, _now(), named, actor, dry_run=dry_run)
        answers.extend(done)

    problem = await forms.refused(scope.conn, make)
    wanted = SpaceFilter(lot_id=lot_id)
    return await _list(request, scope, lot_id, wanted, problem=problem, answers=answers, dry_run=dry_run)


@router.get("/parking-spaces/{space_id}")
async def space(request: Request, scope: Reading, space_id: int) -> Response:
    """A space: what is said of it, whose it is and was."""
    if scope.caller.kind == "resident":
        return RedirectResponse("/my/stays", 303)
    return await _space(request, scope, space_id)


@router.post("/parking-spaces/{space_id}")
async def change(request: Request, scope: Writing, space_id: int) -> Response:
    """What is said of a space; a text that was emptied is empty."""
    typed = await forms.typed(request)

    async def make() -> None:
        body = forms.read(SpacePatch, {"place": "", "note": "", **typed})
        await service.change(scope.conn, body.changed(await service.get(scope.conn, space_id, _now())), _now())

    return await _answer(request, scope, space_id, typed, await forms.refused(scope.conn, make))


@router.post("/parking-spaces/{space_id}/holders")
async def add_holder(request: Request, scope: Writing, space_id: int) -> Response:
    """The space becomes somebody's: a person by name, a unit, or both."""
    typed = await forms.typed(request)

    async def make() -> None:
        known = await service.get(scope.conn, space_id, _now())
        values: dict[str, object] = {name: value for name, value in typed.items() if name != "person"}
        if "person" in typed:
            values["person_id"] = await person_named(request, scope, known.project_id, typed["person"])
        await service.add_holder(scope.conn, space_id, forms.read(HolderIn, values).new(), scope.caller.actor, _now())

    return await _answer(request, scope, space_id, typed, await forms.refused(scope.conn, make))


@router.post("/parking-space-holders/{holder_id}/end")
async def end_holder(request: Request, scope: Writing, holder_id: int) -> Response:
    """From a day on the space is no longer his."""
    body = forms.read(HolderEndIn, await forms.typed(request))
    ended = await service.end_holder(scope.conn, holder_id, body.until)
    return RedirectResponse(f"/parking-spaces/{ended.space_id}?done=saved", 303)


async def _answer(
    request: Request, scope: Scope, space_id: int, typed: Mapping[str, str], problem: GatemeterError | None
) -> Response:
    if problem is not None:
        return await _space(request, scope, space_id, typed, problem)
    return RedirectResponse(f"/parking-spaces/{space_id}?done=saved", 303)


async def _list(
    request: Request,
    scope: Scope,
    lot_id: int,
    wanted: SpaceFilter,
    *,
    cursor: str | None = None,
    values: Mapping[str, str] | None = None,
    problem: GatemeterError | None = None,
    answers: Sequence[Answer] = (),
    dry_run: bool = False,
) -> Response:
    page = await shown(request, scope)
    lot = await get_lot(scope.conn, lot_id)
    found = await service.list_spaces(scope.conn, page_request(_SHOWN, cursor), wanted, _now())
    today = local_day(_now(), page.project.zone)
    holders = [
        one
        for one in await service.holders_of(scope.conn, [one.id for one in found.items])
        if one.since <= today and (one.until is None or today < one.until)
    ]
    return page.page(
        "parking/spaces.html",
        status=problem.status if problem else 200,
        lot=lot,
        found=found,
        counts=await service.counts(scope.conn, lot_id, _now()),
        holders={one.id: [holder for holder in holders if holder.space_id == one.id] for one in found.items},
        names=await names_of(request, scope, lot.project_id, {one.person_id for one in holders if one.person_id}),
        units=await estate.units_by_id(scope.conn, {one.unit_id for one in holders if one.unit_id}),
        wanted=wanted,
        states=STATES,
        values=values or {},
        problem=problem,
        answers=answers,
        dry_run=dry_run,
        may_write=scope.caller.may("parking.write", lot.project_id),
    )


async def _space(
    request: Request,
    scope: Scope,
    space_id: int,
    values: Mapping[str, str] | None = None,
    problem: GatemeterError | None = None,
) -> Response:
    page = await shown(request, scope)
    found = await service.get(scope.conn, space_id, _now())
    holders = await service.holders_of(scope.conn, [space_id])
    may_write = scope.caller.may("parking.write", found.project_id)
    here = EstateFilter(project_id=found.project_id)
    offered = (await estate.list_units(scope.conn, PageRequest(MAX_LIMIT), here)).items if may_write else ()
    return page.page(
        "parking/space.html",
        status=problem.status if problem else 200,
        space=found,
        permits=await standing.permits_of_space(scope.conn, space_id),
        holders=holders,
        names=await names_of(request, scope, found.project_id, {one.person_id for one in holders if one.person_id}),
        units=await estate.units_by_id(scope.conn, {one.unit_id for one in holders if one.unit_id}),
        unit_choices=[(one.id, one.label) for one in offered],
        today=local_day(_now(), page.project.zone),
        values=values or {},
        problem=problem,
        may_write=may_write,
    )


def _to_list(lot_id: int) -> Response:
    return RedirectResponse(f"/parking-lots/{lot_id}/spaces?done=saved", 303)


def _now() -> datetime:
    return datetime.now(UTC)
