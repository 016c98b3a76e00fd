"""Modbus TCP peers in a process of their own: ready-made answers, at once or after a device's time, or none."""

import asyncio
import multiprocessing
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import cast


@dataclass(frozen=True, slots=True)
class Manners:
    """How the units behind a port answer."""

    after_s: float = 0.0
    """How long a unit thinks."""
    silent_from: int = 256
    """Units with this number or above say nothing."""


class _Peer(asyncio.Protocol):
    """Answers every read of function 3 or 4 with registers that count up."""

    def __init__(self, manners: Manners) -> None:
        self._manners = manners

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if data[6] >= self._manners.silent_from:
            return
        body = bytes(range(2 * data[11]))
        answer = data[:4] + struct.pack(">HBBB", 3 + len(body), data[6], data[7], len(body)) + body
        if self._manners.after_s:
            asyncio.get_running_loop().call_later(self._manners.after_s, self._transport.write, answer)
        else:
            self._transport.write(answer)


def _serve(ports: Connection, count: int, manners: Manners) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        servers = [await loop.create_server(lambda: _Peer(manners), "127.0.0.1", 0) for _ in range(count)]
        ports.send([server.sockets[0].getsockname()[1] for server in servers])
        await asyncio.Event().wait()

    asyncio.run(run())


@contextmanager
def running_peers(count: int, manners: Manners = Manners()) -> Iterator[list[int]]:
    """`count` listening ports."""
    context = multiprocessing.get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(sending, count, manners), daemon=True)
    process.start()
    try:
        yield receiving.recv()
    finally:
        process.terminate()
        process.join()
