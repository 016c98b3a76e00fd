"""Permits that hold only for vehicles that come in by certain lanes, which are others from now on."""

from collections.abc import Sequence
from datetime import UTC, datetime

from cloud.kit.db import Conn
from cloud.kit.errors import Conflict
from cloud.parking.permits import repository
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
    await repository.end_lanes(conn, permit_id, now)
    await repository.insert_lanes(conn, permit_id, set(lane_ids), now)
    return await settle_change(conn, found.project_id, permit_id, now, now)
