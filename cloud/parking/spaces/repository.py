"""SQL of spaces and whose they are."""

from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime
from typing import LiteralString

from cloud.kit.db import Conn
from cloud.kit.paging import Page, PageRequest, after_id, cut
from cloud.parking.spaces.records import Holder, NewHolder, NewSpace, Space, SpaceFilter, SpaceState

# Of the local day of the project at %(now)s: a tenant counts more than the owner from whom he rents.
_SPACE: LiteralString = """
    SELECT s.id, s.project_id, s.lot_id, l.name AS lot_name, s.number, s.place, s.vehicle_class, s.state AS stated,
           d.state, s.note
    FROM parking_space s
    JOIN parking_lot l ON l.id = s.lot_id
    JOIN project p ON p.id = s.project_id
    CROSS JOIN LATERAL (
        SELECT CASE WHEN s.state = 'out-of-service' THEN s.state WHEN bool_or(c.role = 'tenant') THEN 'rented'
                    WHEN bool_or(c.role = 'owner') THEN 'sold' ELSE s.state END AS state,
               array_agg(c.person_id) AS persons, array_agg(c.unit_id) AS units
        FROM parking_space_holder c
        WHERE c.space_id = s.id AND c.valid @> (%(now)s::timestamptz AT TIME ZONE p.time_zone)::date) d
"""
_LIST: LiteralString = (
    _SPACE
    + """
    WHERE (%(project_id)s::bigint IS NULL OR s.project_id = %(project_id)s)
      AND (%(lot_id)s::bigint IS NULL OR s.lot_id = %(lot_id)s)
      AND (%(number)s::text IS NULL OR starts_with(lower(s.number), lower(%(number)s)))
      AND (%(place)s::text IS NULL OR starts_with(lower(s.place), lower(%(place)s)))
      AND (%(vehicle_class)s::text IS NULL OR s.vehicle_class = %(vehicle_class)s)
      AND (%(state)s::text IS NULL OR d.state = %(state)s)
      AND (%(person_id)s::bigint IS NULL OR %(person_id)s = ANY (d.persons))
      AND (%(unit_id)s::bigint IS NULL OR %(unit_id)s = ANY (d.units))
      AND s.id > %(after)s
    ORDER BY s.id LIMIT %(limit)s
"""
)
# Spaces whose number is there already are left alone and not returned.
_INSERT: LiteralString = """
    INSERT INTO parking_space (project_id, lot_id, number, place, vehicle_class, state)
    SELECT %(project_id)s, %(lot_id)s, n.number, n.place, n.vehicle_class, n.state
    FROM unnest(%(numbers)s::text[], %(places)s::text[], %(classes)s::text[], %(states)s::text[])
        WITH ORDINALITY AS n (number, place, vehicle_class, state, nth)
    ORDER BY n.nth
    ON CONFLICT (lot_id, number) DO NOTHING
    RETURNING id, number
"""
_UPDATE: LiteralString = """
    UPDATE parking_space SET number = %(number)s, place = %(place)s, vehicle_class = %(vehicle_class)s,
           state = %(stated)s, note = %(note)s
    WHERE id = %(id)s
"""
_HOLDER: LiteralString = """
    SELECT id, project_id, space_id, role, person_id, unit_id, lower(valid) AS since, upper(valid) AS until, added_by
    FROM parking_space_holder
"""
_HOLDERS_NOW: LiteralString = """
    SELECT h.id, h.project_id, h.space_id, h.role, h.person_id, h.unit_id, lower(h.valid) AS since,
           upper(h.valid) AS until, h.added_by
    FROM parking_space_holder h JOIN project p ON p.id = h.project_id
    WHERE h.space_id = %(space_id)s AND h.valid @> (%(now)s::timestamptz AT TIME ZONE p.time_zone)::date
"""
_OF_NUMBER: LiteralString = """
    SELECT s.id FROM parking_space s JOIN parking_lot l ON l.id = s.lot_id
    WHERE s.lot_id = ANY (%(lots)s::bigint[])
      AND lower(%(number)s) IN (lower(s.number), lower(l.name || ' ' || s.number)) ORDER BY s.id
"""
_INSERT_HOLDER: LiteralString = """
    INSERT INTO parking_space_holder (project_id, space_id, role, person_id, unit_id, valid, added_by)
    VALUES (%(project_id)s, %(space_id)s, %(role)s, %(person_id)s, %(unit_id)s, daterange(%(since)s, %(until)s),
            %(actor)s)
    RETURNING id
"""


async def insert(conn: Conn, project_id: int, lot_id: int, spaces: Sequence[NewSpace]) -> dict[str, int]:
    """New spaces of a lot; ids by the numbers that were not there yet."""
    values = {
        "project_id": project_id,
        "lot_id": lot_id,
        "numbers": [one.number for one in spaces],
        "places": [one.place for one in spaces],
        "classes": [one.vehicle_class for one in spaces],
        "states": [one.state for one in spaces],
    }
    rows = await (await conn.execute(_INSERT, values)).fetchall()
    return {row["number"]: row["id"] for row in rows}


async def update(conn: Conn, space: Space) -> None:
    """What is said of a space, as it is to be."""
    names = ("id", "number", "place", "vehicle_class", "stated", "note")
    await conn.execute(_UPDATE, {name: getattr(space, name) for name in names})


async def lock(conn: Conn, space_id: int) -> None:
    """Nobody else changes the space or its holders until the end."""
    await conn.execute("SELECT FROM parking_space WHERE id = %s FOR NO KEY UPDATE", (space_id,))


async def spaces_by_id(conn: Conn, ids: Sequence[int], now: datetime) -> dict[int, Space]:
    """Those of the spaces that are there."""
    query = _SPACE + " WHERE s.id = ANY (%(ids)s::bigint[])"
    rows = await (await conn.execute(query, {"ids": list(ids), "now": now})).fetchall()
    return {row["id"]: Space(**row) for row in rows}


async def by_number(conn: Conn, lot_id: int, numbers: Sequence[str], now: datetime) -> dict[str, Space]:
    """Spaces of a lot by their numbers, those that are there."""
    query = _SPACE + " WHERE s.lot_id = %(lot_id)s AND s.number = ANY (%(numbers)s::text[])"
    values = {"lot_id": lot_id, "numbers": list(numbers), "now": now}
    rows = await (await conn.execute(query, values)).fetchall()
    return {row["number"]: Space(**row) for row in rows}


async def spaces(conn: Conn, page: PageRequest, wanted: SpaceFilter, now: datetime) -> Page[Space]:
    """Spaces by id."""
    values = {name: getattr(wanted, name) for name in SpaceFilter.__dataclass_fields__}
    query = {**values, "now": now, "after": after_id(page), "limit": page.limit + 1}
    rows = await (await conn.execute(_LIST, query)).fetchall()
    return cut([Space(**row) for row in rows], page, lambda found: (found.id,))


async def ids_of_number(conn: Conn, lot_ids: Sequence[int], number: str) -> list[int]:
    """Spaces of lots that have a number, whatever its capitals; the name of the lot may stand before it."""
    rows = await conn.execute(_OF_NUMBER, {"lots": list(lot_ids), "number": number})
    return [row["id"] async for row in rows]


async def counts(conn: Conn, lot_id: int, now: datetime) -> Counter[SpaceState]:
    """Spaces of a lot by their state."""
    rows = await conn.execute(_SPACE + " WHERE s.lot_id = %(lot_id)s", {"lot_id": lot_id, "now": now})
    return Counter([row["state"] async for row in rows])


async def insert_holder(conn: Conn, space: Space, new: NewHolder, actor: str) -> int:
    """Whose the space is to be; the id of the row."""
    said = {name: getattr(new, name) for name in NewHolder.__dataclass_fields__}
    values = {**said, "project_id": space.project_id, "space_id": space.id, "actor": actor}
    row = await (await conn.execute(_INSERT_HOLDER, values)).fetchone()
    assert row is not None
    return int(row["id"])


async def end_holder(conn: Conn, holder_id: int, until: date) -> None:
    """The first day on which the space is no longer his."""
    query = "UPDATE parking_space_holder SET valid = daterange(lower(valid), %s) WHERE id = %s"
    await conn.execute(query, (until, holder_id))


async def holders_now(conn: Conn, space_id: int, now: datetime) -> list[Holder]:
    """Whose a space is on the local day of an instant."""
    rows = await (await conn.execute(_HOLDERS_NOW, {"space_id": space_id, "now": now})).fetchall()
    return [Holder(**row) for row in rows]


async def holder(conn: Conn, holder_id: int) -> Holder | None:
    """One of those whose a space is or was."""
    row = await (await conn.execute(_HOLDER + " WHERE id = %s", (holder_id,))).fetchone()
    return None if row is None else Holder(**row)


async def holders(conn: Conn, space_ids: Sequence[int]) -> list[Holder]:
    """Whose spaces are or were, the last first."""
    query = _HOLDER + " WHERE space_id = ANY (%s::bigint[]) ORDER BY space_id, lower(valid) DESC, id DESC"
    return [Holder(**row) for row in await (await conn.execute(query, (list(space_ids),))).fetchall()]
