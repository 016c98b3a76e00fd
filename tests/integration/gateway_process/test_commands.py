"""Commands that the gateway carries out on meters."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from gateway.app import Gateway
from gateway.contract import WIRE_VERSION
from gateway.contract.messages import Action, Command, CommandState
from gateway.settings import load_site
from simulators.modbus.faults import Fault
from simulators.modbus.fleet import Fleet, FleetOptions
from tests.integration.gateway_process.test_run import site_file
from tests.integration.modbus.fleet import until
from tests.templates import LIBRARY


def command(device: str, action: Action = Action.READ_NOW) -> Command:
    now = 1_700_000_000_000
    return Command(
        WIRE_VERSION, "0" * 8 + "-0000" * 3 + "-" + "0" * 12, "demo", "gw-1", device, action, {}, "staff", now,
        now + 60_000, "n" * 16, "key-1",
    )  # fmt: skip


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[tuple[Gateway, Fleet]]:
    file = site_file(tmp_path)
    slow = yaml.safe_load(file.read_text()) | {"periods": {"billing_s": 3600, "instant_s": 3600}}
    file.write_text(yaml.safe_dump(slow))
    site = load_site(file)
    fleet = Fleet(site, FleetOptions())
    await fleet.start()
    gateway = Gateway(site, LIBRARY)
    stop = asyncio.Event()
    task = asyncio.create_task(gateway.run(stop))
    await until(lambda: all(worker.stats.connects for worker in gateway.plant.lines))
    yield gateway, fleet
    stop.set()
    async with asyncio.timeout(60):
        await task
    await fleet.stop()


async def test_a_meter_is_read_now(running: tuple[Gateway, Fleet]) -> None:
    gateway, _ = running
    before = gateway.recorder.recorded
    outcome = await gateway.plant.execute(command("e-2"))
    assert (outcome.state, outcome.detail) == (CommandState.DONE, "7 values")
    await until(lambda: gateway.recorder.recorded >= before + 7)


async def test_what_cannot_be_done_fails_with_its_reason(running: tuple[Gateway, Fleet]) -> None:
    gateway, fleet = running
    fleet.meters["w-1"].faults.forced = Fault.EXCEPTION
    for order, detail in (
        (command("w-1"), "the meter gave no value"),
        (command("x-1"), "no device x-1 here"),
        (command("e-1", Action.OPEN_VALVE), "e-1 cannot open-valve: it has no valve"),
    ):
        outcome = await gateway.plant.execute(order)
        assert (outcome.state, outcome.detail) == (CommandState.FAILED, detail)


async def test_a_dead_line_fails_the_command_instead_of_holding_it(running: tuple[Gateway, Fleet]) -> None:
    gateway, fleet = running
    await fleet.lines["w"].stop()
    outcome = await gateway.plant.execute(command("w-1"))
    assert outcome.state is CommandState.FAILED
