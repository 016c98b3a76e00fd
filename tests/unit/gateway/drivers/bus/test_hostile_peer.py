"""A peer that delays, cuts, doubles, reorders, flips and answers for others never gets a wrong value accepted.

On a virtual clock with exact frame times, so that answers overlap as they would on a wire.
"""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field

import pytest

from gateway.drivers.bus.bus import Bus
from gateway.drivers.modbus.framing import Ascii, Framing, Mbap, Rtu
from gateway.drivers.modbus.line import ModbusLine
from gateway.errors import DeviceError, ExceptionReply, MalformedReply, NoAnswer
from simulators.bus.device import BusDevice
from simulators.bus.wire import BusTiming
from simulators.modbus.faults import Fault, Faults
from simulators.modbus.station import ModbusStation
from tests.encoded_meter import EncodedMeter
from tests.simulated_bus import BAUD_9600, MbapStation, joined
from tests.virtual_time import run

LATE_S = 0.5
CONVERTER = BusTiming(turnaround_s=0.01)
"""Keeps what it gets and hands it on when it likes: no answer is lost by being talked over."""
TIMEOUT_S = 0.1
ON_A_NETWORK = (Fault.LATE, Fault.DOUBLED, Fault.DOUBLED_LATE, Fault.SILENT)
"""TCP loses no bytes and flips none."""
ON_A_BUS = (*ON_A_NETWORK, Fault.CUT, Fault.STRAY, Fault.FLIPPED, Fault.ECHO)
OF_THE_DEVICE = (Fault.WRONG_UNIT, Fault.SHORT, Fault.LONG, Fault.BAD_BYTE_COUNT, Fault.GARBAGE, Fault.EXCEPTION)
"""Not WRONG_FUNCTION: that a right answer to another request would be if it came late, for all that anyone can tell."""
BLOCKS = ((3, 0, 12), (3, 100, 12), (3, 200, 12), (4, 0, 12), (3, 300, 7))
"""(function, address, count): several of them have answers of one look."""


@dataclass
class Hostile:
    """What a run gave."""

    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


async def besieged(
    framing: str, reads: int, *, steady: float = 0.0, converter: bool = False, late_answer_s: float = LATE_S
) -> Hostile:
    """Reads random blocks of two units, some by readers that give up."""
    loop = asyncio.get_running_loop()
    seed = 7
    generator = random.Random(seed)
    meters = {unit: EncodedMeter(unit, loop.time, seed, steady) for unit in (1, 2)}
    for meter in meters.values():
        meter.faults.rates = dict.fromkeys(OF_THE_DEVICE, 0.015)
    wire = ON_A_NETWORK if framing == "mbap" else ON_A_BUS
    # The latest answer begins 0.3 s after its time and takes less than 0.1 s: all within LATE_S of the question.
    faults = Faults(dict.fromkeys(wire, 0.04), random.Random(seed), late_s=0.3, earliest_late_s=0.001)
    line = ModbusLine(*_bus(framing, meters, faults, converter, late_answer_s))
    hostile = Hostile()
    for _ in range(reads):
        unit = generator.randint(1, 2)
        function, address, count = generator.choice(BLOCKS)
        asked_at = loop.time()
        task = asyncio.ensure_future(line.read(unit, function, address, count))
        if generator.random() < 0.05:
            await asyncio.sleep(generator.uniform(0, 0.08))
            if not task.done():
                task.cancel()
                hostile.outcomes["given up"] += 1
                continue
        try:
            registers = await task
        except DeviceError as error:
            hostile.outcomes[type(error).__name__] += 1
            continue
        hostile.outcomes["read"] += 1
        served = meters[unit].served.get(tuple(registers))
        if served is None or served[:3] != (function, address, count):
            hostile.wrong.append(f"asked {unit}/{function}/{address}/{count}, got an answer to {served}")
        elif asked_at - served[3] > LATE_S:
            hostile.wrong.append(f"an answer of {served[3]:.3f} to a question of {asked_at:.3f}")
    return hostile


def _bus(
    framing: str, meters: dict[int, EncodedMeter], faults: Faults, converter: bool, late_answer_s: float
) -> tuple[Bus, Framing]:
    if framing == "mbap":
        numbered: list[BusDevice] = [MbapStation(unit, meter) for unit, meter in meters.items()]
        bus, _ = joined(
            numbered, BusTiming(turnaround_s=0.02), faults=faults, timeout_s=TIMEOUT_S, converter=True, numbered=True
        )
        return bus, Mbap()
    kind: Framing = Rtu() if framing == "rtu" else Ascii()
    devices = [ModbusStation(unit, meter, "rtu" if framing == "rtu" else "ascii") for unit, meter in meters.items()]
    timing = CONVERTER if converter else BAUD_9600
    bus, _ = joined(
        devices, timing, faults=faults, timeout_s=TIMEOUT_S, late_answer_s=late_answer_s, converter=converter
    )
    return bus, kind


@pytest.mark.parametrize("converter", [False, True])
@pytest.mark.parametrize("steady", [0.0, 0.9])
@pytest.mark.parametrize("framing", ["rtu", "ascii"])
def test_no_wrong_value_is_accepted_on_a_bus(framing: str, steady: float, converter: bool) -> None:
    hostile = run(besieged(framing, 4_000, steady=steady, converter=converter))
    assert hostile.wrong == []
    assert hostile.outcomes["read"] > 2_000
    assert min(hostile.outcomes[kind.__name__] for kind in (NoAnswer, MalformedReply, ExceptionReply)) > 20


def test_no_wrong_value_is_accepted_over_modbus_tcp() -> None:
    hostile = run(besieged("mbap", 8_000))
    assert hostile.wrong == []
    assert hostile.outcomes["read"] > 5_000


def test_the_peer_is_hostile_enough_to_fool_a_bus_that_forgets() -> None:
    assert run(besieged("rtu", 4_000, converter=True, late_answer_s=0.0)).wrong
