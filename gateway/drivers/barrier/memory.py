"""Vehicles that stand at a lane, kept in the outbox file: a restart must not forget a car before a barrier."""

import asyncio
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import msgspec
import structlog

from gateway.contract import codec
from gateway.contract.messages import Passage
from gateway.contract.topics import Up
from gateway.drivers.base import CommandOutcome
from gateway.outbox import Outbox, OutboxFull

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS visit (
  id       TEXT PRIMARY KEY,
  device   TEXT NOT NULL,
  event_id TEXT NOT NULL,
  taken_at INTEGER NOT NULL,
  passage  BLOB NOT NULL
) STRICT
"""
_UNREAD: Final = """
CREATE TABLE IF NOT EXISTS unread (
  id       TEXT PRIMARY KEY,
  device   TEXT NOT NULL,
  event_id TEXT NOT NULL,
  passage  BLOB NOT NULL
) STRICT
"""
"""Passages that are over and had no plate: older software must not take them for vehicles that stand there."""
UNREAD_KEPT: Final = 16
"""Of each lane; a picture does not come behind more vehicles."""

_FORGOTTEN_AFTER_MS: Final = 86_400_000

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Visit:
    """One vehicle at one lane: its passage as far as it is known, and the recognition that it came from."""

    passage: Passage
    event_id: str
    opened: bool = False
    seq: int = 0
    """Outbox row of its arrival, 0 when none was written."""
    outcome: CommandOutcome | None = None
    """What any order that names this vehicle comes to: the barrier opened for it, or may have by an earlier order."""
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """One opening for it at a time."""


class VisitMemory:
    """Durable list of visits. Each change is one commit with the passage that is sent for it."""

    def __init__(self, outbox: Outbox, reached: Callable[[], int]) -> None:
        """`reached` gives a time that has certainly come, in Unix milliseconds: by it vehicles are forgotten."""
        self._outbox = outbox
        self._reached = reached

    async def load(self, device: str) -> list[Visit]:
        """Visits of a lane that were not finished when the gateway stopped, oldest first."""
        reached = self._reached()

        def read(db: sqlite3.Connection) -> list[Visit]:
            db.execute(_SCHEMA)
            db.execute(_UNREAD)
            # Written by a clock that was far ahead and is mended: forgotten from now on as the others are.
            db.execute("UPDATE visit SET taken_at = ? WHERE taken_at > ?", (reached, reached + _FORGOTTEN_AFTER_MS))
            db.execute("DELETE FROM visit WHERE taken_at < ?", (reached - _FORGOTTEN_AFTER_MS,))
            rows = db.execute("SELECT passage, event_id FROM visit WHERE device = ? ORDER BY rowid", (device,))
            return [Visit(codec.decode_passages(body)[0], event_id) for body, event_id in rows]

        return await self._outbox.run(read)

    async def load_unread(self, device: str) -> list[Visit]:
        """Passages of a lane that ended without a plate, oldest first; comes after `load`."""

        def read(db: sqlite3.Connection) -> list[Visit]:
            rows = db.execute("SELECT passage, event_id FROM unread WHERE device = ? ORDER BY rowid", (device,))
            return [Visit(codec.decode_passages(body)[0], event_id) for body, event_id in rows]

        return await self._outbox.run(read)

    async def keep(self, visit: Visit) -> None:
        """Remembers a visit of which nothing is sent yet; on a full disk until the next restart only."""
        try:
            await self._outbox.run(_write(visit))
        except OutboxFull:
            _log.error("no room on disk to remember a vehicle", device=visit.passage.device)

    async def keep_and_send(self, visit: Visit) -> None:
        """Remembers a visit and sends its passage as it stands."""
        visit.seq = await self._outbox.put(Up.PASSAGES, codec.encode_body([visit.passage]), also=_write(visit))

    async def send(self, visit: Visit, decision: str) -> None:
        """Sends the passage of a visit that is remembered already, with `decision` in place of its own."""
        told = msgspec.structs.replace(visit.passage, decision=decision)
        visit.seq = await self._outbox.put(Up.PASSAGES, codec.encode_body([told]))

    async def finish(self, ended: Visit) -> bool:
        """Sends the final passage and forgets the visit; False when the disk takes nothing, and nothing was done.

        One that has no plate is remembered, for a plate that is read behind it.
        """
        seq = await self._outbox.put(Up.PASSAGES, codec.encode_body([ended.passage]), also=_finish(ended))
        return seq != 0

    async def forget(self, visit: Visit) -> None:
        """Of a visit that is given up nothing more is sent; on a full disk it is forgotten at a start, after a day."""
        try:
            await self._outbox.run(lambda db: db.execute("DELETE FROM visit WHERE id = ?", (visit.passage.id,)))
        except OutboxFull:
            _log.error("no room on disk to forget a vehicle", device=visit.passage.device)

    async def taken_note_of(self, visit: Visit) -> bool:
        """Whether the cloud has acknowledged the arrival."""
        return visit.seq != 0 and not await self._outbox.holds(visit.seq)


def _write(visit: Visit) -> Callable[[sqlite3.Connection], object]:
    passage = visit.passage
    row = (passage.id, passage.device, visit.event_id, passage.taken_at, codec.encode_body([passage]))
    return lambda db: db.execute("INSERT OR REPLACE INTO visit VALUES (?, ?, ?, ?, ?)", row)


def _finish(ended: Visit) -> Callable[[sqlite3.Connection], object]:
    passage = ended.passage

    def write(db: sqlite3.Connection) -> None:
        db.execute("DELETE FROM visit WHERE id = ?", (passage.id,))
        db.execute("DELETE FROM unread WHERE id = ?", (passage.id,))
        if passage.plate or not ended.event_id:
            return
        row = (passage.id, passage.device, ended.event_id, codec.encode_body([passage]))
        db.execute("INSERT INTO unread VALUES (?, ?, ?, ?)", row)
        db.execute(
            "DELETE FROM unread WHERE device = ? AND rowid NOT IN "
            "(SELECT rowid FROM unread WHERE device = ? ORDER BY rowid DESC LIMIT ?)",
            (passage.device, passage.device, UNREAD_KEPT),
        )

    return write
