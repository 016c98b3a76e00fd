"""How full lots are, as streams."""

from prometheus_client import Gauge

from cloud.kit.db import Database
from cloud.parking.counts.counting import LotCounts, counts
from cloud.parking.snapshots import SnapshotHub, SnapshotStream

CountHub = SnapshotHub[LotCounts]
CountStream = SnapshotStream[LotCounts]

_STREAMS = Gauge("gatemeter_count_streams", "Streams of free places that this process holds open.")


def count_hub(db: Database) -> CountHub:
    """The hub of a process."""
    return SnapshotHub(db, counts, "counts", _STREAMS)
