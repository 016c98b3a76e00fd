"""Registers become exact integers in base units, or nothing at all."""

import struct
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.messages import Quality
from gateway.drivers.base import Reading
from gateway.drivers.modbus.decoder import compile_block, compile_register, field_of, half_even
from gateway.drivers.modbus.planner import TCP_COST, ReadLimits, plan
from gateway.templates.modbus import ModbusTemplate
from simulators.modbus.image import words_of

ORDERS = st.sampled_from(("big", "little"))


def template(**register: Any) -> ModbusTemplate:
    base = {"channel": "voltage_l1", "function": 3, "address": 0, "type": "u16", "unit": "V"}
    return ModbusTemplate.model_validate({
        "vendor": "V", "model": "M", "medium": "electricity", "proven": "simulator",
        "sources": [{"reference": "r", "covers": "c"}], "transports": {}, "registers": [base | register],
    })  # fmt: skip


def decode(words: list[int], **register: Any) -> Reading | None:
    whole = template(**register)
    return compile_register(whole.registers[0], whole)(words, 0)


@pytest.mark.parametrize(
    ("kind", "words", "order", "expected"),
    [
        ("u16", [0xFFFF], {}, 65_535),
        ("s16", [0xFFFF], {}, -1),
        ("u16", [0x1234], {"byte_order": "little"}, 0x3412),
        ("u32", [0x0001, 0x0002], {}, 0x0001_0002),
        ("u32", [0x0001, 0x0002], {"word_order": "little"}, 0x0002_0001),
        ("u32", [0x0102, 0x0304], {"byte_order": "little"}, 0x0201_0403),
        ("s32", [0xFFFF, 0xFFFE], {}, -2),
        ("s32", [0x8000, 0], {}, -(2**31)),
        ("u64", [0, 0, 1, 0], {}, 65_536),
        ("s64", [0xFFFF] * 4, {}, -1),
        ("f32", [0x4212, 0x806B], {}, 37),
        ("f32", [0x806B, 0x4212], {"word_order": "little"}, 37),
    ],
)
def test_types_and_orders(kind: str, words: list[int], order: dict[str, str], expected: int) -> None:
    # The last two are the published example of the TUF-2000 manual: 36.625, low word first.
    assert decode(words, type=kind, unit="mV", **order) == Reading("voltage_l1", expected, 0)


def test_scales_exactly_into_the_base_unit() -> None:
    assert decode([2_301], scale="0.1") == Reading("voltage_l1", 230_100, 0)
    energy = decode([0, 0, 0x1C, 0xBE99], channel="energy_import_total", type="u64", scale="0.01", unit="kWh")
    assert energy == Reading("energy_import_total", 0x1C_BE99 * 10, 0)


@pytest.mark.parametrize(("raw", "expected"), [(5, 0), (15, 2), (25, 2), (35, 4), (26, 3)])
def test_rounds_instant_values_half_to_even(raw: int, expected: int) -> None:
    assert decode([raw], scale="0.0001") == Reading("voltage_l1", expected, 0)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_not_a_number_is_no_value(value: float) -> None:
    assert decode(list(struct.unpack(">HH", struct.pack(">f", value))), type="f32") is None


def test_sentinel_is_no_value() -> None:
    assert decode([65_535], sentinels=[65_535]) is None
    assert decode([65_534], sentinels=[65_535]) is not None


def test_beyond_64_bits_is_no_value() -> None:
    assert decode([0xFFFF] * 4, type="u64", unit="mV") is None


def test_outside_the_bounds_is_kept_and_flagged() -> None:
    bounds = {"low": "100", "high": "300"}
    assert decode([300], bounds=bounds) == Reading("voltage_l1", 300_000, 0)
    assert decode([301], bounds=bounds) == Reading("voltage_l1", 301_000, int(Quality.OUT_OF_RANGE))
    assert decode([99], bounds=bounds) == Reading("voltage_l1", 99_000, int(Quality.OUT_OF_RANGE))


@given(st.integers(-(10**20), 10**20), st.integers(1, 10**9))
def test_half_even_agrees_with_decimal(numerator: int, denominator: int) -> None:
    # 60 digits hold any tie of these numbers exactly.
    from decimal import Context

    exact = Context(prec=60).divide(Decimal(numerator), Decimal(denominator))
    assert half_even(numerator, denominator) == int(exact.to_integral_value(ROUND_HALF_EVEN))


@given(st.sampled_from(("u16", "s16", "u32", "s32", "u64", "s64")), ORDERS, ORDERS, st.data())
def test_integers_survive_every_layout(kind: str, words: str, byte_order: str, data: st.DataObject) -> None:
    whole = template(type=kind, unit="mV", word_order=words, byte_order=byte_order)
    register = whole.registers[0]
    bits = register.type.bits
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if register.type.is_signed else (0, min(2**bits, 2**63) - 1)
    value = data.draw(st.integers(low, high))
    assert decode(words_of(register, whole, value), type=kind, unit="mV", word_order=words, byte_order=byte_order) == (
        Reading("voltage_l1", value, 0)
    )


@given(st.floats(width=32, min_value=0, max_value=10_000_000))
def test_floats_are_taken_exactly_and_rounded_once(value: float) -> None:
    words = list(struct.unpack(">HH", struct.pack(">f", value)))
    reading = decode(words, channel="energy_import_total", type="f32", unit="kWh")
    assert reading == Reading("energy_import_total", round(Decimal(value) * 1000), 0)


def test_a_block_counts_what_is_missing() -> None:
    whole = template(sentinels=[0])
    blocks = plan([field_of(whole.registers[0])], TCP_COST, ReadLimits())
    decoder = compile_block(blocks[0], whole, whole.registers)
    assert decoder.decode([0]) == ([], 1)
    assert decoder.decode([1]) == ([Reading("voltage_l1", 1_000, 0)], 0)
