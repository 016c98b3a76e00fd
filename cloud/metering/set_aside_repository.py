"""SQL of meters whose derivation or settling raises: tried alone and ever more rarely, so that others do not pay."""

from collections.abc import Sequence
from typing import Final, Literal, LiteralString

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


async def note(conn: Conn, work: Work, meter_id: int, reason: str) -> None:
    """Sets a meter aside, or for longer than before."""
    await conn.execute(_NOTE, {"work": work, "meter_id": meter_id, "reason": reason})


async def forget(conn: Conn, work: Work, meter_ids: Sequence[int]) -> None:
    """These meters were worked on."""
    await conn.execute(_FORGET, {"work": work, "ids": list(meter_ids)})


async def due(conn: Conn, work: Work) -> list[int]:
    """Meters set aside that are to be tried again now, some of them."""
    rows = await (await conn.execute(_DUE, {"work": work, "limit": AT_ONCE})).fetchall()
    return [row["meter_id"] for row in rows]
