"""Counts on displays: retained messages, one a lot, published when they change and at least once a minute.

Any number of processes may publish. The row of a lot is locked while it is told, so that an older count never comes
after a newer one, and nobody tells it twice within a second.
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, LiteralString

import orjson

from cloud.estate import service as estate
from cloud.kit.db import SYSTEM, Conn, Database
from cloud.kit.periods import in_ms
from cloud.parking.counts.counting import LotCounts, counts
from gateway.contract import topics

Publish = Callable[[str, bytes], Awaitable[bool]]
"""Hands a payload to the broker, which keeps it for whoever comes; False when there is no broker now."""

PAUSE_S: Final = 1.0
"""A lot is told at most so often."""
AGAIN_S: Final = 60.0
"""And at least so often: a broker may forget, and a display wants to know that the line still stands."""
_VERSION: Final = 1

_ASKER = SYSTEM.named("counts")

_MAKE: LiteralString = """
    INSERT INTO parking_count_told (lot_id, project_id)
    SELECT l.id, l.project_id FROM parking_lot l
    WHERE NOT EXISTS (SELECT FROM parking_count_told t WHERE t.lot_id = l.id)
    ON CONFLICT (lot_id) DO NOTHING
"""
# Who is being told by somebody else is left alone.
_DUE: LiteralString = """
    SELECT lot_id, project_id, counts, told_at <= now() - make_interval(secs => %(again_s)s) AS again
    FROM parking_count_told WHERE told_at <= now() - make_interval(secs => %(pause_s)s)
    ORDER BY lot_id FOR UPDATE SKIP LOCKED
"""
_TOLD: LiteralString = """
    UPDATE parking_count_told SET counts = %(counts)s, told_at = clock_timestamp() WHERE lot_id = %(lot_id)s
"""


class CountPublisher:
    """Publishes what changed. Runs beside an ingest worker and uses its session with the broker."""

    def __init__(self, db: Database, publish: Publish, *, pause_s: float = PAUSE_S, again_s: float = AGAIN_S) -> None:
        self._db = db
        self._publish = publish
        self._pause_s = pause_s
        self._again_s = again_s

    async def publish_due(self) -> int:
        """Tells lots whose counts changed or that were not told for long; returns how many."""
        async with self._db.transaction(_ASKER) as conn:
            due = await self._take(conn)
            if not due:
                return 0
            # Counted behind the locks: a count that another process has told since is not older than this one.
            now = datetime.now(UTC)
            found = await counts(conn, sorted({row["project_id"] for row in due.values()}), now)
            codes = {project.id: project.code for project in await estate.projects(conn)}
            told = 0
            for one in found:
                row = due.get(one.lot_id)
                if row is not None and await self._tell(conn, codes[one.project_id], one, row, now):
                    told += 1
            return told

    async def _take(self, conn: Conn) -> dict[int, dict[str, Any]]:
        await conn.execute(_MAKE)
        values = {"again_s": self._again_s, "pause_s": self._pause_s}
        return {row["lot_id"]: row for row in await (await conn.execute(_DUE, values)).fetchall()}

    async def _tell(self, conn: Conn, project_code: str, one: LotCounts, row: Mapping[str, Any], now: datetime) -> bool:
        said = message(one)
        kept = orjson.dumps(said)
        # A lot whose code fits into no topic was made before codes were checked: there is no sign for it.
        if (kept == bytes(row["counts"]) and not row["again"]) or not topics.valid_code(one.code):
            return False
        payload = orjson.dumps({**said, "at": in_ms(now)})
        if not await self._publish(topics.counts(project_code, one.code), payload):
            return False
        await conn.execute(_TOLD, {"counts": kept, "lot_id": one.lot_id})
        return True


def message(one: LotCounts) -> dict[str, object]:
    """What a display is told, without the time."""
    return {
        "version": _VERSION,
        "lot": one.code,
        "capacity": one.capacity,
        "inside": one.inside,
        "standing": one.standing,
        "held": one.held,
        "free": one.free,
        "free_other": one.free_for(),
        "classes": {
            part.vehicle_class: {
                "inside": part.inside,
                "standing": part.standing,
                "held": part.held,
                "free": one.free_for(part.vehicle_class),
            }
            for part in one.classes
        },
    }
