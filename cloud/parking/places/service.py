"""Lots made and changed, lots and lanes looked up."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Final

from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, InvalidInput, NotFound
from cloud.kit.paging import Page, PageRequest
from cloud.parking.places import repository
from cloud.parking.records import Lane, Lot, LotClass

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
    return await repository.insert_lot(conn, project_id, code, named(name), capacity, parent_id)


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
    await repository.update_lot(conn, replace(changed, name=named(changed.name)))
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


async def get_lane(conn: Conn, lane_id: int) -> Lane:
    """Raises NotFound."""
    found = await repository.lane(conn, lane_id)
    if found is None:
        raise NotFound("no-lane", f"there is no lane {lane_id}", field="lane_id")
    return found


async def lanes_by_id(conn: Conn, lane_ids: Collection[int]) -> dict[int, Lane]:
    """Those of these lanes that there are, in use or not."""
    return await repository.lanes_by_id(conn, lane_ids)


async def list_lanes(
    conn: Conn, page: PageRequest, project_id: int | None = None, lot_id: int | None = None, *, retired: bool = False
) -> Page[Lane]:
    """Lanes in use by id, with `retired` also those that were; residents see none."""
    return await repository.lanes(conn, page, project_id, lot_id, retired=retired)


async def lots_of(conn: Conn, project_id: int) -> list[Lot]:
    """All lots of a project, by their codes."""
    return await repository.lots_of(conn, project_id)


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


def named(name: str) -> str:
    """The name without spaces around it. Raises InvalidInput for none."""
    if not name.strip():
        raise InvalidInput("name-missing", "expected a name", field="name")
    return name.strip()
