"""Rules of occupancies and of persons filed for households. Callers own the transaction.

Days that are changed afterwards are told onwards by triggers: usage of occupancies is judged again, bills of households
are rated again.
"""

from dataclasses import replace
from datetime import date
from typing import Literal

from cloud.estate.dated import dates, must_be_in, overlap
from cloud.estate.occupancies import repository
from cloud.estate.records import Household, Occupancy, OccupancyRole, Validity
from cloud.kit.db import Conn
from cloud.kit.errors import NotFound


async def create_occupancy(
    conn: Conn,
    project_id: int,
    unit_id: int,
    person_id: int,
    role: OccupancyRole,
    valid_from: date,
    valid_until: date | None = None,
) -> Occupancy:
    """From when to when a person lives or works in a unit (end exclusive).

    Raises InvalidInput (unknown unit or person, dates), Conflict naming the occupancy that overlaps.
    """
    values = {"project_id": project_id, "unit_id": unit_id, "person_id": person_id, "role": role}
    dated = {**values, **dates(valid_from, valid_until)}
    await must_be_in(conn, project_id, unit_id=unit_id, person_id=person_id)
    other = await repository.overlapping_occupancy(conn, dated)
    if other is not None:
        raise overlap("occupancy", other.id, other.valid)
    return await repository.insert_occupancy(conn, dated)


async def end_occupancy(conn: Conn, occupancy_id: int, valid_until: date | None) -> Occupancy:
    """Somebody moves out: `valid_until` is the first day that is not his any more, to come or passed; None: he has not.

    Raises NotFound, InvalidInput for a day before the second one, Conflict when he is there again in between.
    """
    found = await locked_occupancy(conn, occupancy_id)
    days = dates(found.valid.start, valid_until)
    other = await repository.overlapping_occupancy(
        conn, {"unit_id": found.unit_id, "person_id": found.person_id, **days}, but=occupancy_id
    )
    if other is not None:
        raise overlap("occupancy", other.id, other.valid)
    await repository.end_occupancy(conn, occupancy_id, valid_until)
    return replace(found, valid=Validity(found.valid.start, valid_until))


async def delete_occupancy(conn: Conn, occupancy_id: int) -> Occupancy:
    """Takes back an entry that was wrong from the start: nobody lived there. Raises NotFound."""
    found = await locked_occupancy(conn, occupancy_id)
    await repository.delete_occupancy(conn, occupancy_id)
    return found


async def locked_occupancy(conn: Conn, occupancy_id: int) -> Occupancy:
    """An occupancy that nobody else changes until the transaction ends. Raises NotFound."""
    found = await repository.locked_occupancy(conn, occupancy_id)
    if found is None:
        raise NotFound("no-such-occupancy", f"there is no occupancy {occupancy_id}", field="occupancy_id")
    return found


async def create_household(
    conn: Conn, project_id: int, unit_id: int, persons: int, valid_from: date, valid_until: date | None = None
) -> Household:
    """Files how many persons live in a unit. Raises InvalidInput, Conflict naming the filing that overlaps."""
    values = {"project_id": project_id, "unit_id": unit_id, "persons": persons, **dates(valid_from, valid_until)}
    await must_be_in(conn, project_id, unit_id=unit_id)
    other = await repository.overlapping_household(conn, values)
    if other is not None:
        raise overlap("household", other.id, other.valid)
    household_id = await repository.insert_household(conn, values)
    return Household(household_id, project_id, unit_id, persons, Validity(valid_from, valid_until))


async def change_household(
    conn: Conn, household_id: int, *, persons: int | None = None, valid_until: date | Literal["kept"] | None = "kept"
) -> Household:
    """Puts a filing right: another number of persons for all its days, or another end (None: it goes on).

    Raises NotFound, InvalidInput for an end before the second day, Conflict where another number is filed by then.
    """
    found = await _locked_household(conn, household_id)
    end = found.valid.end if valid_until == "kept" else valid_until
    days = dates(found.valid.start, end)
    other = await repository.overlapping_household(conn, {"unit_id": found.unit_id, **days}, but=household_id)
    if other is not None:
        raise overlap("household", other.id, other.valid)
    changed = replace(
        found, persons=found.persons if persons is None else persons, valid=Validity(found.valid.start, end)
    )
    await repository.change_household(conn, household_id, changed.persons, end)
    return changed


async def delete_household(conn: Conn, household_id: int, *, go_back: bool = False) -> Household:
    """Takes back a filing that was wrong from the start. `go_back`: the number before it holds for its days again.

    Raises NotFound.
    """
    found = await _locked_household(conn, household_id)
    filed = await repository.locked_households(conn, found.unit_id)
    await repository.delete_household(conn, household_id)
    before = next((one for one in filed if one.valid.end == found.valid.start), None)
    if go_back and before is not None:
        await repository.change_household(conn, before.id, before.persons, found.valid.end)
    return found


async def file_persons(conn: Conn, project_id: int, unit_id: int, persons: int, from_day: date) -> Household:
    """How many persons live in a unit from a day on, up to the next day from which a number is filed.

    What holds until then ends. Raises InvalidInput for an unknown unit.
    """
    await must_be_in(conn, project_id, unit_id=unit_id)
    filed = await repository.locked_households(conn, unit_id)
    now = next((one for one in filed if one.valid.contains(from_day)), None)
    if now is None:
        following = min((one.valid.start for one in filed if one.valid.start > from_day), default=None)
        return await create_household(conn, project_id, unit_id, persons, from_day, following)
    if now.persons == persons:
        return now
    if now.valid.start == from_day:
        return await change_household(conn, now.id, persons=persons)
    await repository.change_household(conn, now.id, now.persons, from_day)
    return await create_household(conn, project_id, unit_id, persons, from_day, now.valid.end)


async def _locked_household(conn: Conn, household_id: int) -> Household:
    found = await repository.locked_household(conn, household_id)
    if found is None:
        raise NotFound("no-such-household", f"there is no filing {household_id}", field="household_id")
    return found
