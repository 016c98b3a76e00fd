"""SQL of visitor passes and of vehicles that residents ask for."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any, LiteralString

from cloud.kit.db import Conn
from cloud.kit.paging import Page, PageRequest, newest_first
from cloud.parking.visitors.records import PassTime, VehicleRequest, VisitorPass

_VISITOR: LiteralString = """
    SELECT v.id, v.project_id, v.person_id, v.plate, lower(v.valid) AS since, upper(v.valid) AS until, v.free, v.note,
           ARRAY(SELECT l.lot_id FROM visitor_pass_lot l WHERE l.pass_id = v.id ORDER BY l.lot_id) AS lots,
           v.created_at, v.revoked_at
    FROM visitor_pass v
"""
_LIST: LiteralString = (
    _VISITOR
    + """
    WHERE (%(project_id)s::bigint IS NULL OR v.project_id = %(project_id)s)
      AND (%(plate)s::text IS NULL OR v.plate = %(plate)s)
      AND (%(holding_at)s::timestamptz IS NULL OR (v.revoked_at IS NULL AND upper(v.valid) > %(holding_at)s))
      AND v.id < %(before)s
    ORDER BY v.id DESC LIMIT %(limit)s
"""
)
_SOON: LiteralString = (
    _VISITOR
    + """
    WHERE v.project_id = %s AND v.revoked_at IS NULL AND upper(v.valid) > %s AND lower(v.valid) < %s ORDER BY v.id
"""
)
_INSERT: LiteralString = """
    INSERT INTO visitor_pass (project_id, person_id, plate, valid, free, note, created_by)
    VALUES (%(project_id)s, %(person_id)s, %(plate)s, tstzrange(%(since)s, %(until)s), %(free)s, %(note)s, %(by)s)
    RETURNING id
"""
_INSERT_LOTS: LiteralString = """
    INSERT INTO visitor_pass_lot (project_id, pass_id, lot_id) SELECT %s, %s, unnest(%s::bigint[])
"""
# One that was taken back before it began was never used.
_GIVEN: LiteralString = """
    SELECT count(*) AS given FROM visitor_pass
    WHERE person_id = %s AND lower(valid) >= %s AND lower(valid) < %s
      AND (revoked_at IS NULL OR revoked_at >= lower(valid))
"""
# Past row-level security: a stay costs nothing by a pass, whoever gave it.
_FREE_TIMES: LiteralString = "SELECT * FROM gm.free_pass_times(%s, %s::text[], %s, %s)"
_REQUEST: LiteralString = """
    SELECT id, project_id, person_id, plate, vehicle_class, state, note, asked_at, decided_at FROM vehicle_request
"""
_REQUESTS: LiteralString = (
    _REQUEST
    + """
    WHERE (%(project_id)s::bigint IS NULL OR project_id = %(project_id)s)
      AND (%(state)s::text IS NULL OR state = %(state)s) AND id < %(before)s
    ORDER BY id DESC LIMIT %(limit)s
"""
)


async def insert_pass(conn: Conn, values: dict[str, object], lot_ids: Sequence[int]) -> int:
    """A new pass for these lots."""
    row = await (await conn.execute(_INSERT, values)).fetchone()
    assert row is not None
    await conn.execute(_INSERT_LOTS, (values["project_id"], row["id"], list(lot_ids)))
    return int(row["id"])


async def visitor_pass(conn: Conn, pass_id: int) -> VisitorPass | None:
    """One pass."""
    row = await (await conn.execute(_VISITOR + "WHERE v.id = %s", (pass_id,))).fetchone()
    return None if row is None else _pass(row)


async def passes(
    conn: Conn, page: PageRequest, project_id: int | None, plate: str | None, holding_at: datetime | None
) -> Page[VisitorPass]:
    """Passes, newest first; those that can still be used at an instant, or all."""
    wanted = {"project_id": project_id, "plate": plate, "holding_at": holding_at}
    return await newest_first(conn, _LIST, wanted, page, _pass)


async def passes_between(conn: Conn, project_id: int, now: datetime, until: datetime) -> list[VisitorPass]:
    """Passes that hold at some moment between."""
    return [_pass(row) for row in await (await conn.execute(_SOON, (project_id, now, until))).fetchall()]


async def lock_giver(conn: Conn, person_id: int) -> None:
    """Passes of a resident are given one after the other."""
    await conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('visitor-pass', %s))", (person_id,))


async def given(conn: Conn, person_id: int, begins: datetime, ends: datetime) -> int:
    """How many passes of a resident begin between, but for those that were taken back before."""
    row = await (await conn.execute(_GIVEN, (person_id, begins, ends))).fetchone()
    assert row is not None
    return int(row["given"])


async def revoke(conn: Conn, pass_id: int, now: datetime) -> None:
    """It holds no more."""
    await conn.execute("UPDATE visitor_pass SET revoked_at = %s WHERE id = %s AND revoked_at IS NULL", (now, pass_id))


async def free_times(
    conn: Conn, project_id: int, plates: Sequence[str], since: datetime, until: datetime
) -> dict[str, list[PassTime]]:
    """By plate what its free passes cover, of passes that touch the time between."""
    found: dict[str, list[PassTime]] = defaultdict(list)
    for row in await (await conn.execute(_FREE_TIMES, (project_id, list(plates), since, until))).fetchall():
        found[row.pop("plate")].append(PassTime(**row))
    return dict(found)


async def insert_request(conn: Conn, values: dict[str, object]) -> int:
    """A vehicle that a resident asks for. Raises psycopg UniqueViolation when he has asked already."""
    query = """INSERT INTO vehicle_request (project_id, person_id, plate, vehicle_class, asked_by)
               VALUES (%(project_id)s, %(person_id)s, %(plate)s, %(vehicle_class)s, %(by)s) RETURNING id"""
    row = await (await conn.execute(query, values)).fetchone()
    assert row is not None
    return int(row["id"])


async def vehicle_request(conn: Conn, request_id: int, *, lock: bool = False) -> VehicleRequest | None:
    """One request."""
    if lock:
        await conn.execute("SELECT FROM vehicle_request WHERE id = %s FOR UPDATE", (request_id,))
    row = await (await conn.execute(_REQUEST + "WHERE id = %s", (request_id,))).fetchone()
    return None if row is None else VehicleRequest(**row)


async def requests(conn: Conn, page: PageRequest, project_id: int | None, state: str | None) -> Page[VehicleRequest]:
    """Requests, newest first."""
    wanted = {"project_id": project_id, "state": state}
    return await newest_first(conn, _REQUESTS, wanted, page, lambda row: VehicleRequest(**row))


async def decide_request(conn: Conn, request_id: int, state: str, note: str, by: int | None) -> None:
    """What staff said to it."""
    query = """UPDATE vehicle_request SET state = %s, note = %s, decided_by = %s, decided_at = now() WHERE id = %s"""
    await conn.execute(query, (state, note, by, request_id))


def _pass(row: dict[str, Any]) -> VisitorPass:
    return VisitorPass(**{**row, "lots": tuple(row["lots"])})
