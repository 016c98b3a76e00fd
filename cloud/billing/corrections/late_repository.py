"""SQL of usage that changed after it was charged: which meters wait to be rated again, and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import LiteralString

from psycopg.types.json import Jsonb

from cloud.kit.db import Conn

_LATE_METERS: LiteralString = """
    SELECT DISTINCT meter_id FROM late_usage WHERE project_id = %(project_id)s AND meter_id > %(after)s
    ORDER BY meter_id LIMIT %(limit)s
"""
_LATE_METERS_OF: LiteralString = """
    SELECT DISTINCT meter_id FROM late_usage
    WHERE meter_id IN (SELECT c.meter_id FROM charge c JOIN service_agreement a ON a.id = c.agreement_id
                       WHERE a.account_id = %s) ORDER BY meter_id
"""
# Rows that another worker has taken are his.
_TAKE_LATE: LiteralString = """
    SELECT id, meter_id, from_at FROM late_usage WHERE meter_id = ANY (%s) ORDER BY id FOR UPDATE SKIP LOCKED
"""
# What another account is charged for by the meter nobody has decided on.
_DECIDED_LATE: LiteralString = """
    DELETE FROM late_usage l USING project p
    WHERE p.id = l.project_id AND l.meter_id = ANY (%(meters)s) AND l.code = 'open-exceptions'
      AND (l.from_at AT TIME ZONE p.time_zone)::date >= %(since)s
      AND NOT EXISTS (SELECT FROM charge c JOIN service_agreement a ON a.id = c.agreement_id
                      WHERE c.meter_id = l.meter_id AND a.account_id <> %(account_id)s
                        AND (upper(c.period)::timestamp AT TIME ZONE p.time_zone) > l.from_at)
"""
_KEEP_LATE: LiteralString = """
    UPDATE late_usage l SET code = new.code, detail = new.detail, account_ids = new.account_ids
    FROM jsonb_to_recordset(%s) AS new (id bigint, code text, detail text, account_ids bigint[]) WHERE l.id = new.id
"""


@dataclass(frozen=True, slots=True)
class LateUsage:
    """Usage of a meter changed from an instant on."""

    id: int
    meter_id: int
    from_at: datetime


@dataclass(frozen=True, slots=True)
class WhyLate:
    """Why a change waits, and the accounts whose charges could not be rated again for it; none named: any may be."""

    code: str
    detail: str
    accounts: frozenset[int] = frozenset()


async def late_meters(conn: Conn, project_id: int, after: int, limit: int) -> list[int]:
    """Meters of charges whose usage changed, by id."""
    query = {"project_id": project_id, "after": after, "limit": limit}
    return [row["meter_id"] for row in await (await conn.execute(_LATE_METERS, query)).fetchall()]


async def late_meters_of(conn: Conn, account_id: int) -> list[int]:
    """Those by which an account was charged."""
    return [row["meter_id"] for row in await (await conn.execute(_LATE_METERS_OF, (account_id,))).fetchall()]


async def take_late(conn: Conn, meter_ids: Sequence[int]) -> list[LateUsage]:
    """What changed of these meters, locked."""
    rows = await (await conn.execute(_TAKE_LATE, (list(meter_ids),))).fetchall()
    return [LateUsage(**row) for row in rows]


async def forget_late(conn: Conn, ids: Sequence[int]) -> None:
    """These changes are seen to."""
    await conn.execute("DELETE FROM late_usage WHERE id = ANY (%s)", (list(ids),))


async def forget_decided(conn: Conn, account_id: int, meter_ids: Sequence[int], since: date) -> None:
    """Changes of days from `since` on that waited for open findings of this account alone are seen to."""
    query = {"account_id": account_id, "meters": list(meter_ids), "since": since}
    await conn.execute(_DECIDED_LATE, query)


async def keep_late(conn: Conn, reasons: Mapping[int, WhyLate]) -> None:
    """These changes wait, with the reason."""
    rows = [
        {"id": one, "code": why.code, "detail": why.detail, "account_ids": sorted(why.accounts) or None}
        for one, why in reasons.items()
    ]
    await conn.execute(_KEEP_LATE, (Jsonb(rows),))
