"""Lots and their lanes: made, changed, looked up, and how many vehicles are inside."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from cloud.devices import service as devices
from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, InvalidInput, NotFound
from cloud.kit.paging import Page, PageRequest
from cloud.parking.lists import telling as lists
from cloud.parking.places import repository
from cloud.parking.records import (
    Lane,
    Lot,
    LotClass,
    LotOccupancy,
)
from cloud.parking.stays.applying import claim_passages
from cloud.parking.stays.matching import Direction

_CODE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""As gateways name lots."""


async def create_lot(
    conn: Conn, project_id: int, code: str, name: str, capacity: int, parent_id: int | None = None
) -> Lot:
    """A new lot, its code unique in the project: gateways name it so. Raises InvalidInput, NotFound (parent)."""
    if not _CODE.fullmatch(code):
        raise InvalidInput("bad-code", "expected up to 64 letters, digits, dots, dashes or underscores", field="code")
    _check_capacity(capacity)
    if parent_id is not None:
        await _must_be_here(conn, project_id, parent_id)
    return await repository.insert_lot(conn, project_id, code, _named(name), capacity, parent_id)


async def change_lot(conn: Conn, changed: Lot, classes: Sequence[LotClass] | None = None) -> Lot:
    """Name, capacity, the lot around, open or closed, and what is for classes of vehicles (None: as it is).

    Gateways are told within a minute. Raises NotFound, InvalidInput, and Conflict when the lot around is inside it or
    more spaces are kept for classes than there are.
    """
    around = await repository.lock_lots(conn, changed.project_id)
    await get_lot(conn, changed.id)
    _check_capacity(changed.capacity)
    if changed.parent_id is not None:
        await _must_be_here(conn, changed.project_id, changed.parent_id)
        _must_not_be_inside(changed, around)
    wanted = (await classes_of(conn, [changed.id]))[changed.id] if classes is None else classes
    _check_classes(changed, wanted)
    await repository.update_lot(conn, replace(changed, name=_named(changed.name)))
    await repository.set_classes(conn, changed, wanted)
    return await get_lot(conn, changed.id)


async def classes_of(conn: Conn, lot_ids: Sequence[int]) -> dict[int, list[LotClass]]:
    """What lots have for classes of vehicles, by lot and class."""
    return await repository.classes(conn, lot_ids)


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
    lane = await repository.insert_lane(conn, lot.project_id, lot_id, code, _named(name), direction, device_id)
    await claim_passages(conn, lane)
    await lists.tell_lists(conn, lot.project_id, datetime.now(UTC))
    return lane


async def rename_lane(conn: Conn, lane_id: int, name: str) -> Lane:
    """Another name. Raises NotFound, InvalidInput."""
    await get_lane(conn, lane_id)
    await repository.rename_lane(conn, lane_id, _named(name))
    return await get_lane(conn, lane_id)


async def retire_lane(conn: Conn, lane_id: int) -> Lane:
    """Takes a lane out of use; its barrier may be another lane's from now on. Once is enough. Raises NotFound.

    Passages of the time before, however late they come, stay this lane's.
    """
    lane = await get_lane(conn, lane_id)
    await repository.lock_lanes(conn, lane.project_id, exclusive=True)
    await repository.retire_lane(conn, lane_id)
    await lists.tell_lists(conn, lane.project_id, datetime.now(UTC))
    return await get_lane(conn, lane_id)


async def get_lane(conn: Conn, lane_id: int) -> Lane:
    """Raises NotFound."""
    found = await repository.lane(conn, lane_id)
    if found is None:
        raise NotFound("no-lane", f"there is no lane {lane_id}", field="lane_id")
    return found


async def list_lanes(
    conn: Conn, page: PageRequest, project_id: int | None = None, lot_id: int | None = None, *, retired: bool = False
) -> Page[Lane]:
    """Lanes in use by id, with `retired` also those that were; residents see none."""
    return await repository.lanes(conn, page, project_id, lot_id, retired=retired)


async def cars_inside(conn: Conn, project_id: int) -> list[LotOccupancy]:
    """Each lot with the number of vehicles inside: its open sessions, counted."""
    return await repository.occupancy(conn, project_id)


async def _must_be_here(conn: Conn, project_id: int, parent_id: int) -> None:
    parent = await repository.lot(conn, parent_id)
    if parent is None or parent.project_id != project_id:
        raise NotFound("no-lot", f"there is no parking lot {parent_id}", field="parent_id")


def _must_not_be_inside(lot: Lot, around: Mapping[int, int | None]) -> None:
    """Goes from the wanted parent outwards: whoever meets the lot itself would stand in a circle."""
    outer = lot.parent_id
    while outer is not None:
        if outer == lot.id:
            raise Conflict("lot-circle", "the lot around cannot be this one or inside it", field="parent_id")
        outer = around.get(outer)


def _check_capacity(capacity: int) -> None:
    if capacity < 0:
        raise InvalidInput("bad-capacity", f"expected 0 or more spaces, got {capacity}", field="capacity")


def _check_classes(lot: Lot, classes: Sequence[LotClass]) -> None:
    names = [one.vehicle_class for one in classes]
    if len(names) != len(set(names)):
        raise InvalidInput("bad-classes", "expected each class once", field="classes")
    for one in classes:
        if (
            one.kept < 0
            or (one.at_most is not None and one.at_most < one.kept)
            or (one.at_most is None and not one.kept)
        ):
            detail = f"{one.vehicle_class}: expected spaces kept for it, or room for at least as many as are kept"
            raise InvalidInput("bad-classes", detail, field="classes")
    kept = sum(one.kept for one in classes)
    if kept > lot.capacity:
        detail = f"{kept} spaces are kept for classes, the lot has {lot.capacity}"
        raise Conflict("more-kept-than-there-are", detail, field="classes")


def _named(name: str) -> str:
    if not name.strip():
        raise InvalidInput("name-missing", "expected a name", field="name")
    return name.strip()
