"""Rules of the estate. Callers own the transaction; row-level security narrows what they see."""

import re
from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import date
from decimal import Decimal

from cloud.estate import repository
from cloud.estate.dated import dates, must_be_in, unknown
from cloud.estate.occupancies import repository as living
from cloud.estate.occupancies.service import create_household as create_household
from cloud.estate.occupancies.service import create_occupancy as create_occupancy
from cloud.estate.occupancies.service import end_occupancy as end_occupancy
from cloud.estate.records import (
    Account,
    Building,
    Household,
    Occupancy,
    Person,
    Project,
    Unit,
    UnitKind,
)
from cloud.estate.repository import SealedPerson
from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, InvalidInput, NotFound
from cloud.kit.money import MOST_DIGITS, minor_digits
from cloud.kit.paging import Page, PageRequest, after_id, cut
from cloud.kit.periods import Period, known_zone
from cloud.kit.security import Sealer, mask_id_number, mask_phone

PHONE = "person.phone"
ID_NUMBER = "person.id_number"
"""Columns that sealed values are bound to."""


@dataclass(frozen=True, slots=True)
class EstateFilter:
    """Which rows of a list are wanted; None: any. `valid_on` is a local date."""

    project_id: int | None = None
    building_id: int | None = None
    unit_id: int | None = None
    person_id: int | None = None
    kind: UnitKind | None = None
    code: str | None = None
    number: str | None = None
    valid_on: date | None = None


async def create_project(conn: Conn, code: str, name: str, time_zone: str, currency: str, address: str = "") -> Project:
    """A new project. Only administration may (owner or system).

    Raises InvalidInput for an unknown time zone, a currency that is no ISO 4217 code, or one whose amounts have more
    than two decimals.
    """
    known_zone(time_zone)
    if not re.fullmatch("[A-Z]{3}", currency):
        raise InvalidInput(
            "unknown-currency", f"expected three capital letters such as CNY, got {currency}", field="currency"
        )
    if minor_digits(currency) > MOST_DIGITS:
        raise InvalidInput(
            "currency-not-kept",
            f"amounts in {currency} have {minor_digits(currency)} decimals: only currencies with at most {MOST_DIGITS}"
            " can be kept",
            field="currency",
        )
    values = {"code": code, "name": name, "time_zone": time_zone, "currency": currency, "address": address}
    return await repository.insert_project(conn, values)


async def projects(conn: Conn) -> list[Project]:
    """The asker's projects by id."""
    return await repository.projects(conn)


async def get_project(conn: Conn, project_id: int) -> Project:
    """One project. Raises NotFound."""
    found = await repository.project(conn, project_id)
    if found is None:
        raise NotFound("no-such-project", f"there is no project {project_id}", field="project_id")
    return found


async def create_building(conn: Conn, project_id: int, code: str, name: str) -> Building:
    """A new building. Raises NotFound (project)."""
    await get_project(conn, project_id)
    return await repository.insert_building(conn, {"project_id": project_id, "code": code, "name": name})


async def list_buildings(conn: Conn, request: PageRequest, wanted: EstateFilter = EstateFilter()) -> Page[Building]:
    """Buildings by id."""
    return cut(await repository.buildings(conn, _query(request, wanted)), request, lambda row: (row.id,))


async def get_building(conn: Conn, building_id: int) -> Building:
    """One building. Raises NotFound."""
    found = await repository.building(conn, building_id)
    if found is None:
        raise NotFound("no-such-building", f"there is no building {building_id}", field="building_id")
    return found


async def create_unit(
    conn: Conn,
    project_id: int,
    building_id: int,
    code: str,
    *,
    kind: UnitKind = "residential",
    floor: int | None = None,
    area: Decimal | None = None,
) -> Unit:
    """A new unit; `area` in square metres. Raises InvalidInput when the building is not one of the project's."""
    building = await repository.building(conn, building_id)
    if building is None or building.project_id != project_id:
        raise unknown("building", building_id, project_id)
    values = {
        "project_id": project_id,
        "building_id": building_id,
        "code": code,
        "kind": kind,
        "floor": floor,
        "area": area,
    }
    unit_id = await repository.insert_unit(conn, values)
    return Unit(unit_id, project_id, building_id, building.name, code, kind, floor, area)


async def list_units(conn: Conn, request: PageRequest, wanted: EstateFilter = EstateFilter()) -> Page[Unit]:
    """Units by id; `wanted.code` is the beginning of the code."""
    return cut(await repository.units(conn, _query(request, wanted)), request, lambda row: (row.id,))


async def units_by_id(conn: Conn, ids: Collection[int]) -> dict[int, Unit]:
    """The units among `ids` that the asker may see."""
    return await repository.units_by_id(conn, list(ids))


async def create_person(
    conn: Conn,
    sealer: Sealer,
    project_id: int,
    name: str,
    phone: str | None = None,
    id_number: str | None = None,
    email: str | None = None,
) -> Person:
    """A new person; phone and ID number are sealed before they are stored. Returned masked. Raises NotFound."""
    await get_project(conn, project_id)
    values = {
        "project_id": project_id,
        "name": name,
        "phone_sealed": sealer.seal(phone, PHONE) if phone else None,
        "phone_index": sealer.blind_index("phone", phone) if phone else None,
        "id_number_sealed": sealer.seal(id_number, ID_NUMBER) if id_number else None,
        "id_number_index": sealer.blind_index("id_number", id_number) if id_number else None,
        "email": email,
    }
    person_id = await repository.insert_person(conn, values)
    masked_phone = mask_phone(phone) if phone else None
    return Person(person_id, project_id, name, masked_phone, mask_id_number(id_number) if id_number else None, email)


async def list_people(
    conn: Conn,
    sealer: Sealer,
    request: PageRequest,
    *,
    project_id: int | None = None,
    name: str | None = None,
    phone: str | None = None,
    id_number: str | None = None,
    full_in: Collection[int] = (),
) -> Page[Person]:
    """People by id: part of a name, or exactly a phone or ID number.

    Phones and e-mail addresses are shown in full in projects `full_in`. A search by phone or ID number tells as much
    as seeing it: callers let only those search who may.
    """
    query = {
        **_paging(request),
        "project_id": project_id,
        "name": name,
        "phone_index": sealer.blind_index("phone", phone) if phone else None,
        "id_number_index": sealer.blind_index("id_number", id_number) if id_number else None,
    }
    rows = [_opened(row, sealer, full_in) for row in await repository.people(conn, query)]
    return cut(rows, request, lambda person: (person.id,))


async def people_by_id(
    conn: Conn, sealer: Sealer, ids: Collection[int], *, full_in: Collection[int] = ()
) -> dict[int, Person]:
    """The people among `ids` that the asker may see. Phones and e-mail are shown in full in projects `full_in`."""
    found = await repository.people_by_id(conn, list(ids))
    return {person_id: _opened(row, sealer, full_in) for person_id, row in found.items()}


async def project_of_person(conn: Conn, person_id: int) -> int:
    """The project that a person belongs to. Raises NotFound."""
    found = (await repository.people_by_id(conn, [person_id])).get(person_id)
    if found is None:
        raise NotFound("no-such-person", f"there is no person {person_id}", field="person_id")
    return found.project_id


async def change_email(conn: Conn, person_id: int, email: str | None) -> None:
    """Another e-mail address of a person, or none. Raises NotFound."""
    await project_of_person(conn, person_id)
    await repository.set_email(conn, person_id, email)


async def emails_of(conn: Conn, ids: Collection[int]) -> dict[int, str]:
    """E-mail addresses in full of those among `ids` who have one: to write to them, never to show."""
    return await repository.emails(conn, list(ids))


def _opened(row: SealedPerson, sealer: Sealer, full_in: Collection[int]) -> Person:
    phone = sealer.open(row.phone_sealed, PHONE) if row.phone_sealed else None
    if phone is not None and row.project_id not in full_in:
        phone = mask_phone(phone)
    id_number = mask_id_number(sealer.open(row.id_number_sealed, ID_NUMBER)) if row.id_number_sealed else None
    email = row.email if row.project_id in full_in else None
    return Person(row.id, row.project_id, row.name, phone, id_number, email)


async def list_occupancies(conn: Conn, request: PageRequest, wanted: EstateFilter = EstateFilter()) -> Page[Occupancy]:
    """Occupancies by id."""
    return cut(await living.occupancies(conn, _query(request, wanted)), request, lambda row: (row.id,))


async def occupants(conn: Conn, unit_ids: Collection[int], on: date) -> dict[int, list[Occupancy]]:
    """Who lives or works in the units on a local day; units without anybody are absent."""
    found: dict[int, list[Occupancy]] = {}
    for one in await living.occupants(conn, list(unit_ids), on):
        found.setdefault(one.unit_id, []).append(one)
    return found


async def occupancies_between(conn: Conn, unit_ids: Collection[int], period: Period) -> list[Occupancy]:
    """Who lived or worked in the units on some day of the period, by unit."""
    return await living.occupancies_between(conn, sorted(set(unit_ids)), period.start, period.end)


async def list_households(conn: Conn, request: PageRequest, wanted: EstateFilter = EstateFilter()) -> Page[Household]:
    """Household filings by id."""
    return cut(await living.households(conn, _query(request, wanted)), request, lambda row: (row.id,))


async def households_between(conn: Conn, unit_ids: Collection[int], period: Period) -> list[Household]:
    """Filings of the units on some day of the period, by unit and day."""
    return await living.households_between(conn, sorted(set(unit_ids)), period.start, period.end)


async def household_persons(conn: Conn, unit_ids: Collection[int], on: date) -> dict[int, int]:
    """Filed persons by unit on a local day; units without a filing are absent."""
    return await living.household_persons(conn, list(unit_ids), on)


async def create_account(
    conn: Conn,
    project_id: int,
    number: str,
    unit_id: int | None,
    person_id: int,
    valid_from: date,
    valid_until: date | None = None,
) -> Account:
    """Who pays, for a unit or without one. Raises InvalidInput (unknown unit or person), Conflict (number taken)."""
    values = {"project_id": project_id, "number": number, "unit_id": unit_id, "person_id": person_id}
    dated = {**values, **dates(valid_from, valid_until)}
    await must_be_in(conn, project_id, unit_id=unit_id, person_id=person_id)
    same = await repository.accounts(conn, _query(PageRequest(1), EstateFilter(project_id=project_id, number=number)))
    if same:
        raise Conflict("already-exists", f"account {same[0].id} has the number {number} already", field="number")
    account_id = await repository.insert_account(conn, dated)
    return (await repository.accounts_by_id(conn, [account_id]))[account_id]


async def end_account(conn: Conn, account_id: int, ends_on: date) -> None:
    """The account is valid up to, not including, `ends_on`, a day after it began; an earlier end stays."""
    await repository.end_account(conn, account_id, ends_on)


async def list_accounts(conn: Conn, request: PageRequest, wanted: EstateFilter = EstateFilter()) -> Page[Account]:
    """Accounts by id."""
    return cut(await repository.accounts(conn, _query(request, wanted)), request, lambda row: (row.id,))


async def get_account(conn: Conn, account_id: int) -> Account:
    """One account. Raises NotFound."""
    found = (await accounts_by_id(conn, [account_id])).get(account_id)
    if found is None:
        raise NotFound("no-such-account", f"there is no account {account_id}", field="account_id")
    return found


async def accounts_by_id(conn: Conn, ids: Collection[int]) -> dict[int, Account]:
    """The accounts among `ids` that the asker may see."""
    return await repository.accounts_by_id(conn, list(ids))


def _paging(request: PageRequest) -> dict[str, object]:
    return {"after": after_id(request), "limit": request.limit + 1}


def _query(request: PageRequest, wanted: EstateFilter) -> dict[str, object]:
    return {**_paging(request), **asdict(wanted)}
