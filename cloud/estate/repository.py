"""All SQL of the estate."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, LiteralString

from cloud.estate.records import Account, Building, Household, Occupancy, Project, Unit, Validity
from cloud.kit.db import Conn

Row = dict[str, Any]

_PROJECT: LiteralString = "SELECT id, code, name, time_zone, currency, address FROM project"
_PROJECTS: LiteralString = _PROJECT + " ORDER BY id"
_PROJECT_BY_ID: LiteralString = _PROJECT + " WHERE id = %s"
_INSERT_PROJECT: LiteralString = """
    INSERT INTO project (code, name, time_zone, currency, address)
    VALUES (%(code)s, %(name)s, %(time_zone)s, %(currency)s, %(address)s)
    RETURNING id, code, name, time_zone, currency, address
"""

_BUILDINGS: LiteralString = """
    SELECT id, project_id, code, name FROM building
    WHERE id > %(after)s AND (%(project_id)s::bigint IS NULL OR project_id = %(project_id)s)
    ORDER BY id LIMIT %(limit)s
"""
_BUILDING: LiteralString = "SELECT id, project_id, code, name FROM building WHERE id = %s"
_INSERT_BUILDING: LiteralString = """
    INSERT INTO building (project_id, code, name) VALUES (%(project_id)s, %(code)s, %(name)s)
    RETURNING id, project_id, code, name
"""

_UNIT: LiteralString = """
    SELECT u.id, u.project_id, u.building_id, b.name AS building_name, u.code, u.kind, u.floor, u.area
    FROM unit u JOIN building b ON b.id = u.building_id
"""
_UNITS: LiteralString = (
    _UNIT
    + """
    WHERE u.id > %(after)s
      AND (%(project_id)s::bigint IS NULL OR u.project_id = %(project_id)s)
      AND (%(building_id)s::bigint IS NULL OR u.building_id = %(building_id)s)
      AND (%(kind)s::text IS NULL OR u.kind = %(kind)s)
      AND (%(code)s::text IS NULL OR starts_with(u.code, %(code)s))
    ORDER BY u.id LIMIT %(limit)s
"""
)
_UNITS_BY_ID: LiteralString = _UNIT + " WHERE u.id = ANY (%s)"
_INSERT_UNIT: LiteralString = """
    INSERT INTO unit (project_id, building_id, code, kind, floor, area)
    VALUES (%(project_id)s, %(building_id)s, %(code)s, %(kind)s, %(floor)s, %(area)s) RETURNING id
"""

_PERSON: LiteralString = "SELECT id, project_id, name, phone_sealed, id_number_sealed, email FROM person"
_PEOPLE: LiteralString = (
    _PERSON
    + """
    WHERE id > %(after)s
      AND (%(project_id)s::bigint IS NULL OR project_id = %(project_id)s)
      AND (%(name)s::text IS NULL OR strpos(lower(name), lower(%(name)s)) > 0)
      AND (%(phone_index)s::bytea IS NULL OR phone_index = %(phone_index)s)
      AND (%(id_number_index)s::bytea IS NULL OR id_number_index = %(id_number_index)s)
    ORDER BY id LIMIT %(limit)s
"""
)
_PEOPLE_BY_ID: LiteralString = _PERSON + " WHERE id = ANY (%s)"
_EMAILS: LiteralString = "SELECT id, email FROM person WHERE id = ANY (%s) AND email <> ''"
_SET_EMAIL: LiteralString = "UPDATE person SET email = %(email)s WHERE id = %(id)s"
_INSERT_PERSON: LiteralString = """
    INSERT INTO person (project_id, name, phone_sealed, phone_index, id_number_sealed, id_number_index, email)
    VALUES (%(project_id)s, %(name)s, %(phone_sealed)s, %(phone_index)s, %(id_number_sealed)s, %(id_number_index)s,
            %(email)s)
    RETURNING id
"""

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
    WHERE unit_id = %(unit_id)s AND valid && daterange(%(valid_from)s, %(valid_until)s) ORDER BY id LIMIT 1
"""
)
_INSERT_HOUSEHOLD: LiteralString = """
    INSERT INTO household (project_id, unit_id, persons, valid)
    VALUES (%(project_id)s, %(unit_id)s, %(persons)s, daterange(%(valid_from)s, %(valid_until)s))
    RETURNING id
"""
_HOUSEHOLD_PERSONS: LiteralString = """
    SELECT unit_id, persons FROM household WHERE unit_id = ANY (%(unit_ids)s) AND valid @> %(valid_on)s::date
"""
_HOUSEHOLDS_BETWEEN: LiteralString = (
    _HOUSEHOLD
    + """
    WHERE unit_id = ANY (%(unit_ids)s) AND valid && daterange(%(start)s, %(end)s) ORDER BY unit_id, valid
"""
)

_ACCOUNT: LiteralString = """
    SELECT a.id, a.project_id, a.number, a.unit_id, a.person_id, p.name AS person_name,
           coalesce(b.name || ' ' || u.code, '') AS unit_label, coalesce(b.name, '') AS building_name,
           lower(a.valid) AS valid_from, upper(a.valid) AS valid_until
    FROM account a JOIN person p ON p.id = a.person_id
    LEFT JOIN unit u ON u.id = a.unit_id LEFT JOIN building b ON b.id = u.building_id
"""
_ACCOUNTS: LiteralString = (
    _ACCOUNT
    + """
    WHERE a.id > %(after)s
      AND (%(project_id)s::bigint IS NULL OR a.project_id = %(project_id)s)
      AND (%(unit_id)s::bigint IS NULL OR a.unit_id = %(unit_id)s)
      AND (%(person_id)s::bigint IS NULL OR a.person_id = %(person_id)s)
      AND (%(number)s::text IS NULL OR a.number = %(number)s)
      AND (%(valid_on)s::date IS NULL OR a.valid @> %(valid_on)s::date)
    ORDER BY a.id LIMIT %(limit)s
"""
)
_ACCOUNTS_BY_ID: LiteralString = _ACCOUNT + " WHERE a.id = ANY (%s)"
_END_ACCOUNT: LiteralString = """
    UPDATE account SET valid = daterange(lower(valid), %(ends_on)s)
    WHERE id = %(id)s AND (upper_inf(valid) OR upper(valid) > %(ends_on)s)
"""
_INSERT_ACCOUNT: LiteralString = """
    INSERT INTO account (project_id, number, unit_id, person_id, valid)
    VALUES (%(project_id)s, %(number)s, %(unit_id)s, %(person_id)s, daterange(%(valid_from)s, %(valid_until)s))
    RETURNING id
"""


@dataclass(frozen=True, slots=True)
class SealedPerson:
    """A person as stored."""

    id: int
    project_id: int
    name: str
    phone_sealed: bytes | None
    id_number_sealed: bytes | None
    email: str | None


async def projects(conn: Conn) -> list[Project]:
    """The asker's projects."""
    return [Project(**row) for row in await _all(conn, _PROJECTS)]


async def project(conn: Conn, project_id: int) -> Project | None:
    """One project."""
    rows = await _all(conn, _PROJECT_BY_ID, (project_id,))
    return Project(**rows[0]) if rows else None


async def insert_project(conn: Conn, values: Mapping[str, object]) -> Project:
    """A new project."""
    return Project(**(await _all(conn, _INSERT_PROJECT, values))[0])


async def buildings(conn: Conn, query: Mapping[str, object]) -> list[Building]:
    """Buildings by id."""
    return [Building(**row) for row in await _all(conn, _BUILDINGS, query)]


async def building(conn: Conn, building_id: int) -> Building | None:
    """One building."""
    rows = await _all(conn, _BUILDING, (building_id,))
    return Building(**rows[0]) if rows else None


async def insert_building(conn: Conn, values: Mapping[str, object]) -> Building:
    """A new building."""
    return Building(**(await _all(conn, _INSERT_BUILDING, values))[0])


async def units(conn: Conn, query: Mapping[str, object]) -> list[Unit]:
    """Units by id."""
    return [Unit(**row) for row in await _all(conn, _UNITS, query)]


async def units_by_id(conn: Conn, ids: Sequence[int]) -> dict[int, Unit]:
    """The units among `ids` that the asker may see."""
    return {row["id"]: Unit(**row) for row in await _all(conn, _UNITS_BY_ID, (list(ids),))}


async def insert_unit(conn: Conn, values: Mapping[str, object]) -> int:
    """A new unit; returns the id."""
    return await _new_id(conn, _INSERT_UNIT, values)


async def people(conn: Conn, query: Mapping[str, object]) -> list[SealedPerson]:
    """People by id, sealed."""
    return [SealedPerson(**row) for row in await _all(conn, _PEOPLE, query)]


async def people_by_id(conn: Conn, ids: Sequence[int]) -> dict[int, SealedPerson]:
    """The people among `ids` that the asker may see, sealed."""
    return {row["id"]: SealedPerson(**row) for row in await _all(conn, _PEOPLE_BY_ID, (list(ids),))}


async def emails(conn: Conn, ids: Sequence[int]) -> dict[int, str]:
    """E-mail addresses of the people who have one, by id."""
    return {row["id"]: row["email"] for row in await _all(conn, _EMAILS, (list(ids),))}


async def set_email(conn: Conn, person_id: int, email: str | None) -> None:
    """Writes the e-mail address of a person."""
    await conn.execute(_SET_EMAIL, {"id": person_id, "email": email})


async def insert_person(conn: Conn, values: Mapping[str, object]) -> int:
    """A new person; returns the id."""
    return await _new_id(conn, _INSERT_PERSON, values)


async def occupancies(conn: Conn, query: Mapping[str, object]) -> list[Occupancy]:
    """Occupancies by id."""
    return [_occupancy(row) for row in await _all(conn, _OCCUPANCIES, query)]


async def occupancies_between(conn: Conn, unit_ids: Sequence[int], start: date, end: date) -> list[Occupancy]:
    """Occupancies of the units that touch [start, end), by unit and id."""
    query = {"unit_ids": list(unit_ids), "start": start, "end": end}
    return [_occupancy(row) for row in await _all(conn, _OCCUPANCIES_BETWEEN, query)]


async def occupants(conn: Conn, unit_ids: Sequence[int], on: date) -> list[Occupancy]:
    """Occupancies of the units that hold on a day."""
    return [_occupancy(row) for row in await _all(conn, _OCCUPANTS, {"unit_ids": list(unit_ids), "valid_on": on})]


async def overlapping_occupancy(conn: Conn, values: Mapping[str, object], but: int = 0) -> Occupancy | None:
    """An occupancy of the same person in the same unit that shares days with these; the one with the id `but` may."""
    rows = await _all(conn, _OVERLAPPING_OCCUPANCY, {**values, "but": but})
    return _occupancy(rows[0]) if rows else None


async def insert_occupancy(conn: Conn, values: Mapping[str, object]) -> Occupancy:
    """A new occupancy."""
    occupancy_id = await _new_id(conn, _INSERT_OCCUPANCY, values)
    return _occupancy((await _all(conn, _OCCUPANCY_BY_ID, (occupancy_id,)))[0])


async def locked_occupancy(conn: Conn, occupancy_id: int) -> Occupancy | None:
    """An occupancy that nobody else changes until the transaction ends."""
    await conn.execute(_LOCK_OCCUPANCY, (occupancy_id,))
    rows = await _all(conn, _OCCUPANCY_BY_ID, (occupancy_id,))
    return _occupancy(rows[0]) if rows else None


async def end_occupancy(conn: Conn, occupancy_id: int, valid_until: date | None) -> None:
    """The first day that it does not hold any more; None: it goes on."""
    await conn.execute(_END_OCCUPANCY, {"id": occupancy_id, "valid_until": valid_until})


async def households(conn: Conn, query: Mapping[str, object]) -> list[Household]:
    """Household filings by id."""
    return [_household(row) for row in await _all(conn, _HOUSEHOLDS, query)]


async def overlapping_household(conn: Conn, values: Mapping[str, object]) -> Household | None:
    """A filing of the same unit that shares days with the new one."""
    rows = await _all(conn, _OVERLAPPING_HOUSEHOLD, values)
    return _household(rows[0]) if rows else None


async def insert_household(conn: Conn, values: Mapping[str, object]) -> int:
    """A new filing; returns the id."""
    return await _new_id(conn, _INSERT_HOUSEHOLD, values)


async def households_between(conn: Conn, unit_ids: Sequence[int], start: date, end: date) -> list[Household]:
    """Filings of these units on some day of [start, end), by unit and day."""
    values = {"unit_ids": list(unit_ids), "start": start, "end": end}
    return [_household(row) for row in await _all(conn, _HOUSEHOLDS_BETWEEN, values)]


async def household_persons(conn: Conn, unit_ids: Sequence[int], on: date) -> dict[int, int]:
    """Filed persons by unit on a day; units without a filing are absent."""
    rows = await _all(conn, _HOUSEHOLD_PERSONS, {"unit_ids": list(unit_ids), "valid_on": on})
    return {row["unit_id"]: row["persons"] for row in rows}


async def accounts(conn: Conn, query: Mapping[str, object]) -> list[Account]:
    """Accounts by id."""
    return [_account(row) for row in await _all(conn, _ACCOUNTS, query)]


async def accounts_by_id(conn: Conn, ids: Sequence[int]) -> dict[int, Account]:
    """The accounts among `ids` that the asker may see."""
    return {row["id"]: _account(row) for row in await _all(conn, _ACCOUNTS_BY_ID, (list(ids),))}


async def insert_account(conn: Conn, values: Mapping[str, object]) -> int:
    """A new account; returns the id."""
    return await _new_id(conn, _INSERT_ACCOUNT, values)


async def end_account(conn: Conn, account_id: int, ends_on: date) -> None:
    """The account is valid up to, not including, that day."""
    await conn.execute(_END_ACCOUNT, {"id": account_id, "ends_on": ends_on})


async def _all(
    conn: Conn, statement: LiteralString, values: Mapping[str, object] | Sequence[object] | None = None
) -> list[Row]:
    return await (await conn.execute(statement, values)).fetchall()


async def _new_id(conn: Conn, statement: LiteralString, values: Mapping[str, object]) -> int:
    return int((await _all(conn, statement, values))[0]["id"])


def _validity(row: Row) -> Validity:
    return Validity(row.pop("valid_from"), row.pop("valid_until"))


def _occupancy(row: Row) -> Occupancy:
    return Occupancy(valid=_validity(row), **row)


def _household(row: Row) -> Household:
    return Household(valid=_validity(row), **row)


def _account(row: Row) -> Account:
    return Account(valid=_validity(row), **row)
