"""REST: shifts, handing over and confirming."""

from typing import Annotated, Any, Final

from fastapi import Query
from starlette.responses import Response

from cloud.estate import service as estate
from cloud.identity.guards import Scope, allow
from cloud.kit.errors import InvalidInput
from cloud.kit.idempotency import Once
from cloud.kit.inputs import Id, Listed
from cloud.kit.routing import rest_router
from cloud.metering.exports.table_files import MEDIA_TYPES
from cloud.parking.shifts import service
from cloud.parking.shifts.models import (
    ConfirmationIn,
    HandoverIn,
    ShiftDetailOut,
    ShiftFileQuery,
    ShiftIn,
    ShiftOpeningOut,
    ShiftOpenings,
    ShiftOut,
    ShiftQuery,
)
from cloud.parking.shifts.table import shift_file, shift_rows

router = rest_router("parking")

_FILES: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in MEDIA_TYPES.values()}}
}

Collector = Annotated[Scope, allow("parking.collect")]


@router.get("/parking-shifts")
async def list_shifts(scope: Collector, query: Annotated[ShiftQuery, Query()]) -> Listed[ShiftOut]:
    """Shifts, the latest first."""
    page = await service.list_shifts(scope.conn, query.page(), query.wanted())
    return Listed(items=[ShiftOut.of(shift) for shift in page.items], next_cursor=page.next_cursor)


@router.get("/parking-shifts/file", response_class=Response, responses=_FILES)
async def shifts_file(scope: Collector, query: Annotated[ShiftFileQuery, Query()]) -> Response:
    """Shifts as a CSV or XLSX file: a row for each shift and method of payment."""
    project = await estate.get_project(scope.conn, query.project_id)
    return shift_file(query.form, await shift_rows(scope.conn, query.wanted()), project)


@router.post("/parking-shifts", status_code=201)
async def begin(body: ShiftIn, scope: Collector, once: Once) -> ShiftOut:
    """Begins the caller's shift; a person and a desk have one at a time."""

    async def make() -> ShiftOut:
        caller = scope.caller
        return ShiftOut.of(
            await service.begin(scope.conn, body.project_id, body.desk, caller.user_id, caller.display_name)
        )

    return await once.answer(scope.conn, ShiftOut, make)


@router.get("/parking-shifts/{shift_id}")
async def get_shift(shift_id: Id, scope: Collector) -> ShiftDetailOut:
    """A shift with what happened in it."""
    return ShiftDetailOut.of_detail(await service.detail(scope.conn, shift_id))


@router.get("/parking-shifts/{shift_id}/openings")
async def openings(shift_id: Id, scope: Collector) -> ShiftOpenings:
    """Barriers that its guard opened by hand, the latest first, at most 200."""
    await service.get_shift(scope.conn, shift_id)
    found = await service.openings_of(scope.conn, shift_id)
    return ShiftOpenings(items=[ShiftOpeningOut.of(one) for one in found])


@router.post("/parking-shifts/{shift_id}/handovers", status_code=201)
async def hand_over(shift_id: Id, body: HandoverIn, scope: Collector, once: Once) -> ShiftDetailOut:
    """Ends a shift with what was counted; nothing of it changes afterwards."""
    counted = {one.method: one.amount for one in body.counted}
    if len(counted) != len(body.counted):
        raise InvalidInput("counted-twice", "expected each method once", field="counted")

    async def make() -> ShiftDetailOut:
        caller, shift = scope.caller, await service.get_shift(scope.conn, shift_id)
        done = await service.hand_over(
            scope.conn, shift_id, counted, body.note, user_id=caller.user_id, actor=caller.actor,
            may_end_others=caller.may("parking.write", shift.project_id),
        )  # fmt: skip
        return ShiftDetailOut.of_detail(done)

    return await once.answer(scope.conn, ShiftDetailOut, make)


@router.post("/parking-shifts/{shift_id}/confirmations", status_code=201)
async def confirm(shift_id: Id, body: ConfirmationIn, scope: Collector, once: Once) -> ShiftDetailOut:
    """Another person confirms what was handed over."""

    async def make() -> ShiftDetailOut:
        caller = scope.caller
        done = await service.confirm(scope.conn, shift_id, body.note, user_id=caller.user_id, name=caller.display_name)
        return ShiftDetailOut.of_detail(done)

    return await once.answer(scope.conn, ShiftDetailOut, make)
