"""Every Modbus template that comes with the software is proven against a simulator built from it."""

import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction

import pytest
import pytest_asyncio

from gateway.contract.messages import CommandState
from gateway.drivers.base import Reading, ReadOutcome, SetsClock, Supply, SwitchesSupply
from gateway.drivers.modbus.identity import matching, read_identifier
from gateway.drivers.modbus.line import ModbusLine
from gateway.drivers.modbus.meter import modbus_meters
from gateway.drivers.modbus.planner import TCP_COST, Cost, rtu_cost
from gateway.drivers.modbus.program import compile_template
from gateway.templates.modbus import ModbusTemplate
from gateway.templates.modbus_registers import Exponent, Factor, Layout, Number, Register, Sign
from simulators.modbus.image import Raw, nearest_raw, range_of
from simulators.modbus.meter import SimulatedMeter
from simulators.modbus.server import MeterLine
from tests.integration.modbus.fleet import simulated
from tests.modbus_answers import expected
from tests.modbus_lines import tcp_line
from tests.templates import ids_of, modbus

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOW_MS = 1_780_000_000_000
UNIT = 9
RTU_COST = rtu_cost(11 / 9_600, 3.5 * 11 / 9_600, 0.02)
MODBUS = ids_of("modbus")


@dataclass
class Wire:
    """One server for all templates, and the gateway's connection to it."""

    server: MeterLine
    line: ModbusLine

    async def read(self, meter: SimulatedMeter, instance: int, cost: Cost) -> tuple[ReadOutcome, int]:
        """What a visit gives, and how many requests it made."""
        self.server.meters = {UNIT: meter}
        programs = compile_template(meter.template, cost, instance=instance, distinct_looks=cost is not TCP_COST)
        reader = modbus_meters([meter.device], UNIT, self.line, programs)[0]
        before = self.server.requests
        return await reader.read(reader.groups, lambda: NOW_MS), self.server.requests - before


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def wire() -> AsyncIterator[Wire]:
    server = MeterLine("proof", {})
    await server.start("127.0.0.1", 0)
    line = tcp_line("127.0.0.1", server.port, 2.0)
    await line.connect()
    yield Wire(server, line)
    line.close()
    await server.stop()


def instances(template: ModbusTemplate) -> range:
    """Numbers of its instances."""
    return range(template.instances.count if template.instances is not None else 1)


def meter_of(template_id: str, instance: int = 0) -> SimulatedMeter:
    """A simulated meter whose time stands still."""
    meter = simulated("proof-1", template_id, instance=instance)
    meter._now_ms = lambda: NOW_MS
    return meter


def any_raw(number: Number, register: Register, chance: random.Random) -> Raw:
    """One that makes sense, out of all that this number can be."""
    low, high = range_of(number)
    match number:
        case Exponent():
            return chance.randint(max(low, -3), min(high, 3))
        case Factor():
            return chance.choice([*number.values]) if number.values is not None else chance.randint(1, 40)
        case Sign():
            return chance.choice([number.negative[0], low, high])
    if register.values is not None:
        return chance.choice([*register.values])
    if number.type.is_float:
        return nearest_raw(number, Fraction(chance.uniform(-1e6, 1e6)))
    return chance.randint(low, high)


def show_anything(meter: SimulatedMeter, seed: str) -> None:
    """Raws out of all that the registers can hold; the same wherever registers share a number."""
    chance = random.Random(seed)
    held: dict[Layout, Raw] = {}
    for register in meter.registers:
        layouts = [meter.template.layout(one, register.function) for one in register.numbers]
        for layout, number in zip(layouts, register.numbers, strict=True):
            held.setdefault(layout, any_raw(number, register, chance))
        meter.overrides[register.channel] = tuple(held[layout] for layout in layouts)


def memories(meter: SimulatedMeter) -> dict[int, dict[int, int]]:
    """Everything that the meter holds, by function."""
    return {function: dict.fromkeys(range(65536), 0) | meter.words(function, 0, 65_536) for function in (1, 2, 3, 4)}


def judged(outcome: ReadOutcome) -> tuple[dict[str, int], int, int]:
    """Values by channel, missing, errors."""
    readings = [reading for _, answer in outcome.answers for reading in answer]
    assert all(isinstance(reading, Reading) for reading in readings)
    return {reading.channel: reading.value for reading in readings}, outcome.missing, outcome.errors


@pytest.mark.parametrize("template_id", MODBUS)
async def test_reads_what_a_dwelling_shows(wire: Wire, template_id: str) -> None:
    template = modbus(template_id)
    for instance in instances(template):
        meter = meter_of(template_id, instance)
        for cost in (TCP_COST, RTU_COST):
            outcome, requests = await wire.read(meter, instance, cost)
            values, missing, errors = judged(outcome)
            assert (missing, errors, outcome.exceptions) == (0, 0, 0)
            assert values == expected(template, meter.registers, memories(meter))[0]
            assert len(values) == len(template.registers)
            assert requests < max(2, len(template.registers) + len(compile_template(template).constants) + 1)


@pytest.mark.parametrize("template_id", MODBUS)
async def test_reads_whatever_the_registers_can_hold(wire: Wire, template_id: str) -> None:
    template = modbus(template_id)
    for instance in instances(template):
        meter = meter_of(template_id, instance)
        for seed in ("one", "two", "three"):
            show_anything(meter, f"{template_id}/{instance}/{seed}")
            outcome, _ = await wire.read(meter, instance, TCP_COST)
            assert judged(outcome) == expected(template, meter.registers, memories(meter))


@pytest.mark.parametrize("template_id", MODBUS)
async def test_sentinels_and_nan_are_no_values(wire: Wire, template_id: str) -> None:
    template = modbus(template_id)
    meter = meter_of(template_id)
    absent = set()
    for register in meter.registers:
        layout = template.layout(register.terms[0], register.function)
        if layout.type.is_bcd or layout.type.is_mod10:
            continue
        if layout.type.is_float:
            meter.overrides[register.channel] = float("nan")
        elif layout.sentinels:
            meter.overrides[register.channel] = min(layout.sentinels)
        else:
            continue
        absent.add(register.channel)
    outcome, _ = await wire.read(meter, 0, TCP_COST)
    values, missing, errors = judged(outcome)
    assert values.keys() == {register.channel for register in template.registers} - absent
    assert missing + errors == len(absent)
    assert (values, missing, errors) == expected(template, meter.registers, memories(meter))


@pytest.mark.parametrize("template_id", [one for one in MODBUS if modbus(one).identity or modbus(one).serial_number])
async def test_a_meter_is_known_by_its_identity(wire: Wire, template_id: str) -> None:
    template = modbus(template_id)
    meter = meter_of(template_id)
    if template.unlock is not None:
        for one in template.unlock.writes:
            meter.write(one.function, one.address, one.values)
    wire.server.meters = {UNIT: meter}
    if template.identity:
        assert template_id in await matching(wire.line, UNIT, {one: modbus(one) for one in MODBUS})
    if template.serial_number is not None:
        assert str(await read_identifier(wire.line, UNIT, template, template.serial_number)).startswith("1")


@pytest.mark.parametrize("template_id", [one for one in MODBUS if modbus(one).controls.model_fields_set])
async def test_a_meter_obeys_its_controls(wire: Wire, template_id: str) -> None:
    meter = meter_of(template_id)
    wire.server.meters = {UNIT: meter}
    reader = modbus_meters(["proof-1"], UNIT, wire.line, compile_template(meter.template))[0]
    for supply, actuator in meter.controls.actuators.items():
        assert isinstance(reader, SwitchesSupply)
        assert supply in reader.supplies
        for on in (False, True):
            outcome = await reader.switch(Supply(supply), on)
            assert (outcome.state, actuator.connected) == (CommandState.DONE, on), outcome
    if meter.template.controls.clock is not None:
        assert isinstance(reader, SetsClock)
        wanted = datetime(2027, 10, 31, 23, 58, 59)  # noqa: DTZ001 - local time
        outcome = await reader.set_clock(lambda: wanted)
        assert outcome.state is CommandState.DONE, outcome
        assert abs(meter.controls.clock_now() - wanted) < timedelta(minutes=1)
