"""Makes room in the outbox file: gives up whole batches by class and age, or thins diagnostics."""

import sqlite3
from typing import Final

from gateway.contract import codec, stored
from gateway.contract.errors import ContractError
from gateway.contract.messages import GapReason, Point
from gateway.contract.topics import Up
from gateway.outbox.losses import LossBook, Tally
from gateway.outbox.shedding import Shed, Thinning

ROW_OVERHEAD: Final = 64
"""What a row costs besides its body: columns, index entry, page slack."""

_CHUNK: Final = 64
_THIN_AT_ONCE: Final = 8
"""Rows thinned after one commit: a few milliseconds."""


class Eviction:
    """Works inside the caller's transaction; every method returns the bytes that it freed."""

    def __init__(self, db: sqlite3.Connection, book: LossBook) -> None:
        self._db = db
        self._book = book
        self._walk = Thinning()

    @property
    def may_thin(self) -> bool:
        """Whether a step of `thin` may still find something."""
        return not self._walk.done

    def make_room(self, needed: int, reason: GapReason, for_shed: Shed) -> int:
        """Gives up rows until `needed` bytes are free: least valuable class first, in it parked ones, then oldest.

        Nothing more valuable than `for_shed` is touched.
        """
        freed = 0
        for shed in Shed:
            for state in ("parked", "queued"):
                while shed <= for_shed and freed < needed:
                    found = self._give_up(shed, state, needed - freed, reason)
                    if not found:
                        break
                    freed += found
        return freed

    def _give_up(self, shed: Shed, state: str, needed: int, reason: GapReason) -> int:
        lost = Tally()
        chosen: list[tuple[int]] = []
        freed = 0
        for seq, kind, size, created_at, body in self._db.execute(
            "SELECT seq, kind, bytes, created_at, body FROM batch WHERE shed = ? AND state = ? ORDER BY seq LIMIT ?",
            (int(shed), state, _CHUNK),
        ):
            if freed >= needed:
                break
            chosen.append((seq,))
            freed += size
            lost.add_batch(shed, Up(kind), body, created_at, size, reason)
        self._db.executemany("DELETE FROM batch WHERE seq = ?", chosen)
        self._book.write(lost)
        return freed

    def thin(self) -> int:
        """Thins the next few rows of diagnostics, oldest first."""
        rows = self._db.execute(
            "SELECT seq, bytes, body FROM batch WHERE shed = ? AND state = 'queued' AND seq > ? ORDER BY seq LIMIT ?",
            (int(Shed.DIAGNOSTICS), self._walk.after, _THIN_AT_ONCE),
        ).fetchall()
        if not rows:
            self._walk.next_round()
        freed = 0
        for seq, size, body in rows:
            self._walk.after = seq
            try:
                points = codec.decode_points(stored.unpack(body))
            except ContractError:
                continue  # the cloud will refuse it, and it is parked then
            freed += self._thin_row(seq, size, points)
        return freed

    def forget_walk(self) -> None:
        """There is room again: the next time begins with the oldest rows and the finest step."""
        if self._walk.after or self._walk.done:
            self._walk = Thinning()

    def _thin_row(self, seq: int, size: int, points: tuple[Point, ...]) -> int:
        """A smaller body under the same number: whoever acknowledges the larger one has this one too."""
        kept = self._walk.thin(points)
        if len(kept) == len(points):
            return 0
        these = set(map(id, kept))
        lost = Tally()
        lost.add_points(Shed.DIAGNOSTICS, (one for one in points if id(one) not in these), GapReason.THINNED)
        self._book.write(lost)
        if not kept:
            self._db.execute("DELETE FROM batch WHERE seq = ?", (seq,))
            return size
        smaller = stored.pack(codec.encode_body(kept))
        after = len(smaller) + ROW_OVERHEAD
        self._db.execute("UPDATE batch SET body = ?, bytes = ? WHERE seq = ?", (smaller, after, seq))
        return size - after
