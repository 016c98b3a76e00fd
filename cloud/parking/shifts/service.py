"""Beginning a shift, handing it over with what was counted, and confirming what was found."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from cloud.estate import service as estate
from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, Forbidden, InvalidInput, NotFound
from cloud.kit.paging import MAX_ID, Page, PageRequest, after_id, cut
from cloud.parking.shifts import repository
from cloud.parking.shifts.records import Shift, ShiftDetail, ShiftFilter, ShiftOpening, Taking

CASH: Final = "cash"
"""Always counted, also when nothing was taken."""
MOST_OPENINGS: Final = 200
"""Openings by hand that one shift shows; its totals count all."""


async def begin(conn: Conn, project_id: int, desk: str, user_id: int, guard: str) -> Shift:
    """Begins a shift at a desk. Raises NotFound, InvalidInput, Conflict when the person or the desk has an open one."""
    project = await estate.get_project(conn, project_id)
    named = " ".join(desk.split())
    if not named or len(named) > 40:
        raise InvalidInput("bad-desk", "expected the name of a desk, 1 to 40 characters", field="desk")
    if await repository.open_shift(conn, project_id, user_id=user_id) is not None:
        raise Conflict("shift-open", "you have an open shift already: hand it over first")
    taken = await repository.open_shift(conn, project_id, desk=named)
    if taken is not None:
        raise Conflict("desk-taken", f"{taken.guard} has an open shift at this desk", field="desk")
    return await get_shift(conn, await repository.insert(conn, project_id, named, user_id, guard, project.currency))


async def get_shift(conn: Conn, shift_id: int) -> Shift:
    """Raises NotFound."""
    return _known(await repository.one(conn, shift_id), shift_id)


async def current_shift(conn: Conn, project_id: int, user_id: int) -> Shift | None:
    """The open shift of a person."""
    return await repository.open_shift(conn, project_id, user_id=user_id)


async def detail(conn: Conn, shift_id: int, now: datetime | None = None) -> ShiftDetail:
    """A shift with its totals and takings: what is true now while it is open. Raises NotFound."""
    shift = await get_shift(conn, shift_id)
    if shift.ended_at is not None:
        kept = await repository.kept_totals(conn, shift_id)
        return ShiftDetail(shift, kept, tuple(await repository.counts(conn, shift_id)))
    totals = await repository.totals(conn, shift, now or datetime.now(UTC))
    return ShiftDetail(shift, totals, tuple(_with_cash(await repository.takings(conn, shift_id))))


async def list_shifts(conn: Conn, page: PageRequest, wanted: ShiftFilter) -> Page[Shift]:
    """Shifts, the latest first."""
    found = await repository.newest(conn, wanted, after_id(page, MAX_ID), page.limit + 1)
    return cut(found, page, lambda shift: (shift.id,))


async def openings_of(conn: Conn, shift_id: int) -> Sequence[ShiftOpening]:
    """Barriers that were opened by hand in a shift, the latest first, at most `MOST_OPENINGS`."""
    return await repository.openings(conn, shift_id, MOST_OPENINGS)


async def desks(conn: Conn, project_id: int) -> list[str]:
    """Names of desks that were used."""
    return await repository.desks(conn, project_id)


async def hand_over(
    conn: Conn,
    shift_id: int,
    counted: Mapping[str, Decimal],
    note: str,
    *,
    user_id: int,
    actor: str,
    may_end_others: bool,
    at: datetime | None = None,
) -> ShiftDetail:
    """Ends a shift with what was counted by method; what was taken by a method that was not counted is believed.

    Nothing of it changes afterwards. Raises NotFound, Forbidden for another one's shift, Conflict when it ended
    already, InvalidInput for cash that was not counted, for amounts below 0, and for a difference without a note.
    """
    shift = _known(await repository.locked(conn, shift_id), shift_id)
    if shift.user_id != user_id and not may_end_others:
        raise Forbidden("not-your-shift", "only its guard or the management hands a shift over")
    if shift.ended_at is not None:
        raise Conflict("shift-over", "this shift was handed over already")
    lines = _lines(await repository.takings(conn, shift_id), counted)
    if any(line.difference for line in lines) and not note.strip():
        raise InvalidInput("no-note", "what was counted is not what was taken: expected a note", field="note")
    now = at or datetime.now(UTC)
    await repository.end(conn, shift_id, now, actor, await repository.totals(conn, shift, now), note.strip())
    for line in lines:
        assert line.counted is not None
        await repository.insert_count(conn, shift, line, line.counted)
    return await detail(conn, shift_id)


async def confirm(
    conn: Conn, shift_id: int, note: str, *, user_id: int, name: str, at: datetime | None = None
) -> ShiftDetail:
    """Another person says that he found what was handed over, or in the note what he found instead.

    Raises NotFound, Conflict unless it waits for that, Forbidden for its own guard.
    """
    shift = _known(await repository.locked(conn, shift_id), shift_id)
    if shift.state != "ended":
        raise Conflict("not-handed-over", "this shift does not wait to be confirmed")
    if shift.user_id == user_id:
        raise Forbidden("own-shift", "another person confirms what you handed over")
    await repository.confirm(conn, shift_id, at or datetime.now(UTC), user_id, name, note.strip())
    return await detail(conn, shift_id)


def _known(found: Shift | None, shift_id: int) -> Shift:
    if found is None:
        raise NotFound("no-shift", f"there is no shift {shift_id}", field="shift_id")
    return found


def _with_cash(takings: list[Taking]) -> list[Taking]:
    if any(taking.method == CASH for taking in takings):
        return takings
    return [Taking(CASH, 0, Decimal("0.00")), *takings]


def _lines(takings: list[Taking], counted: Mapping[str, Decimal]) -> list[Taking]:
    """What is kept of each method. Raises InvalidInput."""
    if CASH not in counted:
        raise InvalidInput("not-counted", "expected how much cash was counted", field="counted")
    if any(amount < 0 for amount in counted.values()):
        raise InvalidInput("bad-amount", "expected amounts of 0 or more", field="counted")
    known = {taking.method: taking for taking in _with_cash(takings)}
    for method in sorted(counted.keys() - known.keys()):
        known[method] = Taking(method, 0, Decimal("0.00"))
    return [
        replace(one, counted=counted.get(one.method, max(one.expected, Decimal(0))))
        for one in sorted(known.values(), key=lambda one: one.method)
    ]
