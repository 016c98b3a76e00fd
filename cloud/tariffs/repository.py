"""All SQL of tariffs and their versions."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, LiteralString

from psycopg.types.json import Jsonb

from cloud.kit.db import Conn


@dataclass(frozen=True, slots=True)
class Tariff:
    """A named price list; what it says is in its versions."""

    id: int
    project_id: int
    code: str
    name: str
    service: str


@dataclass(frozen=True, slots=True)
class VersionRow:
    """One published version: valid from `valid_from` up to, not including, `valid_until` (None: open)."""

    id: int
    tariff_id: int
    version: int
    valid_from: date
    valid_until: date | None
    content: dict[str, Any]
    content_hash: bytes


_VERSION: LiteralString = """
    SELECT id, tariff_id, version, lower(valid) AS valid_from, upper(valid) AS valid_until, content, content_hash
    FROM tariff_version
"""
_UPSERT_TARIFF: LiteralString = """
    INSERT INTO tariff (project_id, code, name, service) VALUES (%(project_id)s, %(code)s, %(name)s, %(service)s)
    ON CONFLICT (project_id, code) DO UPDATE SET name = excluded.name
    RETURNING id, project_id, code, name, service
"""
_END_OPEN_VERSION: LiteralString = """
    UPDATE tariff_version SET valid = daterange(lower(valid), %(on)s)
    WHERE tariff_id = %(tariff_id)s AND upper_inf(valid) AND lower(valid) < %(on)s
"""
_INSERT_VERSION: LiteralString = """
    INSERT INTO tariff_version (project_id, tariff_id, version, valid, content, content_hash, published_by)
    SELECT %(project_id)s, %(tariff_id)s, coalesce(max(version), 0) + 1, daterange(%(valid_from)s, NULL),
           %(content)s, %(content_hash)s, %(published_by)s
    FROM tariff_version WHERE tariff_id = %(tariff_id)s
    RETURNING id, tariff_id, version, lower(valid) AS valid_from, upper(valid) AS valid_until, content, content_hash
"""
_LIST: LiteralString = """
    SELECT id, project_id, code, name, service FROM tariff
    WHERE (%(project_id)s::bigint IS NULL OR project_id = %(project_id)s) AND id > %(after)s
    ORDER BY id LIMIT %(limit)s
"""


async def upsert_tariff(conn: Conn, *, project_id: int, code: str, name: str, service: str) -> Tariff:
    """The tariff of this code, made or renamed; its row stays locked, so that publishing takes turns."""
    values = {"project_id": project_id, "code": code, "name": name, "service": service}
    row = await (await conn.execute(_UPSERT_TARIFF, values)).fetchone()
    assert row is not None
    return Tariff(**row)


async def insert_version(
    conn: Conn,
    tariff: Tariff,
    *,
    valid_from: date,
    content: dict[str, Any],
    content_hash: bytes,
    published_by: int | None,
) -> VersionRow:
    """Adds an open-ended version and ends the open one before it. Raises psycopg ExclusionViolation on overlap."""
    await conn.execute(_END_OPEN_VERSION, {"tariff_id": tariff.id, "on": valid_from})
    values = {
        "project_id": tariff.project_id,
        "tariff_id": tariff.id,
        "valid_from": valid_from,
        "content": Jsonb(content),
        "content_hash": content_hash,
        "published_by": published_by,
    }
    row = await (await conn.execute(_INSERT_VERSION, values)).fetchone()
    assert row is not None
    return VersionRow(**row)


async def tariff_of_code(conn: Conn, project_id: int, code: str) -> Tariff | None:
    """The tariff of this code."""
    query: LiteralString = "SELECT id, project_id, code, name, service FROM tariff WHERE project_id = %s AND code = %s"
    row = await (await conn.execute(query, (project_id, code))).fetchone()
    return None if row is None else Tariff(**row)


async def version(conn: Conn, version_id: int) -> tuple[Tariff, VersionRow] | None:
    """One version and its tariff."""
    row = await (await conn.execute(_VERSION + "WHERE id = %s", (version_id,))).fetchone()
    if row is None:
        return None
    query: LiteralString = "SELECT id, project_id, code, name, service FROM tariff WHERE id = %s"
    tariff = await (await conn.execute(query, (row["tariff_id"],))).fetchone()
    assert tariff is not None
    return Tariff(**tariff), VersionRow(**row)


async def version_on(conn: Conn, tariff_id: int, day: date) -> VersionRow | None:
    """The version in force on a day."""
    query = _VERSION + "WHERE tariff_id = %s AND valid @> %s::date"
    row = await (await conn.execute(query, (tariff_id, day))).fetchone()
    return None if row is None else VersionRow(**row)


async def versions_between(conn: Conn, tariff_ids: Sequence[int], start: date, end: date) -> list[VersionRow]:
    """The versions in force on any day of [start, end), by tariff and time."""
    query = _VERSION + "WHERE tariff_id = ANY (%s) AND valid && daterange(%s, %s) ORDER BY tariff_id, lower(valid)"
    rows = await (await conn.execute(query, (list(tariff_ids), start, end))).fetchall()
    return [VersionRow(**row) for row in rows]


async def versions_of(conn: Conn, tariff_ids: Sequence[int]) -> list[VersionRow]:
    """All versions, by tariff and time."""
    query = _VERSION + "WHERE tariff_id = ANY (%s) ORDER BY tariff_id, lower(valid)"
    rows = await (await conn.execute(query, (list(tariff_ids),))).fetchall()
    return [VersionRow(**row) for row in rows]


async def versions_by_id(conn: Conn, ids: Sequence[int]) -> list[VersionRow]:
    """These versions."""
    rows = await (await conn.execute(_VERSION + "WHERE id = ANY (%s)", (list(ids),))).fetchall()
    return [VersionRow(**row) for row in rows]


async def list_tariffs(conn: Conn, project_id: int | None, *, after: int, limit: int) -> list[Tariff]:
    """Tariffs in order of id."""
    values = {"project_id": project_id, "after": after, "limit": limit}
    rows = await (await conn.execute(_LIST, values)).fetchall()
    return [Tariff(**row) for row in rows]
