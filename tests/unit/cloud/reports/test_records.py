"""The gauge's stretches and the figures of the overview."""

from datetime import date
from decimal import Decimal

import pytest

from cloud.billing.records import TierBand, TierGauge
from cloud.kit.periods import Period
from cloud.reports.records import Consumption, MonthMoney, fills

_MONTH = Period(date(2026, 1, 1), date(2026, 2, 1))
_BANDS = (
    TierBand(1, Decimal(240), Decimal("0.4883")),
    TierBand(2, Decimal(400), Decimal("0.5383")),
    TierBand(3, None, Decimal("0.7883")),
)


def _gauge(used: str, tier: int) -> TierGauge:
    return TierGauge("electricity", 1, "kWh", "CNY", Decimal(used), tier, None, None, _BANDS, None, _MONTH)


@pytest.mark.parametrize(
    ("used", "tier", "percents"),
    [
        ("0", 1, [0, 0, 0]),
        ("120", 1, [50, 0, 0]),
        ("240", 1, [100, 0, 0]),
        ("320", 2, [100, 50, 0]),
        ("400", 2, [100, 100, 0]),
        ("900", 3, [100, 100, 50]),
    ],
)
def test_tiers_fill_one_after_the_other(used: str, tier: int, percents: list[int]) -> None:
    found = fills(_gauge(used, tier))
    assert [one.percent for one in found] == percents
    assert [one.number for one in found if one.is_current] == [tier]


def test_change_is_compared_to_yesterday() -> None:
    assert Consumption("electricity", 1_100, 1_000).change_percent == Decimal("10.0")
    assert Consumption("electricity", 900, 1_000).change_percent == Decimal("-10.0")
    assert Consumption("electricity", 900, 0).change_percent is None


def test_bar_of_collection_stays_within_its_frame() -> None:
    assert MonthMoney(_MONTH, Decimal(0), Decimal(0), "CNY").bar_percent == 0
    assert MonthMoney(_MONTH, Decimal("641.85"), Decimal("215.08"), "CNY").bar_percent == 33
    assert MonthMoney(_MONTH, Decimal(10), Decimal(20), "CNY").bar_percent == 100
