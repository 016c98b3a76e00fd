"""SQL of sessions as they follow from passages; everything works on many at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, LiteralString

from psycopg.types.multirange import Multirange

from cloud.kit.db import Conn
from cloud.parking.stays.nesting import Span
from cloud.parking.stays.repository import Cluster

_SESSION: LiteralString = """
    SELECT s.id, s.lot_id, s.plate, s.vehicle_class, s.entered_at, s.left_at, s.state, s.entry_seen, s.fixed_fee,
           s.covered, s.closed_at IS NOT NULL AS closed_by_hand
"""
_SESSIONS: LiteralString = (
    _SESSION
    + """
    FROM unnest(%(roots)s::bigint[], %(skeletons)s::text[], %(since)s::timestamptz[])
         AS wanted (root_id, skeleton, since)
    JOIN parking_session s ON s.project_id = %(project_id)s AND s.skeleton = wanted.skeleton AND s.skeleton <> ''
      AND coalesce(s.entered_at, s.left_at) >= wanted.since
    JOIN unnest(%(lots)s::bigint[], %(lot_roots)s::bigint[]) AS tree (lot_id, root_id)
      ON tree.lot_id = s.lot_id AND tree.root_id = wanted.root_id
"""
)
_BY_ID: LiteralString = _SESSION + " FROM parking_session s WHERE s.id = ANY (%s)"
_INSERT: LiteralString = """
    INSERT INTO parking_session (project_id, lot_id, plate, vehicle_class, entered_at, left_at, state, fee, fee_until,
                                 currency, entry_seen, fixed_fee, covered)
    SELECT %(project_id)s, lot_id, plate, vehicle_class, entered_at, left_at, state, fee, fee_until, %(currency)s,
           entry_seen, fixed_fee, covered::tstzmultirange
    FROM unnest(%(lot_id)s::bigint[], %(plate)s::text[], %(vehicle_class)s::text[], %(entered_at)s::timestamptz[],
                %(left_at)s::timestamptz[], %(state)s::text[], %(fee)s::numeric[], %(fee_until)s::timestamptz[],
                %(entry_seen)s::boolean[], %(fixed_fee)s::numeric[], %(covered)s::text[])
         AS made (lot_id, plate, vehicle_class, entered_at, left_at, state, fee, fee_until, entry_seen, fixed_fee,
                  covered)
    RETURNING id, lot_id, plate, entered_at, left_at
"""
_UPDATE: LiteralString = """
    UPDATE parking_session
    SET lot_id = %(lot_id)s, plate = %(plate)s, vehicle_class = %(vehicle_class)s, entered_at = %(entered_at)s,
        left_at = %(left_at)s, state = %(state)s, fee = %(fee)s, fee_until = %(fee_until)s, fee_steps = '[]',
        rule_version_id = NULL, entry_seen = %(entry_seen)s, fixed_fee = %(fixed_fee)s,
        covered = %(covered)s::tstzmultirange, closed_at = NULL, closed_by = NULL, closed_reason = NULL, as_told = false
    WHERE id = %(id)s
"""
# What hangs on a stay goes over to the one that it turned out to be part of.
_HAND_OVER: tuple[LiteralString, ...] = (
    """UPDATE parking_payment t SET session_id = pair.kept
       FROM unnest(%s::bigint[], %s::bigint[]) AS pair (gone, kept) WHERE t.session_id = pair.gone""",
    """UPDATE parking_waiver t SET session_id = pair.kept
       FROM unnest(%s::bigint[], %s::bigint[]) AS pair (gone, kept) WHERE t.session_id = pair.gone""",
    """UPDATE parking_intent_stay t SET session_id = pair.kept
       FROM unnest(%s::bigint[], %s::bigint[]) AS pair (gone, kept) WHERE t.session_id = pair.gone""",
    """UPDATE coupon_redemption t SET session_id = pair.kept
       FROM unnest(%s::bigint[], %s::bigint[]) AS pair (gone, kept) WHERE t.session_id = pair.gone""",
    """UPDATE vehicle_charging t SET session_id = pair.kept
       FROM unnest(%s::bigint[], %s::bigint[]) AS pair (gone, kept) WHERE t.session_id = pair.gone""",
    """UPDATE passage t SET session_id = pair.kept
       FROM unnest(%s::bigint[], %s::bigint[]) AS pair (gone, kept) WHERE t.session_id = pair.gone""",
)
_DROP_UNPAID: LiteralString = """
    DELETE FROM parking_session s
    WHERE s.id = ANY (%(ids)s) AND NOT EXISTS (SELECT FROM parking_payment p WHERE p.session_id = s.id)
      AND NOT EXISTS (SELECT FROM parking_waiver w WHERE w.session_id = s.id)
      AND NOT EXISTS (SELECT FROM coupon_redemption c WHERE c.session_id = s.id)
      AND NOT EXISTS (SELECT FROM vehicle_charging c WHERE c.session_id = s.id)
"""
# Nothing is left that could cost anything: what was paid is too much.
_END_PAID: LiteralString = """
    UPDATE parking_session SET state = 'unmatched', left_at = coalesce(left_at, entered_at), fee = 0, fee_until = NULL,
           fee_steps = '[]', rule_version_id = NULL, fixed_fee = 0
    WHERE id = ANY (%(ids)s) AND (state = 'open' OR fixed_fee IS DISTINCT FROM 0 OR fee IS DISTINCT FROM 0)
"""


@dataclass(frozen=True, slots=True)
class StoredSession:
    """What is stored of a stay."""

    id: int
    lot_id: int
    plate: str
    vehicle_class: str
    entered_at: datetime | None
    left_at: datetime | None
    state: str
    entry_seen: bool
    fixed_fee: Decimal | None
    covered: tuple[Span, ...]
    closed_by_hand: bool


@dataclass(frozen=True, slots=True)
class SessionRow:
    """What a session is to become; `fee` only where the lot has a fixed one: others are priced once all are stored."""

    lot_id: int
    plate: str
    vehicle_class: str
    entered_at: datetime | None
    left_at: datetime | None
    state: str
    fee: Decimal | None
    fee_until: datetime | None
    entry_seen: bool
    fixed_fee: Decimal | None
    covered: tuple[Span, ...]


async def sessions_since(
    conn: Conn, project_id: int, wanted: Sequence[Cluster], roots: Mapping[int, int]
) -> list[StoredSession]:
    """Sessions of the clusters that began at their `since` or later."""
    query = {
        "project_id": project_id,
        "roots": [one.root_id for one in wanted],
        "skeletons": [one.skeleton for one in wanted],
        "since": [one.since for one in wanted],
        "lots": list(roots),
        "lot_roots": list(roots.values()),
    }
    return [_stored(row) for row in await (await conn.execute(_SESSIONS, query)).fetchall()]


async def sessions_by_id(conn: Conn, ids: Sequence[int]) -> list[StoredSession]:
    """These sessions."""
    if not ids:
        return []
    return [_stored(row) for row in await (await conn.execute(_BY_ID, (list(ids),))).fetchall()]


async def insert_sessions(conn: Conn, project_id: int, currency: str, rows: Sequence[SessionRow]) -> list[int]:
    """Makes sessions and returns their ids in the order of `rows`."""
    told = [_values(row) for row in rows]
    columns: dict[str, list[Any]] = {name: [row[name] for row in told] for name in SessionRow.__slots__}
    query = {"project_id": project_id, "currency": currency, **columns}
    waiting: dict[tuple[object, ...], list[int]] = {}
    for row in await (await conn.execute(_INSERT, query)).fetchall():
        waiting.setdefault((row["lot_id"], row["plate"], row["entered_at"], row["left_at"]), []).append(row["id"])
    # RETURNING promises no order; rows that agree in all four are the same to everybody.
    return [waiting[(row.lot_id, row.plate, row.entered_at, row.left_at)].pop() for row in rows]


async def update_sessions(conn: Conn, changes: Sequence[tuple[int, SessionRow]], renamed: Sequence[int]) -> None:
    """Changes sessions, so that never two of a plate are open: those that are over first.

    `renamed` get another plate; which one of two that change plates is changed first cannot matter then.
    """
    if renamed:
        await conn.execute("UPDATE parking_session SET plate = '' WHERE id = ANY (%s)", (list(renamed),))
    ordered = sorted(changes, key=lambda change: change[1].state == "open")
    if ordered:
        await conn.cursor().executemany(_UPDATE, [{**_values(row), "id": id_} for id_, row in ordered])


async def merge_sessions(conn: Conn, merged: Sequence[tuple[int, int]]) -> None:
    """Ends sessions that turned out to be part of another (gone, kept): the kept one takes what hangs on them."""
    if not merged:
        return
    gone, kept = (list(column) for column in zip(*merged, strict=True))
    for query in _HAND_OVER:
        await conn.execute(query, (gone, kept))
    await conn.execute("DELETE FROM parking_session WHERE id = ANY (%s)", (gone,))


async def drop_empty(conn: Conn, ids: Sequence[int]) -> None:
    """Ends sessions that no passage belongs to: deleted, or kept as unmatched where money was paid for one.

    What was paid for one is to be given back, unless its plate owes something: it costs nothing.
    """
    if not ids:
        return
    query: dict[str, Any] = {"ids": list(ids)}
    await conn.execute(_DROP_UNPAID, query)
    await conn.execute(_END_PAID, query)


def _values(row: SessionRow) -> dict[str, Any]:
    values: dict[str, Any] = {name: getattr(row, name) for name in SessionRow.__slots__}
    return {**values, "covered": _as_text(row.covered)}


def _as_text(spans: tuple[Span, ...]) -> str:
    """A multirange as PostgreSQL reads it."""
    ends = ((span.start.isoformat(), span.end.isoformat() if span.end else "") for span in spans)
    return "{" + ",".join(f"[{start},{end})" for start, end in ends) + "}"


def _stored(row: dict[str, Any]) -> StoredSession:
    covered: Multirange[datetime] = row.pop("covered")
    spans = [Span(one.lower, one.upper) for one in covered if one.lower is not None]
    return StoredSession(covered=tuple(spans), **row)
