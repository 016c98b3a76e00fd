"""What stands still is named, what lies outside is not."""

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.health.stats import LineStats
from gateway.health.systemd import Notifier
from gateway.health.vitals import STALE_AFTER_S, Vitals, hanging, keep_beating


def test_a_part_is_ill_when_it_has_not_moved_for_too_long() -> None:
    now = [100.0]
    vitals = Vitals(lambda: now[0])
    vitals.beat("event-loop")
    vitals.beat("outbox")
    now[0] += STALE_AFTER_S
    assert vitals.problems() == []
    vitals.beat("outbox")
    now[0] += 1
    assert vitals.problems() == [f"event-loop has not moved for {STALE_AFTER_S + 1:.0f} s"]
    vitals.forget("event-loop")
    assert vitals.problems() == []


def test_a_line_hangs_when_its_loop_has_not_turned_by_the_time_it_said() -> None:
    lines = [LineStats("new", []), LineStats("works", [], moves_by=1_001.0), LineStats("hangs", [], moves_by=400.0)]
    assert hanging(lines, 1_000.0) == ["line hangs has not moved for 600 s too long"]
    vitals = Vitals(lambda: 0.0, lambda: hanging(lines, 1_000.0))
    assert vitals.problems() == ["line hangs has not moved for 600 s too long"]


async def test_the_watchdog_is_fed_only_while_nothing_is_ill() -> None:
    now = [0.0]
    vitals, stop, fed = Vitals(lambda: now[0]), asyncio.Event(), []
    vitals.beat("outbox")
    now[0] = STALE_AFTER_S + 1
    beating = asyncio.create_task(keep_beating(vitals, stop, lambda: fed.append(now[0])))
    while not vitals._beats.get("event-loop"):
        await asyncio.sleep(0)
    assert fed == []
    stop.set()
    await beating
    vitals.beat("outbox")
    stop.clear()
    beating = asyncio.create_task(keep_beating(vitals, stop, lambda: fed.append(now[0])))
    while not fed:
        await asyncio.sleep(0)
    stop.set()
    await beating
    assert vitals.problems() == []


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(60)
        yield listening


def test_systemd_hears_what_the_service_says(systemd: socket.socket) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": systemd.getsockname()})
    assert notifier.listened_to
    notifier.ready()
    assert systemd.recv(100) == b"READY=1"
    notifier.alive()
    assert systemd.recv(100) == b"WATCHDOG=1"
    notifier.reloading()
    assert systemd.recv(100).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
    notifier.status("12 lines")
    assert systemd.recv(100) == b"STATUS=12 lines"
    notifier.stopping()
    assert systemd.recv(100) == b"STOPPING=1"


def test_without_systemd_nothing_is_said_and_a_dead_one_does_no_harm(tmp_path: Path) -> None:
    assert not Notifier({}).listened_to
    Notifier({}).ready()
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).ready()


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
    ],
)
def test_the_watchdog_is_fed_when_it_is_meant_for_this_process(told: dict[str, str], seconds: float | None) -> None:
    assert Notifier(told).watchdog_s == seconds
