"""The watch feeds systemd's watchdog while the gateway is well, and lets it bite when it is not."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.health.stats import LineStats
from gateway.health.systemd import Notifier
from gateway.health.vitals import STALE_AFTER_S
from gateway.health.watch import Watch
from gateway.outbox import OutboxStats
from tests.unit.gateway.health.gateway import observed


class Site:
    """A watch with a clock and an outbox that a test controls, and what systemd hears of it."""

    def __init__(self, path: Path) -> None:
        self.now = 0.0
        self.hangs = asyncio.Event()
        self.line = LineStats("l-1", [])
        self.systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.systemd.bind(str(path))
        self.systemd.setblocking(False)
        notifier = Notifier({"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "30000"})
        self.watch = Watch(observed([self.line]), self.ask, notifier, lambda: self.now)

    async def ask(self) -> OutboxStats:
        if self.hangs.is_set():
            await asyncio.Event().wait()
        return OutboxStats(4, 5, 0, 0)

    async def hears(self, wanted: bytes) -> None:
        """Waits until something is said that begins so."""
        async with asyncio.timeout(60):
            while not (await asyncio.get_running_loop().sock_recv(self.systemd, 200)).startswith(wanted):
                pass

    def forget(self) -> None:
        """What was said until now is not heard any more."""
        with suppress(BlockingIOError):
            while True:
                self.systemd.recv(200)

    async def silence(self) -> bool:
        """Whether nothing is said for a while in which many pings were due."""
        self.forget()
        try:
            async with asyncio.timeout(0.2):
                await asyncio.get_running_loop().sock_recv(self.systemd, 200)
        except TimeoutError:
            return True
        return False


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    site = Site(tmp_path / "notify")
    running = asyncio.create_task(site.watch.run())
    yield site
    site.watch.stop()
    running.cancel()
    await asyncio.wait([running])
    site.systemd.close()


async def test_ready_then_a_status_then_alive_again_and_again(site: Site) -> None:
    await site.hears(b"READY=1")
    await site.hears(b"STATUS=1 lines, uplink online, 4 batches wait")
    await site.hears(b"WATCHDOG=1")
    await site.hears(b"WATCHDOG=1")
    site.watch.ending()
    await site.hears(b"STOPPING=1")
    await site.hears(b"WATCHDOG=1")  # a long end is no hang


async def test_a_line_that_hangs_stops_the_pings_until_it_moves_again(site: Site) -> None:
    await site.hears(b"WATCHDOG=1")
    site.line.moves_by = -1.0
    assert await site.silence()
    site.line.moves_by = 10.0
    await site.hears(b"WATCHDOG=1")


async def test_an_outbox_that_hangs_stops_the_pings(site: Site) -> None:
    await site.hears(b"WATCHDOG=1")
    site.hangs.set()
    site.now = STALE_AFTER_S + 1
    site.watch.vitals.beat("event-loop")
    assert site.watch.vitals.problems() == [f"outbox has not moved for {STALE_AFTER_S + 1:.0f} s"]
    assert await site.silence()


async def test_an_event_loop_that_hangs_sends_nothing(site: Site) -> None:
    await site.hears(b"WATCHDOG=1")
    site.forget()
    site.systemd.settimeout(0.2)
    with pytest.raises(TimeoutError):  # this very call blocks the loop
        site.systemd.recv(200)


async def test_a_reload_is_told_and_ends_even_when_it_fails(site: Site) -> None:
    await site.hears(b"READY=1")

    def fail() -> None:
        with site.watch.reloading():
            raise ValueError

    with pytest.raises(ValueError):
        fail()
    await site.hears(b"RELOADING=1\nMONOTONIC_USEC=")
    await site.hears(b"READY=1")
