"""REST: lots and lanes."""

from typing import Annotated

from fastapi import APIRouter, Query

from cloud.identity.guards import Scope, allow
from cloud.kit.inputs import Listed, ListQuery
from cloud.parking import service
from cloud.parking.places.models import LaneOut, LaneQuery, LotOut
from cloud.parking.records import LotOccupancy

router = APIRouter()

Reader = Annotated[Scope, allow("parking.read")]


@router.get("/parking-lots")
async def list_lots(scope: Reader, query: Annotated[ListQuery, Query()]) -> Listed[LotOut]:
    """Parking lots; staff also see how many vehicles are inside."""
    page = await service.list_lots(scope.conn, query.page(), query.project_id)
    counted: dict[int, LotOccupancy] = {}
    if scope.caller.kind == "staff":
        for project in sorted({lot.project_id for lot in page.items}):
            counted |= {found.lot.id: found for found in await service.cars_inside(scope.conn, project)}
    return Listed(items=[LotOut.of(lot, counted.get(lot.id)) for lot in page.items], next_cursor=page.next_cursor)


@router.get("/parking-lanes")
async def list_lanes(scope: Reader, query: Annotated[LaneQuery, Query()]) -> Listed[LaneOut]:
    """Lanes of the lots; residents see none."""
    page = await service.list_lanes(scope.conn, query.page(), query.project_id, query.lot_id)
    return Listed(items=[LaneOut.of(lane) for lane in page.items], next_cursor=page.next_cursor)
