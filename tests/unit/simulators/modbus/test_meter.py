"""The simulated meter refuses what its model refuses, rolls over, and logs what it served."""

import io
import json
from zoneinfo import ZoneInfo

import pytest

from simulators.modbus.dwelling import Dwelling
from simulators.modbus.faults import Fault, Faults
from simulators.modbus.image import raw_of, value_of
from simulators.modbus.meter import Refused, Served, SimulatedMeter
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
    assert raw_of(register, 10**9 - 1) == 10**9 - 1
    assert raw_of(register, 10**9 + 5) == 5


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
        "raw": entries[0]["raw"], "value": value_of(register, entries[0]["raw"]), "at_ms": NOW_MS,
    }  # fmt: skip


def test_same_seed_same_faults() -> None:
    import random

    def draws(seed: int) -> list[Fault | None]:
        faults = Faults({Fault.SILENT: 0.3, Fault.SHORT: 0.3}, random.Random(seed))
        return [faults.draw() for _ in range(50)]

    assert draws(4) == draws(4)
    assert {None, Fault.SILENT, Fault.SHORT} == set(draws(4))
