"""SQL of sending: taking a notice that is due, and what became of it."""

from typing import LiteralString

from cloud.kit.db import Conn

# A worker that dies leaves what it had to the others when the lease ends. `attempts` is the fence.
_CLAIM: LiteralString = """
    UPDATE notice SET state = 'sending', attempts = attempts + 1,
                      next_try_at = now() + make_interval(secs => %(lease_s)s)
    WHERE id = (SELECT id FROM notice WHERE state IN ('queued', 'sending', 'failed') AND next_try_at <= now()
                ORDER BY next_try_at, id LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING id
"""
_END: LiteralString = """
    UPDATE notice SET state = %(state)s, reason = %(reason)s, error = %(error)s, sent_to = %(sent_to)s, ended_at = now()
    WHERE id = %(id)s AND state = 'sending' AND attempts = %(attempts)s
"""
_LATER: LiteralString = """
    UPDATE notice SET state = 'failed', reason = %(reason)s, error = %(error)s,
                      next_try_at = now() + make_interval(secs => %(delay_s)s)
    WHERE id = %(id)s AND state = 'sending' AND attempts = %(attempts)s
"""
# No attempt at this notice: the server could not be used at all.
_PUT_BACK: LiteralString = """
    UPDATE notice SET state = 'failed', attempts = attempts - 1, reason = %(reason)s, error = %(error)s,
                      next_try_at = now() + make_interval(secs => %(delay_s)s)
    WHERE id = %(id)s AND state = 'sending' AND attempts = %(attempts)s
"""
_MAIL_IS_OFF: LiteralString = """
    UPDATE notice SET state = 'suppressed', reason = 'mail-off', ended_at = now()
    WHERE id IN (SELECT id FROM notice WHERE state IN ('queued', 'sending', 'failed') AND next_try_at <= now()
                 ORDER BY next_try_at, id LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
"""


async def claim(conn: Conn, lease_s: int) -> int | None:
    """Takes the notice that is due longest, for so many seconds; its id, None when nothing is due."""
    row = await (await conn.execute(_CLAIM, {"lease_s": lease_s})).fetchone()
    return None if row is None else int(row["id"])


async def end(
    conn: Conn, notice_id: int, attempts: int, state: str, reason: str = "", error: str = "", sent_to: str = ""
) -> None:
    """It was sent, given up or suppressed."""
    values = {"id": notice_id, "attempts": attempts, "state": state, "reason": reason, "error": error}
    await conn.execute(_END, {**values, "sent_to": sent_to})


async def later(conn: Conn, notice_id: int, attempts: int, reason: str, error: str, delay_s: int) -> None:
    """It is tried again in so many seconds."""
    values = {"id": notice_id, "attempts": attempts, "reason": reason, "error": error, "delay_s": delay_s}
    await conn.execute(_LATER, values)


async def put_back(conn: Conn, notice_id: int, attempts: int, reason: str, error: str, delay_s: int) -> None:
    """The same, without counting it as a try."""
    values = {"id": notice_id, "attempts": attempts, "reason": reason, "error": error, "delay_s": delay_s}
    await conn.execute(_PUT_BACK, values)


async def mail_is_off(conn: Conn, limit: int) -> int:
    """Suppresses what is due: there is no mail server; how many."""
    return (await conn.execute(_MAIL_IS_OFF, {"limit": limit})).rowcount
