"""REST: lots and lanes."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import Query

from cloud.identity.guards import Scope, allow
from cloud.kit.idempotency import Once
from cloud.kit.inputs import Id, Listed, ListQuery
from cloud.kit.routing import rest_router
from cloud.parking.counts.counting import cars_inside
from cloud.parking.places import lanes, service
from cloud.parking.places.models import LaneIn, LaneOut, LanePatch, LaneQuery, LotIn, LotOut, LotPatch
from cloud.parking.records import Lot, LotOccupancy

router = rest_router("parking")

Reader = Annotated[Scope, allow("parking.read")]
Writer = Annotated[Scope, allow("parking.write")]


@router.get("/parking-lots")
async def list_lots(scope: Reader, query: Annotated[ListQuery, Query()]) -> Listed[LotOut]:
    """Parking lots; staff also see how many vehicles are inside."""
    page = await service.list_lots(scope.conn, query.page(), query.project_id)
    return Listed(items=await _shown(scope, page.items), next_cursor=page.next_cursor)


@router.post("/parking-lots", status_code=201)
async def create_lot(body: LotIn, scope: Writer, once: Once) -> LotOut:
    """A new lot, its code unique in the project."""

    async def make() -> LotOut:
        made = await service.create_lot(scope.conn, **body.model_dump())
        return (await _shown(scope, [made]))[0]

    return await once.answer(scope.conn, LotOut, make)


@router.get("/parking-lots/{lot_id}")
async def get_lot(lot_id: Id, scope: Reader) -> LotOut:
    """One lot."""
    return (await _shown(scope, [await service.get_lot(scope.conn, lot_id)]))[0]


@router.patch("/parking-lots/{lot_id}")
async def change_lot(lot_id: Id, body: LotPatch, scope: Writer) -> LotOut:
    """Changes a lot; the lanes know within a minute."""
    changed = body.changed(await service.get_lot(scope.conn, lot_id))
    return (await _shown(scope, [await service.change_lot(scope.conn, changed, body.wanted_classes())]))[0]


@router.get("/parking-lanes")
async def list_lanes(scope: Reader, query: Annotated[LaneQuery, Query()]) -> Listed[LaneOut]:
    """Lanes of the lots; residents see none."""
    page = await service.list_lanes(
        scope.conn, query.page(), query.project_id, query.lot_id, retired=query.retired
    )  # fmt: skip
    return Listed(items=[LaneOut.of(lane) for lane in page.items], next_cursor=page.next_cursor)


@router.post("/parking-lanes", status_code=201)
async def create_lane(body: LaneIn, scope: Writer, once: Once) -> LaneOut:
    """A new lane; passages that its barrier told before are taken in. It may take the place of another one."""

    async def make() -> LaneOut:
        return LaneOut.of(await lanes.create_lane(scope.conn, **body.model_dump()))

    return await once.answer(scope.conn, LaneOut, make)


@router.get("/parking-lanes/{lane_id}")
async def get_lane(lane_id: Id, scope: Reader) -> LaneOut:
    """One lane."""
    return LaneOut.of(await service.get_lane(scope.conn, lane_id))


@router.patch("/parking-lanes/{lane_id}")
async def rename_lane(lane_id: Id, body: LanePatch, scope: Writer) -> LaneOut:
    """Renames a lane."""
    return LaneOut.of(await lanes.rename_lane(scope.conn, lane_id, body.name))


@router.post("/parking-lanes/{lane_id}/retirement", status_code=201)
async def retire_lane(lane_id: Id, scope: Writer, once: Once) -> LaneOut:
    """Takes a lane out of use; its barrier may be another lane's from then on."""

    async def make() -> LaneOut:
        return LaneOut.of(await lanes.retire_lane(scope.conn, lane_id))

    return await once.answer(scope.conn, LaneOut, make)


async def _shown(scope: Scope, lots: Sequence[Lot]) -> list[LotOut]:
    """The lots as they are answered; how many vehicles are inside is for staff."""
    counted: dict[int, LotOccupancy] = {}
    if scope.caller.kind == "staff":
        for project in sorted({lot.project_id for lot in lots}):
            counted |= {found.lot.id: found for found in await cars_inside(scope.conn, project)}
    classes = await service.classes_of(scope.conn, [lot.id for lot in lots])
    return [LotOut.of(lot, counted.get(lot.id), classes[lot.id]) for lot in lots]
