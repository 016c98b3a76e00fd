"""Readings by meter, unit, building or project: pages in the order of time, or all of them in batches."""

from bisect import bisect_left
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal

from cloud.devices.cursors import after_instant_and_number, instant_key
from cloud.kit.db import Conn
from cloud.kit.paging import Page, PageRequest, cut
from cloud.metering.consumption.selection import Selector, members_of
from cloud.metering.edits.service import Action
from cloud.metering.readings import placed_sql as sql
from gateway.contract.messages import Quality

Order = Literal["newest", "oldest"]
Connect = Callable[[], AbstractAsyncContextManager[Conn]]
"""Opens a transaction in the name of who asks. A long answer takes one for each batch, so that it holds none while
its reader is slow."""

BATCH_ROWS: Final = 5_000
_MOST_METERS: Final = 500
"""Meters looked up by one statement of a batch."""
_FIRST_REACH: Final = timedelta(days=31)
_FIRST_SPAN: Final = timedelta(hours=1)
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


_WORDS: Final = {flag.value: str(flag.name).lower().replace("_", "-") for flag in Quality if flag}


def flag_words(quality: int) -> list[str]:
    """The names of the flags that are set; one of a newer gateway is called after its number, such as `flag-64`."""
    return [_WORDS.get(1 << bit, f"flag-{1 << bit}") for bit in range(quality.bit_length()) if quality >> bit & 1]


async def wanted_of(conn: Conn, selector: Selector, channel: int, start: datetime, end: datetime) -> Wanted:
    """All meters of a selection, sub-meters and their masters too."""
    return Wanted(sorted(await members_of(conn, selector, "meter")), channel, start, end)


async def list_placed(conn: Conn, page: PageRequest, wanted: Wanted, order: Order) -> Page[PlacedReading]:
    """A page of readings by time, those of one instant by meter. Raises InvalidInput (cursor)."""
    newest = order == "newest"
    at, after = after_instant_and_number(page)
    if at is None:
        at = wanted.end if newest else wanted.start
    at = min(max(at, wanted.start), wanted.end)
    span = _FIRST_SPAN
    while True:
        # A limit does not reach behind the views, which would read the whole period of every meter.
        looked = _looked_at(wanted, at, span, newest=newest)
        query = {**_query(looked, page.limit + 1), "at": at, "after": after}
        rows = await (await conn.execute(sql.NEWEST if newest else sql.OLDEST, query)).fetchall()
        if len(rows) > page.limit or (looked.start, looked.end) == (wanted.start, wanted.end):
            break
        span *= 4
    found = [PlacedReading(**row) for row in rows]
    return cut(found, page, lambda one: (instant_key(one.taken_at), one.meter_id))


def _looked_at(wanted: Wanted, at: datetime, span: timedelta, *, newest: bool) -> Wanted:
    """The part of the period that lies within `span` of where a page begins."""
    if newest:
        return replace(wanted, start=at - span) if at - wanted.start > span else wanted
    return replace(wanted, end=at + span) if wanted.end - at > span else wanted


async def batches(
    connect: Connect, wanted: Wanted, size: int = BATCH_ROWS
) -> AsyncGenerator[Sequence[PlacedReading], None]:
    """All readings by meter and time, at most `size` at once, each batch in a transaction of its own.

    Readings that come or are edited meanwhile are there or not, each row as it was when its batch was read.
    """
    # How much time of meters a batch is looked for in: some days of one, or the whole period of several.
    reach, length = _FIRST_REACH, wanted.end - wanted.start
    first, inside = 0, wanted.start
    while first < len(wanted.meters):
        whole = inside == wanted.start and reach >= length
        width = min(reach // length, _MOST_METERS) if whole else 1
        end = inside + reach if wanted.end - inside > reach else wanted.end
        part = replace(wanted, meters=wanted.meters[first : first + width], start=inside, end=end)
        async with connect() as conn:
            rows = await _batch(conn, part, size)
        if rows:
            yield rows
        if len(rows) == size:
            first, inside = bisect_left(wanted.meters, rows[-1].meter_id), rows[-1].taken_at + _INSTANT
            reach = max(reach // 2, _INSTANT)
            continue
        first, inside = (first, end) if end < wanted.end else (first + width, wanted.start)
        if len(rows) <= size // 2 and reach < length * _MOST_METERS:
            reach *= 2


async def count_up_to(conn: Conn, wanted: Wanted, most: int) -> int:
    """How many readings there are; more than `most` are counted no further."""
    row = await (await conn.execute(sql.COUNT, _query(wanted, most + 1))).fetchone()
    assert row is not None
    return int(row["rows"])


async def _batch(conn: Conn, wanted: Wanted, size: int) -> list[PlacedReading]:
    return [PlacedReading(**row) for row in await (await conn.execute(sql.BATCH, _query(wanted, size))).fetchall()]


def _query(wanted: Wanted, limit: int) -> dict[str, object]:
    return {**asdict(wanted), "meters": list(wanted.meters), "limit": limit}
