"""Digits and bits of a meter become exact readings, or none, and never a guess."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.contract.messages import Quality
from gateway.drivers.base import Reading
from gateway.drivers.bcd import bytes_of, compile_register, number_in
from gateway.errors import MalformedReply
from gateway.templates.base import Bounds
from gateway.templates.bcd import BcdRegister
from simulators.bcd import bytes_of as simulated_bytes
from simulators.bcd import raw_of, value_of

ENERGY = BcdRegister(channel="energy_import_total", size=4, scale="0.01", unit="kWh", digits=8)
POWER = BcdRegister(channel="power_active_total", size=3, signed=True, scale="0.0001", unit="kW")


@given(st.integers(1, 8), st.data())
def test_numbers_go_there_and_back(size: int, data: st.DataObject) -> None:
    number = data.draw(st.integers(0, 10 ** (2 * size) - 1))
    assert number_in(bytes_of(number, size)) == number


@given(st.integers(1, 8), st.data())
def test_signed_numbers_go_there_and_back(size: int, data: st.DataObject) -> None:
    most = 8 * 10 ** (2 * size - 1) - 1
    number = data.draw(st.integers(-most, most))
    assert number_in(bytes_of(number, size, signed=True), signed=True) == number


@pytest.mark.parametrize(("number", "size", "signed"), [(100, 1, False), (-1, 1, False), (80, 1, True), (-80, 1, True)])
def test_what_does_not_fit_is_no_bytes(number: int, size: int, signed: bool) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        bytes_of(number, size, signed)


@given(st.binary(min_size=1, max_size=8), st.booleans())
def test_anything_else_than_digits_is_malformed(data: bytes, signed: bool) -> None:
    nibbles = [nibble for byte in data for nibble in (byte & 15, byte >> 4)]
    if signed:
        nibbles[-1] &= 7
    if data == b"\xff" * len(data):
        assert number_in(data, signed) is None
    elif max(nibbles) > 9:
        with pytest.raises(MalformedReply):
            number_in(data, signed)
    else:
        assert isinstance(number_in(data, signed), int)


@given(st.integers(0, 10**8 - 1))
def test_energy_is_exact(raw: int) -> None:
    assert compile_register(ENERGY)(bytes_of(raw, 4)) == Reading("energy_import_total", 10 * raw, 0)


@given(st.integers(-799_999, 799_999))
def test_a_step_finer_than_the_unit_is_rounded_half_to_even(raw: int) -> None:
    reading = compile_register(POWER)(bytes_of(raw, 3, signed=True))
    assert reading is not None
    assert reading.value == round(Decimal(raw) / 10) == value_of(POWER, raw)


def test_the_bounds_flag_and_keep() -> None:
    voltage = BcdRegister(channel="voltage_l1", size=2, scale="0.1", unit="V", bounds=Bounds(low="0", high="300"))
    decode = compile_register(voltage)
    assert decode(bytes.fromhex("0030")) == Reading("voltage_l1", 300_000, 0)
    assert decode(bytes.fromhex("0130")) == Reading("voltage_l1", 300_100, int(Quality.OUT_OF_RANGE))
    assert decode(b"\xff\xff") is None


def test_bits_are_looked_up() -> None:
    relay = BcdRegister(
        channel="relay_state", size=2, type="bits", mask="0010", meanings={"0000": 1, "0010": 0}, unit="state"
    )
    decode = compile_register(relay)
    assert decode(b"\x10\x00") == Reading("relay_state", 0, 0)
    assert decode(b"\xef\xff") == Reading("relay_state", 1, 0)
    valve = BcdRegister(
        channel="valve_state", size=1, type="bits", mask="03", meanings={"00": 1, "01": 0}, unit="state"
    )
    assert compile_register(valve)(b"\x02") is None
    alarms = BcdRegister(channel="alarm_flags", size=2, type="bits", mask="0FFF", unit="flags")
    assert compile_register(alarms)(b"\x05\xf1") == Reading("alarm_flags", 0x105, 0)


@given(st.sampled_from([ENERGY, POWER]), st.integers(0, 10**12))
def test_the_simulators_bytes_mean_what_they_were_made_of(register: BcdRegister, value: int) -> None:
    raw = raw_of(register, value)
    if register.signed:
        raw %= 800_000  # the highest bit is the sign
    reading = compile_register(register)(simulated_bytes(register, raw))
    assert reading is not None
    assert reading.value == value_of(register, raw)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"mask": "01"}, "mask and meanings only with type: bits"),
        ({"digits": 9}, "at most 8 digits"),
        ({"scale": "0.000001"}, "not exact"),
        ({"scale": "1000000000000000000", "digits": None}, "inside 64 bits"),
    ],
)
def test_digits_that_cannot_be_are_refused(changes: dict[str, object], expected: str) -> None:
    with pytest.raises(ValidationError, match=expected):
        BcdRegister.model_validate(ENERGY.model_dump() | changes)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"signed": True}, "neither signed nor scale"),
        ({"mask": "0100"}, "a mask of 1 bytes"),
        ({"mask": "01", "meanings": {"02": 1}}, "inside the mask"),
    ],
)
def test_bits_that_cannot_be_are_refused(changes: dict[str, object], expected: str) -> None:
    good: dict[str, object] = {"channel": "alarm_flags", "size": 1, "type": "bits", "unit": "flags"}
    with pytest.raises(ValidationError, match=expected):
        BcdRegister.model_validate(good | changes)
