"""Points into batches: at most so many, at most so late; a batch is safe when the outbox has it."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Final, Protocol

from gateway.contract.codec import encode_body
from gateway.contract.messages import Point
from gateway.contract.topics import Up

_BATCHES_AHEAD: Final = 10
"""Batches that may wait for the disk before the lines do."""


class KeepsBatches(Protocol):
    """The outbox, as far as a recorder needs it."""

    def put(self, kind: Up, body: bytes) -> Awaitable[int]:
        """Stores one batch durably and gives its sequence number."""


class Recorder:
    """Collects points of all lines. When the disk is slow the lines wait: memory stays bounded, nothing is lost."""

    def __init__(self, outbox: KeepsBatches, max_points: int, linger_s: float) -> None:
        self._outbox = outbox
        self._max_points = max_points
        self._linger_s = linger_s
        self._waiting: list[Point] = []
        self._full = asyncio.Event()
        self._some = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._closing = False
        self.recorded = 0
        """Points stored since the start."""

    async def record(self, points: Sequence[Point]) -> None:
        """Takes points; returns at once unless many batches wait already."""
        self._waiting.extend(points)
        if not self._waiting:
            return
        self._some.set()
        if len(self._waiting) >= self._max_points:
            self._full.set()
            if len(self._waiting) >= _BATCHES_AHEAD * self._max_points and not self._closing:
                self._room.clear()
                await self._room.wait()

    async def run(self) -> None:
        """Stores batches until `close` was called and everything is stored. Raises what the outbox raises."""
        try:
            while await self._something():
                await self._store_full_batches()
        finally:
            # Without an outbox nobody will ever make room: the lines must be able to end.
            self._closing = True
            self._room.set()

    def close(self) -> None:
        """No more points will come: `run` stores what waits and returns."""
        self._closing = True
        self._some.set()
        self._full.set()

    async def _store_full_batches(self) -> None:
        """Stores one batch, whatever its size, and then all that are full; all at the end."""
        while self._waiting:
            batch = self._waiting[: self._max_points]
            await self._outbox.put(Up.READINGS, encode_body(batch))
            del self._waiting[: len(batch)]
            self.recorded += len(batch)
            self._room.set()
            if len(self._waiting) < self._max_points and not self._closing:
                break

    async def _something(self) -> bool:
        """Waits for a full batch, or for the linger of the first point of one; False when all is done."""
        if not self._waiting:
            if self._closing:
                return False
            self._some.clear()
            await self._some.wait()
        if len(self._waiting) < self._max_points and not self._closing:
            self._full.clear()
            try:
                async with asyncio.timeout(self._linger_s):
                    await self._full.wait()
            except TimeoutError:
                pass
        return bool(self._waiting) or not self._closing
