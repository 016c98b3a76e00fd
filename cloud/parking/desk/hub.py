"""What each lane saw last, as streams for guards' desks."""

from collections.abc import Sequence
from datetime import datetime

from prometheus_client import Gauge

from cloud.kit.db import Conn, Database
from cloud.parking.desk.repository import LaneNow, lanes_now
from cloud.parking.desk.watching import SHOWN_AT_MOST
from cloud.parking.snapshots import SnapshotHub, SnapshotStream

DeskHub = SnapshotHub[LaneNow]
DeskStream = SnapshotStream[LaneNow]

_STREAMS = Gauge("gatemeter_desk_streams", "Streams of lanes that this process holds open.")


def desk_hub(db: Database) -> DeskHub:
    """The hub of a process."""
    return SnapshotHub(db, _look, "desk", _STREAMS)


async def _look(conn: Conn, projects: Sequence[int], now: datetime) -> list[LaneNow]:
    return await lanes_now(conn, projects, now - SHOWN_AT_MOST)
