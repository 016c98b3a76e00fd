"""Modbus, DL/T 645 and CJ/T 188 meters share one bus, also when everything on it goes wrong."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.contract.messages import CommandState
from gateway.drivers.base import CommandOutcome, Group, ReadOutcome, Supply
from gateway.drivers.cjt188 import frame as cjt188
from gateway.drivers.dlt645 import frame as dlt645
from simulators.modbus.faults import Fault
from tests.integration.mixed_bus.site import HOSTILE, NOW_MS, Mixed, joined_bus, mixed_bus
from tests.virtual_time import run

BILLING = frozenset({Group.BILLING})


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METER_RELAY", "02000000")


def values(outcome: ReadOutcome) -> dict[str, int]:
    return {reading.channel: reading.value for _, readings in outcome.answers for reading in readings}


async def read_all(mixed: Mixed) -> dict[str, ReadOutcome]:
    return {name: await meter.read(meter.groups, lambda: NOW_MS) for name, meter in mixed.meters.items()}


def check(mixed: Mixed, name: str, outcome: ReadOutcome, seen: dict[tuple[str, str], int]) -> int:
    """Every value is one that this device showed on this channel, and none is older than one before it."""
    counting = mixed.counting[name]
    found = {channel: value for channel, value in values(outcome).items() if channel in counting.codes}
    for channel, value in found.items():
        turn = counting.turn_of(channel, value)
        assert turn >= seen.get((name, channel), 0)
        seen[name, channel] = turn
    return len(found)


@pytest.mark.parametrize("medium", ["converter", "serial"])
async def test_all_of_them_are_read(tmp_path: Path, medium: str) -> None:
    async with mixed_bus(tmp_path / "port" if medium == "serial" else None) as mixed:
        assert (await mixed.relay_meter.switch(Supply.RELAY, False)).state is CommandState.DONE
        assert mixed.relay.relay_open
        assert (await mixed.valve_meter.switch(Supply.VALVE, False)).state is CommandState.DONE
        assert not mixed.valve.valve_open
        assert (await mixed.relay_meter.set_clock(mixed.relay.local_now)).state is CommandState.DONE
        assert (await mixed.valve_meter.set_clock(mixed.valve.local_now)).state is CommandState.DONE
        for _ in range(2):
            for name, outcome in (await read_all(mixed)).items():
                assert check(mixed, name, outcome, {}) == len(mixed.counting[name].codes)
                assert (outcome.timeouts, outcome.malformed, outcome.exceptions, outcome.missing) == (0, 0, 0, 0)


async def test_an_adapter_that_echoes() -> None:
    async with mixed_bus() as mixed:
        mixed.bus.faults.forced = Fault.ECHO
        for name, outcome in (await read_all(mixed)).items():
            assert check(mixed, name, outcome, {}) == len(mixed.counting[name].codes)


class Impostor:
    """Speaks before whoever was asked: right frames of another station, and of the asked one about something else."""

    def answer(self, frame: bytes) -> bytes | None:
        """Two frames, none of which answers."""
        if frame[:1] != b"\x68":
            return None
        if frame[7] == 0x68:
            asked = dlt645.parse(frame)
            answer = replace(asked, control=asked.control | 0x80, data=asked.data + bytes(4))
            other = replace(answer, address=asked.address[::-1])
            strange = replace(answer, data=bytes(8))
            return dlt645.build(other) + dlt645.build(strange)
        called = cjt188.parse(frame)
        reply = replace(called, control=called.control | 0x80, data=called.data + bytes(19))
        wrong, odd = replace(reply, address=called.address[::-1]), replace(reply, data=b"\0\0" + reply.data[2:])
        return cjt188.build(wrong) + cjt188.build(odd)


async def test_foreign_answers_are_passed_over() -> None:
    async with mixed_bus() as mixed:
        mixed.bus.devices = [Impostor(), *mixed.bus.devices]
        for name, outcome in (await read_all(mixed)).items():
            assert check(mixed, name, outcome, {}) == len(mixed.counting[name].codes)
        assert (await mixed.valve_meter.switch(Supply.VALVE, False)).state is CommandState.DONE


async def besieged(rounds: int) -> tuple[int, int]:
    """(values, failures) of reading everything again and again; every value is checked."""
    seen: dict[tuple[str, str], int] = {}
    found = failed = 0
    mixed = joined_bus()
    mixed.bus.faults.rates = dict.fromkeys(HOSTILE, 0.05)
    for _ in range(rounds):
        for name, meter in mixed.meters.items():
            outcome = await meter.read(BILLING, lambda: NOW_MS)
            found += check(mixed, name, outcome, seen)
            failed += outcome.timeouts + outcome.malformed
    mixed.bus.faults.rates = {}
    await asyncio.sleep(1)
    for name, outcome in (await read_all(mixed)).items():
        assert check(mixed, name, outcome, seen) == len(mixed.counting[name].codes)
    return found, failed


def test_no_wrong_value_however_hostile_the_bus() -> None:
    found, failed = run(besieged(300))
    assert found > 4_000
    assert failed > 500


def agrees(outcome: CommandOutcome, as_ordered: bool) -> bool:
    """DONE only when the device is in the ordered state, FAILED only when it is not."""
    return outcome.state is CommandState.UNCERTAIN or (outcome.state is CommandState.DONE) == as_ordered


def patient(mixed: Mixed) -> None:
    """Relay and valve are looked at often, until everything late is over."""
    relay, valve = mixed.relay.template.controls, mixed.valve.template.controls
    assert relay.relay is not None
    assert valve.valve is not None
    often = {"within_s": 3.0, "every_s": 0.2}
    mixed.relay_meter._controls = relay.model_copy(update={"relay": relay.relay.model_copy(update=often)})
    mixed.valve_meter._controls = valve.model_copy(update={"valve": valve.valve.model_copy(update=often)})


async def ordered(orders: int) -> list[CommandState]:
    """What became of switching relay and valve to and fro; each outcome is compared with the device."""
    states: list[CommandState] = []
    mixed = joined_bus()
    patient(mixed)
    mixed.bus.faults.rates = dict.fromkeys(HOSTILE, 0.08)
    for number in range(orders):
        on = number % 2 == 1
        cut = await mixed.relay_meter.switch(Supply.RELAY, on)
        assert agrees(cut, mixed.relay.relay_open != on)
        shut = await mixed.valve_meter.switch(Supply.VALVE, on)
        assert agrees(shut, mixed.valve.valve_open == on)
        states += [cut.state, shut.state]
        assert len(mixed.relay.orders) <= number + 1
        assert len(mixed.valve.orders) <= number + 1
    return states


def test_orders_tell_the_truth_and_are_never_doubled() -> None:
    states = run(ordered(200))
    assert states.count(CommandState.DONE) > 300
