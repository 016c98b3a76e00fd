"""A gateway whose clock says that years have passed since it ran last forgets nothing by it."""

import time
from functools import partial
from pathlib import Path

import msgspec
import pytest
import yaml

from gateway.access.book import AccessBook
from gateway.app import ACCESS_FILE, CLOCK_FILE, OUTBOX_FILE, Gateway
from gateway.contract.messages import CommandResult, Outcome, Passage
from gateway.contract.messages import CommandState as State
from gateway.drivers.barrier.memory import Visit, VisitMemory
from gateway.outbox import Outbox
from gateway.polling.clock import Clock
from gateway.settings import load_site
from gateway.uplink.journal import Journal
from tests.integration.gateway_process.test_commands import command
from tests.integration.gateway_process.test_run import site_file
from tests.templates import LIBRARY

NOW = time.time_ns() // 1_000_000
THEN = NOW - 400 * 86_400_000
"""When it stopped, as far as it knows."""
STANDS = Passage("0" * 8 + "-0000" * 3 + "-" + "0" * 11 + "1", "lane", "京A1", THEN, Outcome.ARRIVED, "exit")
CAME = Passage("0" * 8 + "-0000" * 3 + "-" + "0" * 11 + "2", "lane", "京B2", THEN, Outcome.PASSED, "entry")


async def test_before_its_clock_was_ever_set_a_gateway_stamps_by_the_time_that_it_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cloud refuses what is from before 2000, whole: no vehicle would be seen, and no answer to an order heard."""
    file = site_file(tmp_path)
    lane = {"device": "lane", "sn": "S", "direction": "entry"}
    barriers = [{"name": "garage", "lot": "lot", "broker": {"host": "127.0.0.1"}, "lanes": [lane]}]
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), "barriers": barriers}))
    site = load_site(file)
    site.state_directory.mkdir(parents=True, exist_ok=True)
    kept = NOW - 5 * 86_400_000
    (site.state_directory / CLOCK_FILE).write_text(str(kept))
    monkeypatch.setattr("gateway.app.Clock", partial(Clock, lambda: 5_000_000_000))
    gateway = Gateway(site, LIBRARY)
    try:
        (line,) = gateway.plant.barriers
        for clock in (line._clock, gateway._uplink._clock):
            assert kept <= clock() < kept + 3_600_000
        assert not gateway._clock.wall_is_sure(), "no order of the cloud is carried out by such a time"
    finally:
        gateway.book.close()
        gateway.outbox.close()


async def test_stays_of_its_own_who_stands_before_a_barrier_and_what_was_ordered_are_known(tmp_path: Path) -> None:
    site = load_site(site_file(tmp_path))
    state = site.state_directory
    state.mkdir(parents=True, exist_ok=True)
    (state / CLOCK_FILE).write_text(str(THEN))
    book = AccessBook(state / ACCESS_FILE, THEN)
    book.passed("lot", CAME)
    book.close()
    ordered = msgspec.structs.replace(command("lane"), issued_at=THEN, expires_at=THEN + 60_000)
    outbox = Outbox.open(state / OUTBOX_FILE, 1 << 24, lambda: THEN)
    memory, journal = VisitMemory(outbox, lambda: THEN), Journal(outbox)
    await memory.load("lane")
    await memory.keep_and_send(Visit(STANDS, "a"))
    await journal.open(THEN, THEN)
    await journal.take_on(ordered, THEN)
    outbox.close()

    gateway = Gateway(site, LIBRARY)
    try:
        assert gateway.book.inside("lot") == 1
        reached = gateway._clock.reached_ms
        assert [one.passage for one in await VisitMemory(gateway.outbox, reached).load("lane")] == [STANDS]
        journal = Journal(gateway.outbox)
        assert await journal.open(NOW, reached()) == 1, "what was cut off is told"
        assert await journal.known(ordered.id) == CommandResult(
            ordered.id, State.UNCERTAIN, NOW, "the gateway stopped while executing it"
        )
    finally:
        gateway.book.close()
        gateway.outbox.close()
