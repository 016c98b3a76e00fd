"""SQL of the lists."""

from collections.abc import Sequence
from datetime import datetime
from typing import LiteralString

from cloud.kit.db import Conn
from cloud.kit.paging import Page, PageRequest, newest_first
from cloud.parking.lists.records import Entry, EntryFilter, NewEntry, WhiteTime

_ENTRY: LiteralString = """
    SELECT e.id, e.project_id, e.lot_id, l.code AS lot_code, l.name AS lot_name, e.listing, e.plate, e.valid_from,
           e.valid_until, e.reason, e.added_by, e.created_at, e.ended_at, e.ended_by, e.end_reason
    FROM parking_list_entry e LEFT JOIN parking_lot l ON l.id = e.lot_id
"""
_INSERT: LiteralString = """
    INSERT INTO parking_list_entry (project_id, listing, plate, reason, lot_id, valid_from, valid_until, added_by)
    VALUES (%(project_id)s, %(listing)s, %(plate)s, %(reason)s, %(lot_id)s, %(valid_from)s, %(valid_until)s, %(actor)s)
    RETURNING id
"""
_LIST: LiteralString = (
    _ENTRY
    + """
    WHERE (%(project_id)s::bigint IS NULL OR e.project_id = %(project_id)s)
      AND (%(lot_id)s::bigint IS NULL OR e.lot_id = %(lot_id)s)
      AND (%(listing)s::text IS NULL OR e.listing = %(listing)s)
      AND (%(plate)s::text IS NULL OR starts_with(e.plate, %(plate)s))
      AND (%(current_at)s::timestamptz IS NULL
           OR (e.ended_at IS NULL AND (e.valid_until IS NULL OR e.valid_until > %(current_at)s)))
      AND e.id < %(before)s
    ORDER BY e.id DESC LIMIT %(limit)s
"""
)
# Entries of the plate that hold at some moment of the wanted time.
_MEETING: LiteralString = (
    _ENTRY
    + """
    WHERE e.project_id = %(project_id)s AND e.plate = %(plate)s
      AND tstzrange(e.valid_from, greatest(e.valid_from, least(e.valid_until, e.ended_at, 'infinity')))
          && tstzrange(%(valid_from)s, %(valid_until)s)
    ORDER BY e.id
"""
)
# Past row-level security: a resident's stay costs nothing by a list that he does not see.
_WHITE: LiteralString = "SELECT * FROM gm.white_times(%(project_id)s, %(plates)s::text[], %(since)s, %(until)s)"
_CURRENT: LiteralString = (
    _ENTRY
    + """
    WHERE e.project_id = %(project_id)s AND e.ended_at IS NULL AND (e.valid_until IS NULL OR e.valid_until > %(now)s)
    ORDER BY e.id
"""
)


async def white(
    conn: Conn, project_id: int, plates: Sequence[str], since: datetime, until: datetime
) -> list[tuple[str, WhiteTime]]:
    """(plate, time) of the white entries that held at some moment from `since` to `until`."""
    values = {"project_id": project_id, "plates": list(plates), "since": since, "until": until}
    rows = await (await conn.execute(_WHITE, values)).fetchall()
    return [(row.pop("plate"), WhiteTime(**row)) for row in rows]


async def insert(conn: Conn, new: NewEntry, actor: str) -> int:
    """A new entry; its id."""
    values = {name: getattr(new, name) for name in NewEntry.__dataclass_fields__} | {"actor": actor}
    row = await (await conn.execute(_INSERT, values)).fetchone()
    assert row is not None
    return int(row["id"])


async def end(conn: Conn, entry_id: int, at: datetime, actor: str, reason: str) -> bool:
    """Takes an entry off its list; False when it was before."""
    query = """UPDATE parking_list_entry SET ended_at = %s, ended_by = %s, end_reason = %s
               WHERE id = %s AND ended_at IS NULL"""
    return (await conn.execute(query, (at, actor, reason, entry_id))).rowcount > 0


async def entry(conn: Conn, entry_id: int) -> Entry | None:
    """One entry."""
    row = await (await conn.execute(_ENTRY + " WHERE e.id = %s", (entry_id,))).fetchone()
    return None if row is None else Entry(**row)


async def entries(conn: Conn, page: PageRequest, wanted: EntryFilter) -> Page[Entry]:
    """Entries, the newest first."""
    values = {name: getattr(wanted, name) for name in EntryFilter.__dataclass_fields__}
    return await newest_first(conn, _LIST, values, page, lambda row: Entry(**row))


async def meeting(conn: Conn, new: NewEntry) -> Sequence[Entry]:
    """Entries of the same plate that hold at some moment of the wanted time."""
    values = {name: getattr(new, name) for name in ("project_id", "plate", "valid_from", "valid_until")}
    return [Entry(**row) for row in await (await conn.execute(_MEETING, values)).fetchall()]


async def current(conn: Conn, project_id: int, now: datetime) -> list[Entry]:
    """Entries that hold now or later."""
    rows = await (await conn.execute(_CURRENT, {"project_id": project_id, "now": now})).fetchall()
    return [Entry(**row) for row in rows]
