"""A TCP proxy whose cable can be cut, stalled and slowed while connections run through it."""

import asyncio
import contextlib
from typing import Final

from gateway.tasks import end

_CHUNK: Final = 64 * 1024


class Proxy:
    """Passes bytes between whoever connects to `port` and `target`. Use as `async with`; the port stays the same."""

    def __init__(self, target_host: str, target_port: int) -> None:
        self.delay_s = 0.0
        """Every piece of data, either way, is passed on this much later."""
        self.passed_bytes = 0
        self._target = (target_host, target_port)
        self._flows = asyncio.Event()
        self._flows.set()
        self._reachable = True
        self._server: asyncio.Server | None = None
        self._running: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None, "not started"
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def __aenter__(self) -> "Proxy":
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        await self.cut()

    async def cut(self) -> None:
        """Breaks every connection at once and refuses new ones until `heal`."""
        self._reachable = False
        await end(*self._running)

    def stall(self) -> None:
        """Nothing passes and nothing breaks: to both ends, the other has gone silent. Until `heal`."""
        self._flows.clear()

    def heal(self) -> None:
        """Lets everything through again, without delay."""
        self._reachable = True
        self.delay_s = 0.0
        self._flows.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        try:
            if self._reachable:
                await self._join(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # the cable was cut, or there is nobody behind it
        finally:
            self._running.discard(task)
            writer.transport.abort()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(*self._target)
        ways = (
            asyncio.create_task(self._pass(reader, far_writer)),
            asyncio.create_task(self._pass(far_reader, writer)),
        )
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await end(*ways)
            far_writer.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                await self._flows.wait()
                self.passed_bytes += len(data)
                writer.write(data)
                await writer.drain()
