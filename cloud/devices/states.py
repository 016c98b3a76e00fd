"""SQL of what changes with every message: when gateways and devices were heard of, and how they are."""

from collections.abc import Mapping
from typing import LiteralString

import msgspec
from psycopg.types.json import Jsonb

from cloud.kit.db import Conn
from gateway.contract.messages import Health

# Rows in the order of their keys: two workers that see the same devices wait for each other, never crosswise.
_GATEWAYS_SEEN: LiteralString = """
    INSERT INTO gateway_state AS s (gateway_id, project_id, seen_at)
    SELECT g.id, g.project_id, now() FROM gateway g WHERE g.id = ANY (%s) ORDER BY g.id
    ON CONFLICT (gateway_id) DO UPDATE SET seen_at = excluded.seen_at WHERE s.seen_at < excluded.seen_at
"""
_DEVICES_SEEN: LiteralString = """
    INSERT INTO device_state AS s (device_id, project_id, seen_at)
    SELECT d.id, d.project_id, timestamptz 'epoch' + seen.ms * interval '1 millisecond'
    FROM unnest(%s::bigint[], %s::bigint[]) AS seen (id, ms) JOIN device d USING (id) ORDER BY d.id
    ON CONFLICT (device_id) DO UPDATE SET seen_at = excluded.seen_at WHERE s.seen_at < excluded.seen_at
"""
# What has no readings of its own (a barrier) is known to be alive by the report of its gateway. A gateway whose clock
# runs ahead must not keep a dead device alive.
_DEVICES_REPORTED: LiteralString = """
    INSERT INTO device_state AS s (device_id, project_id, seen_at)
    SELECT d.id, d.project_id, least(timestamptz 'epoch' + told.ms * interval '1 millisecond', now())
    FROM unnest(%s::text[], %s::bigint[]) AS told (code, ms) JOIN device d USING (code)
    WHERE d.gateway_id = %s AND told.ms > 0 ORDER BY d.id
    ON CONFLICT (device_id) DO UPDATE SET seen_at = excluded.seen_at WHERE s.seen_at < excluded.seen_at
"""
_HEALTH: LiteralString = """
    INSERT INTO gateway_state AS s (gateway_id, project_id, seen_at, health, health_at)
    SELECT g.id, g.project_id, now(), %(health)s, timestamptz 'epoch' + %(at)s * interval '1 millisecond'
    FROM gateway g WHERE g.id = %(gateway_id)s
    ON CONFLICT (gateway_id) DO UPDATE SET health = excluded.health, health_at = excluded.health_at
    WHERE s.health_at IS NULL OR s.health_at <= excluded.health_at
"""


async def gateways_seen(conn: Conn, gateway_ids: list[int]) -> None:
    """Now."""
    await conn.execute(_GATEWAYS_SEEN, (gateway_ids,))


async def devices_seen(conn: Conn, seen_ms: Mapping[int, int]) -> None:
    """At the time the edge stamped, in milliseconds since 1970; never moves back."""
    ids = sorted(seen_ms)
    await conn.execute(_DEVICES_SEEN, (ids, [seen_ms[device_id] for device_id in ids]))


async def keep_health(conn: Conn, gateway_id: int, health: Health) -> None:
    """The newest report stays, in whatever order reports arrive; so does the latest sign of life of each device."""
    values = {"gateway_id": gateway_id, "health": Jsonb(msgspec.to_builtins(health)), "at": health.at}
    await conn.execute(_HEALTH, values)
    last_seen = {device.device: device.last_seen for device in health.devices}
    await conn.execute(_DEVICES_REPORTED, (list(last_seen), list(last_seen.values()), gateway_id))
