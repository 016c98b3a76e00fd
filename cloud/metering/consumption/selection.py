"""Usage by meter, unit, building or project in any step: which meters are added, and the bars they come to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Final, Literal
from zoneinfo import ZoneInfo

from cloud.kit.db import Conn
from cloud.kit.errors import InvalidInput
from cloud.kit.paging import Page, PageRequest, after_id, cut
from cloud.kit.periods import Period
from cloud.metering.consumption import selection_sql as sql
from cloud.metering.consumption.series import edges
from cloud.metering.records import Medium, Step
from cloud.metering.rollups import reading as rollups
from cloud.metering.rollups.reading import NOTHING, BarSum

Grouping = Literal["total", "meter", "unit", "building"]
Quality = Literal["measured", "estimated", "gap"]

LONGEST: dict[Step, int] = {"15min": 31, "30min": 62, "hour": 93, "day": 800, "month": 8_000}
"""Days in one answer, by step."""
_MOST_BARS: Final = 50_000
MOST_METER_DAYS: dict[Step, int] = {
    **dict.fromkeys(LONGEST, rollups.MOST_METER_DAYS),
    "day": 10 * rollups.MOST_METER_DAYS,
    "month": 100 * rollups.MOST_METER_DAYS,
}
"""What one answer may read of single meters, by step; more is refused, not answered slowly."""


@dataclass(frozen=True, slots=True)
class Selector:
    """Meters of one medium of a project, narrowed by building, unit or meter where these are given."""

    project_id: int
    medium: Medium
    building_id: int | None = None
    unit_id: int | None = None
    meter_id: int | None = None

    @property
    def is_project(self) -> bool:
        """Whether nothing narrows it."""
        return self.building_id is None and self.unit_id is None and self.meter_id is None


@dataclass(frozen=True, slots=True)
class Bar:
    """Usage from `start` to `end` (UTC) in the base unit; None where nothing is known.

    `quality` `gap`: readings are missing over an edge of the bar, or there are none; the quantity of several meters is
    then that of the others. `complete`: rows of every meter cover the whole bar. They cover `covered_s` seconds of all
    meters together, of which `estimated_s` have an estimated shape.
    """

    start: datetime
    end: datetime
    quantity: int | None
    quality: Quality
    complete: bool
    covered_s: int
    estimated_s: int


@dataclass(frozen=True, slots=True)
class UsageGroup:
    """Bars of a meter, unit or building (`id`), or of all together (`id` 0). `meters`: how many were added."""

    id: int
    meters: int
    bars: list[Bar]


@dataclass(frozen=True, slots=True)
class _Chosen:
    id: int
    code: str
    unit_id: int | None
    building_id: int | None
    below: bool

    def part(self, group: Grouping) -> int | None:
        """The group it belongs to; None: none, as a meter of the common space belongs to no unit."""
        return {"total": 0, "meter": self.id, "unit": self.unit_id, "building": self.building_id}[group]


async def usage_of(
    conn: Conn,
    page: PageRequest,
    selector: Selector,
    channel: int,
    period: Period,
    step: Step,
    zone: ZoneInfo,
    group: Grouping,
) -> Page[UsageGroup]:
    """Groups by id; `zone` is the project's. A meter below a master of the selection is in no sum with it.

    Raises InvalidInput when more is asked for than one answer reads.
    """
    instants = edges(period, step, zone)
    if group == "total" and after_id(page, -1) < 0:
        return Page([await total_of(conn, selector, channel, instants, step, zone)], None)
    members = await members_of(conn, selector, group)
    after = after_id(page, -1)
    parts = sorted(part for part in members if part > after)[: page.limit + 1]
    shown = cut(parts, page, lambda part: (part,))
    wanted = {part: members[part] for part in shown.items}
    return Page(await _groups(conn, wanted, channel, instants, step), shown.next_cursor)


async def total_of(
    conn: Conn, selector: Selector, channel: int, instants: Sequence[datetime], step: Step, zone: ZoneInfo
) -> UsageGroup:
    """All meters of the selection together in bars between `instants`, which are edges of `step` bars.

    Of a whole project from its totals, which no number of meters makes slow. Raises InvalidInput as `usage_of`.
    """
    if selector.is_project and await rollups.project_is_rolled_up(conn, instants, step, zone):
        _check_bars(1, instants)
        found = await rollups.project_bars(conn, selector.project_id, selector.medium, channel, instants, step, zone)
        meters = await rollups.top_meters(conn, selector.project_id, selector.medium)
        return UsageGroup(0, meters, _bars(found, meters, instants))
    return (await _groups(conn, await members_of(conn, selector, "total"), channel, instants, step))[0]


async def by_meter(
    conn: Conn, selector: Selector, channel: int, instants: Sequence[datetime], step: Step
) -> list[UsageGroup]:
    """As `total_of`, every meter of the selection by itself, by id."""
    return await _groups(conn, await members_of(conn, selector, "meter"), channel, instants, step)


async def members_of(conn: Conn, selector: Selector, group: Grouping) -> dict[int, list[int]]:
    """Ids of the meters to add, by group."""
    rows = await (await conn.execute(sql.CHOSEN, {
        "project_id": selector.project_id, "medium": selector.medium, "building_id": selector.building_id,
        "unit_id": selector.unit_id, "meter_id": selector.meter_id,
    })).fetchall()  # fmt: skip
    members: dict[int, list[int]] = {0: []} if group == "total" else {}
    for meter in (_Chosen(**row) for row in rows):
        part = meter.part(group)
        if part is not None and (group == "meter" or not meter.below):
            members.setdefault(part, []).append(meter.id)
    return members


async def _groups(
    conn: Conn, members: Mapping[int, Sequence[int]], channel: int, instants: Sequence[datetime], step: Step
) -> list[UsageGroup]:
    _check_bars(len(members), instants)
    days = (instants[-1] - instants[0]).days
    most = MOST_METER_DAYS[step]
    if sum(map(len, members.values())) * days > most:
        raise InvalidInput("too-much-usage", f"expected at most {most} days of meters", field="to")
    found = await bars_of(conn, members, channel, instants, step)
    return [UsageGroup(part, len(meters), found[part]) for part, meters in members.items()]


async def codes_like(conn: Conn, project_id: int, start: str, limit: int) -> list[str]:
    """Codes of meters that begin so, in order, whatever the case of their letters."""
    query = {"project_id": project_id, "start": start, "limit": limit}
    return [row["code"] for row in await (await conn.execute(sql.CODES_LIKE, query)).fetchall()]


async def bars_of(
    conn: Conn, members: Mapping[int, Sequence[int]], channel: int, instants: Sequence[datetime], step: Step
) -> dict[int, list[Bar]]:
    """By group, a bar between each two of `instants`; bars of a part of the instants are those of all of them."""
    found = await rollups.member_bars(conn, members, channel, instants, step)
    return {part: _bars(found[part], len(meters), instants) for part, meters in members.items()}


def _check_bars(groups: int, instants: Sequence[datetime]) -> None:
    if groups * (len(instants) - 1) > _MOST_BARS:
        raise InvalidInput("too-many-bars", f"expected at most {_MOST_BARS} bars: use a lower limit", field="limit")


def _bars(found: Mapping[int, BarSum], meters: int, instants: Sequence[datetime]) -> list[Bar]:
    return [_bar(start, end, found.get(nth, NOTHING), meters) for nth, (start, end) in enumerate(pairwise(instants))]


def _bar(start: datetime, end: datetime, found: BarSum, meters: int) -> Bar:
    missing = found.broken or found == NOTHING
    quality: Quality = "gap" if missing else "estimated" if found.estimated_s else "measured"
    complete = not missing and found.covered_s == meters * int((end - start).total_seconds())
    return Bar(start, end, found.quantity, quality, complete, found.covered_s, found.estimated_s)
