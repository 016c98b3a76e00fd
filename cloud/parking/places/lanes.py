"""Lanes of a lot: made at a barrier, renamed, taken out of use."""

from datetime import UTC, datetime

from cloud.devices import service as devices
from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, InvalidInput, NotFound
from cloud.parking.lists import telling as lists
from cloud.parking.permits import telling as permits
from cloud.parking.permits.lanes import hand_over
from cloud.parking.places import repository
from cloud.parking.places.service import get_lane, get_lot, named
from cloud.parking.records import Lane, Lot
from cloud.parking.stays.applying import claim_passages
from cloud.parking.stays.matching import Direction


async def create_lane(
    conn: Conn,
    lot_id: int,
    code: str,
    name: str,
    direction: Direction,
    device_id: int,
    *,
    replaces_id: int | None = None,
) -> Lane:
    """A new lane of a lot at a barrier device; passages of the device that came before are taken in now.

    `replaces_id`: a lane of the lot in the same direction, in use or not, whose place it takes. That one is out of use
    then, and permits and cards that name it name the new one. Gateways are told of both, and of the lists of the lot.

    Raises NotFound; InvalidInput when the device is no barrier, or the lane to replace goes the other way
    (`other-direction`); Conflict when the barrier is another lane's, or another lane took the place (`place-taken`).
    """
    lot = await get_lot(conn, lot_id)
    device = await devices.get_device(conn, device_id)
    if device.project_id != lot.project_id:
        raise NotFound("no-device", f"there is no device {device_id}", field="device_id")
    if device.kind != "barrier":
        raise InvalidInput("no-barrier", f"device {device.code} is a {device.kind}, no barrier", field="device_id")
    await repository.lock_lanes(conn, lot.project_id, exclusive=True)
    if replaces_id is not None:
        await _give_way(conn, lot, direction, replaces_id)
    for known in (await repository.lanes_of_devices(conn, [device_id])).get(device_id, []):
        if known.retired_at is None:
            raise Conflict("barrier-in-use", f"device {device.code} is lane {known.code} already", field="device_id")
    values = {
        "project_id": lot.project_id, "lot_id": lot_id, "code": code, "name": named(name), "direction": direction,
        "device_id": device_id, "replaces_id": replaces_id,
    }  # fmt: skip
    lane = await repository.insert_lane(conn, values)
    now = datetime.now(UTC)
    if replaces_id is not None:  # before the passages that waited: their vehicles are covered as well
        await hand_over(conn, lot.project_id, replaces_id, lane.id, now)
    await claim_passages(conn, lane)
    await lists.tell_lists(conn, lot.project_id, now)
    return lane


async def _give_way(conn: Conn, lot: Lot, direction: Direction, lane_id: int) -> None:
    """Takes a lane out of use for one that takes its place: its code and its barrier are free."""
    lane = (await repository.lanes_by_id(conn, [lane_id])).get(lane_id)
    if lane is None or lane.lot_id != lot.id:
        raise NotFound("no-lane", f"lot {lot.code} has no lane {lane_id}", field="replaces_id")
    if lane.direction != direction:
        detail = f"lane {lane.code} is an {lane.direction}: expected one in the same direction"
        raise InvalidInput("other-direction", detail, field="replaces_id")
    taken = await repository.in_place_of(conn, lane_id)
    if taken is not None:
        detail = f"lane {taken.code} took the place of {lane.code} already: name that one"
        raise Conflict("place-taken", detail, field="replaces_id", lane=taken.code)
    await repository.retire_lane(conn, lane_id)


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
