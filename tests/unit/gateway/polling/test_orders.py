"""Commands on a line: by capability, before polls, without holding up the others, and never forgotten at a stop."""

import asyncio
from datetime import datetime

import pytest

from gateway.contract.messages import Action, CommandState
from gateway.polling import worker as worker_module
from tests.unit.gateway.polling.line import QuietLine, QuietMeter, Told, ValveMeter, command, running, until

NOON = datetime(2026, 3, 1, 12)  # noqa: DTZ001  # a meter's clock is naive local time


def noon() -> datetime:
    return NOON


async def test_each_action_goes_to_its_capability() -> None:
    line = QuietLine()
    valve, plain, told = ValveMeter("w-1", line), QuietMeter("e-1", line), Told()
    valve.moved.set()
    worker = told.worker(line, [valve, plain])
    async with running(worker):
        for device, action, state, detail in (
            ("w-1", Action.OPEN_VALVE, CommandState.DONE, "valve open"),
            ("w-1", Action.CLOSE_VALVE, CommandState.DONE, "valve closed"),
            ("w-1", Action.SET_CLOCK, CommandState.DONE, "2026-03-01T12:00:00"),
            ("w-1", Action.READ_NOW, CommandState.DONE, "2 values"),
            ("w-1", Action.SWITCH_ON, CommandState.FAILED, "w-1 cannot switch-on: it has no relay"),
            ("e-1", Action.CLOSE_VALVE, CommandState.FAILED, "e-1 cannot close-valve: it has no valve"),
            ("e-1", Action.SET_CLOCK, CommandState.FAILED, "e-1 cannot set-clock: it has no clock"),
            ("e-1", Action.OPEN_BARRIER, CommandState.FAILED, "e-1 cannot open-barrier: it is a meter"),
            ("x-1", Action.READ_NOW, CommandState.FAILED, "no meter x-1 here"),
        ):
            outcome = await worker.perform(command(device, action), noon)
            assert (outcome.state, outcome.detail) == (state, detail)
    assert [point.device for point in told.points] == ["w-1"] * 2


async def test_a_slow_valve_holds_up_only_its_own_device() -> None:
    line = QuietLine()
    valve, other = ValveMeter("w-1", line), QuietMeter("w-2", line)
    worker = Told(period_ms=20).worker(line, [valve, other])
    async with running(worker):
        order = asyncio.create_task(worker.perform(command("w-1", Action.CLOSE_VALVE), noon))
        await until(lambda: "move w-1" in line.asked)
        begun = len(line.asked)
        await until(lambda: line.asked[begun:].count("read w-2") >= 5)
        assert "read w-1" not in line.asked[begun:]
        valve.moved.set()
        assert (await order).state is CommandState.DONE
        shown = line.asked.index("show w-1")
        await until(lambda: "read w-1" in line.asked[shown:])


async def test_orders_of_one_device_are_carried_out_one_after_the_other() -> None:
    line = QuietLine()
    valve = ValveMeter("w-1", line)
    worker = Told().worker(line, [valve])
    async with running(worker):
        orders = [
            asyncio.create_task(worker.perform(command("w-1", action), noon))
            for action in (Action.CLOSE_VALVE, Action.READ_NOW, Action.OPEN_VALVE)
        ]
        await until(lambda: line.asked)
        valve.moved.set()
        assert [(await order).state for order in orders] == [CommandState.DONE] * 3
    assert line.asked == ["move w-1", "show w-1", "read w-1", "move w-1", "show w-1"]


async def test_an_order_overtakes_the_polls_that_wait() -> None:
    line = QuietLine()
    meters = [QuietMeter(f"e-{number}", line) for number in range(5)]
    line.gates["read e-0"] = asyncio.Event()
    worker = Told(period_ms=1).worker(line, meters)
    async with running(worker):
        await until(lambda: "read e-0" in line.asked)
        begun = len(line.asked)
        order = asyncio.create_task(worker.perform(command("e-4", Action.READ_NOW), noon))
        for _ in range(10):
            await asyncio.sleep(0)
        line.gates["read e-0"].set()
        await order
        assert line.asked[begun] == "read e-4"


async def test_without_a_connection_the_order_fails_and_nothing_is_changed() -> None:
    line = QuietLine()
    line.reachable = False
    worker = Told().worker(line, [ValveMeter("w-1", line)])
    async with running(worker):
        for action in (Action.READ_NOW, Action.CLOSE_VALVE):
            outcome = await worker.perform(command("w-1", action), noon)
            assert (outcome.state, outcome.detail) == (CommandState.FAILED, "nobody there")
    outcome = await worker.perform(command("w-1", Action.READ_NOW), noon)
    assert (outcome.state, outcome.detail) == (CommandState.FAILED, "the gateway is stopping")
    assert line.asked == []


async def test_who_waits_may_go_away_without_cancelling_the_order() -> None:
    line = QuietLine()
    valve = ValveMeter("w-1", line)
    worker = Told().worker(line, [valve])
    async with running(worker):
        order = asyncio.create_task(worker.perform(command("w-1", Action.CLOSE_VALVE), noon))
        await until(lambda: line.asked)
        order.cancel()
        with pytest.raises(asyncio.CancelledError):
            await order
        valve.moved.set()
        await until(lambda: "show w-1" in line.asked)


async def test_a_stop_waits_for_running_orders() -> None:
    line = QuietLine()
    valve = ValveMeter("w-1", line)
    worker = Told().worker(line, [valve])
    async with running(worker):
        order = asyncio.create_task(worker.perform(command("w-1", Action.CLOSE_VALVE), noon))
        await until(lambda: line.asked)
        worker.stop()
        valve.moved.set()
    assert (await order).state is CommandState.DONE


async def test_an_order_that_does_not_end_is_uncertain_at_the_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "_ORDERS_END_S", 0.01)
    line = QuietLine()
    worker = Told().worker(line, [ValveMeter("w-1", line)])
    async with running(worker):
        order = asyncio.create_task(worker.perform(command("w-1", Action.CLOSE_VALVE), noon))
        await until(lambda: line.asked)
    outcome = await order
    assert (outcome.state, outcome.detail) == (
        CommandState.UNCERTAIN,
        "the gateway stopped before it was carried out",
    )
