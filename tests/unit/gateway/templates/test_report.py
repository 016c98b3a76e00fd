"""Dead bands as text: exact, in a unit of their channel, and refused with the reason."""

from fractions import Fraction

import pytest
from pydantic import ValidationError

from gateway.templates.report import ReportSettings, band_of


@pytest.mark.parametrize(
    ("channel", "text", "width", "relative"),
    [
        ("voltage_l1", "1.5 V", 1_500, False),
        ("voltage_l1", "0.0001 kV", 100, False),
        ("voltage_l1", "0.0005 mV", Fraction(1, 2_000), False),
        ("power_active_total", "2 %", Fraction(1, 50), True),
        ("power_factor_total", "0.01 1", 10, False),
        ("power_factor_total", "1 %", Fraction(1, 100), True),
        ("temperature_supply", "0 °C", 0, False),
    ],
)
def test_a_dead_band_is_exact(channel: str, text: str, width: int | Fraction, relative: bool) -> None:
    assert band_of(channel, text) == (width, relative)
    assert ReportSettings(dead_bands={channel: text}).dead_bands == {channel: text}


@pytest.mark.parametrize(
    ("channel", "text", "why"),
    [
        ("voltage_l1", "1 A", "voltage_l1: expected % or a unit that converts to mV, found '1 A'"),
        ("voltage_l1", "1", "a unit that converts to mV"),
        ("voltage_l1", "1V", "expected a decimal number and a unit"),
        ("voltage_l1", "NaN V", "expected a decimal number and a unit"),
        ("voltage_l1", "Infinity %", "expected a decimal number and a unit"),
        ("voltage_l1", "-1 V", "not negative"),
        ("energy_import_total", "1 kWh", "a cumulative one has no dead band"),
        ("valve_state", "1 state", "a state one has no dead band"),
        ("volts", "1 V", "volts is none"),
    ],
)
def test_what_is_no_dead_band_is_refused(channel: str, text: str, why: str) -> None:
    with pytest.raises(ValidationError) as refused:
        ReportSettings(dead_bands={channel: text})
    assert why in str(refused.value)
