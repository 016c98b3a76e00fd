"""SQL of delivering: taking what is due, what became of it, and what is too old to keep."""

from collections.abc import Sequence
from typing import LiteralString

from cloud.kit.db import Conn
from cloud.webhooks.records import Due

# The lease is longer than an attempt may take: a worker that dies leaves its deliveries to the others when it ends.
# Some of each webhook: a slow receiver does not keep the others waiting.
_CLAIM: LiteralString = """
    WITH due AS (
        SELECT one.id FROM webhook w CROSS JOIN LATERAL (
            SELECT d.id FROM webhook_delivery d
            WHERE d.webhook_id = w.id AND d.state = 'waiting' AND d.next_try_at <= now()
            ORDER BY d.next_try_at, d.id LIMIT %(of_webhook)s FOR UPDATE SKIP LOCKED) AS one
        WHERE w.active AND NOT w.id = ANY (%(busy)s) LIMIT %(limit)s),
    taken AS (
        UPDATE webhook_delivery d
        SET attempts = d.attempts + 1, next_try_at = now() + make_interval(secs => %(lease_s)s)
        FROM due WHERE d.id = due.id
        RETURNING d.id, d.webhook_id, d.event_id, d.project_id, d.attempts)
    SELECT t.id, t.webhook_id, t.event_id, t.project_id, e.kind, e.payload, e.created_at AS happened_at, t.attempts,
           w.url, w.secret, CASE WHEN w.old_secret_until > now() THEN w.old_secret END AS old_secret, w.failing_since
    FROM taken t JOIN webhook_event e ON e.id = t.event_id JOIN webhook w ON w.id = t.webhook_id
    ORDER BY t.id
"""
# `attempts` is the fence: who lost his lease meanwhile changes nothing.
_DELIVERED: LiteralString = """
    UPDATE webhook_delivery SET state = 'delivered', ended_at = now(), response_code = %(code)s, error = ''
    WHERE id = %(id)s AND state = 'waiting' AND attempts = %(attempts)s
"""
_FAILED: LiteralString = """
    UPDATE webhook_delivery
    SET state = CASE WHEN %(delay_s)s::int IS NULL THEN 'dead' ELSE 'waiting' END,
        ended_at = CASE WHEN %(delay_s)s::int IS NULL THEN now() END,
        next_try_at = now() + make_interval(secs => coalesce(%(delay_s)s, 0)),
        response_code = %(code)s, error = %(error)s
    WHERE id = %(id)s AND state = 'waiting' AND attempts = %(attempts)s
"""
_CAME_THROUGH: LiteralString = "UPDATE webhook SET failing_since = NULL WHERE id = %(id)s AND failing_since IS NOT NULL"
_DID_NOT: LiteralString = "UPDATE webhook SET failing_since = now() WHERE id = %(id)s AND failing_since IS NULL"
_STOP: LiteralString = """
    UPDATE webhook SET active = false, stopped_because = %(why)s
    WHERE id = %(id)s AND active AND (%(days)s::int IS NULL OR failing_since < now() - make_interval(days => %(days)s))
"""
_FORGET_DELIVERIES: LiteralString = """
    DELETE FROM webhook_delivery WHERE coalesce(ended_at, created_at) < now() - make_interval(days => %(days)s)
"""
_FORGET_EVENTS: LiteralString = """
    DELETE FROM webhook_event e WHERE created_at < now() - make_interval(days => %(days)s)
      AND NOT EXISTS (SELECT FROM webhook_delivery d WHERE d.event_id = e.id)
"""


async def claim(conn: Conn, limit: int, of_webhook: int, busy: Sequence[int], lease_s: int) -> list[Due]:
    """Takes up to `limit` deliveries that are due, none of the webhooks in `busy`, for so many seconds."""
    query = {"limit": limit, "of_webhook": of_webhook, "busy": list(busy), "lease_s": lease_s}
    rows = await (await conn.execute(_CLAIM, query)).fetchall()
    return [Due(**row) for row in rows]


async def delivered(conn: Conn, due: Due, code: int) -> None:
    """It came through."""
    await conn.execute(_DELIVERED, {"id": due.id, "attempts": due.attempts, "code": code})
    await conn.execute(_CAME_THROUGH, {"id": due.webhook_id})


async def failed(conn: Conn, due: Due, code: int | None, error: str, delay_s: int | None) -> None:
    """It did not; the next try is in `delay_s`, or there is none."""
    query = {"id": due.id, "attempts": due.attempts, "code": code, "error": error, "delay_s": delay_s}
    await conn.execute(_FAILED, query)
    await conn.execute(_DID_NOT, {"id": due.webhook_id})


async def stop(conn: Conn, webhook_id: int, why: str, days: int | None = None) -> bool:
    """Stops a webhook, with `days` only when it has failed for so long; whether it did."""
    return (await conn.execute(_STOP, {"id": webhook_id, "why": why, "days": days})).rowcount == 1


async def forget(conn: Conn, days: int) -> tuple[int, int]:
    """Deletes deliveries that ended so long ago, and events that nobody waits for; how many of each."""
    gone = (await conn.execute(_FORGET_DELIVERIES, {"days": days})).rowcount
    return gone, (await conn.execute(_FORGET_EVENTS, {"days": days})).rowcount
