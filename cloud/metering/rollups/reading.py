"""Usage by hour, day and month without adding up rows: of meters and of a project.

Days and months are those of the project's time zone. A row of usage counts in the bar that holds it whole; one that
crosses an edge of a bar (a gap too long to be shaped, or the day of a daily meter in a chart of hours) makes the bars
it touches unknown for its meter. Every answer equals what the rows add up to.

Project totals and, on plain PostgreSQL, days and months follow every change of a usage row in its own transaction (see
migrations 0012 and 0022). With TimescaleDB days and months are continuous aggregates, refreshed within seconds after
the change; until then what changed is added up from the rows. Bills never read what is here; the rules that compare
whole months do.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, LiteralString
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from cloud.kit.columns import Int2Column, Int8Column
from cloud.kit.copying import columns_of
from cloud.kit.db import Conn
from cloud.kit.jobs import enqueue
from cloud.metering.records import ChangedSpan, Medium, Step
from cloud.metering.rollups import sql

Ints = NDArray[np.int64]

REFRESH_ROLL_UPS = "metering.refresh-roll-ups"
"""Job kind: fold pending totals; with TimescaleDB refresh the aggregates of the spans that `refresh` queued."""

MOST_METER_DAYS: Final = 400_000
"""What one answer adds up from rows: 10,000 meters for 40 days."""
_HOUR: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class BarSum:
    """What rows inside a bar add up to, in the base unit of the channel, multiplier applied; None: no rows.

    They cover `covered_s` seconds (of all meters together), `estimated_s` of them by an estimated shape. `broken`: rows
    of one meter or more cross an edge of the bar; nothing of such a meter is in the sum.
    """

    quantity: int | None = None
    covered_s: int = 0
    estimated_s: int = 0
    broken: bool = False


NOTHING = BarSum()


async def refresh(conn: Conn, spans: Sequence[ChangedSpan]) -> None:
    """Takes note of changed usage, in the caller's transaction; what must happen outside of it is left to the job."""
    if not spans:
        return
    # Meters that are read together change over the same time.
    ends = {(span.from_at, span.until_at) for span in spans}
    query = {"from": [begin for begin, _ in ends], "until": [end for _, end in ends]}
    await conn.execute(sql.QUEUE_STALE, query)
    await enqueue(conn, REFRESH_ROLL_UPS, {}, dedupe_key="all")


async def project_is_rolled_up(conn: Conn, instants: Sequence[datetime], step: Step, zone: ZoneInfo) -> bool:
    """Whether `project_bars` can tell bars between these instants to the reader of this transaction.

    Totals are of staff alone, and of whole hours counted from local midnight: on Lord Howe, whose clocks change by half
    an hour, days do not always begin with one.
    """
    origin = datetime(2024, 1, 1, tzinfo=zone).astimezone(UTC)
    whole = step in sql.REACH and not any((instant - origin) % _HOUR for instant in instants)
    return whole and bool((await _row(conn, sql.STATE, {}))["open"])


async def top_meters(conn: Conn, project_id: int, medium: Medium) -> int:
    """How many meters without a master `project_bars` adds."""
    return int((await _row(conn, sql.TOP_METERS, {"project_id": project_id, "medium": medium}))["meters"])


async def project_bars(
    conn: Conn, project_id: int, medium: Medium, channel: int, instants: Sequence[datetime], step: Step, zone: ZoneInfo
) -> dict[int, BarSum]:
    """By position of the bar, what meters without a master add up to: what the project drew. `zone` is the project's.

    `instants` are the edges of the bars; bars may be longer than a day or month when these are their `step`.
    """
    query = {
        "project_id": project_id, "medium": medium, "channel": channel, "zone": zone.key, "reach": sql.REACH[step],
        **_between(instants),
    }  # fmt: skip
    rows = await (await conn.execute(sql.PROJECT_BARS, query)).fetchall()
    return {row.pop("bar"): BarSum(**row) for row in rows}


async def member_bars(
    conn: Conn, members: Mapping[int, Sequence[int]], channel: int, instants: Sequence[datetime], step: Step
) -> dict[int, dict[int, BarSum]]:
    """By group and position of the bar, what the meters of each group of `members` add up to.

    `instants` as in `project_bars`. Days and months are those of the one project of all these meters.
    """
    rolled, bars = 0, len(instants) - 1
    if step in sql.ROLLED_BARS:
        rolled = await _rolled_up(conn, instants, sum(map(len, members.values())))
    found: dict[int, dict[int, BarSum]] = {part: {} for part in members}
    if rolled:
        await _read(conn, sql.ROLLED_BARS[step], members, channel, instants[: rolled + 1], 0, sql.REACH[step], found)
    if rolled < bars:
        await _read(conn, sql.BARS_OF_ROWS, members, channel, instants[rolled:], rolled, 0, found)
    return found


async def month_sums(conn: Conn, meters: Ints, channels: Ints, start: datetime, end: datetime) -> tuple[Ints, Ints]:
    """What rows of usage inside [start, end), a local month, add up to by register: quantity and covered seconds.

    For the system alone, which may see all meters. Where roll-ups lag behind, the rows themselves are added up.
    """
    if not len(meters):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    lag_from = (await _row(conn, sql.STATE, {}))["lag_from"]
    statement = sql.MONTH_SUMS if lag_from is None or end <= lag_from else sql.MONTH_SUMS_OF_ROWS
    query = {
        "meters": Int8Column(meters), "channels": Int2Column(channels), "start": start, "end": end,
        "first": int(meters.min()), "last": int(meters.max()),
    }  # fmt: skip
    which, *sums = await columns_of(conn, statement, query, ("int8", "int8", "int8"))
    quantity, covered_s = np.zeros((2, len(meters)), np.int64)
    quantity[which], covered_s[which] = sums
    return quantity, covered_s


async def _rolled_up(conn: Conn, instants: Sequence[datetime], meters: int) -> int:
    """How many bars from the first on are read from roll-ups: those they do not lag behind with, or all if many do."""
    bars = len(instants) - 1
    state = await _row(conn, sql.STATE, {})
    if not state["open"]:
        return 0
    if state["lag_from"] is None:
        return bars
    current = min(max(bisect_right(instants, state["lag_from"]) - 1, 0), bars)
    lagging = (instants[-1] - instants[current]).days
    return current if meters * lagging <= MOST_METER_DAYS else bars


async def _read(
    conn: Conn,
    statement: LiteralString,
    members: Mapping[int, Sequence[int]],
    channel: int,
    instants: Sequence[datetime],
    first: int,
    reach: int,
    found: dict[int, dict[int, BarSum]],
) -> None:
    """Adds the bars between `instants`, the first of which is the one at position `first`, to `found`."""
    query = {
        "meters": [meter for meters in members.values() for meter in meters],
        "groups": [part for part, meters in members.items() for _ in meters],
        "channel": channel, "reach": reach, **_between(instants),
    }  # fmt: skip
    for row in await (await conn.execute(statement, query)).fetchall():
        part, bar = row.pop("part"), row.pop("bar")
        found[part][first + bar] = BarSum(**row)


def _between(instants: Sequence[datetime]) -> dict[str, Any]:
    return {"edges": list(instants), "start": instants[0], "end": instants[-1], "bars": len(instants) - 1}


async def _row(conn: Conn, statement: LiteralString, query: dict[str, Any]) -> dict[str, Any]:
    row = await (await conn.execute(statement, query)).fetchone()
    assert row is not None
    return row
