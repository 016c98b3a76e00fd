"""REST: the numbered spaces of permits."""

from typing import Annotated

from fastapi import Query
from pydantic import BaseModel, Field

from cloud.estate import service as estate
from cloud.identity.guards import Scope, allow
from cloud.kit.idempotency import Once
from cloud.kit.inputs import Id, Input, Listed
from cloud.kit.routing import rest_router
from cloud.parking.permits import standing
from cloud.parking.permits.models import PermitOut
from cloud.parking.spaces.models import Number, SpaceOut

router = rest_router("parking")

Reader = Annotated[Scope, allow("parking.read")]
Writer = Annotated[Scope, allow("parking.write")]


class SpaceOfPermitIn(Input):
    """A numbered space of one of the permit's lots."""

    space_id: Id


class FreeSpaceQuery(Input):
    """The beginning of the number."""

    number: Number | None = None


class MatchIn(Input):
    """The project whose permits are looked at."""

    project_id: Id


class MatchOut(BaseModel):
    """How many numbers that were only written became spaces of their permits."""

    matched: Annotated[int, Field(examples=[41])]


@router.get("/parking-permits/{permit_id}/free-spaces")
async def free_spaces(permit_id: Id, scope: Writer, query: Annotated[FreeSpaceQuery, Query()]) -> Listed[SpaceOut]:
    """Spaces that the permit may be given, those of its holder first; at most 200."""
    found = await standing.offered(scope.conn, permit_id, query.number)
    return Listed(items=[SpaceOut.model_validate(one) for one in found], next_cursor=None)


@router.post("/parking-permits/{permit_id}/spaces", status_code=201)
async def give_space(permit_id: Id, body: SpaceOfPermitIn, scope: Writer, once: Once) -> PermitOut:
    """One more numbered space. One that another permit has at the time is refused with 409 `space-has-permit`."""

    async def make() -> PermitOut:
        return PermitOut.of(await standing.give_space(scope.conn, permit_id, body.space_id))

    return await once.answer(scope.conn, PermitOut, make)


@router.post("/parking-permits/{permit_id}/space-removals", status_code=201)
async def take_space_back(permit_id: Id, body: SpaceOfPermitIn, scope: Writer, once: Once) -> PermitOut:
    """A space is not the permit's any more, from now on."""

    async def make() -> PermitOut:
        return PermitOut.of(await standing.take_space_back(scope.conn, permit_id, body.space_id))

    return await once.answer(scope.conn, PermitOut, make)


@router.post("/parking-permit-space-matches", status_code=201)
async def match_written(body: MatchIn, scope: Writer, once: Once) -> MatchOut:
    """Makes spaces of the numbers that permits have in writing (`written=true`); what is unclear stays in writing."""

    async def make() -> MatchOut:
        project = await estate.get_project(scope.conn, body.project_id)
        return MatchOut(matched=await standing.match_written(scope.conn, project.id))

    return await once.answer(scope.conn, MatchOut, make)
