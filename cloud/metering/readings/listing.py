"""Readings as staff look through them: with quality, the edit in force, and why usage is not derived from them."""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, LiteralString

from cloud.devices.cursors import after_number
from cloud.kit.db import Conn
from cloud.kit.errors import NotFound
from cloud.kit.paging import Page, PageRequest, cut
from cloud.kit.periods import in_us
from cloud.metering.derivation.findings import RULE_OF_CODE
from cloud.metering.records import Reading, ReadingEdit, Rule
from gateway.contract.messages import Quality

Only = Literal["edited", "manual", "flagged", "refused"]

# The guarded views and row-level security leave only what the asker may see. A reading is edited while the latest
# version says something: one that was taken back is as it was read.
_LIST: LiteralString = """
    SELECT r.meter_id, r.channel, r.taken_at, r.value, r.quality, r.received_at, x.code AS refused_code,
           e.version, e.action, e.value AS edit_value, e.reason, e.actor, e.created_at
    FROM reading r
    LEFT JOIN refused_reading x ON x.meter_id = r.meter_id AND x.channel = r.channel AND x.taken_at = r.taken_at
    LEFT JOIN LATERAL (
        SELECT d.version, d.action, d.value, d.reason, d.actor, d.created_at FROM reading_edit d
        WHERE d.meter_id = r.meter_id AND d.channel = r.channel AND d.taken_at = r.taken_at
        ORDER BY d.version DESC LIMIT 1) AS e ON true
    WHERE r.meter_id = %(meter_id)s AND r.channel = %(channel)s
      AND r.taken_at >= %(start)s AND r.taken_at < %(end)s
      AND (%(before)s::bigint IS NULL OR r.taken_at < timestamptz 'epoch' + %(before)s * interval '1 microsecond')
      AND CASE %(only)s::text
              WHEN 'edited' THEN e.action <> 'original'
              WHEN 'manual' THEN r.quality & %(manual)s <> 0
              WHEN 'flagged' THEN r.quality & ~%(manual)s <> 0
              WHEN 'refused' THEN x.code IS NOT NULL
              ELSE true END
    ORDER BY r.taken_at DESC LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class ReadingFilter:
    """Readings of one channel taken in [`start`, `end`). `flagged`: with any flag but that of a hand."""

    meter_id: int
    channel: int
    start: datetime
    end: datetime
    only: Only | None = None


@dataclass(frozen=True, slots=True)
class ListedReading:
    """A reading, the edit in force (None: it counts as it was read) and the rule that refuses it."""

    reading: Reading
    edit: ReadingEdit | None
    refused_by: Rule | None

    @property
    def counts_as(self) -> int | None:
        """The value that usage goes by, None where it goes without the reading."""
        if self.edit is not None:
            return {"set": self.edit.value, "use": self.reading.value}.get(self.edit.action)
        return None if self.refused_by else self.reading.value


async def list_readings(conn: Conn, page: PageRequest, wanted: ReadingFilter) -> Page[ListedReading]:
    """Newest first; the cursor is the time in microseconds, as finely as it is kept."""
    query = {
        **asdict(wanted), "manual": int(Quality.MANUAL), "before": after_number(page), "limit": page.limit + 1,
    }  # fmt: skip
    rows = await (await conn.execute(_LIST, query)).fetchall()
    return cut([_listed(row) for row in rows], page, lambda one: (in_us(one.reading.taken_at),))


async def get_reading(conn: Conn, meter_id: int, channel: int, taken_at: datetime) -> ListedReading:
    """One reading. Raises NotFound."""
    wanted = ReadingFilter(meter_id, channel, taken_at, taken_at + timedelta(microseconds=1))
    found = (await list_readings(conn, PageRequest(1), wanted)).items
    if not found:
        raise NotFound("no-reading", "the meter has no reading of this time", field="taken_at")
    return found[0]


def _listed(row: dict[str, Any]) -> ListedReading:
    key = row["meter_id"], row["channel"], row["taken_at"]
    reading = Reading(*key, row["value"], row["quality"], row["received_at"])
    edit = None
    if row["action"] not in (None, "original"):
        edit = ReadingEdit(
            *key, row["version"], row["action"], row["edit_value"], row["reason"], row["actor"], row["created_at"]
        )
    return ListedReading(reading, edit, RULE_OF_CODE.get(row["refused_code"]))
