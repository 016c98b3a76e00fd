"""SQL of occupancies and of the persons filed for households."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import LiteralString

from cloud.estate.records import Household, Occupancy
from cloud.estate.repository import Row, new_id, rows_of, validity_of
from cloud.kit.db import Conn

_OCCUPANCY: LiteralString = """
    SELECT o.id, o.project_id, o.unit_id, o.person_id, p.name AS person_name, o.role,
           lower(o.valid) AS valid_from, upper(o.valid) AS valid_until
    FROM occupancy o JOIN person p ON p.id = o.person_id
"""
_OCCUPANCIES: LiteralString = (
    _OCCUPANCY
    + """
    WHERE o.id > %(after)s
      AND (%(project_id)s::bigint IS NULL OR o.project_id = %(project_id)s)
      AND (%(unit_id)s::bigint IS NULL OR o.unit_id = %(unit_id)s)
      AND (%(person_id)s::bigint IS NULL OR o.person_id = %(person_id)s)
      AND (%(valid_on)s::date IS NULL OR o.valid @> %(valid_on)s::date)
    ORDER BY o.id LIMIT %(limit)s
"""
)
_OCCUPANTS: LiteralString = (
    _OCCUPANCY + " WHERE o.unit_id = ANY (%(unit_ids)s) AND o.valid @> %(valid_on)s::date ORDER BY o.unit_id, o.id"
)
_OCCUPANCIES_BETWEEN: LiteralString = (
    _OCCUPANCY
    + """ WHERE o.unit_id = ANY (%(unit_ids)s) AND o.valid && daterange(%(start)s, %(end)s)
          ORDER BY o.unit_id, o.id"""
)
_OCCUPANCY_BY_ID: LiteralString = _OCCUPANCY + " WHERE o.id = %s"
_OVERLAPPING_OCCUPANCY: LiteralString = (
    _OCCUPANCY
    + """
    WHERE o.unit_id = %(unit_id)s AND o.person_id = %(person_id)s AND o.id <> %(but)s
      AND o.valid && daterange(%(valid_from)s, %(valid_until)s) ORDER BY o.id LIMIT 1
"""
)
_INSERT_OCCUPANCY: LiteralString = """
    INSERT INTO occupancy (project_id, unit_id, person_id, role, valid)
    VALUES (%(project_id)s, %(unit_id)s, %(person_id)s, %(role)s, daterange(%(valid_from)s, %(valid_until)s))
    RETURNING id
"""

_LOCK_OCCUPANCY: LiteralString = "SELECT FROM occupancy WHERE id = %s FOR UPDATE"
_DELETE_OCCUPANCY: LiteralString = "DELETE FROM occupancy WHERE id = %s"
_END_OCCUPANCY: LiteralString = (
    "UPDATE occupancy SET valid = daterange(lower(valid), %(valid_until)s) WHERE id = %(id)s"
)

_HOUSEHOLD: LiteralString = """
    SELECT id, project_id, unit_id, persons, lower(valid) AS valid_from, upper(valid) AS valid_until FROM household
"""
_HOUSEHOLDS: LiteralString = (
    _HOUSEHOLD
    + """
    WHERE id > %(after)s
      AND (%(project_id)s::bigint IS NULL OR project_id = %(project_id)s)
      AND (%(unit_id)s::bigint IS NULL OR unit_id = %(unit_id)s)
      AND (%(valid_on)s::date IS NULL OR valid @> %(valid_on)s::date)
    ORDER BY id LIMIT %(limit)s
"""
)
_OVERLAPPING_HOUSEHOLD: LiteralString = (
    _HOUSEHOLD
    + """
    WHERE unit_id = %(unit_id)s AND id <> %(but)s AND valid && daterange(%(valid_from)s, %(valid_until)s)
    ORDER BY id LIMIT 1
"""
)
_INSERT_HOUSEHOLD: LiteralString = """
    INSERT INTO household (project_id, unit_id, persons, valid)
    VALUES (%(project_id)s, %(unit_id)s, %(persons)s, daterange(%(valid_from)s, %(valid_until)s))
    RETURNING id
"""
_HOUSEHOLD_BY_ID: LiteralString = _HOUSEHOLD + " WHERE id = %s FOR UPDATE"
_HOUSEHOLDS_OF_UNIT: LiteralString = _HOUSEHOLD + " WHERE unit_id = %s ORDER BY valid FOR UPDATE"
_CHANGE_HOUSEHOLD: LiteralString = """
    UPDATE household SET persons = %(persons)s, valid = daterange(lower(valid), %(valid_until)s) WHERE id = %(id)s
"""
_DELETE_HOUSEHOLD: LiteralString = "DELETE FROM household WHERE id = %s"
_HOUSEHOLD_PERSONS: LiteralString = """
    SELECT unit_id, persons FROM household WHERE unit_id = ANY (%(unit_ids)s) AND valid @> %(valid_on)s::date
"""
_HOUSEHOLDS_BETWEEN: LiteralString = (
    _HOUSEHOLD
    + """
    WHERE unit_id = ANY (%(unit_ids)s) AND valid && daterange(%(start)s, %(end)s) ORDER BY unit_id, valid
"""
)


async def occupancies(conn: Conn, query: Mapping[str, object]) -> list[Occupancy]:
    """Occupancies by id."""
    return [_occupancy(row) for row in await rows_of(conn, _OCCUPANCIES, query)]


async def occupancies_between(conn: Conn, unit_ids: Sequence[int], start: date, end: date) -> list[Occupancy]:
    """Occupancies of the units that touch [start, end), by unit and id."""
    query = {"unit_ids": list(unit_ids), "start": start, "end": end}
    return [_occupancy(row) for row in await rows_of(conn, _OCCUPANCIES_BETWEEN, query)]


async def occupants(conn: Conn, unit_ids: Sequence[int], on: date) -> list[Occupancy]:
    """Occupancies of the units that hold on a day."""
    return [_occupancy(row) for row in await rows_of(conn, _OCCUPANTS, {"unit_ids": list(unit_ids), "valid_on": on})]


async def overlapping_occupancy(conn: Conn, values: Mapping[str, object], but: int = 0) -> Occupancy | None:
    """An occupancy of the same person in the same unit that shares days with these; the one with the id `but` may."""
    rows = await rows_of(conn, _OVERLAPPING_OCCUPANCY, {**values, "but": but})
    return _occupancy(rows[0]) if rows else None


async def insert_occupancy(conn: Conn, values: Mapping[str, object]) -> Occupancy:
    """A new occupancy."""
    occupancy_id = await new_id(conn, _INSERT_OCCUPANCY, values)
    return _occupancy((await rows_of(conn, _OCCUPANCY_BY_ID, (occupancy_id,)))[0])


async def locked_occupancy(conn: Conn, occupancy_id: int) -> Occupancy | None:
    """An occupancy that nobody else changes until the transaction ends."""
    await conn.execute(_LOCK_OCCUPANCY, (occupancy_id,))
    rows = await rows_of(conn, _OCCUPANCY_BY_ID, (occupancy_id,))
    return _occupancy(rows[0]) if rows else None


async def end_occupancy(conn: Conn, occupancy_id: int, valid_until: date | None) -> None:
    """The first day that it does not hold any more; None: it goes on."""
    await conn.execute(_END_OCCUPANCY, {"id": occupancy_id, "valid_until": valid_until})


async def delete_occupancy(conn: Conn, occupancy_id: int) -> None:
    """It was never there."""
    await conn.execute(_DELETE_OCCUPANCY, (occupancy_id,))


async def households(conn: Conn, query: Mapping[str, object]) -> list[Household]:
    """Household filings by id."""
    return [_household(row) for row in await rows_of(conn, _HOUSEHOLDS, query)]


async def overlapping_household(conn: Conn, values: Mapping[str, object], but: int = 0) -> Household | None:
    """A filing of the same unit that shares days with these; the one with the id `but` may."""
    rows = await rows_of(conn, _OVERLAPPING_HOUSEHOLD, {**values, "but": but})
    return _household(rows[0]) if rows else None


async def insert_household(conn: Conn, values: Mapping[str, object]) -> int:
    """A new filing; returns the id."""
    return await new_id(conn, _INSERT_HOUSEHOLD, values)


async def locked_household(conn: Conn, household_id: int) -> Household | None:
    """A filing that nobody else changes until the transaction ends."""
    rows = await rows_of(conn, _HOUSEHOLD_BY_ID, (household_id,))
    return _household(rows[0]) if rows else None


async def locked_households(conn: Conn, unit_id: int) -> list[Household]:
    """All filings of a unit by day; nobody else changes them until the transaction ends."""
    return [_household(row) for row in await rows_of(conn, _HOUSEHOLDS_OF_UNIT, (unit_id,))]


async def change_household(conn: Conn, household_id: int, persons: int, valid_until: date | None) -> None:
    """Another number of persons, or another first day that it does not hold any more; None: it goes on."""
    await conn.execute(_CHANGE_HOUSEHOLD, {"id": household_id, "persons": persons, "valid_until": valid_until})


async def delete_household(conn: Conn, household_id: int) -> None:
    """It was never filed."""
    await conn.execute(_DELETE_HOUSEHOLD, (household_id,))


async def households_between(conn: Conn, unit_ids: Sequence[int], start: date, end: date) -> list[Household]:
    """Filings of these units on some day of [start, end), by unit and day."""
    values = {"unit_ids": list(unit_ids), "start": start, "end": end}
    return [_household(row) for row in await rows_of(conn, _HOUSEHOLDS_BETWEEN, values)]


async def household_persons(conn: Conn, unit_ids: Sequence[int], on: date) -> dict[int, int]:
    """Filed persons by unit on a day; units without a filing are absent."""
    rows = await rows_of(conn, _HOUSEHOLD_PERSONS, {"unit_ids": list(unit_ids), "valid_on": on})
    return {row["unit_id"]: row["persons"] for row in rows}


def _occupancy(row: Row) -> Occupancy:
    return Occupancy(valid=validity_of(row), **row)


def _household(row: Row) -> Household:
    return Household(valid=validity_of(row), **row)
