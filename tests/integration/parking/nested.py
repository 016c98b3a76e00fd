"""A lot with two entries and an inner lot, and what its passages come to by matching all of them at once."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from cloud.devices import service as devices
from cloud.kit.db import SYSTEM, Database
from cloud.parking import service
from cloud.parking.stays import policies
from cloud.parking.stays.likeness import skeleton
from cloud.parking.stays.matching import Matching, SeenPassage, match_unlicensed
from cloud.parking.stays.misreads import match_vehicles
from cloud.parking.stays.policy import LotPolicy
from tests.integration.parking.site import Site, rows

LANES = (("entry", "entry"), ("entry-2", "entry"), ("exit", "exit"), ("inner-in", "entry"), ("inner-out", "exit"))
"""Of the outer lot the first three, of the inner one the others."""


async def add_inner_lot(db: Database, site: Site) -> int:
    """Adds a second entry and an inner lot with two lanes to a site; gives the inner lot."""
    async with db.transaction(SYSTEM) as conn:
        gateway_id = (await devices.get_device(conn, site.entry.device_id)).gateway_id
        inner = await service.create_lot(conn, site.project_id, "inner", "Inner lot", 2, site.lot_id)
        for code, lot_id, direction in (
            ("entry-2", site.lot_id, "entry"),
            ("inner-in", inner.id, "entry"),
            ("inner-out", inner.id, "exit"),
        ):
            device = await devices.create_device(conn, site.project_id, gateway_id, code, "barrier")
            await service.create_lane(conn, lot_id, code, code, direction, device.id)  # type: ignore[arg-type]
    return inner.id


async def set_policy(db: Database, lot_id: int, **content: Any) -> None:
    """Puts a policy in force."""
    async with db.transaction(SYSTEM) as conn:
        await policies.set_policy(conn, lot_id, LotPolicy.model_validate(content), "test")


StayTuple = tuple[Any, ...]


async def stored(db: Database) -> tuple[list[StayTuple], dict[Any, Any]]:
    """Stays with their passages, and what was noted with passages, as the database has them."""
    found = await rows(
        db,
        """SELECT s.lot_id, s.plate, s.state, s.entered_at, s.left_at, s.entry_seen, s.fixed_fee,
                  ARRAY(SELECT p.id FROM passage p WHERE p.session_id = s.id ORDER BY p.id) AS passages
           FROM parking_session s""",
    )
    noted = await rows(db, "SELECT id, incident, incident_with FROM passage WHERE incident IS NOT NULL")
    stays = [(*(row[name] for name in row if name != "passages"), tuple(row["passages"])) for row in found]
    return sorted(stays, key=repr), {row["id"]: (row["incident"], row["incident_with"]) for row in noted}


async def matched_at_once(db: Database, project_id: int) -> tuple[list[StayTuple], dict[Any, Any]]:
    """What all stored passages come to without any store: the reference."""
    async with db.transaction(SYSTEM) as conn:
        lots = await policies.lots_of(conn, project_id)
    together: dict[tuple[int, str], list[SeenPassage]] = defaultdict(list)
    matchings: list[Matching] = []
    for row in await rows(
        db,
        """SELECT p.id, p.lane_id, p.direction, p.taken_at, p.outcome, p.vehicle_class, l.lot_id, p.plate
           FROM passage p JOIN parking_lane l ON l.id = p.lane_id""",
    ):
        seen = SeenPassage(**row)
        if seen.plate:
            together[lots.roots[seen.lot_id], skeleton(seen.plate)].append(seen)
        else:
            matchings.append(match_unlicensed(seen))
    matchings += [match_vehicles(passages, lots.rules) for passages in together.values()]
    return _stays(matchings), {
        name: (incident.value, one.others.get(name)) for one in matchings for name, incident in one.incidents.items()
    }


def _stays(matchings: Iterable[Matching]) -> list[StayTuple]:
    found: list[tuple[int, str, str, datetime | None, datetime | None, bool, Any, tuple[Any, ...]]] = [
        (
            stay.lot_id,
            stay.plate,
            stay.state,
            stay.entered_at,
            stay.left_at,
            stay.entry_seen,
            stay.fixed_fee,
            tuple(sorted(stay.passages)),
        )
        for one in matchings
        for stay in one.stays
    ]
    return sorted(found, key=repr)
