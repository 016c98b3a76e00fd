"""How a master reaches a simulated bus: over a converter's TCP port, or over a serial port of this machine."""

import asyncio
import os
import tty
from contextlib import suppress
from pathlib import Path
from typing import Protocol, cast

from simulators.bus.wire import SimulatedBus

_READ = 4_096


class BusPort(Protocol):
    """A way to a bus."""

    async def start(self) -> None:
        """Opens it. Raises OSError."""

    async def stop(self) -> None:
        """Closes it, as a power cut would."""


class ConverterPort:
    """A serial server: passes bytes through both ways, unchanged, to whoever is connected."""

    def __init__(self, bus: SimulatedBus, host: str, port: int) -> None:
        """Port 0 takes a free one."""
        self._bus, self._address = bus, (host, port)
        self._server: asyncio.Server | None = None
        self.open: set[asyncio.Transport] = set()
        bus.listeners.append(self._send)

    @property
    def port(self) -> int:
        """Where it listens, once started."""
        assert self._server is not None, "not started"
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def start(self) -> None:
        """Listens. Raises OSError."""
        self._server = await asyncio.get_running_loop().create_server(
            lambda: _Connection(self._bus, self.open), *self._address
        )

    async def stop(self) -> None:
        """Stops listening and closes every connection."""
        if self._server is not None:
            self._server.close()
            for transport in list(self.open):
                transport.abort()
            await self._server.wait_closed()
            self._server = None

    def _send(self, data: bytes) -> None:
        for transport in self.open:
            if not transport.is_closing():
                transport.write(data)


class _Connection(asyncio.Protocol):
    def __init__(self, bus: SimulatedBus, open_connections: set[asyncio.Transport]) -> None:
        self._bus, self._open = bus, open_connections
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._open.add(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        assert self._transport is not None
        self._open.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._bus.hear(data)


class PtyPort:
    """A pseudo-terminal that looks like a serial port; `link` is a path that shall lead to it."""

    def __init__(self, bus: SimulatedBus, link: Path | None = None) -> None:
        self._bus, self._link = bus, link
        self._ours = self._theirs = -1
        bus.listeners.append(self._send)

    @property
    def path(self) -> str:
        """What the master opens, once started."""
        return str(self._link or os.ttyname(self._theirs))

    async def start(self) -> None:
        """Makes it. Raises OSError, also when something else than an old link is in the way."""
        self._ours, self._theirs = os.openpty()
        tty.setraw(self._theirs)
        os.set_blocking(self._ours, False)
        if self._link is not None:
            if self._link.is_symlink():
                self._link.unlink()
            self._link.symlink_to(os.ttyname(self._theirs))
        asyncio.get_running_loop().add_reader(self._ours, self._readable)

    async def stop(self) -> None:
        """Unplugs it."""
        if self._ours < 0:
            return
        asyncio.get_running_loop().remove_reader(self._ours)
        os.close(self._ours)
        os.close(self._theirs)
        self._ours = self._theirs = -1
        if self._link is not None:
            self._link.unlink(missing_ok=True)

    def _readable(self) -> None:
        with suppress(BlockingIOError):
            self._bus.hear(os.read(self._ours, _READ))

    def _send(self, data: bytes) -> None:
        if self._ours >= 0:
            with suppress(BlockingIOError):  # nobody reads, and the port is full: lost, as on a wire
                os.write(self._ours, data)
