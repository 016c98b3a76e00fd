"""Lots and their lanes: made, looked up, and how many vehicles are inside."""

from cloud.devices import service as devices
from cloud.kit.db import Conn
from cloud.kit.errors import InvalidInput, NotFound
from cloud.kit.paging import Page, PageRequest
from cloud.parking.places import repository
from cloud.parking.records import (
    Lane,
    Lot,
    LotOccupancy,
)
from cloud.parking.stays.applying import claim_passages
from cloud.parking.stays.matching import Direction


async def create_lot(
    conn: Conn, project_id: int, code: str, name: str, capacity: int, parent_id: int | None = None
) -> Lot:
    """A new lot, its code unique in the project."""
    if capacity < 0:
        raise InvalidInput("bad-capacity", f"expected 0 or more spaces, got {capacity}", field="capacity")
    return await repository.insert_lot(conn, project_id, code, name, capacity, parent_id)


async def get_lot(conn: Conn, lot_id: int) -> Lot:
    """Raises NotFound."""
    found = await repository.lot(conn, lot_id)
    if found is None:
        raise NotFound("no-lot", f"there is no parking lot {lot_id}", field="lot_id")
    return found


async def list_lots(conn: Conn, page: PageRequest, project_id: int | None = None) -> Page[Lot]:
    """Lots by id."""
    return await repository.lots(conn, page, project_id)


async def create_lane(conn: Conn, lot_id: int, code: str, name: str, direction: Direction, device_id: int) -> Lane:
    """A new lane of a lot at a barrier device; passages of the device that came before are taken in now.

    Raises NotFound, and InvalidInput when the device is no barrier.
    """
    lot = await get_lot(conn, lot_id)
    device = await devices.get_device(conn, device_id)
    if device.kind != "barrier":
        raise InvalidInput("no-barrier", f"device {device.code} is a {device.kind}, no barrier", field="device_id")
    await repository.lock_lanes(conn, lot.project_id, exclusive=True)
    lane = await repository.insert_lane(conn, lot.project_id, lot_id, code, name, direction, device_id)
    await claim_passages(conn, lane)
    return lane


async def get_lane(conn: Conn, lane_id: int) -> Lane:
    """Raises NotFound."""
    found = await repository.lane(conn, lane_id)
    if found is None:
        raise NotFound("no-lane", f"there is no lane {lane_id}", field="lane_id")
    return found


async def list_lanes(
    conn: Conn, page: PageRequest, project_id: int | None = None, lot_id: int | None = None
) -> Page[Lane]:
    """Lanes by id; residents see none."""
    return await repository.lanes(conn, page, project_id, lot_id)


async def cars_inside(conn: Conn, project_id: int) -> list[LotOccupancy]:
    """Each lot with the number of vehicles inside: its open sessions, counted."""
    return await repository.occupancy(conn, project_id)
