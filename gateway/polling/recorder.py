"""Points into batches: at most so many, at most so late; a batch is safe when the outbox has it."""

import asyncio
from collections.abc import Awaitable, Iterator, Sequence
from typing import Final, Protocol

from gateway.contract.codec import encode_body
from gateway.contract.messages import Point
from gateway.contract.topics import Up
from gateway.outbox import OutboxError, OutboxFull, Shed
from gateway.outbox.shedding import DIAGNOSTIC_CHANNELS

_BATCHES_AHEAD: Final = 10
"""Batches that may wait for the disk before the lines do."""


class KeepsBatches(Protocol):
    """The outbox, as far as a recorder needs it."""

    @property
    def shedding(self) -> bool:
        """Whether there is no room for diagnostics."""

    def put(self, kind: Up, body: bytes, *, shed: Shed) -> Awaitable[int]:
        """Stores one batch durably and gives its sequence number, 0 when it could not."""

    def lose(self, points: Sequence[Point]) -> None:
        """Counts diagnostics that are not stored."""


class Recorder:
    """Collects points of all lines, registers and diagnostics apart: a full outbox gives up the latter first.

    When the disk is slow the lines wait: memory stays bounded, nothing is lost.
    """

    def __init__(self, outbox: KeepsBatches, max_points: int, linger_s: float) -> None:
        self._outbox = outbox
        self._max_points = max_points
        self._linger_s = linger_s
        self._streams: dict[Shed, list[Point]] = {Shed.BILLING: [], Shed.DIAGNOSTICS: []}
        self._storing = 0
        self._waiters: list[asyncio.Future[None]] = []
        self._flush_at: float | None = None
        self._due = asyncio.Event()
        self._some = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._closing = False
        self._ended: BaseException | None = None
        self.recorded = 0
        """Points stored since the start."""
        self.shed = 0
        """Diagnostics that were not stored for lack of room."""

    async def record(self, points: Sequence[Point]) -> None:
        """Takes points; returns at once unless many batches wait already."""
        self._take(points)
        if self._waiting() >= _BATCHES_AHEAD * self._max_points and not self._closing:
            self._room.clear()
            await self._room.wait()

    async def record_durably(self, points: Sequence[Point]) -> None:
        """Takes points and returns when they are on the disk; diagnostics may be shed, and are counted then.

        Raises OutboxFull when the disk has no room for them, OutboxError when the outbox failed or nothing is
        recorded any more: the device is to be told that its values were not stored.
        """
        if self._ended is not None:
            raise OutboxError("nothing is recorded any more") from self._ended
        if not points:
            return
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(stored)
        self._take(points)
        self._due.set()
        await stored

    async def run(self) -> None:
        """Stores batches until `close` was called and everything is stored. Raises what the outbox raises."""
        ended: BaseException = OutboxError("the recorder has ended")
        try:
            while await self._something():
                await self._store_batches()
        except BaseException as error:
            ended = error
            raise
        finally:
            # Without an outbox nobody will ever make room: the lines must be able to end.
            self._ended = ended
            self._closing = True
            self._room.set()
            _answer(self._waiters, OutboxError(f"not stored: {ended}"))

    def close(self) -> None:
        """No more points will come: `run` stores what waits and returns."""
        self._closing = True
        self._some.set()
        self._due.set()

    def _take(self, points: Sequence[Point]) -> None:
        billing, diagnostics = self._streams[Shed.BILLING], self._streams[Shed.DIAGNOSTICS]
        for point in points:
            (diagnostics if point.channel in DIAGNOSTIC_CHANNELS else billing).append(point)
        if points and self._flush_at is None:
            self._flush_at = asyncio.get_running_loop().time() + self._linger_s
            self._some.set()
        if len(billing) >= self._max_points or len(diagnostics) >= self._max_points:
            self._due.set()

    def _waiting(self) -> int:
        return self._storing + sum(map(len, self._streams.values()))

    async def _something(self) -> bool:
        """Waits for a full batch, for the linger of the first point, or for somebody in a hurry; False at the end."""
        if self._flush_at is None:
            if self._closing:
                return False
            self._some.clear()
            await self._some.wait()
        if not self._closing:
            try:
                async with asyncio.timeout_at(self._flush_at):
                    await self._due.wait()
            except TimeoutError:
                pass
        return True

    async def _store_batches(self) -> None:
        """Stores what is full; everything when somebody waits for it, when the linger is over, and at the end."""
        self._due.clear()
        waiters, self._waiters = self._waiters, []
        late = self._flush_at is not None and asyncio.get_running_loop().time() >= self._flush_at
        batches = list(self._cut(1 if waiters or late or self._closing else self._max_points))
        if not any(self._streams.values()):
            self._flush_at = None
        self._storing = sum(len(batch) for _, batch in batches)
        error: Exception | None = OutboxError("not stored")
        try:
            error = await self._put(batches)
        finally:
            self._storing = 0
            self._room.set()
            _answer(waiters, error)

    async def _put(self, batches: Sequence[tuple[Shed, list[Point]]]) -> Exception | None:
        """Stores batches in one commit; gives the error that somebody who waits for them is to see."""
        puts = [self._outbox.put(Up.READINGS, encode_body(batch), shed=shed) for shed, batch in batches]
        seqs = await asyncio.gather(*puts)
        self.recorded += sum(len(batch) for (_, batch), seq in zip(batches, seqs, strict=True) if seq)
        return None if all(seqs) else OutboxFull("no room on disk")

    def _cut(self, least: int) -> Iterator[tuple[Shed, list[Point]]]:
        """Takes batches of at least `least` points out of the streams."""
        for shed, stream in self._streams.items():
            if shed is Shed.DIAGNOSTICS and self._outbox.shedding and stream:
                self.shed += len(stream)
                self._outbox.lose(stream.copy())
                stream.clear()
            whole = len(stream) if least == 1 else len(stream) - len(stream) % self._max_points
            for start in range(0, whole, self._max_points):
                yield shed, stream[start : min(start + self._max_points, whole)]
            del stream[:whole]


def _answer(waiters: Sequence["asyncio.Future[None]"], error: Exception | None) -> None:
    for waiter in waiters:
        if waiter.done():  # whoever waited has gone
            continue
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(error)
