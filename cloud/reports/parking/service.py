"""Reports of parking over local days of a project, of all its lots or of one."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Final

from cloud.estate import service as estate
from cloud.kit.db import Conn
from cloud.kit.errors import InvalidInput, NotFound
from cloud.kit.money import round_half_up
from cloud.kit.periods import Period
from cloud.parking import service as parking
from cloud.reports.parking import repository
from cloud.reports.parking.occupancy import hours_between, inside_by_hour
from cloud.reports.parking.records import (
    OccupancyRow,
    OpeningRow,
    RevenueRow,
    TurnoverRow,
    TurnoverStep,
    UnmatchedRow,
)
from cloud.reports.parking.repository import Wanted

LONGEST_DAYS: Final = 400


async def wanted(conn: Conn, project_id: int, first: date, last: date, lot_id: int | None = None) -> Wanted:
    """Local days `first` to before `last` of a project or a lot. Raises NotFound, InvalidInput."""
    project = await estate.get_project(conn, project_id)
    if not 0 < (last - first).days <= LONGEST_DAYS:
        raise InvalidInput("bad-period", f"expected 1 to {LONGEST_DAYS} days", field="to")
    if lot_id is not None and (await parking.get_lot(conn, lot_id)).project_id != project_id:
        raise NotFound("no-lot", f"there is no parking lot {lot_id}", field="lot_id")
    start, end = Period(first, last).instants(project.zone)
    return Wanted(project_id, lot_id, first, last, start, end, project.time_zone)


async def turnover(conn: Conn, asked: Wanted, step: TurnoverStep = "day") -> list[TurnoverRow]:
    """Stays that ended, their mean and median length, by day or by hour of the day; steps without any are absent."""
    return await repository.turnover(conn, asked, step)


async def occupancy(conn: Conn, asked: Wanted, now: datetime | None = None) -> list[OccupancyRow]:
    """Vehicles inside by hour of the week, from stays by event time; hours of the week that were not yet are absent.

    Unmatched stays are left out: nobody knows when they began or ended. A lot has the spaces of the lots inside it too;
    of all lots together those that are in no other count, since whoever is in an inner lot has a stay around it.
    """
    until = min(asked.end, now or datetime.now(UTC))
    if until <= asked.start:
        return []
    project = await estate.get_project(conn, asked.project_id)
    known = await repository.lots(conn, asked.project_id)
    chosen = [id_ for id_, around, _ in known if (around is None if asked.lot_id is None else id_ == asked.lot_id)]
    spaces = sum(capacity for id_, _, capacity in known if id_ in _with_inner(known, chosen))
    starts, ends = await repository.spans(conn, asked, chosen, until)
    found = inside_by_hour(starts, ends, hours_between(asked.start, until, project.zone))
    return [
        _cell(cell, int(vehicle_ms), int(looked_ms), int(most), spaces)
        for cell, (vehicle_ms, looked_ms, most) in enumerate(
            zip(found.vehicle_ms, found.looked_ms, found.most, strict=True)
        )
        if looked_ms
    ]


async def revenue(conn: Conn, asked: Wanted) -> list[RevenueRow]:
    """What was paid for stays, by day, lane and method."""
    return await repository.revenue(conn, asked)


async def openings(conn: Conn, asked: Wanted) -> list[OpeningRow]:
    """Barriers opened by hand, by lane, person and reason."""
    return await repository.openings(conn, asked)


async def unmatched(conn: Conn, asked: Wanted) -> list[UnmatchedRow]:
    """Stays that nobody can match, by the day they ended, lot, and what is missing."""
    return await repository.unmatched(conn, asked)


def _with_inner(known: Sequence[tuple[int, int | None, int]], chosen: Sequence[int]) -> set[int]:
    found, grown = set(chosen), True
    while grown:
        inner = {id_ for id_, around, _ in known if around in found}
        grown = not inner <= found
        found |= inner
    return found


def _cell(cell: int, vehicle_ms: int, looked_ms: int, most: int, spaces: int) -> OccupancyRow:
    mean = Decimal(vehicle_ms) / looked_ms
    percent = round_half_up(mean * 100 / spaces, 1) if spaces else None
    return OccupancyRow(cell // 24 + 1, cell % 24, round_half_up(mean, 1), most, percent)
