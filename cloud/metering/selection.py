"""Usage by meter, unit, building or project in any step: which meters are added, and the bars they come to."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Literal
from zoneinfo import ZoneInfo

from cloud.kit.db import Conn
from cloud.kit.errors import InvalidInput
from cloud.kit.paging import Page, PageRequest, after_id, cut
from cloud.kit.periods import Period
from cloud.metering import selection_sql as sql
from cloud.metering.records import Medium, Step
from cloud.metering.series import edges

FineStep = Literal["15min", "30min", "hour", "day", "month"]
Grouping = Literal["total", "meter", "unit", "building"]
Quality = Literal["measured", "estimated", "gap"]

LONGEST: dict[FineStep, int] = {"15min": 31, "30min": 62, "hour": 93, "day": 800, "month": 8_000}
"""Days in one answer, by step."""
_MOST_BARS = 50_000
MOST_METER_DAYS = 400_000
"""What one answer may read: 10,000 meters for 40 days. Above it a request is refused, not answered slowly."""
_MINUTES: dict[FineStep, int] = {"15min": 15, "30min": 30}
_WHOLE_STEPS: dict[FineStep, Step] = {"hour": "hour", "day": "day", "month": "month"}


@dataclass(frozen=True, slots=True)
class Selector:
    """Meters of one medium of a project, narrowed by building, unit or meter where these are given."""

    project_id: int
    medium: Medium
    building_id: int | None = None
    unit_id: int | None = None
    meter_id: int | None = None


@dataclass(frozen=True, slots=True)
class Bar:
    """Usage from `start` to `end` (UTC) in the base unit; None where nothing is known.

    `quality` `gap`: readings are missing over an edge of the bar, or there are none; the quantity of several meters is
    then that of the others. `complete`: rows of every meter cover the whole bar.
    """

    start: datetime
    end: datetime
    quantity: int | None
    quality: Quality
    complete: bool


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


def bar_edges(period: Period, step: FineStep, zone: ZoneInfo) -> list[datetime]:
    """As `series.edges`, also for quarters and halves of hours, counted from local midnight."""
    if step in _WHOLE_STEPS:
        return edges(period, _WHOLE_STEPS[step], zone)
    start, end = period.instants(zone)
    length = timedelta(minutes=_MINUTES[step])
    return [start + length * n for n in range((end - start) // length)] + [end]


async def usage_of(
    conn: Conn,
    page: PageRequest,
    selector: Selector,
    channel: int,
    period: Period,
    step: FineStep,
    zone: ZoneInfo,
    group: Grouping,
) -> Page[UsageGroup]:
    """Groups by id; `zone` is the project's. A meter below a master of the selection is in no sum with it.

    Raises InvalidInput when more is asked for than one answer reads.
    """
    members = await members_of(conn, selector, group)
    after = after_id(page, -1)
    parts = sorted(part for part in members if part > after)[: page.limit + 1]
    shown = cut(parts, page, lambda part: (part,))
    instants = bar_edges(period, step, zone)
    _check_size(sum(len(members[part]) for part in shown.items), len(shown.items), period.days, len(instants) - 1)
    found = await bars_of(conn, {part: members[part] for part in shown.items}, channel, instants)
    groups = [UsageGroup(part, len(members[part]), found[part]) for part in shown.items]
    return Page(groups, shown.next_cursor)


async def members_of(conn: Conn, selector: Selector, group: Grouping) -> dict[int, list[int]]:
    """Ids of the meters to add, by group: a meter, a unit, a building, or 0 for all together."""
    rows = await (await conn.execute(sql.CHOSEN, {
        "project_id": selector.project_id, "medium": selector.medium, "building_id": selector.building_id,
        "unit_id": selector.unit_id, "meter_id": selector.meter_id,
    })).fetchall()  # fmt: skip
    return _members([_Chosen(**row) for row in rows], group)


def _members(chosen: Sequence[_Chosen], group: Grouping) -> dict[int, list[int]]:
    members: dict[int, list[int]] = {0: []} if group == "total" else {}
    for meter in chosen:
        part = meter.part(group)
        if part is not None and (group == "meter" or not meter.below):
            members.setdefault(part, []).append(meter.id)
    return members


def _check_size(meters: int, groups: int, days: int, bars: int) -> None:
    if groups * bars > _MOST_BARS:
        raise InvalidInput("too-many-bars", f"expected at most {_MOST_BARS} bars: use a lower limit", field="limit")
    if meters * days > MOST_METER_DAYS:
        raise InvalidInput("too-much-usage", f"expected at most {MOST_METER_DAYS} days of meters", field="to")


async def bars_of(
    conn: Conn, members: dict[int, list[int]], channel: int, instants: list[datetime]
) -> dict[int, list[Bar]]:
    """By group, a bar between each two of `instants`; bars of a part of the instants are those of all of them."""
    query = {
        "meters": [meter for meters in members.values() for meter in meters],
        "groups": [part for part, meters in members.items() for _ in meters],
        "channel": channel, "edges": instants, "start": instants[0], "end": instants[-1], "bars": len(instants) - 1,
    }  # fmt: skip
    found: dict[int, dict[int, dict[str, object]]] = defaultdict(dict)
    for row in await (await conn.execute(sql.BARS, query)).fetchall():
        found[row["part"]][row["bar"]] = row
    return {
        part: [
            _bar(start, end, found[part].get(nth), len(meters)) for nth, (start, end) in enumerate(pairwise(instants))
        ]
        for part, meters in members.items()
    }


def _bar(start: datetime, end: datetime, row: dict[str, object] | None, meters: int) -> Bar:
    if row is None:
        return Bar(start, end, None, "gap", complete=False)
    quantity = row["quantity"]
    assert quantity is None or isinstance(quantity, int)
    quality: Quality = "gap" if row["gap"] else "estimated" if row["estimated"] else "measured"
    complete = not row["gap"] and row["covered_s"] == meters * int((end - start).total_seconds())
    return Bar(start, end, quantity, quality, complete)
