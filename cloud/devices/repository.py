"""SQL of gateways, devices and bindings."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, LiteralString

import msgspec

from cloud.devices.cursors import after_number
from cloud.devices.records import Binding, Device, DeviceCounts, Gateway
from cloud.kit.db import Conn
from cloud.kit.paging import Page, PageRequest, cut
from gateway.contract.messages import Health

# Advisory locks of gateways ("gm", 3): ingest holds one shared while it looks up who carries which meter, a change of
# devices or bindings holds it exclusively. So no reading slips between a lookup and the claim that follows a change.
_LOCK_SPACE = 0x67_6D_03 << 40

_GATEWAY: LiteralString = """
    SELECT g.id, g.project_id, g.code, g.name, s.seen_at, s.health, s.health_at
    FROM gateway g LEFT JOIN gateway_state s ON s.gateway_id = g.id
"""
_DEVICE: LiteralString = """
    SELECT d.id, d.project_id, d.gateway_id, g.code AS gateway_code, d.code, d.kind, d.template, b.meter_id, s.seen_at
    FROM device d
    JOIN gateway g ON g.id = d.gateway_id
    LEFT JOIN device_state s ON s.device_id = d.id
    LEFT JOIN device_binding b ON b.device_id = d.id AND b.valid @> now()
"""
_LIST_GATEWAYS: LiteralString = (
    _GATEWAY
    + """
    WHERE (%(project_id)s::bigint IS NULL OR g.project_id = %(project_id)s) AND g.id > %(after)s
    ORDER BY g.id LIMIT %(limit)s
"""
)
_LIST_DEVICES: LiteralString = (
    _DEVICE
    + """
    WHERE (%(project_id)s::bigint IS NULL OR d.project_id = %(project_id)s)
      AND (%(gateway_id)s::bigint IS NULL OR d.gateway_id = %(gateway_id)s) AND d.id > %(after)s
    ORDER BY d.id LIMIT %(limit)s
"""
)
_DEVICE_BY_CODE: LiteralString = (
    _DEVICE + " WHERE d.project_id = %(project_id)s AND g.code = %(gateway_code)s AND d.code = %(code)s"
)
_COUNTS: LiteralString = """
    SELECT count(*) FILTER (WHERE s.seen_at >= %(since)s) AS online,
           count(*) FILTER (WHERE s.seen_at < %(since)s) AS late,
           count(*) FILTER (WHERE s.seen_at IS NULL) AS never,
           count(*) AS total
    FROM device d LEFT JOIN device_state s ON s.device_id = d.id
    WHERE d.project_id = %(project_id)s
"""
_RESOLVE: LiteralString = """
    SELECT g.id, g.project_id, g.code FROM gateway g
    JOIN unnest(%(projects)s::bigint[], %(codes)s::text[]) AS wanted (project_id, code) USING (project_id, code)
    ORDER BY g.id
"""
_BINDINGS: LiteralString = """
    SELECT (wanted.key - 1)::int AS key, d.id AS device_id, b.meter_id,
           (extract(epoch FROM lower(b.valid)) * 1000)::bigint AS from_ms,
           (extract(epoch FROM upper(b.valid)) * 1000)::bigint AS until_ms
    FROM unnest(%(gateways)s::bigint[], %(codes)s::text[]) WITH ORDINALITY AS wanted (gateway_id, code, key)
    JOIN device d ON d.gateway_id = wanted.gateway_id AND d.code = wanted.code
    LEFT JOIN device_binding b ON b.device_id = d.id
"""
_FOREVER_MS = 2**62


async def insert_gateway(conn: Conn, project_id: int, code: str, name: str) -> int:
    """A new gateway's id."""
    query = "INSERT INTO gateway (project_id, code, name) VALUES (%s, %s, %s) RETURNING id"
    return await _id(conn, query, (project_id, code, name))


async def insert_device(conn: Conn, project_id: int, gateway_id: int, code: str, kind: str, template: str) -> int:
    """A new device's id."""
    query = """INSERT INTO device (project_id, gateway_id, code, kind, template)
               VALUES (%s, %s, %s, %s, %s) RETURNING id"""
    return await _id(conn, query, (project_id, gateway_id, code, kind, template))


async def insert_binding(
    conn: Conn, project_id: int, device_id: int, meter_id: int, valid_from: datetime, valid_until: datetime | None
) -> int:
    """A new binding's id."""
    query = """INSERT INTO device_binding (project_id, device_id, meter_id, valid)
               VALUES (%s, %s, %s, tstzrange(%s, %s)) RETURNING id"""
    return await _id(conn, query, (project_id, device_id, meter_id, valid_from, valid_until))


async def gateway(conn: Conn, gateway_id: int) -> Gateway | None:
    """One gateway."""
    row = await (await conn.execute(_GATEWAY + " WHERE g.id = %s", (gateway_id,))).fetchone()
    return None if row is None else _gateway(row)


async def gateways_by_id(conn: Conn, ids: Collection[int]) -> dict[int, Gateway]:
    """Those of these gateways that there are."""
    rows = await (await conn.execute(_GATEWAY + " WHERE g.id = ANY (%s)", (sorted(ids),))).fetchall()
    return {row["id"]: _gateway(row) for row in rows}


async def gateways(conn: Conn, page: PageRequest, project_id: int | None) -> Page[Gateway]:
    """Gateways by id."""
    query = {"project_id": project_id, "after": after_number(page, 0), "limit": page.limit + 1}
    rows = await (await conn.execute(_LIST_GATEWAYS, query)).fetchall()
    return cut([_gateway(row) for row in rows], page, lambda found: (found.id,))


async def device(conn: Conn, device_id: int) -> Device | None:
    """One device."""
    row = await (await conn.execute(_DEVICE + " WHERE d.id = %s", (device_id,))).fetchone()
    return None if row is None else Device(**row)


async def devices_by_id(conn: Conn, ids: Collection[int]) -> dict[int, Device]:
    """Those of these devices that there are."""
    rows = await (await conn.execute(_DEVICE + " WHERE d.id = ANY (%s)", (sorted(ids),))).fetchall()
    return {row["id"]: Device(**row) for row in rows}


async def device_by_code(conn: Conn, project_id: int, gateway_code: str, code: str) -> Device | None:
    """One device by its name on the wire."""
    query = {"project_id": project_id, "gateway_code": gateway_code, "code": code}
    row = await (await conn.execute(_DEVICE_BY_CODE, query)).fetchone()
    return None if row is None else Device(**row)


async def ids_by_name(conn: Conn, project_id: int, names: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """Devices by the codes of their gateways and their own."""
    query = """SELECT g.code AS gateway, d.code, d.id
               FROM unnest(%s::text[], %s::text[]) AS n (gateway, code)
               JOIN gateway g ON g.project_id = %s AND g.code = n.gateway
               JOIN device d ON d.gateway_id = g.id AND d.code = n.code"""
    gateways, codes = [name[0] for name in names], [name[1] for name in names]
    rows = await (await conn.execute(query, (gateways, codes, project_id))).fetchall()
    return {(row["gateway"], row["code"]): row["id"] for row in rows}


async def devices(conn: Conn, page: PageRequest, project_id: int | None, gateway_id: int | None) -> Page[Device]:
    """Devices by id."""
    query = {
        "project_id": project_id,
        "gateway_id": gateway_id,
        "after": after_number(page, 0),
        "limit": page.limit + 1,
    }
    rows = await (await conn.execute(_LIST_DEVICES, query)).fetchall()
    return cut([Device(**row) for row in rows], page, lambda found: (found.id,))


async def counts(conn: Conn, project_id: int, since: datetime) -> DeviceCounts:
    """How many devices were heard of since, before, or never."""
    row = await (await conn.execute(_COUNTS, {"project_id": project_id, "since": since})).fetchone()
    assert row is not None
    return DeviceCounts(**row)


async def lock_for_change(conn: Conn, gateway_id: int) -> None:
    """Waits for the ingest transactions that use the gateway's devices, and keeps later ones waiting."""
    await conn.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK_SPACE + gateway_id,))


async def lock_for_lookup(conn: Conn, gateway_ids: Sequence[int]) -> None:
    """Keeps the gateways' devices and bindings as they are until the transaction ends."""
    keys = [_LOCK_SPACE + gateway_id for gateway_id in sorted(gateway_ids)]
    await conn.execute("SELECT pg_advisory_xact_lock_shared(key) FROM unnest(%s::bigint[]) AS key", (keys,))


async def resolve(conn: Conn, names: Sequence[tuple[int, str]]) -> dict[tuple[int, str], int]:
    """Ids of gateways by (project id, code)."""
    query = {"projects": [name[0] for name in names], "codes": [name[1] for name in names]}
    rows = await (await conn.execute(_RESOLVE, query)).fetchall()
    return {(row["project_id"], row["code"]): row["id"] for row in rows}


async def bindings(conn: Conn, keys: Sequence[tuple[int, str]]) -> list[Binding]:
    """Bindings of devices by (gateway id, device code); unknown devices have no row."""
    query = {"gateways": [key[0] for key in keys], "codes": [key[1] for key in keys]}
    rows = await (await conn.execute(_BINDINGS, query)).fetchall()
    return [
        Binding(row["key"], row["device_id"], row["meter_id"], row["from_ms"] or 0, row["until_ms"] or _FOREVER_MS)
        for row in rows
    ]


async def _id(conn: Conn, query: LiteralString, values: tuple[object, ...]) -> int:
    row = await (await conn.execute(query, values)).fetchone()
    assert row is not None
    return int(row["id"])


def _gateway(row: dict[str, Any]) -> Gateway:
    health = None if row["health"] is None else msgspec.convert(row["health"], Health)
    return Gateway(**{**row, "health": health})
