"""Usage of a selection over whole days, beside that of other days; and which of its meters used most."""

from dataclasses import dataclass
from zoneinfo import ZoneInfo

from cloud.kit.db import Conn
from cloud.kit.errors import InvalidInput
from cloud.kit.paging import Page, PageRequest, cut
from cloud.kit.periods import Period
from cloud.metering.consumption.selection import Bar, Selector, by_meter, total_of
from cloud.metering.consumption.windows import Counterparts
from cloud.metering.records import Step

RANK_KEY_LENGTH = 2
"""Length of the key in a cursor of `ranking`: quantity and meter."""


@dataclass(frozen=True, slots=True)
class Total:
    """What a selection used in local days, as one bar; `meters`: how many were added."""

    period: Period
    meters: int
    bar: Bar


@dataclass(frozen=True, slots=True)
class Change:
    """From an earlier total to a later one, in the base unit; None where one of them is not known."""

    earlier: Total
    difference: int | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """The total of days that are over, beside other days."""

    now: Total
    before: Change
    last_year: Change | None


@dataclass(frozen=True, slots=True)
class Ranked:
    """What one meter of a selection used; the bar is all of the days asked for."""

    meter_id: int
    bar: Bar


async def total(conn: Conn, selector: Selector, channel: int, period: Period, zone: ZoneInfo) -> Total:
    """Usage of whole local days; `zone` is the project's."""
    group = await total_of(conn, selector, channel, period.instants(zone), whole_step(period), zone)
    return Total(period, group.meters, group.bars[0])


async def compare(conn: Conn, selector: Selector, channel: int, days: Counterparts, zone: ZoneInfo) -> Comparison:
    """The total of `days.now` beside those of the other days."""
    now = await total(conn, selector, channel, days.now, zone)
    before = await total(conn, selector, channel, days.before, zone)
    last_year = None if days.last_year is None else await total(conn, selector, channel, days.last_year, zone)
    return Comparison(now, change(before, now), None if last_year is None else change(last_year, now))


async def ranking(
    conn: Conn, page: PageRequest, selector: Selector, channel: int, period: Period, zone: ZoneInfo
) -> Page[Ranked]:
    """Meters of the selection, what used most first; those without any usage in the days are left out."""
    groups = await by_meter(conn, selector, channel, period.instants(zone), whole_step(period))
    known = (Ranked(group.id, group.bars[0]) for group in groups if group.bars[0].quantity is not None)
    ranked = sorted(known, key=_rank)
    after = _after(page)
    behind = [one for one in ranked if after is None or _rank(one) > after]
    return cut(behind[: page.limit + 1], page, _rank)


def change(earlier: Total, later: Total) -> Change:
    """How usage changed, exactly."""
    known, now = earlier.bar.quantity, later.bar.quantity
    if known is None or now is None:
        return Change(earlier, None)
    return Change(earlier, now - known)


def whole_step(period: Period) -> Step:
    """The longest step that whole days of `period` are made of."""
    return "month" if period.start.day == period.end.day == 1 else "day"


def _rank(one: Ranked) -> tuple[int, int]:
    assert one.bar.quantity is not None
    return -one.bar.quantity, one.meter_id


def _after(page: PageRequest) -> tuple[int, int] | None:
    if page.after is None:
        return None
    quantity, meter_id = page.after
    if not isinstance(quantity, int) or not isinstance(meter_id, int):
        raise InvalidInput("bad-cursor", "expected the next_cursor of an earlier answer", field="cursor")
    return quantity, meter_id
