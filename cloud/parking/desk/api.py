"""REST: barriers opened by hand."""

from typing import Annotated

from fastapi import APIRouter

from cloud.identity.guards import Scope, allow
from cloud.kit.idempotency import Once
from cloud.kit.inputs import Id
from cloud.parking import service
from cloud.parking.desk.models import OpeningIn, OpeningOut

router = APIRouter()

Operator = Annotated[Scope, allow("parking.operate")]


@router.post("/parking-lanes/{lane_id}/openings", status_code=201)
async def open_lane(lane_id: Id, body: OpeningIn, scope: Operator, once: Once) -> OpeningOut:
    """Opens a barrier by hand; actor and reason are kept."""

    async def make() -> OpeningOut:
        return OpeningOut(command_id=await service.open_lane(scope.conn, lane_id, body.reason, scope.caller.actor))

    return await once.answer(scope.conn, OpeningOut, make)
