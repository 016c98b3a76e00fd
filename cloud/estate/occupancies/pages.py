"""Pages of a unit: who lives and lived there, moving in and out, how many persons they are."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Request
from starlette.responses import RedirectResponse, Response

from cloud.estate import service as estate
from cloud.estate.occupancies import list_pages, service
from cloud.estate.occupancies.forms import MoveInForm, MoveOutForm, PersonsForm
from cloud.estate.occupancies.moves import left_behind, mismatches
from cloud.estate.records import Person, Unit
from cloud.estate.service import EstateFilter
from cloud.estate.shown import OptionalText, Shown, shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit.db import Conn
from cloud.kit.errors import GatemeterError, InvalidInput, NotFound
from cloud.kit.forms import read, refused, typed
from cloud.kit.paging import MAX_LIMIT, Page, PageRequest
from cloud.kit.periods import local_day
from cloud.kit.routing import page_router, take_in
from cloud.kit.sent_forms import FormOnce

router = page_router()
take_in(router, list_pages.router)

Reader = Annotated[Scope, allow_page("people.read")]
Writer = Annotated[Scope, allow_page("people.write")]

_OFFERED = 20
"""So many people are offered of those whose name was looked for."""
_ALL = PageRequest(MAX_LIMIT)


@router.get("/estate/units/{unit_id}")
async def unit(request: Request, scope: Reader, unit_id: int) -> Response:
    """One unit: who lives there, who did, accounts that go on, numbers of persons."""
    return await _show(await shown(request, scope), unit_id)


@router.get("/estate/units/{unit_id}/move-in")
async def move_in_form(request: Request, scope: Writer, unit_id: int, name: OptionalText = None) -> Response:
    """The form of somebody who moves in: people of that name, or a new person."""
    return await _move_in(await shown(request, scope), unit_id, name or "", {})


@router.post("/estate/units/{unit_id}/move-in")
async def move_in(request: Request, scope: Writer, unit_id: int, sent: FormOnce) -> Response:
    """Moves somebody in; what is wrong is said beside its field."""
    page, conn = await shown(request, scope), scope.conn
    found = await _unit(conn, unit_id)
    values = await typed(request)
    looked_for = values.pop("looked_for", "")

    async def make() -> str:
        body = read(MoveInForm, values)
        person_id = body.person_id
        if person_id is None:
            if body.name is None:
                raise InvalidInput("no-person-name", "expected a name, or one of the people above", field="name")
            made = await estate.create_person(
                conn, request.app.state.sealer, found.project_id, body.name, body.phone, body.id_number, body.email
            )
            person_id = made.id
        await service.create_occupancy(conn, found.project_id, unit_id, person_id, body.role, body.first_day)
        if body.persons is not None:
            await service.file_persons(conn, found.project_id, unit_id, body.persons, body.first_day)
        return f"/estate/units/{unit_id}?done=moved-in"

    try:
        return await sent.lead(conn, make)
    except GatemeterError as error:
        return await _move_in(page, unit_id, looked_for, values, error)


@router.post("/estate/occupancies/{occupancy_id}/move-out")
async def move_out(request: Request, scope: Writer, occupancy_id: int) -> Response:
    """Somebody moves out with his last day; what is still open of him is shown next."""
    values = await typed(request)

    async def make() -> None:
        body = read(MoveOutForm, values)
        ended = await service.end_occupancy(scope.conn, occupancy_id, body.until)
        if body.persons is not None:
            await service.file_persons(scope.conn, ended.project_id, ended.unit_id, body.persons, body.until)

    return await _changed(request, scope, occupancy_id, make, "moved-out", values)


@router.post("/estate/occupancies/{occupancy_id}/return")
async def stay(request: Request, scope: Writer, occupancy_id: int) -> Response:
    """Takes a move out back: he has not left."""
    return await _changed(
        request, scope, occupancy_id, lambda: service.end_occupancy(scope.conn, occupancy_id, None), "stays-on"
    )


@router.post("/estate/occupancies/{occupancy_id}/deletion")
async def delete_occupancy(request: Request, scope: Writer, occupancy_id: int) -> Response:
    """Takes back an entry that was wrong: he never lived there."""
    return await _changed(
        request, scope, occupancy_id, lambda: service.delete_occupancy(scope.conn, occupancy_id), "entry-deleted"
    )


@router.post("/estate/units/{unit_id}/persons")
async def file_persons(request: Request, scope: Writer, unit_id: int) -> Response:
    """How many persons live there from a day on."""
    page, values = await shown(request, scope), await typed(request)
    found = await _unit(scope.conn, unit_id)

    async def make() -> None:
        body = read(PersonsForm, values)
        await service.file_persons(scope.conn, found.project_id, unit_id, body.persons, body.from_day)

    problem = await refused(scope.conn, make)
    if problem is not None:
        return await _show(page, unit_id, problem, {**values, "form": "persons"})
    return RedirectResponse(f"/estate/units/{unit_id}?done=persons-filed", 303)


@router.post("/estate/households/{household_id}/deletion")
async def delete_household(scope: Writer, household_id: int) -> Response:
    """Takes back a number of persons; the one before it holds again."""
    taken_back = await service.delete_household(scope.conn, household_id, go_back=True)
    return RedirectResponse(f"/estate/units/{taken_back.unit_id}?done=entry-deleted", 303)


async def _changed(
    request: Request,
    scope: Scope,
    occupancy_id: int,
    change: Callable[[], Awaitable[object]],
    done: str,
    values: dict[str, str] | None = None,
) -> Response:
    """Back to the unit of the occupancy, or the unit with what was refused beside it."""
    page = await shown(request, scope)
    found = await service.locked_occupancy(scope.conn, occupancy_id)
    problem = await refused(scope.conn, change)
    if problem is not None:
        form = {"form": f"occupancy-{occupancy_id}", **(values or {})}
        return await _show(page, found.unit_id, problem, form)
    return RedirectResponse(f"/estate/units/{found.unit_id}?done={done}", 303)


async def _unit(conn: Conn, unit_id: int) -> Unit:
    found = (await estate.units_by_id(conn, [unit_id])).get(unit_id)
    if found is None:
        raise NotFound("no-such-unit", f"there is no unit {unit_id}", field="unit_id")
    return found


async def _show(
    page: Shown, unit_id: int, problem: GatemeterError | None = None, values: dict[str, str] | None = None
) -> Response:
    """The page of a unit; `values` were typed into its form `form`, and `problem` is what is wrong with them."""
    conn, found = page.conn, await _unit(page.conn, unit_id)
    here = EstateFilter(unit_id=unit_id)
    project = await estate.get_project(conn, found.project_id)
    today = local_day(datetime.now(UTC), project.zone)
    occupancies = (await estate.list_occupancies(conn, _ALL, here)).items
    accounts = (await estate.list_accounts(conn, _ALL, here)).items
    wrong = mismatches(accounts, occupancies)
    return page.page(
        "estate/unit.html",
        status=problem.status if problem else 200,
        unit=found,
        today=today,
        living=sorted(
            (one for one in occupancies if one.valid.end is None or one.valid.end > today),
            key=lambda one: (one.valid.start, one.id),
        ),
        left=sorted(
            (one for one in occupancies if one.valid.end is not None and one.valid.end <= today),
            key=lambda one: (one.valid.end or today, one.id),
            reverse=True,
        ),
        filed=sorted(
            (await estate.list_households(conn, _ALL, here)).items, key=lambda one: one.valid.start, reverse=True
        ),
        accounts=accounts,
        mismatches=wrong,
        left_behind=left_behind(wrong),
        values=values or {},
        problem=problem,
        may_write=page.caller.may("people.write", found.project_id),
        may_bill=page.caller.may("bills.run", found.project_id),
    )


async def _move_in(
    page: Shown, unit_id: int, looked_for: str, values: dict[str, str], problem: GatemeterError | None = None
) -> Response:
    conn, found = page.conn, await _unit(page.conn, unit_id)
    project = await estate.get_project(conn, found.project_id)
    today = local_day(datetime.now(UTC), project.zone)
    people: Page[Person] = Page([], None)
    if looked_for:
        people = await estate.list_people(
            conn,
            page.request.app.state.sealer,
            PageRequest(_OFFERED),
            project_id=found.project_id,
            name=looked_for,
            full_in=[found.project_id],
        )
    return page.page(
        "estate/move_in.html",
        status=problem.status if problem else 200,
        unit=found,
        living=(await estate.occupants(conn, [unit_id], today)).get(unit_id, []),
        people=people,
        looked_for=looked_for,
        today=today,
        values=values,
        problem=problem,
    )
