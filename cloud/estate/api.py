"""REST: projects, buildings, units, people, accounts."""

from typing import Annotated

from fastapi import Query, Request

from cloud.estate import calendar_api, service
from cloud.estate.models import (
    AccountIn,
    AccountOut,
    BuildingIn,
    BuildingOut,
    EstateQuery,
    PeopleQuery,
    PeopleSearchIn,
    PersonChange,
    PersonIn,
    PersonOut,
    ProjectOut,
    UnitIn,
    UnitOut,
)
from cloud.estate.occupancies import api as occupancies_api
from cloud.identity.guards import Scope, allow
from cloud.kit.idempotency import Once
from cloud.kit.inputs import Id, Listed
from cloud.kit.paging import PageRequest
from cloud.kit.routing import rest_router, take_in

router = rest_router("estate")
take_in(router, calendar_api.router, occupancies_api.router)

SEE_PEOPLE = "people.read"

Reading = Annotated[Scope, allow("estate.read")]
Writing = Annotated[Scope, allow("estate.write")]
WritingPeople = Annotated[Scope, allow("people.write")]
Wanted = Annotated[EstateQuery, Query()]


@router.get("/projects")
async def list_projects(scope: Reading) -> Listed[ProjectOut]:
    """Your projects."""
    found = await service.projects(scope.conn)
    return Listed(items=[ProjectOut.model_validate(project) for project in found], next_cursor=None)


@router.get("/buildings")
async def list_buildings(scope: Reading, query: Wanted) -> Listed[BuildingOut]:
    """Buildings by id."""
    page = await service.list_buildings(scope.conn, query.page(), query.wanted())
    return Listed(items=[BuildingOut.model_validate(row) for row in page.items], next_cursor=page.next_cursor)


@router.post("/buildings", status_code=201)
async def create_building(body: BuildingIn, scope: Writing, once: Once) -> BuildingOut:
    """A new building."""

    async def make() -> BuildingOut:
        return BuildingOut.model_validate(await service.create_building(scope.conn, **body.model_dump()))

    return await once.answer(scope.conn, BuildingOut, make)


@router.get("/units")
async def list_units(scope: Reading, query: Wanted) -> Listed[UnitOut]:
    """Units by id: those of your projects, or the ones you live in."""
    page = await service.list_units(scope.conn, query.page(), query.wanted())
    return Listed(items=[UnitOut.model_validate(row) for row in page.items], next_cursor=page.next_cursor)


@router.post("/units", status_code=201)
async def create_unit(body: UnitIn, scope: Writing, once: Once) -> UnitOut:
    """A new unit of a building."""

    async def make() -> UnitOut:
        return UnitOut.model_validate(await service.create_unit(scope.conn, **body.model_dump()))

    return await once.answer(scope.conn, UnitOut, make)


@router.get("/people")
async def list_people(request: Request, scope: Reading, query: Annotated[PeopleQuery, Query()]) -> Listed[PersonOut]:
    """People by id. Phone and e-mail are in full where you hold `people.read`; ID numbers are always masked."""
    page = await service.list_people(
        scope.conn,
        request.app.state.sealer,
        query.page(),
        project_id=query.project_id,
        name=query.name,
        # Residents see no people but themselves.
        full_in=scope.caller.projects if scope.caller.kind == "resident" else scope.caller.access.projects(SEE_PEOPLE),
    )
    return Listed(items=[PersonOut.model_validate(row) for row in page.items], next_cursor=page.next_cursor)


@router.post("/people-searches")
async def search_people(
    request: Request, body: PeopleSearchIn, scope: Annotated[Scope, allow(SEE_PEOPLE)]
) -> Listed[PersonOut]:
    """The first people with exactly this phone or ID number. Changes nothing and may be repeated."""
    page = await service.list_people(
        scope.conn, request.app.state.sealer, PageRequest(), full_in=scope.caller.projects, **body.model_dump()
    )
    return Listed(items=[PersonOut.model_validate(row) for row in page.items], next_cursor=None)


@router.post("/people", status_code=201)
async def create_person(request: Request, body: PersonIn, scope: WritingPeople, once: Once) -> PersonOut:
    """A new person; the answer shows phone and ID number masked."""

    async def make() -> PersonOut:
        made = await service.create_person(scope.conn, request.app.state.sealer, **body.model_dump())
        return PersonOut.model_validate(made)

    return await once.answer(scope.conn, PersonOut, make)


@router.patch("/people/{person_id}")
async def change_person(request: Request, person_id: Id, body: PersonChange, scope: WritingPeople) -> PersonOut:
    """Another e-mail address."""
    await service.change_email(scope.conn, person_id, body.email)
    full_in = scope.caller.access.projects(SEE_PEOPLE)
    found = await service.people_by_id(scope.conn, request.app.state.sealer, [person_id], full_in=full_in)
    return PersonOut.model_validate(found[person_id])


@router.get("/accounts")
async def list_accounts(scope: Reading, query: Wanted) -> Listed[AccountOut]:
    """Accounts by id: those of your projects, or your own."""
    page = await service.list_accounts(scope.conn, query.page(), query.wanted())
    return Listed(items=[AccountOut.model_validate(row) for row in page.items], next_cursor=page.next_cursor)


@router.post("/accounts", status_code=201)
async def create_account(body: AccountIn, scope: WritingPeople, once: Once) -> AccountOut:
    """A new account: who pays for a unit."""

    async def make() -> AccountOut:
        return AccountOut.model_validate(await service.create_account(scope.conn, **body.model_dump()))

    return await once.answer(scope.conn, AccountOut, make)
