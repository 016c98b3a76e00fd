"""SQL of webhooks as people see them: subscriptions and deliveries."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, LiteralString
from uuid import UUID

from psycopg.types.json import Jsonb

from cloud.kit.db import Conn
from cloud.kit.paging import Page, PageRequest, after_id, cut, newest_first
from cloud.webhooks.records import Delivery, DeliveryFilter, Webhook

_WEBHOOK: LiteralString = """
    SELECT id, project_id, name, url, kinds, active, stopped_because, failing_since, created_by, created_at FROM webhook
"""
_LISTED: LiteralString = """
    WHERE (%(project_id)s::bigint IS NULL OR project_id = %(project_id)s) AND id > %(after)s
    ORDER BY id LIMIT %(limit)s
"""
_BY_ID: LiteralString = " WHERE id = %(id)s"
_COUNT: LiteralString = "SELECT count(*) AS found FROM webhook WHERE project_id = %(project_id)s"
_INSERT: LiteralString = """
    INSERT INTO webhook (project_id, name, url, kinds, secret, created_by)
    VALUES (%(project_id)s, %(name)s, %(url)s, %(kinds)s, %(secret)s, %(created_by)s) RETURNING id
"""
_UPDATE: LiteralString = """
    UPDATE webhook SET name = %(name)s, url = %(url)s, kinds = %(kinds)s, active = %(active)s,
           stopped_because = CASE WHEN %(active)s THEN '' WHEN active THEN 'person' ELSE stopped_because END,
           failing_since = CASE WHEN %(active)s AND NOT active THEN NULL ELSE failing_since END
    WHERE id = %(id)s RETURNING id
"""
_ROTATE: LiteralString = """
    UPDATE webhook SET old_secret = secret, old_secret_until = now() + make_interval(hours => %(hours)s),
           secret = %(secret)s WHERE id = %(id)s
"""
_DELETE: LiteralString = "DELETE FROM webhook WHERE id = %(id)s"
_EMIT: LiteralString = "SELECT gm.emit(%(project_id)s, %(kind)s, %(payload)s) AS event_id"
_WANTING: LiteralString = "SELECT DISTINCT project_id FROM webhook WHERE active AND %(kind)s = ANY (kinds) ORDER BY 1"
_SEND_TO_ONE: LiteralString = """
    WITH told AS (
        INSERT INTO webhook_event (project_id, kind, payload) VALUES (%(project_id)s, %(kind)s, %(payload)s)
        RETURNING id)
    INSERT INTO webhook_delivery (project_id, webhook_id, event_id)
    SELECT %(project_id)s, %(webhook_id)s, id FROM told RETURNING id
"""
_DELIVERY: LiteralString = """
    SELECT d.id, d.project_id, d.webhook_id, d.event_id, e.kind, e.payload, d.state, d.attempts, d.next_try_at,
           d.response_code, d.error, d.created_at, d.ended_at
    FROM webhook_delivery d JOIN webhook_event e ON e.id = d.event_id
"""
_WANTED: LiteralString = """
    WHERE (%(project_id)s::bigint IS NULL OR d.project_id = %(project_id)s)
      AND (%(webhook_id)s::bigint IS NULL OR d.webhook_id = %(webhook_id)s)
      AND (%(state)s::text IS NULL OR d.state = %(state)s) AND (%(kind)s::text IS NULL OR e.kind = %(kind)s)
      AND d.id < %(before)s
    ORDER BY d.id DESC LIMIT %(limit)s
"""
_ONE_DELIVERY: LiteralString = " WHERE d.id = %(id)s"
# Under way or waiting: it is coming anyway.
_AGAIN: LiteralString = """
    UPDATE webhook_delivery SET state = 'waiting', attempts = 0, next_try_at = now(), ended_at = NULL, error = ''
    WHERE id = %(id)s AND state <> 'waiting'
"""


async def webhooks(conn: Conn, page: PageRequest, project_id: int | None) -> Page[Webhook]:
    """Webhooks by id."""
    query = {"project_id": project_id, "after": after_id(page), "limit": page.limit + 1}
    rows = await (await conn.execute(_WEBHOOK + _LISTED, query)).fetchall()
    return cut([_webhook(row) for row in rows], page, lambda one: (one.id,))


async def webhook(conn: Conn, webhook_id: int) -> Webhook | None:
    """One webhook."""
    row = await (await conn.execute(_WEBHOOK + _BY_ID, {"id": webhook_id})).fetchone()
    return None if row is None else _webhook(row)


async def count(conn: Conn, project_id: int) -> int:
    """How many webhooks a project has."""
    row = await (await conn.execute(_COUNT, {"project_id": project_id})).fetchone()
    assert row is not None
    return int(row["found"])


async def insert(conn: Conn, values: Mapping[str, object]) -> Webhook:
    """Writes a webhook."""
    row = await (await conn.execute(_INSERT, values)).fetchone()
    assert row is not None
    return await _written(conn, row["id"])


async def update(conn: Conn, values: Mapping[str, object]) -> Webhook:
    """Writes name, url, kinds and whether it is active."""
    row = await (await conn.execute(_UPDATE, values)).fetchone()
    assert row is not None
    return await _written(conn, row["id"])


async def rotate(conn: Conn, webhook_id: int, secret: bytes, hours: int) -> None:
    """Puts a new secret in force; the one before goes on signing for some hours."""
    await conn.execute(_ROTATE, {"id": webhook_id, "secret": secret, "hours": hours})


async def delete(conn: Conn, webhook_id: int) -> None:
    """Deletes a webhook and its deliveries."""
    await conn.execute(_DELETE, {"id": webhook_id})


async def emit(conn: Conn, project_id: int, kind: str, payload: Mapping[str, object]) -> UUID | None:
    """Writes an event and its deliveries; None when nobody subscribed."""
    query = {"project_id": project_id, "kind": kind, "payload": Jsonb(dict(payload))}
    row = await (await conn.execute(_EMIT, query)).fetchone()
    return None if row is None else row["event_id"]


async def projects_wanting(conn: Conn, kind: str) -> list[int]:
    """Projects with an active webhook for this kind."""
    rows = await (await conn.execute(_WANTING, {"kind": kind})).fetchall()
    return [row["project_id"] for row in rows]


async def send_to_one(conn: Conn, one: Webhook, kind: str, payload: Mapping[str, object]) -> int:
    """Writes an event for one webhook and returns the id of its delivery."""
    query = {"project_id": one.project_id, "webhook_id": one.id, "kind": kind, "payload": Jsonb(dict(payload))}
    row = await (await conn.execute(_SEND_TO_ONE, query)).fetchone()
    assert row is not None
    return int(row["id"])


async def deliveries(conn: Conn, page: PageRequest, wanted: DeliveryFilter) -> Page[Delivery]:
    """Deliveries, newest first."""
    return await newest_first(conn, _DELIVERY + _WANTED, asdict(wanted), page, lambda row: Delivery(**row))


async def delivery(conn: Conn, delivery_id: int) -> Delivery | None:
    """One delivery."""
    row = await (await conn.execute(_DELIVERY + _ONE_DELIVERY, {"id": delivery_id})).fetchone()
    return None if row is None else Delivery(**row)


async def again(conn: Conn, delivery_id: int) -> bool:
    """Makes an ended delivery wait again; False when it does so already."""
    return (await conn.execute(_AGAIN, {"id": delivery_id})).rowcount == 1


async def _written(conn: Conn, webhook_id: int) -> Webhook:
    found = await webhook(conn, webhook_id)
    assert found is not None
    return found


def _webhook(row: Mapping[str, Any]) -> Webhook:
    return Webhook(**{**row, "kinds": tuple(row["kinds"])})
