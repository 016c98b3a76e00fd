"""How many vehicles are inside and how many places are left: the open stays, counted each time, never kept beside them.

A vehicle in a lot inside another has a stay in both. It stands in the inner one and is counted as standing there alone;
the outer one says how many of its stays are elsewhere.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import LiteralString

from cloud.kit.db import Conn
from cloud.parking.places.service import classes_of, lots_of
from cloud.parking.records import Lot, LotClass, LotOccupancy
from gateway.contract.access import LotEntry
from gateway.contract.room import ALL_CLASSES, room_for

_LOTS: LiteralString = """
    SELECT id, project_id, code, name, parent_id, capacity FROM parking_lot
    WHERE project_id = ANY (%(projects)s::bigint[]) ORDER BY project_id, code
"""
# One statement, one snapshot: what is inside and what is held are of the same moment.
_COUNTS: LiteralString = """
    SELECT lot_id, vehicle_class, sum(inside)::bigint AS inside, sum(elsewhere)::bigint AS elsewhere,
           sum(held)::bigint AS held
    FROM (SELECT lot_id, vehicle_class, inside, elsewhere, 0::bigint AS held
          FROM gm.parking_inside(%(projects)s::bigint[])
          UNION ALL
          SELECT lot_id, vehicle_class, 0, 0, held FROM gm.parking_held(%(projects)s::bigint[], %(at)s)) AS parts
    GROUP BY lot_id, vehicle_class ORDER BY lot_id, vehicle_class
"""
_LEFT_BESIDE: LiteralString = """
    SELECT lot_id, vehicle_class, sum(places)::bigint AS places
    FROM (SELECT lot_id, vehicle_class, elsewhere AS places FROM gm.parking_inside(ARRAY[%(project_id)s::bigint])
          UNION ALL
          SELECT lot_id, vehicle_class, -held FROM gm.parking_held(ARRAY[%(project_id)s::bigint], %(at)s)) AS parts
    GROUP BY lot_id, vehicle_class
"""


@dataclass(frozen=True, slots=True)
class ClassCount:
    """Vehicles of one class: `inside` are open stays, `standing` those in no lot inside, `held` the awaited."""

    vehicle_class: str
    inside: int
    standing: int
    held: int


@dataclass(frozen=True, slots=True)
class LotCounts:
    """A lot and its vehicles. `free` is what is left for vehicles without a reservation, never below 0.

    `limits` are what it has for classes of vehicles; `classes` has all of these, also where nobody is inside.
    """

    lot_id: int
    project_id: int
    code: str
    name: str
    parent_id: int | None
    capacity: int
    classes: tuple[ClassCount, ...]
    limits: tuple[LotClass, ...] = ()

    @property
    def key(self) -> int:
        """The lot."""
        return self.lot_id

    @property
    def inside(self) -> int:
        """Open stays."""
        return sum(one.inside for one in self.classes)

    @property
    def standing(self) -> int:
        """Vehicles that stand in this lot and not in one inside it."""
        return sum(one.standing for one in self.classes)

    @property
    def held(self) -> int:
        """Places kept for vehicles that are awaited now."""
        return sum(one.held for one in self.classes)

    @property
    def free(self) -> int:
        """Places that are left."""
        return max(0, self.capacity - self.standing - self.held)

    def free_for(self, vehicle_class: str = "") -> int:
        """Places that a vehicle of a class may take; without one: of any class that the lot has nothing for."""
        entries = {one.vehicle_class: _room(one) for one in self.limits}
        taken = {one.vehicle_class: one.standing + one.held for one in self.classes}
        taken[ALL_CLASSES] = sum(taken.values())
        whole = LotEntry("", "", ALL_CLASSES, self.capacity)
        room = room_for(vehicle_class, {**entries, ALL_CLASSES: whole}, lambda name: taken.get(name, 0))
        assert room is not None, "somebody counts the whole lot"
        return room


async def counts(conn: Conn, project_ids: Sequence[int], at: datetime) -> list[LotCounts]:
    """Every lot of the projects that the asker may know of, by project and code; `at` says who is awaited."""
    query = {"projects": list(project_ids), "at": at}
    found: dict[int, list[ClassCount]] = defaultdict(list)
    for row in await (await conn.execute(_COUNTS, query)).fetchall():
        standing = row["inside"] - row["elsewhere"]
        found[row["lot_id"]].append(ClassCount(row["vehicle_class"], row["inside"], standing, row["held"]))
    lots = await (await conn.execute(_LOTS, query)).fetchall()
    limits = await classes_of(conn, [row["id"] for row in lots])
    return [
        LotCounts(
            row["id"], row["project_id"], row["code"], row["name"], row["parent_id"], row["capacity"],
            _all_classes(found[row["id"]], limits[row["id"]]), tuple(limits[row["id"]]),
        )
        for row in lots
    ]  # fmt: skip


async def cars_inside(conn: Conn, project_id: int) -> list[LotOccupancy]:
    """How full each lot of a project is now, by code; for staff."""
    counted = {one.lot_id: one for one in await counts(conn, [project_id], datetime.now(UTC))}
    return [_occupancy(lot, counted[lot.id]) for lot in await lots_of(conn, project_id) if lot.id in counted]


def _occupancy(lot: Lot, counted: LotCounts) -> LotOccupancy:
    return LotOccupancy(lot, counted.inside, counted.standing, counted.free, counted.capacity)


async def left_beside(conn: Conn, project_id: int, at: datetime) -> dict[int, dict[str, int]]:
    """By lot and class, how many more vehicles than it has spaces may have a stay there at `at`; others are absent.

    More, because those in a lot inside have a stay in the outer one too; fewer, because vehicles are awaited.
    """
    found: dict[int, dict[str, int]] = defaultdict(dict)
    for row in await (await conn.execute(_LEFT_BESIDE, {"project_id": project_id, "at": at})).fetchall():
        found[row["lot_id"]][row["vehicle_class"]] = row["places"]
    return found


def _all_classes(counted: Sequence[ClassCount], limits: Sequence[LotClass]) -> tuple[ClassCount, ...]:
    """Those that are counted, and those for which the lot has something."""
    there = {one.vehicle_class: one for one in counted}
    names = sorted({*there, *(one.vehicle_class for one in limits)})
    return tuple(there.get(name, ClassCount(name, 0, 0, 0)) for name in names)


def _room(limit: LotClass) -> LotEntry:
    most = -1 if limit.at_most is None else limit.at_most
    return LotEntry("", "", limit.vehicle_class, most, kept=limit.kept)
