"""SQL of exchanges and removals: registers closed and opened, neighbouring readings, what was done."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any, LiteralString

from psycopg.types.json import Jsonb

from cloud.kit.db import Conn
from cloud.metering.exchanges.records import ChannelEnd, KnownReading, Neighbours, Procedure, ProcedureKind
from cloud.metering.records import Meter, MeterRegister

# A reading that counts, with the value that staff gave it; what they set aside does not.
_KNOWN: LiteralString = """
    SELECT c.channel, found.taken_at, found.value
    FROM unnest(%(channels)s::smallint[]) AS c (channel)
    CROSS JOIN LATERAL (
        SELECT r.taken_at, coalesce(edit.value, r.value) AS value FROM reading r
        LEFT JOIN LATERAL (SELECT d.action, d.value FROM reading_edit d
                           WHERE d.meter_id = r.meter_id AND d.channel = r.channel AND d.taken_at = r.taken_at
                           ORDER BY d.version DESC LIMIT 1) AS edit ON true
        WHERE r.meter_id = %(meter_id)s AND r.channel = c.channel AND edit.action IS DISTINCT FROM 'ignore'
"""
_LAST_BEFORE: LiteralString = (
    _KNOWN
    + """
          AND r.taken_at >= %(since)s AND r.taken_at < %(at)s
          AND (edit.action IN ('set', 'use') OR NOT EXISTS (
               SELECT FROM refused_reading e
               WHERE e.meter_id = r.meter_id AND e.channel = r.channel AND e.taken_at = r.taken_at))
        ORDER BY r.taken_at DESC LIMIT 1) AS found
"""
)
# What is refused after the change was judged by the old register: it is looked at all the same.
_FIRST_AFTER: LiteralString = _KNOWN + " AND r.taken_at >= %(at)s ORDER BY r.taken_at LIMIT 1) AS found"
_OPEN: LiteralString = """
    INSERT INTO meter_register (project_id, meter_id, valid, reason, serial, multiplier, modulus, resolution,
                                max_per_hour, rating, note)
    VALUES (%(project_id)s, %(meter_id)s, tstzrange(%(at)s, NULL), %(reason)s, %(serial)s, %(multiplier)s,
            %(modulus)s, %(resolution)s, %(max_per_hour)s, %(rating)s, %(note)s)
    RETURNING id
"""
_KEEP_FINAL: LiteralString = """
    INSERT INTO register_end AS e (register_id, channel, project_id, closing)
    SELECT %(register_id)s, channel, %(project_id)s, value
    FROM unnest(%(channels)s::smallint[], %(values)s::bigint[]) AS w (channel, value)
    ON CONFLICT (register_id, channel) DO UPDATE SET closing = excluded.closing
"""
_KEEP_INITIAL: LiteralString = """
    INSERT INTO register_end (register_id, channel, project_id, opening)
    SELECT %(register_id)s, channel, %(project_id)s, value
    FROM unnest(%(channels)s::smallint[], %(values)s::bigint[]) AS w (channel, value)
"""
_KEEP_PROCEDURE: LiteralString = """
    INSERT INTO meter_procedure (project_id, meter_id, kind, at, details, note, actor)
    VALUES (%(project_id)s, %(meter_id)s, %(kind)s, %(at)s, %(details)s, %(note)s, %(actor)s) RETURNING id
"""
_PROCEDURES: LiteralString = """
    SELECT id, project_id, meter_id, kind, at, details, note, actor, created_at, undone_at, undone_by, undone_reason
    FROM meter_procedure WHERE meter_id = %s ORDER BY id DESC
"""
# From the change (or the first reading, which is later) to the last reading; a channel without readings has no usage.
_MARK_DIRTY: LiteralString = """
    INSERT INTO store.dirty_window (meter_id, channel, project_id, from_at, until_at)
    SELECT m.id, c.id, m.project_id, greatest(%(from_at)s, first.taken_at), greatest(last.taken_at, %(from_at)s)
    FROM meter m
    CROSS JOIN channel c
    CROSS JOIN LATERAL (SELECT r.taken_at FROM reading r WHERE r.meter_id = m.id AND r.channel = c.id
                        ORDER BY r.taken_at LIMIT 1) AS first
    CROSS JOIN LATERAL (SELECT r.taken_at FROM reading r WHERE r.meter_id = m.id AND r.channel = c.id
                        ORDER BY r.taken_at DESC LIMIT 1) AS last
    WHERE m.id = %(meter_id)s AND c.kind = 'cumulative'
"""


async def lock_meter(conn: Conn, meter_id: int) -> None:
    """One change of a meter at a time."""
    await conn.execute("SELECT FROM meter WHERE id = %s FOR UPDATE", (meter_id,))


async def neighbours(
    conn: Conn, meter_id: int, channels: Sequence[int], since: datetime, at: datetime
) -> dict[int, Neighbours]:
    """By channel the last reading in [since, at) and the first at or after `at`."""
    query = {"meter_id": meter_id, "channels": list(channels), "since": since, "at": at}
    before, after = [
        {row["channel"]: KnownReading(row["taken_at"], row["value"]) for row in rows}
        for rows in (
            await (await conn.execute(_LAST_BEFORE, query)).fetchall(),
            await (await conn.execute(_FIRST_AFTER, query)).fetchall(),
        )
    ]
    return {channel: Neighbours(before.get(channel), after.get(channel)) for channel in before | after}


async def close_register(conn: Conn, register: MeterRegister, project_id: int, at: datetime,
                         ends: Sequence[ChannelEnd]) -> None:  # fmt: skip
    """The register is in force until `at`; its final readings are kept."""
    await conn.execute("UPDATE meter_register SET valid = tstzrange(lower(valid), %s) WHERE id = %s", (at, register.id))
    final = {end.channel: end.final for end in ends if end.final is not None}
    query = {"register_id": register.id, "project_id": project_id, **_columns(final)}
    await conn.execute(_KEEP_FINAL, query)


async def open_register(conn: Conn, register: MeterRegister, project_id: int, ends: Sequence[ChannelEnd]) -> int:
    """A new register in force from its `valid_from` on, with its initial readings; returns its id."""
    query = {
        "project_id": project_id,
        "meter_id": register.meter_id,
        "at": register.valid_from,
        "reason": register.reason,
        "serial": register.serial,
        "multiplier": register.multiplier,
        "modulus": register.modulus,
        "resolution": register.resolution,
        "max_per_hour": register.max_per_hour,
        "rating": Jsonb(register.rating),
        "note": register.note,
    }
    row = await (await conn.execute(_OPEN, query)).fetchone()
    assert row is not None
    initial = {end.channel: end.initial for end in ends if end.initial is not None}
    await conn.execute(_KEEP_INITIAL, {"register_id": row["id"], "project_id": project_id, **_columns(initial)})
    return int(row["id"])


async def reopen_register(conn: Conn, register_id: int) -> None:
    """As if the register had never been taken out: no end, no final readings."""
    await conn.execute("UPDATE meter_register SET valid = tstzrange(lower(valid), NULL) WHERE id = %s", (register_id,))
    await conn.execute("DELETE FROM register_end WHERE register_id = %s AND opening IS NULL", (register_id,))
    await conn.execute("UPDATE register_end SET closing = NULL WHERE register_id = %s", (register_id,))


async def take_back_register(conn: Conn, register_id: int) -> None:
    """As if the register had never been put in; the audit trail keeps it."""
    await conn.execute("DELETE FROM register_end WHERE register_id = %s", (register_id,))
    await conn.execute("DELETE FROM meter_register WHERE id = %s", (register_id,))


async def set_removed(conn: Conn, meter_id: int, removed_on: date | None) -> None:
    """The local day on which the meter was taken out, or none."""
    await conn.execute("UPDATE meter SET removed_on = %s WHERE id = %s", (removed_on, meter_id))


async def set_verification_due(conn: Conn, meter_id: int, due: date | None) -> None:
    """When the meter has to be verified next."""
    await conn.execute("UPDATE meter SET verification_due = %s WHERE id = %s", (due, meter_id))


async def has_sub_meters(conn: Conn, meter_id: int) -> bool:
    """Whether meters in place are below this one."""
    query = "SELECT FROM meter WHERE parent_id = %s AND removed_on IS NULL LIMIT 1"
    return await (await conn.execute(query, (meter_id,))).fetchone() is not None


async def keep_procedure(conn: Conn, meter: Meter, kind: ProcedureKind, at: datetime, details: Mapping[str, Any],
                         note: str, actor: str) -> int:  # fmt: skip
    """Writes down what was done; returns its id."""
    query = {
        "project_id": meter.project_id, "meter_id": meter.id, "kind": kind, "at": at, "details": Jsonb(dict(details)),
        "note": note, "actor": actor,
    }  # fmt: skip
    row = await (await conn.execute(_KEEP_PROCEDURE, query)).fetchone()
    assert row is not None
    return int(row["id"])


async def procedures(conn: Conn, meter_id: int) -> list[Procedure]:
    """What was done to a meter, the last first."""
    return [Procedure(**row) for row in await (await conn.execute(_PROCEDURES, (meter_id,))).fetchall()]


async def mark_undone(conn: Conn, procedure_id: int, actor: str, reason: str) -> None:
    """Notes who took a procedure back, and why."""
    query = "UPDATE meter_procedure SET undone_at = now(), undone_by = %s, undone_reason = %s WHERE id = %s"
    await conn.execute(query, (actor, reason, procedure_id))


async def mark_dirty(conn: Conn, meter_id: int, from_at: datetime) -> None:
    """Usage of every counting channel is derived again from there on."""
    await conn.execute(_MARK_DIRTY, {"meter_id": meter_id, "from_at": from_at})


def _columns(values: Mapping[int, int]) -> dict[str, list[int]]:
    return {"channels": list(values), "values": list(values.values())}
