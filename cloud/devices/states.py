"""SQL of what changes with every message: when gateways and devices were heard of, and how they are."""

from collections.abc import Mapping, Sequence
from typing import LiteralString

import msgspec
from psycopg.types.json import Jsonb

from cloud.kit.db import Conn
from gateway.contract.messages import Health

# Rows in the order of their keys, and all of a transaction in one statement: two workers that see the same devices wait
# for each other, never crosswise.
_GATEWAYS_SEEN: LiteralString = """
    INSERT INTO gateway_state AS s (gateway_id, project_id, seen_at)
    SELECT g.id, g.project_id, now() FROM gateway g WHERE g.id = ANY (%s) ORDER BY g.id
    ON CONFLICT (gateway_id) DO UPDATE SET seen_at = excluded.seen_at WHERE s.seen_at < excluded.seen_at
"""
# What has no readings of its own (a barrier) is known to be alive by the report of its gateway. A gateway whose clock
# runs ahead must not keep a dead device alive.
_DEVICES_SEEN: LiteralString = """
    INSERT INTO device_state AS s (device_id, project_id, seen_at)
    SELECT seen.id, seen.project_id, max(seen.at)
    FROM (SELECT d.id, d.project_id, timestamptz 'epoch' + r.ms * interval '1 millisecond' AS at
          FROM unnest(%(ids)s::bigint[], %(read_ms)s::bigint[]) AS r (id, ms) JOIN device d USING (id)
          UNION ALL
          SELECT d.id, d.project_id, least(timestamptz 'epoch' + told.ms * interval '1 millisecond', now())
          FROM unnest(%(gateways)s::bigint[], %(codes)s::text[], %(told_ms)s::bigint[]) AS told (gateway_id, code, ms)
          JOIN device d USING (gateway_id, code)
          WHERE told.ms > 0) AS seen
    GROUP BY seen.id, seen.project_id ORDER BY seen.id
    ON CONFLICT (device_id) DO UPDATE SET seen_at = excluded.seen_at WHERE s.seen_at < excluded.seen_at
"""
_HEALTH: LiteralString = """
    INSERT INTO gateway_state AS s (gateway_id, project_id, seen_at, health, health_at)
    SELECT g.id, g.project_id, now(), %(health)s, timestamptz 'epoch' + %(at)s * interval '1 millisecond'
    FROM gateway g WHERE g.id = %(gateway_id)s
    ON CONFLICT (gateway_id) DO UPDATE SET health = excluded.health, health_at = excluded.health_at
    WHERE s.health_at IS NULL OR s.health_at <= excluded.health_at
"""


async def now_ms(conn: Conn) -> int:
    """The time by which commands are issued and expire, in milliseconds since 1970."""
    row = await (await conn.execute("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS ms")).fetchone()
    assert row is not None
    return int(row["ms"])


async def gateways_seen(conn: Conn, gateway_ids: list[int]) -> None:
    """Now."""
    await conn.execute(_GATEWAYS_SEEN, (gateway_ids,))


async def devices_seen(conn: Conn, seen_ms: Mapping[int, int], reports: Sequence[tuple[int, Health]]) -> None:
    """When devices were heard of, by their readings (by id) and by what gateways (by id) report of theirs.

    At the time the edge stamped, in milliseconds since 1970; never moves back.
    """
    told = [(gateway_id, device) for gateway_id, health in reports for device in health.devices]
    if not seen_ms and not told:
        return
    values = {
        "ids": list(seen_ms),
        "read_ms": list(seen_ms.values()),
        "gateways": [gateway_id for gateway_id, _ in told],
        "codes": [device.device for _, device in told],
        "told_ms": [device.last_seen for _, device in told],
    }
    await conn.execute(_DEVICES_SEEN, values)


async def keep_health(conn: Conn, gateway_id: int, health: Health) -> None:
    """The newest report stays, in whatever order reports arrive."""
    values = {"gateway_id": gateway_id, "health": Jsonb(msgspec.to_builtins(health)), "at": health.at}
    await conn.execute(_HEALTH, values)
