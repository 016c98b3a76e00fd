"""REST: pictures of vehicles, and the door by which gateways hand them in."""

from datetime import UTC, datetime
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from cloud.identity.guards import Scope, allow, public
from cloud.kit.db import Asker, Database
from cloud.kit.idempotency import Once
from cloud.kit.inputs import Id, Input
from cloud.kit.pictures import picture
from cloud.kit.routing import rest_router
from cloud.parking.pictures import service
from cloud.parking.pictures.links import MAX_BYTES, PATH, Claim, Links

router = rest_router("parking")

Reader = Annotated[Scope, allow("parking.read")]
Operator = Annotated[Scope, allow("parking.operate")]
Writer = Annotated[Scope, allow("parking.write")]

_ADDRESS = PATH.removeprefix("/api/v1")
_JPEG: Final[dict[str, Any]] = {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}
_PICTURE: Final[dict[int | str, dict[str, Any]]] = {200: {"content": _JPEG}}
_BODY: Final = {"requestBody": {"required": True, "content": _JPEG}}


class LinkQuery(Input):
    """What a link says; its signature covers all of it."""

    project: Id
    passage: UUID
    request: Id
    expires: Annotated[int, Field(ge=0, le=2**53, description="Seconds since 1970.")]
    most: Annotated[int, Field(ge=1, le=MAX_BYTES, description="Bytes.")]
    signature: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class AskingIn(Input):
    """Whose picture the gateway is to send."""

    passage_id: UUID


class AskingOut(BaseModel):
    """The order; null when it is on its way already."""

    passage_id: UUID
    command_id: UUID | None


class PicturePolicyIn(Input):
    """For how many days pictures are kept."""

    kept_days: Annotated[int, Field(ge=1, le=3650, examples=[90])]


class PicturePolicyOut(BaseModel):
    """For how many days pictures are kept."""

    project_id: int
    kept_days: int


@router.put(_ADDRESS, status_code=204, dependencies=[public()], openapi_extra=_BODY)
async def hand_in(request: Request, query: Annotated[LinkQuery, Query()]) -> Response:
    """Takes the JPEG of a passage by a link that came in an order; the link is good once."""
    claim = Claim(query.project, query.passage, query.request, query.expires, query.most)
    links_of(request).check(claim, query.signature, datetime.now(UTC))
    content = await request.body()
    db: Database = request.app.state.db
    asker = Asker("staff", (claim.project,), request_id=request.state.request_id)
    async with db.transaction(asker) as conn:
        await service.take(conn, claim, content)
    return Response(status_code=204)


@router.get(_ADDRESS + "/{passage_id}", response_class=Response, responses=_PICTURE)
async def get_picture(passage_id: UUID, scope: Reader) -> Response:
    """The picture of a passage, when it was fetched from its gateway and is not forgotten yet."""
    return picture(await service.get_picture(scope.conn, passage_id), "image/jpeg", f"passage-{passage_id}")


@router.post("/passage-picture-requests", status_code=201)
async def ask(request: Request, body: AskingIn, scope: Operator, once: Once) -> AskingOut:
    """Orders a picture from the gateway that took it."""

    async def make() -> AskingOut:
        command_id = await service.ask(scope.conn, links_of(request), body.passage_id, scope.caller.actor)
        return AskingOut(passage_id=body.passage_id, command_id=command_id)

    return await once.answer(scope.conn, AskingOut, make)


@router.get("/passage-picture-policies/{project_id}")
async def get_policy(project_id: Id, scope: Reader) -> PicturePolicyOut:
    """For how many days pictures of a project are kept."""
    return PicturePolicyOut(project_id=project_id, kept_days=await service.kept_days(scope.conn, project_id))


@router.put("/passage-picture-policies/{project_id}")
async def set_policy(project_id: Id, body: PicturePolicyIn, scope: Writer) -> PicturePolicyOut:
    """Says for how many days pictures of a project are kept; what is older goes with the next night."""
    await service.set_kept_days(scope.conn, project_id, body.kept_days)
    return PicturePolicyOut(project_id=project_id, kept_days=body.kept_days)


def links_of(request: Request) -> Links:
    """The links of this process."""
    state = request.app.state
    return Links(state.keys, state.settings.public_url)
