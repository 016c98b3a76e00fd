"""SQL of the last stays of a lot."""

from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

from cloud.kit.db import Conn

_LAST: LiteralString = """
    SELECT id, lot_id, plate, vehicle_class, entered_at, left_at FROM parking_session
    WHERE lot_id = %(lot_id)s AND state = 'closed' AND entered_at IS NOT NULL
    ORDER BY left_at DESC, id DESC LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class PastStay:
    """A stay that is over, both its ends seen."""

    id: int
    lot_id: int
    plate: str
    vehicle_class: str
    entered_at: datetime
    left_at: datetime


async def last_stays(conn: Conn, lot_id: int, limit: int) -> list[PastStay]:
    """The stays of a lot that ended last."""
    rows = await (await conn.execute(_LAST, {"lot_id": lot_id, "limit": limit})).fetchall()
    return [PastStay(**row) for row in rows]
