"""Readings by meter, unit, building or project: pages in the order of time, or all of them in batches."""

from bisect import bisect_left
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal

from cloud.devices.cursors import after_instant_and_number, instant_key
from cloud.kit.db import Conn
from cloud.kit.paging import Page, PageRequest, cut
from cloud.metering import placed_readings_sql as sql
from cloud.metering.edits import Action
from cloud.metering.selection import Selector, members_of
from gateway.contract.messages import Quality

Order = Literal["newest", "oldest"]
Connect = Callable[[], AbstractAsyncContextManager[Conn]]
"""Opens a transaction in the name of who asks. A long answer takes one for each batch, so that it holds none while
its reader is slow."""

BATCH_ROWS: Final = 5_000
_MOST_METERS: Final = 500
"""Meters looked up by one statement of a batch."""
_INSTANT: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class PlacedReading:
    """A reading of a register before the multiplier, in the base unit, and what staff decided about it.

    `action`, `edited` (of `set` alone) and `version` are those of the edit in force, None without one.
    """

    meter_id: int
    meter: str
    """Its code."""
    taken_at: datetime
    value: int
    quality: int
    action: Action | None
    edited: int | None
    version: int | None

    @property
    def flags(self) -> list[str]:
        """What is known against the value, in words; empty: nothing."""
        return flag_words(self.quality)


@dataclass(frozen=True, slots=True)
class Wanted:
    """One register of these meters (sorted ids) in [start, end)."""

    meters: Sequence[int]
    channel: int
    start: datetime
    end: datetime


def flag_words(quality: int) -> list[str]:
    """The names of the flags that are set; one of a newer gateway is called after its number, such as `flag-64`."""
    known = {flag.value: str(flag.name).lower().replace("_", "-") for flag in Quality if flag}
    return [known.get(1 << bit, f"flag-{1 << bit}") for bit in range(quality.bit_length()) if quality >> bit & 1]


async def wanted_of(conn: Conn, selector: Selector, channel: int, start: datetime, end: datetime) -> Wanted:
    """All meters of a selection, sub-meters and their masters too."""
    return Wanted(sorted(await members_of(conn, selector, "meter")), channel, start, end)


async def list_placed(conn: Conn, page: PageRequest, wanted: Wanted, order: Order) -> Page[PlacedReading]:
    """A page of readings by time, those of one instant by meter. Raises InvalidInput (cursor)."""
    at, after = after_instant_and_number(page)
    if at is None:
        at = wanted.end if order == "newest" else wanted.start
    query = {**_query(wanted, page.limit + 1), "at": at, "after": after}
    statement = sql.NEWEST if order == "newest" else sql.OLDEST
    rows = [PlacedReading(**row) for row in await (await conn.execute(statement, query)).fetchall()]
    return cut(rows, page, lambda one: (instant_key(one.taken_at), one.meter_id))


async def batches(connect: Connect, wanted: Wanted, size: int = BATCH_ROWS) -> AsyncIterator[Sequence[PlacedReading]]:
    """All readings by meter and time, at most `size` at once, each batch in a transaction of its own.

    Readings that come or are edited meanwhile are there or not, each row as it was when its batch was read.
    """
    first, inside, width = 0, None, 1
    while first < len(wanted.meters):
        # The rest of one meter is asked for alone: the engines find it by its key.
        asked = wanted.meters[first : first + (width if inside is None else 1)]
        async with connect() as conn:
            rows = await _batch(conn, replace(wanted, meters=asked, start=inside or wanted.start), size)
        if rows:
            yield rows
        if len(rows) == size:
            first, inside = bisect_left(wanted.meters, rows[-1].meter_id), rows[-1].taken_at + _INSTANT
            width = max(1, width // 2)
        else:
            first, inside = first + len(asked), None
            width = min(width * 2, _MOST_METERS) if len(rows) <= size // 2 else width


async def count_up_to(conn: Conn, wanted: Wanted, most: int) -> int:
    """How many readings there are; more than `most` are counted no further."""
    row = await (await conn.execute(sql.COUNT, _query(wanted, most + 1))).fetchone()
    assert row is not None
    return int(row["rows"])


async def _batch(conn: Conn, wanted: Wanted, size: int) -> list[PlacedReading]:
    return [PlacedReading(**row) for row in await (await conn.execute(sql.BATCH, _query(wanted, size))).fetchall()]


def _query(wanted: Wanted, limit: int) -> dict[str, object]:
    return {**asdict(wanted), "meters": list(wanted.meters), "limit": limit}
