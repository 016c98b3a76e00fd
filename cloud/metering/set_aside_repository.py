"""SQL of meters whose derivation or settling raises: tried alone and ever more rarely, so that others do not pay."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, LiteralString

from cloud.kit.columns import Int8Column
from cloud.kit.db import Conn

Work = Literal["derive", "settle"]

AT_ONCE: Final = 50
"""Of those that are due; the others are in a minute."""

# After 1, 2, 4 … minutes, at most an hour: what is wrong with it may be mended by a reading, or by a new version.
_NOTE: LiteralString = """
    INSERT INTO store.set_aside AS s (work, meter_id, next_at, reason)
    VALUES (%(work)s, %(meter_id)s, now() + interval '1 minute', %(reason)s)
    ON CONFLICT (work, meter_id) DO UPDATE
    SET attempts = s.attempts + 1, reason = excluded.reason,
        next_at = now() + least(power(2, least(s.attempts, 10)), 60) * interval '1 minute'
"""
_FORGET: LiteralString = "DELETE FROM store.set_aside WHERE work = %(work)s AND meter_id = ANY (%(ids)s)"
_DUE: LiteralString = """
    SELECT meter_id FROM store.set_aside WHERE work = %(work)s AND next_at <= now()
    ORDER BY next_at, meter_id LIMIT %(limit)s
"""
# What people see and ask for goes through the view, which knows whose the meters are.
_OF_METERS: LiteralString = """
    SELECT meter_id, work, since, attempts, next_at, reason FROM meter_set_aside
    WHERE meter_id = ANY (%(ids)s) ORDER BY meter_id, work
"""
_OF_PROJECTS: LiteralString = """
    SELECT s.meter_id, s.work, s.since, s.attempts, s.next_at, s.reason FROM meter_set_aside s
    JOIN meter m ON m.id = s.meter_id WHERE m.project_id = ANY (%(projects)s) ORDER BY s.since, s.meter_id, s.work
"""
_NOW_DUE: LiteralString = """
    UPDATE meter_set_aside SET next_at = least(next_at, now()) WHERE meter_id = ANY (%(ids)s)
"""


@dataclass(frozen=True, slots=True)
class SetAside:
    """A meter whose usage cannot be derived, or not settled: since when, how often that was tried, and why not."""

    meter_id: int
    work: Work
    since: datetime
    attempts: int
    next_at: datetime
    reason: str


async def note(conn: Conn, work: Work, meter_id: int, reason: str) -> None:
    """Sets a meter aside, or for longer than before."""
    await conn.execute(_NOTE, {"work": work, "meter_id": meter_id, "reason": reason})


async def forget(conn: Conn, work: Work, meter_ids: Sequence[int]) -> None:
    """These meters were worked on."""
    await conn.execute(_FORGET, {"work": work, "ids": Int8Column.of(meter_ids)})


async def due(conn: Conn, work: Work) -> list[int]:
    """Meters set aside that are to be tried again now, some of them."""
    rows = await (await conn.execute(_DUE, {"work": work, "limit": AT_ONCE})).fetchall()
    return [row["meter_id"] for row in rows]


async def of_meters(conn: Conn, meter_ids: Sequence[int]) -> dict[int, list[SetAside]]:
    """What is set aside of these meters, by meter; meters that are worked on are absent."""
    found: dict[int, list[SetAside]] = {}
    for row in await (await conn.execute(_OF_METERS, {"ids": list(meter_ids)})).fetchall():
        found.setdefault(row["meter_id"], []).append(SetAside(**row))
    return found


async def of_projects(conn: Conn, project_ids: Sequence[int]) -> list[SetAside]:
    """All that is set aside in these projects, the longest first."""
    rows = await (await conn.execute(_OF_PROJECTS, {"projects": list(project_ids)})).fetchall()
    return [SetAside(**row) for row in rows]


async def make_due(conn: Conn, meter_ids: Sequence[int]) -> None:
    """These meters are tried again when the work is next done."""
    await conn.execute(_NOW_DUE, {"ids": list(meter_ids)})
