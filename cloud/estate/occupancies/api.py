"""REST: who lives or works where, and how many persons are filed for a unit."""

from typing import Annotated

from fastapi import Query

from cloud.estate import service as estate
from cloud.estate.models import (
    EstateQuery,
    HouseholdChange,
    HouseholdIn,
    HouseholdOut,
    OccupancyChange,
    OccupancyIn,
    OccupancyOut,
)
from cloud.estate.occupancies import moves, service
from cloud.estate.occupancies.models import MoveOut, MoveQuery
from cloud.identity.guards import Scope, allow
from cloud.kit.idempotency import Once
from cloud.kit.inputs import Id, Listed
from cloud.kit.routing import rest_router

router = rest_router("estate")

Reading = Annotated[Scope, allow("estate.read")]
ReadingPeople = Annotated[Scope, allow("people.read")]
WritingPeople = Annotated[Scope, allow("people.write")]
Wanted = Annotated[EstateQuery, Query()]


@router.get("/occupancies")
async def list_occupancies(scope: Reading, query: Wanted) -> Listed[OccupancyOut]:
    """Who lives or works where, by id."""
    page = await estate.list_occupancies(scope.conn, query.page(), query.wanted())
    return Listed(items=[OccupancyOut.model_validate(row) for row in page.items], next_cursor=page.next_cursor)


@router.post("/occupancies", status_code=201)
async def create_occupancy(body: OccupancyIn, scope: WritingPeople, once: Once) -> OccupancyOut:
    """A person moves into a unit."""

    async def make() -> OccupancyOut:
        return OccupancyOut.model_validate(await service.create_occupancy(scope.conn, **body.model_dump()))

    return await once.answer(scope.conn, OccupancyOut, make)


@router.patch("/occupancies/{occupancy_id}")
async def change_occupancy(occupancy_id: Id, body: OccupancyChange, scope: WritingPeople) -> OccupancyOut:
    """A person moves out, on a day to come or one that has passed."""
    return OccupancyOut.model_validate(await service.end_occupancy(scope.conn, occupancy_id, body.valid_until))


@router.delete("/occupancies/{occupancy_id}", status_code=204)
async def delete_occupancy(occupancy_id: Id, scope: WritingPeople) -> None:
    """Takes back an entry that was wrong from the start; the audit trail keeps it."""
    await service.delete_occupancy(scope.conn, occupancy_id)


@router.get("/occupancy-moves")
async def list_moves(scope: ReadingPeople, query: Annotated[MoveQuery, Query()]) -> Listed[MoveOut]:
    """Who moved in and out, latest day first; whose account goes on after he left, or ended while he lives there."""
    page = await moves.list_moves(scope.conn, query.page(key_length=3), query.wanted())
    return Listed(items=[MoveOut.model_validate(row) for row in page.items], next_cursor=page.next_cursor)


@router.get("/households")
async def list_households(scope: Reading, query: Wanted) -> Listed[HouseholdOut]:
    """Filed numbers of persons, by id."""
    page = await estate.list_households(scope.conn, query.page(), query.wanted())
    return Listed(items=[HouseholdOut.model_validate(row) for row in page.items], next_cursor=page.next_cursor)


@router.post("/households", status_code=201)
async def create_household(body: HouseholdIn, scope: WritingPeople, once: Once) -> HouseholdOut:
    """Files how many persons live in a unit. Bills of days that were charged already are rated again at night."""

    async def make() -> HouseholdOut:
        return HouseholdOut.model_validate(await service.create_household(scope.conn, **body.model_dump()))

    return await once.answer(scope.conn, HouseholdOut, make)


@router.patch("/households/{household_id}")
async def change_household(household_id: Id, body: HouseholdChange, scope: WritingPeople) -> HouseholdOut:
    """Ends a filing, takes its end back, or puts its number right; what bills charged is rated again at night."""
    found = await service.change_household(
        scope.conn,
        household_id,
        persons=body.persons,
        valid_until=body.valid_until if "valid_until" in body.model_fields_set else "kept",
    )
    return HouseholdOut.model_validate(found)


@router.delete("/households/{household_id}", status_code=204)
async def delete_household(household_id: Id, scope: WritingPeople) -> None:
    """Takes back a filing that was wrong from the start; what bills charged by it is rated again at night."""
    await service.delete_household(scope.conn, household_id)
