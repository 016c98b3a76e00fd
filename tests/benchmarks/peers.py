"""Modbus TCP peers in a process of their own, so that what answers is not what is measured."""

import asyncio
import multiprocessing
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import cast


class _Peer(asyncio.Protocol):
    """Answers every read after `latency_s` with registers that count up; `dead` units not at all."""

    def __init__(self, latency_s: float, dead: frozenset[int]) -> None:
        self._latency_s, self._dead = latency_s, dead
        self._visits = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if data[6] in self._dead:
            return
        self._visits += 1
        count = data[11]
        # The first registers count the answers, so that a cumulative register goes forward.
        body = (self._visits.to_bytes(4, "big") * (count // 2 + 1))[: 2 * count]
        answer = data[:4] + struct.pack(">HBBB", 3 + len(body), data[6], data[7], len(body)) + body
        if self._latency_s:
            asyncio.get_running_loop().call_later(self._latency_s, self._transport.write, answer)
        else:
            self._transport.write(answer)


def _serve(ports: Connection, lines: int, latency_s: float, dead: frozenset[int]) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        servers = [await loop.create_server(lambda: _Peer(latency_s, dead), "127.0.0.1", 0) for _ in range(lines)]
        ports.send([server.sockets[0].getsockname()[1] for server in servers])
        await asyncio.Event().wait()

    asyncio.run(run())


@contextmanager
def modbus_peers(lines: int, latency_s: float = 0.0, dead: Sequence[int] = ()) -> Iterator[list[int]]:
    """Ports of `lines` listening peers; every unit id answers except `dead`."""
    context = multiprocessing.get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(sending, lines, latency_s, frozenset(dead)), daemon=True)
    process.start()
    try:
        yield receiving.recv()
    finally:
        process.terminate()
        process.join()
