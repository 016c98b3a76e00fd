"""CJ/T 188 meters against simulated ones: reading, units, refusals, valve and clock."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from gateway.contract.messages import CommandState
from gateway.drivers.base import Group, Reading, SetsClock, Supply, SwitchesSupply
from gateway.drivers.cjt188.frame import Frame, build, parse
from gateway.drivers.cjt188.meter import (
    Cjt188Meter,
    ClockMeter,
    ValveAndClockMeter,
    ValveMeter,
    build_meter,
    compile_meter,
)
from gateway.templates.cjt188 import Cjt188Template
from simulators.bcd import value_of
from simulators.cjt188.meter import SimulatedCjt188
from simulators.modbus.dwelling import Dwelling
from tests.templates import cjt188, ids_of
from tests.unit.gateway.drivers.direct import DirectBus

ZONE = ZoneInfo("Asia/Shanghai")
NOW = datetime.fromisoformat("2026-11-25 20:00:00")
NOW_MS = round(NOW.replace(tzinfo=ZONE).timestamp() * 1000)
ADDRESS = "78330011223344"
VALVE = "generic-cjt188-cold-water-valve"
HEAT = "generic-cjt188-heat"
IDS = ids_of("cjt188")
VALVES = [one for one in IDS if cjt188(one).controls.valve is not None]


def now_ms() -> int:
    return NOW_MS


def simulated(template_id: str, address: str = ADDRESS) -> SimulatedCjt188:
    return SimulatedCjt188(
        "m", address, cjt188(template_id), Dwelling(1, "m", cjt188(template_id).medium.value, ZONE), now_ms
    )


def changed(template_id: str, **changes: object) -> Cjt188Template:
    """The template with other keys; its controls are looked at often, for a short time."""
    document = cjt188(template_id).model_dump(exclude_none=True)
    for control in document["controls"].values():
        control |= {"within_s": 0.02, "every_s": 0.001}
    return Cjt188Template.model_validate(document | changes)


def ordered(meter: SimulatedCjt188, template_id: str, bus: DirectBus) -> ValveAndClockMeter:
    meter.template = changed(template_id)
    built = build_meter("m", ADDRESS, bus, compile_meter(meter.template))
    assert isinstance(built, ValveAndClockMeter)
    return built


@pytest.mark.parametrize("template_id", IDS)
async def test_reads_what_the_simulator_shows(template_id: str) -> None:
    meter = simulated(template_id)
    bus = DirectBus(meter.answer)
    reader = build_meter("m", ADDRESS, bus, compile_meter(cjt188(template_id)))
    outcome = await reader.read(reader.groups, now_ms)
    got = {reading.channel: reading.value for _, readings in outcome.answers for reading in readings}
    shown = {register.channel: meter.raw(register, NOW_MS) for register in meter.template.registers}
    assert got == {
        register.channel: value_of(register, raw)
        for register in meter.template.registers
        if (raw := shown[register.channel]) is not None
    }
    assert len(got) == len(meter.template.registers)
    assert len(bus.requests) == 1
    assert (outcome.missing, outcome.exceptions, outcome.malformed, outcome.timeouts) == (0, 0, 0, 0)


@pytest.mark.parametrize("template_id", IDS)
async def test_values_that_the_meter_lacks_are_missing(template_id: str) -> None:
    meter = simulated(template_id)
    digits = [register.channel for register in meter.template.registers if register.type == "bcd"]
    meter.overrides = dict.fromkeys(digits, None)
    reader = build_meter("m", ADDRESS, DirectBus(meter.answer), compile_meter(cjt188(template_id)))
    outcome = await reader.read(reader.groups, now_ms)
    got = {reading.channel for _, readings in outcome.answers for reading in readings}
    assert got == {register.channel for register in meter.template.registers} - set(digits)
    assert outcome.missing == len(digits)


async def test_the_known_answer_gives_the_known_volume() -> None:
    known = bytes.fromhex("1F90" + "00" + "007766552C007766552C310122110515202184")

    def answer(request: bytes) -> bytes:
        asked = parse(request)
        return build(Frame(0x10, ADDRESS, 0x81, known[:2] + asked.data[2:3] + known[3:]))

    compiled = compile_meter(cjt188("generic-cjt188-cold-water-low-first"))
    reader = build_meter("m", ADDRESS, DirectBus(answer), compiled)
    outcome = await reader.read(frozenset({Group.BILLING}), now_ms)
    assert outcome.answers == [(NOW_MS, [Reading("volume_total", 556_677_000_000, 0)])]


async def test_a_value_of_another_unit_is_never_used() -> None:
    meter = simulated(HEAT)
    meter.unit_codes = {"heat_total": 0x11}
    reader = build_meter("m", ADDRESS, DirectBus(meter.answer), compile_meter(cjt188(HEAT)))
    billing = await reader.read(frozenset({Group.BILLING}), now_ms)
    assert (billing.malformed, billing.answers[0:]) == (1, [])
    instant = await reader.read(frozenset({Group.INSTANT}), now_ms)
    assert {reading.channel for _, readings in instant.answers for reading in readings} == {
        "power_heat", "flow", "temperature_supply", "temperature_return",
    }  # fmt: skip


@pytest.mark.parametrize("content", [b"", bytes(18), bytes(20), b"\xab" * 19])
async def test_other_lengths_and_no_digits_are_malformed(content: bytes) -> None:
    def answer(request: bytes) -> bytes:
        return build(Frame(0x10, ADDRESS, 0x81, parse(request).data[:3] + content))

    reader = build_meter("m", ADDRESS, DirectBus(answer), compile_meter(cjt188(VALVE)))
    outcome = await reader.read(reader.groups, now_ms)
    assert (outcome.malformed, outcome.answers) == (1, [])


async def test_every_question_has_its_own_number() -> None:
    meter = simulated(VALVE)
    bus = DirectBus(meter.answer)
    reader = build_meter("m", ADDRESS, bus, compile_meter(cjt188(VALVE)))
    for _ in range(300):
        await reader.read(reader.groups, now_ms)
    numbers = [parse(request).data[2] for request in bus.requests]
    assert numbers == [number % 256 for number in range(1, 301)]

    def late(request: bytes, answer: bytes) -> Iterable[bytes]:
        del request
        yield previous + answer

    previous = meter.answer(bus.requests[-1]) or b""
    meter.overrides = {"volume_total": 777}
    bus.spoil = late
    outcome = await reader.read(frozenset({Group.BILLING}), now_ms)
    assert outcome.answers[0][1] == [Reading("volume_total", 7_770_000, 0)]


async def test_a_meter_with_numbers_of_its_own() -> None:
    meter = simulated(VALVE)
    meter.template = changed(VALVE, repeats_serial=False)
    bus = DirectBus(meter.answer)
    strict = build_meter("m", ADDRESS, bus, compile_meter(cjt188(VALVE)))
    assert (await strict.read(strict.groups, now_ms)).timeouts == 1
    loose = build_meter("m", ADDRESS, bus, compile_meter(meter.template))
    assert len((await loose.read(loose.groups, now_ms)).answers) == 1
    assert bus.looks[-1] is not None


async def test_a_refusal_counts_as_one() -> None:
    meter = simulated(VALVE)
    meter.template = changed(VALVE, lengths={"1234": 1, "901F": 19})
    compiled = compile_meter(meter.template)
    meter.template = meter.template.model_copy(update={"lengths": {}})
    reader = build_meter("m", ADDRESS, DirectBus(meter.answer), compiled)
    outcome = await reader.read(reader.groups, now_ms)
    assert (outcome.exceptions, outcome.answered) == (1, True)


@pytest.mark.parametrize("template_id", VALVES)
async def test_the_valve_is_moved_and_read_back(template_id: str) -> None:
    meter = simulated(template_id)
    bus = DirectBus(meter.answer)
    built = ordered(meter, template_id, bus)
    assert isinstance(built, SwitchesSupply)
    assert built.supplies == {Supply.VALVE}
    meter.valve_moves_for = 2
    closed = await built.switch(Supply.VALVE, False)
    assert (closed.state, meter.valve_open) == (CommandState.DONE, False)
    assert (len(bus.requests), bus.changes) == (4, 1)
    opened = await built.switch(Supply.VALVE, True)
    assert (opened.state, meter.valve_open) == (CommandState.DONE, True)
    assert meter.orders == [b"\x99", b"\x55"]


async def test_a_valve_that_is_stuck_has_failed() -> None:
    meter = simulated(VALVE)
    meter.valve_stuck = True
    outcome = await ordered(meter, VALVE, DirectBus(meter.answer)).switch(Supply.VALVE, False)
    assert (outcome.state, outcome.detail) == (CommandState.FAILED, "the meter shows the valve open")


async def test_a_faulty_valve_is_told() -> None:
    meter = simulated(VALVE)

    def faulty(request: bytes) -> bytes | None:
        answer = meter.answer(request)
        frame = parse(answer or b"")
        if frame.control != 0x81:
            return answer
        return build(Frame(frame.kind, frame.address, frame.control, frame.data[:-2] + b"\x03\0"))

    outcome = await ordered(meter, VALVE, DirectBus(faulty)).switch(Supply.VALVE, False)
    assert (outcome.state, outcome.detail) == (CommandState.FAILED, "the meter shows valve state 03")


async def test_an_order_whose_answer_is_lost_is_decided_by_the_status() -> None:
    meter = simulated(VALVE)
    bus = DirectBus(meter.answer)
    built = ordered(meter, VALVE, bus)
    bus.spoil = lambda request, answer: [b"" if parse(request).control == 4 else answer]
    assert (await built.switch(Supply.VALVE, False)).state is CommandState.DONE
    bus.spoil = lambda _request, _answer: [b""]
    assert (await built.switch(Supply.VALVE, True)).state is CommandState.UNCERTAIN
    assert meter.orders == [b"\x99", b"\x55"]


async def test_an_order_that_the_meter_does_not_know_has_failed() -> None:
    meter = simulated(VALVE)
    built = ordered(meter, VALVE, DirectBus(meter.answer))
    document = cjt188(VALVE).model_dump(exclude_none=True)
    document["controls"]["valve"] |= {"open": "66", "close": "77"}
    meter.template = Cjt188Template.model_validate(document)
    outcome = await built.switch(Supply.VALVE, False)
    assert (outcome.state, outcome.detail) == (CommandState.FAILED, "refused with status 02 00")


async def test_no_relay_here() -> None:
    meter = simulated(VALVE)
    outcome = await ordered(meter, VALVE, DirectBus(meter.answer)).switch(Supply.RELAY, False)
    assert outcome.state is CommandState.FAILED


async def test_the_clock_is_set_and_read_back() -> None:
    meter = simulated(VALVE)
    meter.clock_error = timedelta(days=-400, seconds=5)
    built = ordered(meter, VALVE, DirectBus(meter.answer))
    assert isinstance(built, SetsClock)
    assert (await built.set_clock(lambda: NOW)).state is CommandState.DONE
    assert meter.local_now() == NOW


async def test_a_clock_that_keeps_its_time_has_failed() -> None:
    meter = simulated(VALVE)
    meter.clock_error = timedelta(hours=3)

    def deaf(request: bytes) -> bytes | None:
        asked = parse(request)
        return build(Frame(0x10, ADDRESS, 0x84, asked.data[:3])) if asked.control == 4 else meter.answer(request)

    outcome = await ordered(meter, VALVE, DirectBus(deaf)).set_clock(lambda: NOW)
    assert (outcome.state, outcome.detail) == (CommandState.FAILED, "the meter shows 2026-11-25 23:00:00")


@pytest.mark.parametrize(
    ("controls", "kind"),
    [
        ({}, Cjt188Meter),
        ({"valve": {"status_offset": 17}}, ValveMeter),
        ({"clock": {"status_offset": 10}}, ClockMeter),
        ({"valve": {"status_offset": 17}, "clock": {"status_offset": 10}}, ValveAndClockMeter),
    ],
)
def test_a_meter_can_what_its_template_says(controls: dict[str, object], kind: type) -> None:
    compiled = compile_meter(changed(VALVE, controls=controls))
    assert type(build_meter("m", ADDRESS, DirectBus(), compiled)) is kind
