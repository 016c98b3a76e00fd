"""Cutting what is to be charged at tariff versions and tier windows."""

from datetime import date
from typing import Any

import pytest

from cloud.billing.charges.pieces import Unbillable, pieces
from cloud.billing.records import Agreement, Uncharged
from cloud.kit.periods import Period
from cloud.tariffs.model.tariff import TariffContent
from cloud.tariffs.rating.month_shares import MONTH
from cloud.tariffs.service import TariffVersion

AGREEMENT = Agreement(1, 1, 1, "electricity", 1, 1, None, date(2025, 1, 1), None)
ENERGY = {"kind": "energy", "code": "energy", "prices": {"all": ["0.5"]}}
MONTHLY = {"kind": "fixed", "code": "fee", "per": "month", "price": "5"}


def _version(
    number: int, start: date, end: date | None, *parts: dict[str, Any], window: str = "year", **more: Any
) -> TariffVersion:
    content = TariffContent.model_validate(
        {
            "currency": "CNY",
            "service": "electricity",
            "unit": "kWh",
            "tiers": {"window": {"kind": window, "anchor": "03-15"} if window == "year" else {"kind": window}},
            "components": parts or (ENERGY,),
            **more,
        }
    )
    return TariffVersion(number, 1, number, start, end, content, "")


def _cut(start: date, end: date, *versions: TariffVersion) -> list[tuple[str, int]]:
    return [
        (str(piece.period), piece.version.id) for piece in pieces(Uncharged(AGREEMENT, Period(start, end)), versions)
    ]


def test_one_version_and_one_window_are_one_piece() -> None:
    version = _version(1, date(2020, 1, 1), None)
    assert _cut(date(2026, 1, 1), date(2026, 2, 1), version) == [("2026-01-01/2026-02-01", 1)]


def test_cut_where_the_version_changes() -> None:
    versions = _version(1, date(2020, 1, 1), date(2026, 1, 20)), _version(2, date(2026, 1, 20), None)
    assert _cut(date(2026, 1, 1), date(2026, 2, 1), *versions) == [
        ("2026-01-01/2026-01-20", 1),
        ("2026-01-20/2026-02-01", 2),
    ]


def test_cut_where_the_year_of_the_tiers_begins() -> None:
    assert _cut(date(2026, 3, 1), date(2026, 4, 1), _version(1, date(2020, 1, 1), None)) == [
        ("2026-03-01/2026-03-15", 1),
        ("2026-03-15/2026-04-01", 1),
    ]


def test_cut_at_every_month_of_monthly_tiers() -> None:
    found = _cut(date(2026, 1, 10), date(2026, 3, 5), _version(1, date(2020, 1, 1), None, window="month"))
    assert [period for period, _ in found] == [
        "2026-01-10/2026-02-01",
        "2026-02-01/2026-03-01",
        "2026-03-01/2026-03-05",
    ]


@pytest.mark.parametrize(
    "versions",
    [
        (),
        (_version(1, date(2026, 1, 2), None),),
        (_version(1, date(2020, 1, 1), date(2026, 1, 10)), _version(2, date(2026, 1, 11), None)),
    ],
)
def test_a_day_without_a_version_cannot_be_billed(versions: tuple[TariffVersion, ...]) -> None:
    with pytest.raises(Unbillable) as reason:
        _cut(date(2026, 1, 1), date(2026, 2, 1), *versions)
    assert reason.value.code == "missing-tariff-version"


def test_a_month_that_is_cut_is_charged_once_in_all() -> None:
    """The version changes on the 20th: parts by days add up to the month, a begun month is charged in the first."""
    versions = _version(1, date(2020, 1, 1), date(2026, 1, 20), MONTHLY, ENERGY), _version(2, date(2026, 1, 20), None)
    found = pieces(Uncharged(AGREEMENT, Period(date(2026, 1, 1), date(2026, 2, 1))), versions)
    assert [piece.months for piece in found] == [612_903, 387_097]
    assert [piece.begun_months for piece in found] == [MONTH, 0]


def test_cut_where_the_season_changes() -> None:
    seasons = [
        {"code": "summer", "first": "06-15", "last": "09-30"},
        {"code": "winter", "first": "10-01", "last": "06-14"},
    ]
    rows = {"summer": {"all": ["0.6"]}, "winter": {"all": ["0.5"]}}
    content = TariffContent.model_validate(
        {
            "currency": "CNY",
            "service": "electricity",
            "unit": "kWh",
            "seasons": seasons,
            "components": [{"kind": "energy", "code": "energy", "by_season": rows}],
        }
    )
    found = pieces(
        Uncharged(AGREEMENT, Period(date(2026, 6, 1), date(2026, 7, 1))),
        [TariffVersion(1, 1, 1, date(2020, 1, 1), None, content, "")],
    )
    assert [(str(piece.period), piece.season) for piece in found] == [
        ("2026-06-01/2026-06-15", "winter"),
        ("2026-06-15/2026-07-01", "summer"),
    ]
    assert {piece.window for piece in found} == {Period(date(2026, 6, 1), date(2026, 7, 1))}
