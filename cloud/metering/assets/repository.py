"""SQL of meters as things: master data, masters and sub-meters, seals, verifications."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import date, datetime
from typing import Any, LiteralString

from psycopg.types.json import Jsonb

from cloud.kit.db import Conn
from cloud.metering.records import MasterData, MeterRegister, MeterSeal, TreePlace, Verification

_CORRECT: LiteralString = """
    UPDATE meter SET code = %(code)s, unit_id = %(unit_id)s, parent_id = %(parent_id)s, place = %(place)s,
                     class = %(meter_class)s, interval_s = %(interval_s)s, verification_due = %(verification_due)s
    WHERE id = %(id)s
"""
_CORRECT_REGISTER: LiteralString = """
    UPDATE meter_register SET serial = %(serial)s, multiplier = %(multiplier)s, modulus = %(modulus)s,
                              resolution = %(resolution)s, max_per_hour = %(max_per_hour)s, rating = %(rating)s,
                              note = %(note)s
    WHERE id = %(id)s
"""
_ABOVE: LiteralString = """
    WITH RECURSIVE above (id, depth) AS (
        SELECT m.parent_id, -1 FROM meter m WHERE m.id = %(meter_id)s AND m.parent_id IS NOT NULL
        UNION ALL
        SELECT m.parent_id, a.depth - 1 FROM above a JOIN meter m ON m.id = a.id WHERE m.parent_id IS NOT NULL)
    SELECT id, depth FROM above ORDER BY depth
"""
# Depth first, so that a list of it reads like a tree.
_BELOW: LiteralString = """
    WITH RECURSIVE below (id, depth, path) AS (
        SELECT m.id, 0, ARRAY[m.id] FROM meter m WHERE m.id = %(meter_id)s
        UNION ALL
        SELECT m.id, b.depth + 1, b.path || m.id FROM below b JOIN meter m ON m.parent_id = b.id)
    SELECT id, depth FROM below ORDER BY path LIMIT %(limit)s
"""
_SEAL: LiteralString = """
    SELECT id, meter_id, number, place, applied_at, applied_by, removed_at, removed_by, removed_reason FROM meter_seal
"""
_APPLY: LiteralString = """
    INSERT INTO meter_seal (project_id, meter_id, number, place, applied_at, applied_by)
    VALUES (%(project_id)s, %(meter_id)s, %(number)s, %(place)s, %(applied_at)s, %(applied_by)s) RETURNING id
"""
_VERIFICATIONS: LiteralString = """
    SELECT id, meter_id, verified_on, result, certificate, next_due, note, actor FROM meter_verification
    WHERE meter_id = %s ORDER BY verified_on DESC
"""
_VERIFY: LiteralString = """
    INSERT INTO meter_verification (project_id, meter_id, verified_on, result, certificate, next_due, note, actor)
    VALUES (%(project_id)s, %(meter_id)s, %(verified_on)s, %(result)s, %(certificate)s, %(next_due)s, %(note)s,
            %(actor)s)
    RETURNING id
"""
# What the newest verification says. After one that was not passed the meter is due since that day.
_SET_DUE: LiteralString = """
    UPDATE meter SET verification_due = CASE v.result WHEN 'passed' THEN v.next_due ELSE v.verified_on END
    FROM (SELECT * FROM meter_verification WHERE meter_id = %(meter_id)s ORDER BY verified_on DESC LIMIT 1) AS v
    WHERE meter.id = v.meter_id
"""


async def correct(conn: Conn, meter_id: int, data: MasterData) -> None:
    """Master data as it should be."""
    await conn.execute(_CORRECT, {"id": meter_id, **asdict(data)})


async def correct_register(conn: Conn, register: MeterRegister) -> None:
    """What is said of a register, as it should be; its time and its readings stay."""
    query = {
        "id": register.id,
        "serial": register.serial,
        "multiplier": register.multiplier,
        "modulus": register.modulus,
        "resolution": register.resolution,
        "max_per_hour": register.max_per_hour,
        "rating": Jsonb(register.rating),
        "note": register.note,
    }
    await conn.execute(_CORRECT_REGISTER, query)


async def above(conn: Conn, meter_id: int) -> list[TreePlace]:
    """The masters of a meter, the topmost first; depths below 0."""
    return [TreePlace(**row) for row in await (await conn.execute(_ABOVE, {"meter_id": meter_id})).fetchall()]


async def below(conn: Conn, meter_id: int, limit: int) -> list[TreePlace]:
    """The meter itself (depth 0) and all below it, each after its master."""
    query = {"meter_id": meter_id, "limit": limit}
    return [TreePlace(**row) for row in await (await conn.execute(_BELOW, query)).fetchall()]


async def seals(conn: Conn, meter_id: int) -> list[MeterSeal]:
    """Seals of a meter, those on it first, then the last removed."""
    query = _SEAL + " WHERE meter_id = %s ORDER BY removed_at DESC NULLS FIRST, applied_at DESC, id DESC"
    return [MeterSeal(**row) for row in await (await conn.execute(query, (meter_id,))).fetchall()]


async def apply_seal(
    conn: Conn, project_id: int, meter_id: int, number: str, place: str, applied_at: datetime, applied_by: str
) -> int:
    """A new seal's id."""
    query = {
        "project_id": project_id, "meter_id": meter_id, "number": number, "place": place, "applied_at": applied_at,
        "applied_by": applied_by,
    }  # fmt: skip
    return await _id(conn, _APPLY, query)


async def remove_seal(conn: Conn, seal_id: int, removed_at: datetime, removed_by: str, reason: str) -> None:
    """The seal is no longer on the meter."""
    query = "UPDATE meter_seal SET removed_at = %s, removed_by = %s, removed_reason = %s WHERE id = %s"
    await conn.execute(query, (removed_at, removed_by, reason, seal_id))


async def verifications(conn: Conn, meter_id: int) -> list[Verification]:
    """Verifications of a meter, the newest first."""
    return [Verification(**row) for row in await (await conn.execute(_VERIFICATIONS, (meter_id,))).fetchall()]


async def keep_verification(
    conn: Conn,
    project_id: int,
    meter_id: int,
    verified_on: date,
    result: str,
    certificate: str,
    next_due: date | None,
    note: str,
    actor: str,
) -> int:
    """A new verification's id; the meter is due when the newest one says."""
    query = {
        "project_id": project_id, "meter_id": meter_id, "verified_on": verified_on, "result": result,
        "certificate": certificate, "next_due": next_due, "note": note, "actor": actor,
    }  # fmt: skip
    made = await _id(conn, _VERIFY, query)
    await conn.execute(_SET_DUE, {"meter_id": meter_id})
    return made


async def _id(conn: Conn, query: LiteralString, values: Mapping[str, Any]) -> int:
    row = await (await conn.execute(query, values)).fetchone()
    assert row is not None
    return int(row["id"])
