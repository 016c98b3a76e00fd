"""What a Modbus template can say, and what it must not."""

from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.templates.library import load_meter_file
from gateway.templates.modbus import ModbusTemplate
from gateway.templates.modbus_registers import RegisterType

HEAD = """\
vendor: V
model: M
medium: electricity
proven: simulator
sources:
  - {reference: r, covers: c}
transports: {}
registers:
  - {channel: voltage_l1, function: 3, address: 0, type: u16, unit: V}
"""
ENERGY = "channel: energy_import_total, function: 3, unit: kWh"
PLAIN = f"{ENERGY}, address: 1, type: u16"
TWO = f"{ENERGY}, parts: [{{address: 1, type: u16}}, {{address: 5, type: u16}}]"
CLOCK = (
    "{part: year, address: 60}, {part: month, address: 61}, {part: day, address: 62}, {part: hour, address: 63}, "
    "{part: minute, address: 64}"
)


def load(tmp_path: Path, text: str) -> ModbusTemplate:
    file = tmp_path / "v-m.yaml"
    file.write_text(text, encoding="utf-8")
    loaded = load_meter_file(file)
    assert isinstance(loaded, ModbusTemplate)
    return loaded


def problems(tmp_path: Path, more: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, HEAD + more + "\n")
    return [f"{problem.line} {problem.key}: {problem.expected}" for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("kind", "bits", "registers"),
    [("u16", 16, 1), ("s48", 48, 3), ("f64", 64, 4), ("bcd32", 32, 2), ("mod10x3", 48, 3), ("bit", 1, 1)],
)
def test_sizes_of_types(kind: str, bits: int, registers: int) -> None:
    assert (RegisterType(kind).bits, RegisterType(kind).registers) == (bits, registers)


def test_everything_at_once_loads(tmp_path: Path) -> None:
    whole = load(
        tmp_path,
        HEAD
        + f"""\
  - channels: [power_active_l1, power_active_l2, power_active_l3]
    stride: -1
    function: 4
    address: 12
    type: s16
    unit: W
    exponent: {{address: 13, type: s16}}
    sign: {{address: 20, type: u16, stride: 2, negative: [0, 3]}}
  - {{{ENERGY}, rounds: true, parts: [{{address: 4, type: u32, scale: "1000"}}, {{address: 6, type: f32}}]}}
  - {{channel: relay_state, function: 1, address: 3, type: bit, unit: state, values: {{0: 1, 1: 0}}}}
limits: {{max_registers: 20, forbidden: [{{function: 3, first: 30, last: 39}}], pause_ms: 20}}
sentinels: {{u16: [0xFFFF]}}
nan: missing
identity: [{{function: 3, address: 90, type: ascii, characters: 4, equals: ["SunS"]}}]
serial_number: {{function: 3, address: 94, type: bcd48}}
unlock: {{every: connection, writes: [{{function: 6, address: 1, values: [2]}}]}}
controls:
  valve:
    connect: [{{function: 5, address: 1, values: [1]}}]
    disconnect: [{{function: 5, address: 1, values: [0]}}]
    shown: {{function: 2, address: 1, type: bit}}
    within_s: 30
  clock: {{fields: [{CLOCK}], tolerance_s: 60}}
""",
    )
    assert [register.channel for register in whole.registers] == [
        "voltage_l1", "power_active_l1", "power_active_l2", "power_active_l3", "energy_import_total", "relay_state",
    ]  # fmt: skip
    assert [register.span() for register in whole.registers] == [
        (3, 0, 1), (4, 12, 21), (4, 11, 23), (4, 10, 25), (3, 4, 8), (1, 3, 4),
    ]  # fmt: skip
    assert [register.entry for register in whole.registers] == [0, 1, 1, 1, 2, 3]
    assert whole.layout(whole.registers[0].terms[0], 3).sentinels == {0xFFFF}
    assert [(one.function, one.first, one.last) for one in whole.named()] == [
        (1, 3, 3), (3, 0, 0), (3, 4, 7), (4, 10, 13), (4, 20, 20), (4, 22, 22), (4, 24, 24),
    ]  # fmt: skip


def test_instances_move_all_that_is_not_shared(tmp_path: Path) -> None:
    rows = (
        f"  - {{{ENERGY}, address: 4, type: u16, instance_stride: -2, sign: {{address: 6, type: u16, bit: 0}}}}\n"
        "  - {channel: frequency, function: 3, address: 8, type: u16, unit: Hz, instance_stride: 0}\n"
    )
    whole = load(tmp_path, HEAD + rows + "instances: {count: 3, stride: 0x100}\n")
    spans = [[register.span() for register in whole.for_instance(number)] for number in range(3)]
    assert spans == [
        [(3, 0, 1), (3, 4, 7), (3, 8, 9)],
        [(3, 256, 257), (3, 2, 5), (3, 8, 9)],
        [(3, 512, 513), (3, 0, 3), (3, 8, 9)],
    ]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (
            "controls: {valve: {connect: [{function: 5, address: 1, values: [1]}], disconnect: [{function: 5, "
            "address: 1, values: [0]}], shown: {function: 1, address: 1, type: bit}}}\n"
            "instances: {count: 2, stride: 9}",
            "10 controls.valve: none beside instances",
        ),
        ("sentinels: {u16: [-1]}", "10 sentinels.u16: expected sentinels from 0 to 65535, -1 never appears"),
        ("  - {function: 3, address: 1, type: u16, unit: V}", "10 registers[1]: Value error, expected one of channel"),
        (
            "  - {channels: [voltage_l1, current_l1], stride: 1, function: 3, address: 1, type: u16, unit: V}",
            "10 registers[1]: Value error, expected channels of one unit and kind",
        ),
        (
            "  - {channel: voltage_l2, stride: 1, function: 3, address: 1, type: u16, unit: V}",
            "10 registers[1]: Value error, expected a stride only beside channels",
        ),
        (
            "  - {channels: [voltage_l2, voltage_l1], stride: 1, function: 3, address: 1, type: u16, unit: V}",
            "10 registers[1].channel: each channel once, voltage_l1 is repeated",
        ),
        (f"  - {{{ENERGY}, address: 1}}", "10 registers[1]: Value error, expected address and type, or parts"),
        (
            f"  - {{{ENERGY}, address: 1, parts: [{{address: 1, type: u16}}]}}",
            "10 registers[1]: Value error, expected place, type, orders and sentinels in the parts",
        ),
        (
            f'  - {{{ENERGY}, parts: [{{address: 1, type: u16, scale: "0.0001"}}]}}',
            "10 registers[1]: Value error, expected parts that give whole Wh",
        ),
        (
            f"  - {{{ENERGY}, parts: [{{address: 1, type: u17}}]}}",
            "10 registers[1].parts[0].type: Input should be 'u16', 's16'",
        ),
        (
            f"  - {{{ENERGY}, parts: [{{address: 1, type: u16}}, {{address: 1, type: u16, function: 4}}]}}",
            "10 registers[1]: all that changes by one function",
        ),
        (
            f"  - {{{PLAIN}, digits: 4, exponent: {{address: 2, type: s16}}}}",
            "10 registers[1]: Value error, expected digits only where no exponent",
        ),
        (
            f"  - {{{PLAIN}, exponent: {{address: 2, type: f32}}}}",
            "10 registers[1].exponent: Value error, expected an exponent that is an integer",
        ),
        (
            f"  - {{{PLAIN}, values: {{1: 1}}}}",
            "10 registers[1]: Value error, expected values only on a state",
        ),
        (
            f'  - {{{PLAIN}, divisors: [{{address: 2, type: u16, scale: "2", values: {{}}}}]}}',
            "10 registers[1].divisors[0]: Value error, expected values on an integer code",
        ),
        (
            f"  - {{{PLAIN}, sentinels: [65536]}}",
            "10 registers[1]: Value error, expected sentinels from 0 to 65535, 65536 never appears",
        ),
        (
            f"  - {{{ENERGY}, address: 1, type: s16, bit: 3}}",
            "10 registers[1]: Value error, expected bit or mask only on an unsigned",
        ),
        (f"  - {{{PLAIN}, bit: 16}}", "10 registers[1]: Value error, expected bit or mask inside"),
        (f"  - {{{PLAIN}, mask: 5}}", "10 registers[1]: Value error, expected a mask of bits side"),
        (f"  - {{{PLAIN}, mask: 1, bit: 0}}", "10 registers[1]: Value error, expected one of bit"),
        (
            f"  - {{{ENERGY}, address: 1, type: bit}}",
            "10 registers[1]: Value error, expected type bit with function 1 or 2",
        ),
        (f"  - {{{ENERGY}, address: 65535, type: u32}}", "10 registers[1]: all addresses from 0 to 65535"),
        (
            f"  - {{{ENERGY}, address: 1, type: u32}}\n"
            "  - {channel: energy_export_total, function: 3, address: 2, type: u32, unit: kWh}",
            "11 registers[2]: registers of its own, 2 to 3 overlap with 1 to 2",
        ),
        (
            f"  - {{{ENERGY}, address: 1, type: u32}}\nlimits: {{forbidden: [{{function: 3, first: 2, last: 2}}]}}",
            "10 registers[1].type: no address that limits.forbidden names",
        ),
        (
            f"  - {{{TWO}}}\n"
            "limits: {refuses_holes: true}",
            "10 registers[1]: no hole between what is read together",
        ),
        (
            f"  - {{{TWO}}}\nlimits: {{max_registers: 4}}",
            "10 registers[1]: a value of at most 4 registers",
        ),
        (
            f"  - {{{ENERGY}, address: 900, type: u16}}\ninstances: {{count: 2, stride: 65000}}",
            "10 registers[1]: all addresses from 0 to 65535, stride and instances lead to 65900",
        ),
        ("limits: {forbidden: [{function: 3, first: 2, last: 1}]}", "10 limits.forbidden[0]: Value error, expected"),
        ("identity: [{function: 3, address: 1, type: ascii, equals: [a]}]", "10 identity[0]: Value error, expected"),
        ("identity: [{function: 3, address: 1, type: u16, equals: [a]}]", "10 identity[0]: Value error, expected num"),
        ("serial_number: {function: 3, address: 1, type: f32}", "10 serial_number: Value error, expected an integer"),
        (
            "unlock: {writes: [{function: 6, address: 1, values: [1, 2]}]}",
            "10 unlock.writes[0]: Value error, expected one value with function 6",
        ),
        (
            "unlock: {writes: [{function: 5, address: 1, values: [255]}]}",
            "10 unlock.writes[0]: Value error, expected 0 or 1 for a coil",
        ),
        (
            f"controls: {{clock: {{fields: [{CLOCK}]}}}}",
            "10 controls.clock: Value error, expected a tolerance_s of at least 60",
        ),
        (
            "controls: {clock: {fields: [{part: epoch, address: 1, type: u32}, {part: day, address: 3}]}}",
            "10 controls.clock: Value error, expected day, hour, minute, month, year, or epoch alone",
        ),
        (
            f"controls: {{clock: {{tolerance_s: 60, fields: [{CLOCK}, {{part: weekday, address: 66}}]}}}}",
            "10 controls.clock: Value error, expected registers without a hole",
        ),
        (
            "controls: {relay: {connect: [], disconnect: [], shown: {address: 1, type: u16}}}",
            "10 controls.relay.connect: Tuple should have at least 1 item",
        ),
        (
            "controls: {relay: {connect: [{function: 6, address: 1, values: [1]}], "
            "disconnect: [{function: 6, address: 1, values: [1]}], shown: {address: 1, type: u16, connected: [0]}}}",
            "10 controls.relay.shown: Value error, expected an integer with different numbers",
        ),
    ],
)  # fmt: skip
def test_each_mistake_is_located(tmp_path: Path, more: str, expected: str) -> None:
    found = problems(tmp_path, more)
    assert any(one.startswith(expected) for one in found), found
