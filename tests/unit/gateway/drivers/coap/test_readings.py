"""Records become channels by the template, exactly or not at all."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.contract.messages import Quality
from gateway.drivers.coap.errors import BadPayload
from gateway.drivers.coap.readings import Channels, Sample
from gateway.drivers.coap.senml import Record, Value
from gateway.templates.senml import SenmlTemplate

BASE = "urn:dev:mac:0024befffe804ff1:"


def template(*registers: dict[str, Any]) -> SenmlTemplate:
    return SenmlTemplate.model_validate(
        {
            "vendor": "v",
            "model": "m",
            "medium": "water",
            "proven": "simulator",
            "sources": [{"reference": "r", "covers": "c"}],
            "protocol": "senml",
            "registers": registers,
        },
        strict=False,
    )


VOLUME = {"record": "volume", "channel": "volume_total", "sent_as": "m3", "unit": "m3"}
CHANNELS = Channels(
    template(
        VOLUME,
        {"record": "flow", "channel": "flow", "sent_as": "l/s", "scale": "3600", "unit": "L/h"},
        {"record": "flow", "channel": "volume_reverse_total", "sent_as": "l/s", "unit": "L", "field": "sum"},
        {
            "record": "temperature", "channel": "temperature_water", "sent_as": "Cel", "unit": "°C",
            "bounds": {"low": "-0.5", "high": "95"},
        },
        {"record": "battery", "channel": "battery_voltage", "unit": "V"},
        {"record": "valve", "channel": "valve_state", "unit": "state", "states": {"true": 1, "false": 0, "jammed": 9}},
        {"record": "alarm", "channel": "alarm_flags", "sent_as": "", "unit": "flags"},
    )
)  # fmt: skip


def record(local: str, unit: str, value: Value, sum_: Decimal | None = None, base: str = BASE) -> Record:
    return Record(base + local, local, unit, 5_000, True, value, sum_)


def read(one: Record, prefix: str | None = BASE) -> list[tuple[str, int, int]]:
    samples, missing = CHANNELS.samples([one], prefix)
    assert missing == 0
    return [(sample.channel, sample.value, sample.quality) for sample in samples]


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (record("volume", "m3", Decimal("123.456789")), [("volume_total", 123_456_789, 0)]),
        (record("volume", "m3", Decimal("0.0000005")), [("volume_total", 0, 0)]),
        (record("volume", "m3", Decimal("0.0000015")), [("volume_total", 2, 0)]),
        (record("volume", "m3", Decimal.from_float(123.456)), [("volume_total", 123_456_000, 0)]),
        (record("volume", "m3", Decimal("0E+400")), [("volume_total", 0, 0)]),
        (
            record("flow", "l/s", Decimal("0.125"), Decimal("7.5")),
            [("flow", 450_000, 0), ("volume_reverse_total", 7_500, 0)],
        ),
        (record("temperature", "Cel", Decimal("-0.5")), [("temperature_water", -500, 0)]),
        (record("temperature", "Cel", Decimal("95.0006")), [("temperature_water", 95_001, int(Quality.OUT_OF_RANGE))]),
        (record("battery", "V", Decimal("3.6")), [("battery_voltage", 3_600, 0)]),
        (record("valve", "", True), [("valve_state", 1, 0)]),
        (record("valve", "", False), [("valve_state", 0, 0)]),
        (record("valve", "", "jammed"), [("valve_state", 9, 0)]),
        (record("alarm", "", Decimal(6)), [("alarm_flags", 6, 0)]),
    ],
)
def test_records_become_base_units(one: Record, expected: list[tuple[str, int, int]]) -> None:
    assert read(one) == expected


@pytest.mark.parametrize(
    ("one", "complaint"),
    [
        (record("volume", "l", Decimal(1)), "volume u: expected the unit 'm3', found 'l'"),
        (record("volume", "", Decimal(1)), "volume u: expected the unit 'm3', found ''"),
        (record("volume", "m3", "1"), "volume v: expected a number"),
        (record("volume", "m3", True), "volume v: expected a number"),
        (record("flow", "l/s", Decimal(1)), "flow s: expected a number"),
        (record("valve", "", "ajar"), "valve: expected one of true, false, jammed"),
        (record("valve", "", Decimal(1)), "valve: expected one of true, false, jammed"),
        (record("pressure", "Pa", Decimal(1)), "expected a record named volume, flow, temperature, battery, valve"),
        (record("volume", "m3", Decimal(1), base="urn:other:"), f"behind '{BASE}'"),
    ],
)
def test_what_does_not_fit_the_template_is_refused(one: Record, complaint: str) -> None:
    with pytest.raises(BadPayload) as caught:
        CHANNELS.samples([one], BASE)
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    "value", [Decimal("NaN"), Decimal("Infinity"), Decimal("-Infinity"), Decimal("1e13"), Decimal("1e400")]
)
def test_no_value_is_missing_and_never_0(value: Decimal) -> None:
    assert CHANNELS.samples([record("volume", "m3", value)], BASE) == ([], 1)


def test_names_are_whole_names() -> None:
    """`max_volume` and `tariff:volume` are no `volume`, and another device's volume is none of this one."""
    good = record("volume", "m3", Decimal(1))
    for other in ("max_volume", "tariff:volume", "volume:max", "Volume"):
        samples, _ = CHANNELS.samples([good, record(other, "m3", Decimal(2))], BASE)
        assert [sample.value for sample in samples] == [1_000_000]
    bare = record("volume", "m3", Decimal(1), base="")
    assert read(bare, None) == read(good, None) == read(good) == [("volume_total", 1_000_000, 0)]
    with pytest.raises(BadPayload):
        CHANNELS.samples([bare], BASE)
    whole = Record(f"{BASE}volume", f"{BASE}volume", "m3", 5_000, True, Decimal(1))
    assert read(whole) == [("volume_total", 1_000_000, 0)]


def test_time_and_origin_of_the_time_are_kept() -> None:
    assert CHANNELS.samples([record("battery", "V", Decimal(3))], BASE)[0] == [
        Sample("battery_voltage", 5_000, True, 3_000)
    ]


@given(st.decimals("-1e9", "1e9", allow_nan=False, allow_infinity=False, places=9))
def test_rounding_is_half_even_and_nothing_else(value: Decimal) -> None:
    ((_, scaled, _),) = read(record("volume", "m3", value))
    exact = value.as_integer_ratio()[0] * 10**6
    assert abs(scaled * value.as_integer_ratio()[1] - exact) * 2 <= value.as_integer_ratio()[1]
    assert scaled == round(value.scaleb(6))


@pytest.mark.parametrize(
    ("register", "complaint"),
    [
        (VOLUME | {"record": ""}, "record"),
        (VOLUME | {"record": "a b"}, "record"),
        (VOLUME | {"unit": "kWh"}, "expected a unit that converts to mL"),
        (VOLUME | {"states": {"x": 1}}, "expected states only on the value of a state"),
        (VOLUME | {"field": "mean"}, "'value' or 'sum'"),
        ({"record": "v", "channel": "valve_state", "unit": "state", "states": {"a": 1}, "field": "sum"}, "states only"),
        ({"record": "v", "channel": "valve_state", "unit": "state", "states": {"a": 1}, "sent_as": ""}, "states only"),
    ],
)
def test_wrong_templates_are_refused(register: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        template(register)
