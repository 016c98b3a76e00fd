"""Lanes of a lot: made at a barrier, renamed, taken out of use."""

from datetime import UTC, datetime

from cloud.devices import service as devices
from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, InvalidInput, NotFound
from cloud.parking.lists import telling as lists
from cloud.parking.permits import telling as permits
from cloud.parking.places import repository
from cloud.parking.places.service import get_lane, get_lot, named
from cloud.parking.records import Lane
from cloud.parking.stays.applying import claim_passages
from cloud.parking.stays.matching import Direction


async def create_lane(conn: Conn, lot_id: int, code: str, name: str, direction: Direction, device_id: int) -> Lane:
    """A new lane of a lot at a barrier device; passages of the device that came before are taken in now.

    Its gateway is told the lists of the lot. Raises NotFound, InvalidInput when the device is no barrier, and Conflict
    when the barrier is another lane's.
    """
    lot = await get_lot(conn, lot_id)
    device = await devices.get_device(conn, device_id)
    if device.project_id != lot.project_id:
        raise NotFound("no-device", f"there is no device {device_id}", field="device_id")
    if device.kind != "barrier":
        raise InvalidInput("no-barrier", f"device {device.code} is a {device.kind}, no barrier", field="device_id")
    await repository.lock_lanes(conn, lot.project_id, exclusive=True)
    for known in (await repository.lanes_of_devices(conn, [device_id])).get(device_id, []):
        if known.retired_at is None:
            raise Conflict("barrier-in-use", f"device {device.code} is lane {known.code} already", field="device_id")
    lane = await repository.insert_lane(conn, lot.project_id, lot_id, code, named(name), direction, device_id)
    await claim_passages(conn, lane)
    await lists.tell_lists(conn, lot.project_id, datetime.now(UTC))
    return lane


async def rename_lane(conn: Conn, lane_id: int, name: str) -> Lane:
    """Another name. Raises NotFound, InvalidInput."""
    await get_lane(conn, lane_id)
    await repository.rename_lane(conn, lane_id, named(name))
    return await get_lane(conn, lane_id)


async def retire_lane(conn: Conn, lane_id: int) -> Lane:
    """Takes a lane out of use; its barrier may be another lane's from now on. Once is enough. Raises NotFound.

    Passages of the time before, however late they come, stay this lane's.
    """
    lane = await get_lane(conn, lane_id)
    await repository.lock_lanes(conn, lane.project_id, exclusive=True)
    await repository.retire_lane(conn, lane_id)
    await permits.tell_lane(conn, lane.project_id, lane_id, datetime.now(UTC))
    await lists.tell_lists(conn, lane.project_id, datetime.now(UTC))
    return await get_lane(conn, lane_id)
