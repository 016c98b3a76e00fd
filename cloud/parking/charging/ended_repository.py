"""SQL of pricing stays that are over."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import LiteralString

from psycopg.types.json import Jsonb

from cloud.kit.db import Conn
from cloud.parking.charging.covering import Parked

_ENDED: LiteralString = """
    SELECT id, lot_id, plate, vehicle_class, entered_at, left_at FROM parking_session
    WHERE id = ANY (%s::bigint[]) AND state = 'closed' AND entry_seen AND entered_at IS NOT NULL AND fixed_fee IS NULL
    ORDER BY id
"""
# Stays whose entry nobody saw, at the price that the lot's policy has for them.
_UNSEEN: LiteralString = """
    SELECT id, lot_id, plate, vehicle_class, entered_at, left_at, fixed_fee FROM parking_session
    WHERE id = ANY (%s::bigint[]) AND state <> 'open' AND fixed_fee IS NOT NULL AND fee IS NOT NULL ORDER BY id
"""
# A stay that is unmatched or goes on counts as well: it may have been one that took free minutes.
_LATER: LiteralString = """
    SELECT DISTINCT l.id
    FROM parking_session s JOIN parking_session l
      ON l.project_id = s.project_id AND l.lot_id = s.lot_id AND l.plate = s.plate AND l.entered_at >= s.entered_at
     AND l.entered_at < date_trunc('day', s.entered_at, %(zone)s) + interval '1 day 2 hours'
    WHERE s.id = ANY (%(ids)s::bigint[]) AND s.lot_id = ANY (%(lots)s::bigint[]) AND s.plate <> ''
      AND l.state = 'closed' AND l.entry_seen
"""
# The same of stays that are elsewhere now, or are no more.
_LATER_THAN: LiteralString = """
    SELECT DISTINCT l.id
    FROM unnest(%(lots)s::bigint[], %(plates)s::text[], %(entries)s::timestamptz[]) AS s (lot_id, plate, entered_at)
    JOIN parking_session l
      ON l.project_id = %(project_id)s AND l.lot_id = s.lot_id AND l.plate = s.plate AND l.entered_at >= s.entered_at
     AND l.entered_at < date_trunc('day', s.entered_at, %(zone)s) + interval '1 day 2 hours'
    WHERE s.plate <> '' AND l.state = 'closed' AND l.entry_seen
"""
# Stays that were over when something changed lie before it. Also those with a fixed price: their entries were not seen.
_SINCE: LiteralString = """
    SELECT id FROM parking_session
    WHERE project_id = %(project_id)s AND plate = ANY (%(plates)s::text[]) AND state <> 'open' AND left_at > %(since)s
"""
# Who left with the price that he was told keeps it, also when another stay is priced anew later.
_KEEP: LiteralString = """
    UPDATE parking_session s SET as_told = true FROM unnest(%(ids)s::bigint[], %(fees)s::numeric[]) AS row (id, fee)
    WHERE s.id = row.id AND row.fee > s.fee AND s.unpaid <= 0 AND NOT s.as_told
"""
_STORE: LiteralString = """
    UPDATE parking_session s
    SET fee = row.fee, fee_until = row.fee_until, fee_steps = row.fee_steps, rule_version_id = row.rule_version_id
    FROM unnest(%(ids)s::bigint[], %(fees)s::numeric[], %(until)s::timestamptz[], %(steps)s::jsonb[],
                %(versions)s::bigint[]) AS row (id, fee, fee_until, fee_steps, rule_version_id)
    WHERE s.id = row.id
      AND (s.fee, s.fee_until, s.fee_steps, s.rule_version_id)
          IS DISTINCT FROM (row.fee, row.fee_until, row.fee_steps, row.rule_version_id)
      AND (NOT (s.as_told OR %(as_told)s) OR s.fee IS NULL OR row.fee < s.fee OR s.unpaid > 0)
"""


@dataclass(frozen=True, slots=True)
class Ended:
    """A stay that is over, both its ends seen."""

    id: int
    lot_id: int
    plate: str
    vehicle_class: str
    entered_at: datetime
    left_at: datetime


@dataclass(frozen=True, slots=True)
class UnseenStay:
    """A stay that is over and whose entry nobody saw; what leaving costs by the lot's policy."""

    id: int
    lot_id: int
    plate: str
    vehicle_class: str
    entered_at: datetime | None
    left_at: datetime
    fixed_fee: Decimal


@dataclass(frozen=True, slots=True)
class PricedRow:
    """What a stay costs."""

    session_id: int
    fee: Decimal
    fee_until: datetime
    steps: list[dict[str, object]]
    rule_version_id: int | None


async def ended(conn: Conn, session_ids: Sequence[int]) -> list[Ended]:
    """Those of these sessions that can have a fee."""
    if not session_ids:
        return []
    return [Ended(**row) for row in await (await conn.execute(_ENDED, (list(session_ids),))).fetchall()]


async def unseen(conn: Conn, session_ids: Sequence[int]) -> list[UnseenStay]:
    """Those of these sessions that have a fixed price."""
    if not session_ids:
        return []
    return [UnseenStay(**row) for row in await (await conn.execute(_UNSEEN, (list(session_ids),))).fetchall()]


async def later_that_day(conn: Conn, session_ids: Sequence[int], lot_ids: Sequence[int], zone: str) -> list[int]:
    """Ended stays of the same plates and lots that began on the same local day or shortly after it."""
    values = {"ids": list(session_ids), "lots": list(lot_ids), "zone": zone}
    return [row["id"] for row in await (await conn.execute(_LATER, values)).fetchall()]


async def later_than(conn: Conn, project_id: int, were: Sequence[Parked], zone: str) -> list[int]:
    """The same of stays as they were before they changed."""
    known = [one for one in were if one.entered_at is not None]
    values = {
        "project_id": project_id,
        "lots": [one.lot_id for one in known],
        "plates": [one.plate for one in known],
        "entries": [one.entered_at for one in known],
        "zone": zone,
    }
    return [row["id"] for row in await (await conn.execute(_LATER_THAN, values)).fetchall()]


async def ended_since(conn: Conn, project_id: int, plates: Sequence[str], since: datetime) -> list[int]:
    """Sessions of the plates that are over and were not at `since`."""
    values = {"project_id": project_id, "plates": list(plates), "since": since}
    return [row["id"] for row in await (await conn.execute(_SINCE, values)).fetchall()]


async def store_fees(conn: Conn, rows: Sequence[PricedRow], *, as_told: bool = False) -> None:
    """Stores fees; a session that costs the same as before is left alone.

    `as_told`: one of which nothing is owed becomes no dearer, since its driver left with the price that he was told;
    it keeps that price until its own passages change.
    """
    if not rows:
        return
    columns = {
        "ids": [row.session_id for row in rows],
        "fees": [row.fee for row in rows],
        "until": [row.fee_until for row in rows],
        "steps": [Jsonb(row.steps) for row in rows],
        "versions": [row.rule_version_id for row in rows],
        "as_told": as_told,
    }
    if as_told:
        await conn.execute(_KEEP, columns)
    await conn.execute(_STORE, columns)
