"""SQL of projects, buildings, units, people and accounts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, LiteralString

from cloud.estate.records import Account, Building, Project, Unit, Validity
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
    return [Project(**row) for row in await rows_of(conn, _PROJECTS)]


async def project(conn: Conn, project_id: int) -> Project | None:
    """One project."""
    rows = await rows_of(conn, _PROJECT_BY_ID, (project_id,))
    return Project(**rows[0]) if rows else None


async def insert_project(conn: Conn, values: Mapping[str, object]) -> Project:
    """A new project."""
    return Project(**(await rows_of(conn, _INSERT_PROJECT, values))[0])


async def buildings(conn: Conn, query: Mapping[str, object]) -> list[Building]:
    """Buildings by id."""
    return [Building(**row) for row in await rows_of(conn, _BUILDINGS, query)]


async def building(conn: Conn, building_id: int) -> Building | None:
    """One building."""
    rows = await rows_of(conn, _BUILDING, (building_id,))
    return Building(**rows[0]) if rows else None


async def insert_building(conn: Conn, values: Mapping[str, object]) -> Building:
    """A new building."""
    return Building(**(await rows_of(conn, _INSERT_BUILDING, values))[0])


async def units(conn: Conn, query: Mapping[str, object]) -> list[Unit]:
    """Units by id."""
    return [Unit(**row) for row in await rows_of(conn, _UNITS, query)]


async def units_by_id(conn: Conn, ids: Sequence[int]) -> dict[int, Unit]:
    """The units among `ids` that the asker may see."""
    return {row["id"]: Unit(**row) for row in await rows_of(conn, _UNITS_BY_ID, (list(ids),))}


async def insert_unit(conn: Conn, values: Mapping[str, object]) -> int:
    """A new unit; returns the id."""
    return await new_id(conn, _INSERT_UNIT, values)


async def people(conn: Conn, query: Mapping[str, object]) -> list[SealedPerson]:
    """People by id, sealed."""
    return [SealedPerson(**row) for row in await rows_of(conn, _PEOPLE, query)]


async def people_by_id(conn: Conn, ids: Sequence[int]) -> dict[int, SealedPerson]:
    """The people among `ids` that the asker may see, sealed."""
    return {row["id"]: SealedPerson(**row) for row in await rows_of(conn, _PEOPLE_BY_ID, (list(ids),))}


async def emails(conn: Conn, ids: Sequence[int]) -> dict[int, str]:
    """E-mail addresses of the people who have one, by id."""
    return {row["id"]: row["email"] for row in await rows_of(conn, _EMAILS, (list(ids),))}


async def set_email(conn: Conn, person_id: int, email: str | None) -> None:
    """Writes the e-mail address of a person."""
    await conn.execute(_SET_EMAIL, {"id": person_id, "email": email})


async def insert_person(conn: Conn, values: Mapping[str, object]) -> int:
    """A new person; returns the id."""
    return await new_id(conn, _INSERT_PERSON, values)


async def accounts(conn: Conn, query: Mapping[str, object]) -> list[Account]:
    """Accounts by id."""
    return [_account(row) for row in await rows_of(conn, _ACCOUNTS, query)]


async def accounts_by_id(conn: Conn, ids: Sequence[int]) -> dict[int, Account]:
    """The accounts among `ids` that the asker may see."""
    return {row["id"]: _account(row) for row in await rows_of(conn, _ACCOUNTS_BY_ID, (list(ids),))}


async def insert_account(conn: Conn, values: Mapping[str, object]) -> int:
    """A new account; returns the id."""
    return await new_id(conn, _INSERT_ACCOUNT, values)


async def end_account(conn: Conn, account_id: int, ends_on: date) -> None:
    """The account is valid up to, not including, that day."""
    await conn.execute(_END_ACCOUNT, {"id": account_id, "ends_on": ends_on})


async def rows_of(
    conn: Conn, statement: LiteralString, values: Mapping[str, object] | Sequence[object] | None = None
) -> list[Row]:
    """All rows of a statement."""
    return await (await conn.execute(statement, values)).fetchall()


async def new_id(conn: Conn, statement: LiteralString, values: Mapping[str, object]) -> int:
    """The id of the row that a statement makes."""
    return int((await rows_of(conn, statement, values))[0]["id"])


def validity_of(row: Row) -> Validity:
    """Takes the two dates out of a row."""
    return Validity(row.pop("valid_from"), row.pop("valid_until"))


def _account(row: Row) -> Account:
    return Account(valid=validity_of(row), **row)
