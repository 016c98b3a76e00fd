"""The simulated meter refuses what its model refuses, rolls over, and logs what it served."""

import io
import json
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.drivers.base import Supply
from simulators.modbus.dwelling import Dwelling
from simulators.modbus.faults import Fault, Faults
from simulators.modbus.image import raws_of, step_of, value_of
from simulators.modbus.meter import Refused, Served, SimulatedMeter
from simulators.modbus.unit import SimulatedUnit
from tests.modbus_answers import template
from tests.templates import modbus

NOW_MS = 1_780_000_000_000


def meter(
    template_id: str = "gatemeter-demo-electricity", advance: bool = False, log: io.StringIO | None = None
) -> SimulatedMeter:
    template = modbus(template_id)
    home = Dwelling(1, "m", template.medium.value, ZoneInfo("Asia/Shanghai"))
    return SimulatedMeter("m", template, home, lambda: NOW_MS, advance, Served(log) if log is not None else None)


@pytest.mark.parametrize(
    ("function", "address", "count", "code"),
    [(6, 0, 1, 1), (3, 0, 126, 3), (3, 0, 0, 3), (3, 9_000, 2, 2), (4, 0, 2, 2)],
)
def test_refuses_as_the_protocol_says(function: int, address: int, count: int, code: int) -> None:
    with pytest.raises(Refused) as refused:
        meter().read(function, address, count)
    assert refused.value.code == code


def test_rolls_over_after_its_digits() -> None:
    register = modbus("gatemeter-demo-electricity").registers[0]
    assert register.modulus == 10**9
    assert raws_of(register, 10**9 - 1) == (10**9 - 1,)
    assert raws_of(register, 10**9 + 5) == (5,)


def test_serves_distinguishable_values_when_asked_to() -> None:
    advancing = meter(advance=True)
    served = [tuple(advancing.read(3, 0, 2)) for _ in range(5)]
    values = [high << 16 | low for high, low in served]
    assert values == list(range(values[0], values[0] + 5))
    still = meter()
    assert still.read(3, 0, 2) == still.read(3, 0, 2)


def test_logs_every_register_that_went_out_whole() -> None:
    log = io.StringIO()
    meter(log=log).read(3, 2, 5)
    entries = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [entry["channel"] for entry in entries] == ["energy_import_peak", "energy_import_flat"]
    register = modbus("gatemeter-demo-electricity").registers[1]
    assert entries[0] == {
        "device": "m", "function": 3, "address": 2, "channel": "energy_import_peak",
        "raw": entries[0]["raw"], "value": value_of(register, (entries[0]["raw"],)), "at_ms": NOW_MS,
    }  # fmt: skip


def test_same_seed_same_faults() -> None:
    import random

    def draws(seed: int) -> list[Fault | None]:
        faults = Faults({Fault.SILENT: 0.3, Fault.SHORT: 0.3}, random.Random(seed))
        return [faults.draw() for _ in range(50)]

    assert draws(4) == draws(4)
    assert {None, Fault.SILENT, Fault.SHORT} == set(draws(4))


CONTROLS = {
    "relay": {
        "connect": [{"function": 5, "address": 3, "values": [1]}],
        "disconnect": [{"function": 6, "address": 9, "values": [7]}, {"function": 5, "address": 3, "values": [0]}],
        "shown": {"address": 50, "type": "u16"},
    }
}


class Time:
    """Milliseconds that pass when told to."""

    def __init__(self) -> None:
        self.now_ms = NOW_MS

    def meter(self, *registers: dict[str, Any], instance: int = 0, **keys: Any) -> SimulatedMeter:
        whole = template(*registers, **keys)
        home = Dwelling(1, "m", "electricity", ZoneInfo("Asia/Shanghai"))
        return SimulatedMeter("m", whole, home, lambda: self.now_ms, instance=instance)


def code_of(act: Callable[[], object]) -> int:
    with pytest.raises(Refused) as refused:
        act()
    return refused.value.code


def test_takes_the_writes_that_its_template_knows() -> None:
    time = Time()
    one = time.meter({"channel": "relay_state", "unit": "state", "address": 40}, controls=CONTROLS)
    relay = one.controls.actuators[Supply.RELAY]
    relay.travel_ms = 500
    assert code_of(lambda: one.write(6, 9, [8])) == 2
    assert code_of(lambda: one.write(22, 9, [8])) == 1
    one.write(5, 3, [1])
    one.write(6, 9, [7])
    assert one.read(3, 50, 1) == [1]
    one.write(5, 3, [0])
    assert one.read(3, 50, 1) == [2]
    assert one.read(3, 40, 1) == [2]
    time.now_ms += 500
    assert one.read(3, 50, 1) == one.read(3, 40, 1) == [0]
    assert relay.orders == 2


def test_an_order_that_was_not_unlocked_is_refused() -> None:
    one = Time().meter({}, controls=CONTROLS)
    assert code_of(lambda: one.write(5, 3, [0])) == 2


@pytest.mark.parametrize(
    ("every", "after_ms", "readable"), [("visit", 2_999, True), ("visit", 3_000, False), ("connection", 10**9, True)]
)
def test_is_locked_until_it_is_unlocked(every: str, after_ms: int, readable: bool) -> None:
    time = Time()
    writes = [{"function": 6, "address": 99, "values": [1]}, {"function": 6, "address": 99, "values": [2]}]
    one = time.meter({}, unlock={"every": every, "writes": writes})
    one.write(6, 99, [1])
    assert code_of(lambda: one.read(3, 0, 1)) == 4
    one.write(6, 99, [2])
    assert len(one.read(3, 0, 1)) == 1
    time.now_ms += after_ms
    if readable:
        assert len(one.read(3, 0, 1)) == 1
        one.controls.lock()
    assert code_of(lambda: one.read(3, 0, 1)) == 4


def test_refuses_forbidden_addresses_and_counts_coils_by_themselves() -> None:
    coil: dict[str, Any] = {"channel": "relay_state", "function": 1, "unit": "state", "type": "bit", "address": 5}
    one = Time().meter({}, coil, limits={"max_registers": 2, "forbidden": [{"function": 3, "first": 1, "last": 1}]})
    assert code_of(lambda: one.read(3, 0, 2)) == 2
    assert code_of(lambda: one.read(3, 0, 3)) == 3
    assert len(one.read(1, 0, 32)) == 32
    assert code_of(lambda: one.read(1, 0, 33)) == 3


def test_instances_of_a_unit_answer_together() -> None:
    time = Time()
    row = {"channel": "energy_import_total", "unit": "Wh", "type": "u32"}
    both = [time.meter(row, instances={"count": 2, "stride": 10}, instance=number) for number in range(2)]
    for number, one in enumerate(both):
        one.overrides = {"energy_import_total": 70_000 + number}
    unit = SimulatedUnit(both)
    assert unit.read(3, 0, 12) == [1, 4_464, *[0] * 8, 1, 4_465]
    assert code_of(lambda: unit.write(6, 0, [1])) == 2


SEVERAL = template(
    {
        "channel": "energy_import_total", "unit": "kWh", "parts": [
            {"address": 0, "type": "u16", "scale": "1000"},
            {"address": 1, "type": "u16"},
            {"address": 2, "type": "f32"},
        ],
    },
    {
        "unit": "mV", "type": "s64", "address": 10, "exponent": {"address": 4, "type": "s16"},
        "multipliers": [{"address": 5, "type": "u16"}], "divisors": [{"address": 6, "type": "u16"}],
    },
    {
        "channel": "power_active_total", "unit": "W", "type": "u64", "address": 20,
        "sign": {"address": 24, "type": "u16"},
    },
)  # fmt: skip


@given(st.integers(0, 10**12))
def test_a_value_is_shown_to_its_resolution(value: int) -> None:
    energy, voltage, power = SEVERAL.registers
    if value < 65_535_999_000:
        raws = raws_of(energy, value)
        assert raws[:2] == (value // 1_000_000, value // 1_000 % 1_000)
        assert value_of(energy, raws) == value
    shown = value_of(voltage, raws_of(voltage, value))
    assert shown is not None
    assert abs(value - shown) <= step_of(voltage)
    assert [value_of(power, raws_of(power, one)) for one in (value, -value)] == [value, -value]
