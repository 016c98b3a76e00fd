"""Opening a barrier by hand: why, for which vehicle, in whose shift."""

from typing import Final
from uuid import UUID

from cloud.devices import service as devices
from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, InvalidInput
from cloud.parking.charging.service import OPEN_WITHIN
from cloud.parking.desk import repository
from cloud.parking.places.service import get_lane
from gateway.contract.messages import Action

OTHER: Final = "other"
REASONS: Final = (
    "emergency",
    "barrier-fault",
    "plate-unread",
    "resident",
    "paid-elsewhere",
    "delivery",
    "turning-round",
    OTHER,
)
"""In the order of the numbers by which a guard chooses; `other` needs words of its own."""


async def open_lane(conn: Conn, lane_id: int, reason: str, actor: str, code: str = OTHER) -> UUID:
    """Opens a barrier by hand; the reason, the vehicle that stands there and the shift of who opens are kept.

    `code` is one of `REASONS`, `reason` says more. Raises NotFound, InvalidInput for an unknown code and for `other`
    without a reason, Conflict when the lane is no longer in use.
    """
    words = reason.strip()
    if code not in REASONS:
        raise InvalidInput("bad-reason", f"expected one of {', '.join(REASONS)}", field="reason")
    if code == OTHER and not words:
        raise InvalidInput("no-reason", "expected a reason: every opening by hand is accounted for", field="reason")
    lane = await get_lane(conn, lane_id)
    if lane.retired_at is not None:
        raise Conflict("lane-retired", "this lane is no longer in use: its barrier may be another lane's")
    said = f"{code}: {words}" if words and code != OTHER else words or code
    command_id = await devices.queue_command(
        conn, lane.project_id, lane.device_id, Action.OPEN_BARRIER, {}, actor, said, OPEN_WITHIN
    )
    await repository.insert_opening(conn, lane, command_id, code, words or code, actor)
    return command_id
