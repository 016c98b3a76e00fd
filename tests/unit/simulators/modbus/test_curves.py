"""History and live registers lie on one exact, monotone, seeded curve."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.quantities import BY_CODE, Kind
from simulators.modbus import curves
from simulators.modbus.dwelling import Dwelling

ZONE = ZoneInfo("Asia/Shanghai")
START = int(datetime(2025, 10, 1, tzinfo=UTC).timestamp())
MEDIA = st.sampled_from(("electricity", "water", "heat"))


@given(st.integers(0, 5), MEDIA, st.lists(st.integers(START, START + 400 * 86_400), min_size=1, max_size=20))
def test_one_moment_agrees_with_an_array_and_with_the_live_meter(seed: int, medium: str, at: list[int]) -> None:
    device = "x-1-0101"
    many = curves.cumulative(seed, device, medium, np.array(at, dtype=np.int64), ZONE)
    home = Dwelling(seed, device, medium, ZONE)
    for second, value in zip(at, many.tolist(), strict=True):
        moment = datetime.fromtimestamp(second, UTC)
        assert int(curves.cumulative(seed, device, medium, moment, ZONE)) == value
        assert home.value(curves.TOTAL[medium], second) == value


@pytest.mark.parametrize("medium", ["electricity", "water", "heat"])
def test_thirteen_months_never_go_back_and_have_a_plausible_size(medium: str) -> None:
    at = np.arange(START, START + 395 * 86_400, 900, dtype=np.int64)
    for device in ("a", "b", "c"):
        values = curves.cumulative(7, device, medium, at, ZONE)
        assert values.dtype == np.int64
        steps = np.diff(values)
        assert int(steps.min()) >= 0
        daily = int(values[-1] - values[0]) / 395
        low, high = {"electricity": (2_000, 20_000), "water": (80_000, 900_000), "heat": (5_000, 60_000)}[medium]
        assert low < daily < high


def test_period_registers_add_up_to_the_total_exactly() -> None:
    at = np.arange(START, START + 40 * 86_400, 777, dtype=np.int64)
    parts = sum(curves.cumulative(3, "e", "electricity", at, ZONE, channel) for channel in curves.PERIODS)
    assert np.array_equal(parts, curves.cumulative(3, "e", "electricity", at, ZONE))


def test_a_period_register_moves_only_in_its_hours() -> None:
    # Shanghai is UTC+8: 10:00 local is peak, 02:00 local is valley.
    ten, two = (
        int(datetime(2026, 1, 7, 2, tzinfo=UTC).timestamp()),
        int(datetime(2026, 1, 6, 18, tzinfo=UTC).timestamp()),
    )

    def moved(channel: str, at: int) -> bool:
        ends = np.array([at, at + 1_800], dtype=np.int64)
        first, last = curves.cumulative(3, "e", "electricity", ends, ZONE, channel).tolist()
        return bool(last > first)

    assert moved("energy_import_peak", ten)
    assert not moved("energy_import_peak", two)
    assert moved("energy_import_valley", two)
    assert not moved("energy_import_valley", ten)


def test_seed_and_device_make_the_curve() -> None:
    at = datetime(2026, 5, 1, tzinfo=UTC)
    values = {
        int(curves.cumulative(seed, device, "water", at, ZONE))
        for seed in (1, 2)
        for device in ("w-1-0101", "w-1-0102")
    }
    assert len(values) == 4


def test_before_the_origin_there_is_no_curve() -> None:
    with pytest.raises(ValueError, match="2024-01-01"):
        curves.cumulative(1, "e", "electricity", datetime(2023, 12, 31, tzinfo=UTC), ZONE)


def test_no_moments_give_no_values() -> None:
    assert curves.cumulative(1, "e", "electricity", np.array([], dtype=np.int64), ZONE).size == 0


def test_a_heat_meter_shows_the_water_that_carried_its_heat() -> None:
    home = Dwelling(1, "h-1-0101", "heat", ZONE)
    at = START + 100 * 86_400
    assert home.value("heat_total", at) > home.value("heat_total", at - 86_400)
    assert home.value("volume_total", at) == 43 * home.value("heat_total", at)
    assert home.value("flow", at) == 43 * home.value("power_heat", at)
    assert home.value("temperature_supply", at) > home.value("temperature_return", at) > 0


@pytest.mark.parametrize("quantity", [one.code for one in BY_CODE.values() if one.kind is not Kind.STATE])
def test_every_channel_but_states_has_something_to_show(quantity: str) -> None:
    medium = "electricity" if BY_CODE[quantity].number < 70 else "heat"
    assert Dwelling(1, "x-1-0101", medium, ZONE).value(quantity, START) > 0


def test_power_is_voltage_times_current_times_power_factor() -> None:
    home = Dwelling(1, "e-1-0101", "electricity", ZONE)
    at = START + 100 * 86_400 + 19 * 3_600
    power_mw = 3 * home.value("voltage_l1", at) * home.value("current_l1", at) * 950 // 1_000_000
    assert abs(power_mw - 1_000 * home.value("power_active_total", at)) <= 1_000
