"""Permits that hold only for vehicles that come in by certain lanes, which are others from now on, or replaced."""

from collections.abc import Sequence
from datetime import UTC, datetime

from cloud.kit.db import Conn
from cloud.kit.errors import Conflict
from cloud.parking.permits import card_repository, repository, telling
from cloud.parking.permits.records import Permit
from cloud.parking.permits.service import check_lanes, locked_permit, settle_change


async def change_lanes(conn: Conn, permit_id: int, lane_ids: Sequence[int], at: datetime | None = None) -> Permit:
    """Who comes in from now on has to come by one of these lanes; none: by any of the permit's lots.

    Stays that have begun are what they are. Lanes that it has may be out of use. Raises what `check_lanes` raises;
    Conflict when the permit ended, or has just these lanes (`lanes-there`).
    """
    now = at or datetime.now(UTC)
    found = await locked_permit(conn, permit_id, now)
    if set(found.lane_ids) == set(lane_ids):
        raise Conflict("lanes-there", "it is for these lanes already", field="lane_ids")
    await check_lanes(conn, found.lot_ids, lane_ids, known=found.lane_ids)
    await repository.end_lanes(conn, [permit_id], now)
    await repository.insert_lanes(conn, permit_id, set(lane_ids), now)
    return await settle_change(conn, found.project_id, permit_id, now, now)


async def hand_over(conn: Conn, project_id: int, old_id: int, new_id: int, now: datetime) -> None:
    """Permits that name a lane name the one that took its place, and so do cards that are sold; gateways are told.

    The new lane counts since the old one did: vehicles may have come in by it before it was entered. By the old one
    nobody comes from now on. The caller keeps all others away from the lanes, so that no permit changes meanwhile.
    """
    permit_ids = await repository.naming(conn, old_id)
    await repository.lock(conn, permit_ids)
    await repository.copy_lane(conn, old_id, new_id)
    await repository.end_lanes(conn, permit_ids, now, lane_id=old_id)
    await card_repository.replace_lane(conn, old_id, new_id)
    await telling.tell_lane(conn, project_id, new_id, now)
