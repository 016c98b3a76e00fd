"""Registers become exact integers in base units, or nothing at all."""

import struct
from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any, Protocol, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.messages import Quality
from gateway.drivers.base import Group, Reading
from gateway.drivers.modbus.numbers import Absent
from gateway.drivers.modbus.program import compile_template
from gateway.drivers.scaling import half_even
from gateway.templates.base import Order
from gateway.templates.modbus_registers import Layout, Number, RegisterType
from simulators.modbus.image import range_of, words_of
from tests.modbus_answers import expected, template, visit

ORDERS: st.SearchStrategy[Order] = st.sampled_from(("big", "little"))
T = TypeVar("T")
WORDS = st.integers(0, 0xFFFF)


def decode(words: list[int], **register: Any) -> Reading | Absent:
    """One register whose words lie from address 0 on."""
    keys = {key: register.pop(key) for key in ("nan", "word_order") if key in register}
    found, missing, errors = visit(template(register, **keys), dict(enumerate(words)))
    assert len(found) + missing + errors == 1
    return next(iter(found.values()), Absent.MISSING if missing else Absent.ERROR)


@pytest.mark.parametrize(
    ("kind", "words", "order", "value"),
    [
        ("u16", [0xFFFF], {}, 65_535),
        ("s16", [0xFFFF], {}, -1),
        ("u16", [0x1234], {"byte_order": "little"}, 0x3412),
        ("u32", [0x0001, 0x0002], {}, 0x0001_0002),
        ("u32", [0x0001, 0x0002], {"word_order": "little"}, 0x0002_0001),
        ("u32", [0x0102, 0x0304], {"byte_order": "little"}, 0x0201_0403),
        ("u32", [0x0102, 0x0304], {"byte_order": "little", "word_order": "little"}, 0x0403_0201),
        ("s32", [0xFFFF, 0xFFFE], {}, -2),
        ("s32", [0x8000, 0], {}, -(2**31)),
        ("u48", [1, 2, 3], {}, 0x0001_0002_0003),
        ("s48", [0xFFFF, 0xFFFF, 0xFFFD], {}, -3),
        ("u64", [0, 0, 1, 0], {}, 65_536),
        ("s64", [0xFFFF] * 4, {}, -1),
        ("f32", [0x4212, 0x806B], {}, 37),
        ("f32", [0x806B, 0x4212], {"word_order": "little"}, 37),
        ("f64", [0x4042, 0x500D, 0x6000, 0], {}, 37),
        ("bcd16", [0x1234], {}, 1_234),
        ("bcd32", [0x5678, 0x1234], {"word_order": "little"}, 12_345_678),
        ("bcd48", [0x0012, 0x3456, 0x7890], {}, 1_234_567_890),
        ("bcd64", [0, 0, 0x99, 0x0001], {}, 990_001),
        ("mod10x2", [123, 4_567], {}, 1_234_567),
        ("mod10x3", [4_567, 123, 2], {"word_order": "little"}, 201_234_567),
        ("mod10x4", [0, 0, 0xFFFF, 0xFFFE], {}, -10_002),
        ("u16", [0b1010_0000], {"mask": 0b1110_0000}, 5),
        ("u32", [0x1234, 0x5678], {"mask": 0xFFFFFF}, 0x345678),
        ("u16", [0x1000], {"bit": 12}, 1),
        ("bcd16", [0x59FF], {"mask": 0xFF00}, 59),
    ],
)
def test_types_and_orders(kind: str, words: list[int], order: dict[str, Any], value: int) -> None:
    # 36.625 with the low word first is the published example of the TUF-2000 manual.
    assert decode(words, type=kind, unit="mV", **order) == Reading("voltage_l1", value, 0)


def test_scales_exactly_into_the_base_unit() -> None:
    assert decode([2_301], scale="0.1") == Reading("voltage_l1", 230_100, 0)
    energy = decode([0, 0, 0x1C, 0xBE99], channel="energy_import_total", type="u64", scale="0.01", unit="kWh")
    assert energy == Reading("energy_import_total", 0x1C_BE99 * 10, 0)


@pytest.mark.parametrize(("raw", "value"), [(5, 0), (15, 2), (25, 2), (35, 4), (26, 3)])
def test_rounds_half_to_even(raw: int, value: int) -> None:
    assert decode([raw], scale="0.0001") == Reading("voltage_l1", value, 0)
    fine = decode([raw], channel="energy_import_total", scale="0.0001", unit="kWh", rounds=True)
    assert fine == Reading("energy_import_total", value, 0)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_is_an_error_of_the_device(number: float) -> None:
    words = list(struct.unpack(">HH", struct.pack(">f", number)))
    for scale in ("1", "0.0001"):
        assert decode(words, type="f32", scale=scale) is Absent.ERROR
    assert decode(list(struct.unpack(">4H", struct.pack(">d", number))), type="f64") is Absent.ERROR


def test_a_device_may_mean_nan_as_no_value_but_never_infinity() -> None:
    assert decode([0x7FC0, 0], type="f32", nan="missing") is Absent.MISSING
    assert decode([0x7F80, 0], type="f32", nan="missing") is Absent.ERROR


@pytest.mark.parametrize(("kind", "words"), [("bcd16", [0x12A4]), ("mod10x2", [1, 10_000]), ("bcd48", [0, 0xF, 0])])
def test_digits_that_are_none_are_an_error_of_the_device(kind: str, words: list[int]) -> None:
    assert decode(words, type=kind) is Absent.ERROR


@pytest.mark.parametrize(
    ("kind", "words", "sentinel"),
    [("u16", [65_535], 65_535), ("s16", [0x8000], -32_768), ("bcd16", [0xFFFF], 0xFFFF), ("f32", [0xBF80, 0], -1)],
)
def test_sentinel_is_no_value(kind: str, words: list[int], sentinel: int) -> None:
    assert decode(words, type=kind, sentinels=[sentinel]) is Absent.MISSING
    assert decode([0, 0][: len(words)], type=kind, sentinels=[sentinel]) == Reading("voltage_l1", 0, 0)


def test_a_sentinel_of_the_template_holds_for_all_that_say_nothing() -> None:
    rows = [{"channels": ["voltage_l1", "voltage_l2"], "stride": 1}, {"channel": "voltage_l3", "address": 2}]
    rows[1]["sentinels"] = []
    found, missing, errors = visit(template(*rows, sentinels={"u16": [7]}), {0: 7, 1: 8, 2: 7})
    assert ({code: one.value for code, one in found.items()}, missing, errors) == (
        {"voltage_l2": 8_000, "voltage_l3": 7_000},
        1,
        0,
    )


def test_beyond_64_bits_is_an_error() -> None:
    assert decode([0xFFFF] * 4, type="u64", unit="mV") is Absent.ERROR
    assert decode([0x7F7F, 0xFFFF], type="f32") is Absent.ERROR


def test_outside_the_bounds_is_kept_and_flagged() -> None:
    bounds = {"low": "100", "high": "300"}
    assert decode([300], bounds=bounds) == Reading("voltage_l1", 300_000, 0)
    assert decode([301], bounds=bounds) == Reading("voltage_l1", 301_000, int(Quality.OUT_OF_RANGE))
    assert decode([99], bounds=bounds) == Reading("voltage_l1", 99_000, int(Quality.OUT_OF_RANGE))
    for number, quality in ((300.0004, 0), (301.0, 4)):
        words = list(struct.unpack(">HH", struct.pack(">f", number)))
        reading = decode(words, type="f32", bounds=bounds)
        assert isinstance(reading, Reading)
        assert reading.quality == quality


def test_codes_of_a_state_become_ours() -> None:
    state = {"channel": "relay_state", "unit": "state", "values": {0x55: 1, 0xAA: 0}, "sentinels": [0xFF]}
    assert decode([0x55], **state) == Reading("relay_state", 1, 0)
    assert decode([0xAA], **state) == Reading("relay_state", 0, 0)
    assert decode([0x56], **state) is Absent.ERROR
    assert decode([0xFF], **state) is Absent.MISSING


def test_coils_are_states() -> None:
    rows = [
        {"channel": "relay_state", "function": 1, "address": 5, "type": "bit", "unit": "state"},
        {"channel": "valve_state", "function": 1, "address": 8, "type": "bit", "unit": "state", "values": {0: 1, 1: 0}},
    ]
    found, *_ = visit(template(*rows), {5: 1, 6: 1, 7: 0, 8: 1})
    assert {code: one.value for code, one in found.items()} == {"relay_state": 1, "valve_state": 0}


MWH = {"address": 0, "type": "u16", "scale": "1000"}
TENTHS = {"address": 2, "type": "u16", "scale": "0.1"}
ENERGY: dict[str, Any] = {"channel": "energy_import_total", "unit": "kWh"}


@pytest.mark.parametrize(
    ("register", "memory", "value"),
    [
        # 12 MWh and 345 kWh
        ({"parts": [MWH, {"address": 1, "type": "u16"}]}, [12, 345], 12_345_000),
        # 36 and 0.625, as the TUF-2000 splits its totals
        (
            {
                "parts": [
                    {"address": 0, "type": "s32", "word_order": "little"},
                    {"address": 2, "type": "f32", "word_order": "little"},
                ]
            },
            [36, 0, 0, 0x3F20],
            36_625,
        ),
        # SunSpec: 2301 times 10 ** -1
        ({"exponent": {"address": 1, "type": "s16"}}, [2_301, 0xFFFF], 230_100),
        ({"multipliers": [{"address": 1, "type": "u16"}, TENTHS]}, [7, 20, 5], 70_000),
        ({"divisors": [{"address": 1, "type": "u16"}]}, [10, 3], 3_333),
        ({"multipliers": [{"address": 1, "type": "u16", "values": {0: "0.001", 3: "1000"}}]}, [5, 3], 5_000_000),
        # the halves of a 64-bit number the other way round
        (
            {
                "unit": "Wh",
                "parts": [
                    {"address": 0, "type": "u32"},
                    {"address": 2, "type": "u32", "scale": "4294967296"},
                ],
            },
            [0, 9, 0, 1],
            4_294_967_305,
        ),
    ],
)  # fmt: skip
def test_values_of_several_numbers(register: dict[str, Any], memory: list[int], value: int) -> None:
    found, missing, errors = visit(template(ENERGY | register), dict(enumerate(memory)))
    assert (found, missing, errors) == ({"energy_import_total": Reading("energy_import_total", value, 0)}, 0, 0)


@pytest.mark.parametrize(
    ("register", "memory"),
    [
        ({"exponent": {"address": 1, "type": "s16"}}, [1, 37]),
        ({"multipliers": [{"address": 1, "type": "u16"}]}, [1, 0]),
        ({"divisors": [{"address": 1, "type": "s16"}]}, [1, 0xFFFF]),
        ({"multipliers": [{"address": 1, "type": "u16", "values": {0: "1"}}]}, [1, 1]),
    ],
)
def test_a_factor_that_makes_no_sense_is_an_error(register: dict[str, Any], memory: list[int]) -> None:
    assert visit(template(ENERGY | register), dict(enumerate(memory))) == ({}, 0, 1)


def test_the_sign_may_lie_elsewhere_or_in_the_number_itself() -> None:
    beside = {"channel": "power_active_total", "unit": "W", "sign": {"address": 1, "type": "u16", "negative": [2, 3]}}
    inside = {"channel": "power_reactive_total", "unit": "var", "address": 2, "type": "u32", "mask": 0x7FFF_FFFF,
              "sign": {"address": 2, "type": "u32", "bit": 31}}  # fmt: skip
    for code, factor in ((3, -1), (1, 1)):
        found, *_ = visit(template(beside, inside), {0: 50, 1: code, 2: 0x8000 if factor < 0 else 0, 3: 60})
        assert {name: one.value for name, one in found.items()} == {
            "power_active_total": factor * 50,
            "power_reactive_total": factor * 60,
        }


def test_constants_are_read_on_their_own() -> None:
    ratio = {"address": 9_000, "type": "u16", "constant": True}
    rows = [
        ENERGY | {"multipliers": [ratio]},
        {"address": 10, "divisors": [ratio | {"address": 9_100}], "exponent": {"address": 11, "type": "u16"}},
    ]
    programs = compile_template(template(*rows))
    assert [one.block.address for one in programs.constants] == [9_000]
    assert [(one.block.address, one.block.count) for one in programs.of(frozenset(Group))] == [(0, 12)]
    found, *_ = visit(template(*rows), {0: 3, 10: 8, 11: 1, 9_000: 40, 9_100: 16})
    assert {name: one.value for name, one in found.items()} == {"energy_import_total": 120_000, "voltage_l1": 5_000}


def test_channels_and_instances_are_a_stride_apart() -> None:
    rows = [
        {
            "channels": ["voltage_l3", "voltage_l2"], "address": 10, "stride": -2,
            "exponent": {"address": 20, "type": "u16"}, "sign": {"address": 30, "type": "u16", "stride": 1},
        },
        {"channel": "frequency", "unit": "Hz", "address": 15, "instance_stride": 0},
    ]  # fmt: skip
    whole = template(*rows, instances={"count": 2, "stride": 100})
    memory = {10: 4, 8: 5, 15: 50, 20: 1, 30: 0, 31: 1} | {110: 6, 108: 7, 120: 0, 130: 1, 131: 0}
    values = [{name: one.value for name, one in visit(whole, memory, instance)[0].items()} for instance in range(2)]
    assert values == [
        {"voltage_l3": 40_000, "voltage_l2": -50_000, "frequency": 50_000},
        {"voltage_l3": -6_000, "voltage_l2": 7_000, "frequency": 50_000},
    ]


@given(st.integers(-(10**20), 10**20), st.integers(1, 10**9))
def test_half_even_agrees_with_decimal(numerator: int, denominator: int) -> None:
    # 60 digits hold any tie of these numbers exactly.
    exact = Context(prec=60).divide(Decimal(numerator), Decimal(denominator))
    assert half_even(numerator, denominator) == int(exact.to_integral_value(ROUND_HALF_EVEN))


@given(st.floats(width=32, min_value=0, max_value=10_000_000))
def test_floats_are_taken_exactly_and_rounded_once(number: float) -> None:
    words = list(struct.unpack(">HH", struct.pack(">f", number)))
    reading = decode(words, channel="energy_import_total", type="f32", unit="kWh")
    assert reading == Reading("energy_import_total", round(Decimal(number) * 1000), 0)


class Draw(Protocol):
    """Gives an example of a strategy."""

    def __call__(self, strategy: st.SearchStrategy[T], /) -> T:
        """One example."""


class Builder:
    """Draws registers of every kind, each on addresses of its own, and a memory that they mostly make sense of."""

    def __init__(self, draw: Draw) -> None:
        self.draw = draw
        self.orders: dict[str, Order] = {"word_order": draw(ORDERS), "byte_order": draw(ORDERS)}
        self.end = 0
        self.memory: dict[int, int] = {}

    def number(self, kinds: Sequence[RegisterType], low: int | None = None, high: int | None = None) -> dict[str, Any]:
        """A number; its words are drawn from low to high, from all it can be, or at random."""
        draw = self.draw
        kind = draw(st.sampled_from(kinds))
        address = self.end + draw(st.integers(0, 4))
        self.end = address + kind.registers
        keys: dict[str, Any] = {"address": address, "type": kind.value}
        orders = draw(st.fixed_dictionaries({}, optional={"word_order": ORDERS, "byte_order": ORDERS}))
        keys |= orders
        order = self.orders | orders
        if kind.value[0] == "u" and low is None and draw(st.booleans()):
            first = draw(st.integers(0, kind.bits - 1))
            keys["mask"] = ((1 << draw(st.integers(1, kind.bits - first))) - 1) << first
        if draw(st.booleans()):
            sentinel = draw(st.integers(0, 3))
            keys["sentinels"] = [sentinel]
        words = draw(st.lists(WORDS, min_size=kind.registers, max_size=kind.registers))
        if not kind.is_float and "mask" not in keys and draw(st.integers(0, 9)):
            least, most = range_of(Number.model_construct(**(keys | {"type": kind})))
            raw = draw(
                st.integers(least if low is None else max(low, least), most if high is None else min(high, most))
            )
            words = words_of(Layout(3, address, kind, order["word_order"], order["byte_order"]), raw)
        self.memory |= dict(enumerate(words, start=address))
        return keys

    def register(self, channel: str) -> dict[str, Any]:
        """One value, of as many numbers as may be."""
        draw = self.draw
        kinds = [kind for kind in RegisterType if kind is not RegisterType.BIT]
        whole = [kind for kind in kinds if not kind.is_float]
        row: dict[str, Any] = {"channel": channel, "unit": "mV", "scale": draw(st.sampled_from(("1", "0.001", "3.7")))}
        if draw(st.booleans()):
            scales = draw(st.lists(st.sampled_from(("1", "1000", "0.5", "65536")), min_size=1, max_size=3))
            row["parts"] = [self.number(kinds) | {"scale": scale} for scale in scales]
        else:
            row |= self.number(kinds)
        if draw(st.integers(0, 3)) == 0:
            row["exponent"] = self.number(whole, -6, 6) | {"constant": draw(st.booleans())}
        for key in ("multipliers", "divisors"):
            if draw(st.integers(0, 3)) == 0:
                factor = self.number(kinds if draw(st.booleans()) else whole, -1, 400)
                row[key] = [factor | {"constant": draw(st.booleans()), "scale": draw(st.sampled_from(("1", "0.25")))}]
        if draw(st.integers(0, 3)) == 0:
            row["sign"] = self.number(whole, 0, 3) | {"negative": draw(st.sampled_from(([1], [0, 3])))}
        return row


@given(st.data())
def test_every_value_agrees_with_the_reference(data: st.DataObject) -> None:
    builder = Builder(data.draw)
    rows = [builder.register(channel) for channel in ("voltage_l1", "voltage_l2")[: data.draw(st.integers(1, 2))]]
    whole = template(*rows, nan=data.draw(st.sampled_from(("error", "missing"))), **builder.orders)
    found, missing, errors = visit(whole, builder.memory)
    assert ({code: one.value for code, one in found.items()}, missing, errors) == expected(
        whole, whole.registers, {3: builder.memory}
    )
    assert all(one.quality == 0 for one in found.values())
