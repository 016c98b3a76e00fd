"""Opening a barrier by hand, with the reason."""

from uuid import UUID

from cloud.devices import service as devices
from cloud.kit.db import Conn
from cloud.kit.errors import InvalidInput
from cloud.parking.charging.service import OPEN_WITHIN
from cloud.parking.places.service import get_lane
from cloud.parking.stays import passage_repository as passages
from gateway.contract.messages import Action


async def open_lane(conn: Conn, lane_id: int, reason: str, actor: str) -> UUID:
    """Opens a barrier by hand, and counts it. Raises NotFound, and InvalidInput when no reason is given."""
    if not reason.strip():
        raise InvalidInput("no-reason", "expected a reason: every opening by hand is accounted for", field="reason")
    lane = await get_lane(conn, lane_id)
    command_id = await devices.queue_command(
        conn, lane.project_id, lane.device_id, Action.OPEN_BARRIER, {}, actor, reason.strip(), OPEN_WITHIN
    )
    await passages.insert_opening(conn, lane.project_id, lane_id, command_id, actor, reason.strip())
    return command_id
