"""Household filings by date: every month of a window counts with what is filed for it."""

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.billing.charges.filings import Filing, WindowParts, persons_on, window_parts
from cloud.kit.periods import Period, next_month
from cloud.kit.yaml_files import load_yaml
from cloud.tariffs.model.tariff import TariffContent
from cloud.tariffs.rating.plan import plan

ELECTRICITY = load_yaml(
    Path(__file__).parents[5] / "firmware-config/tariffs/beijing-electricity.yaml", TariffContent
)  # from 6 persons on 100 kWh a month more in each tier, settled over the year
YEAR = Period(date(2026, 1, 1), date(2027, 1, 1))
LONG = Period(date(2020, 1, 1), date.max)


def month(number: int) -> Period:
    start = date(2026, number, 1)
    return Period(start, next_month(start))


def filed(*filings: tuple[str, str | None, int]) -> list[Filing]:
    return [Filing(date.fromisoformat(a), date.fromisoformat(b) if b else None, n) for a, b, n in filings]


def first_bound(parts: WindowParts) -> Decimal:
    prepared = plan(ELECTRICITY)
    bound = prepared.bounds_for(parts.steps, parts.covered, parts.whole)[0]
    return Decimal(bound).scaleb(-prepared.exponent).normalize()


def bound_in(number: int, filings: list[Filing], stay: Period = LONG) -> Decimal:
    return first_bound(window_parts(ELECTRICITY, YEAR, stay, month(number), filings))


def test_a_household_that_is_large_all_year_gets_the_whole_raise() -> None:
    assert bound_in(12, filed(("2025-06-01", None, 6))) == 2880 + 1200
    assert bound_in(12, filed(("2025-06-01", None, 5))) == 2880


@pytest.mark.parametrize(
    ("bill", "bound"),
    [
        (3, 2880),  # nothing is known of it yet
        (4, 2880),  # filed within April: takes effect with May
        (5, 2880 + 8 * 100),  # May to December, as filed now
        (12, 2880 + 8 * 100),
    ],
)
def test_a_change_takes_effect_with_the_month_after_it(bill: int, bound: int) -> None:
    assert bound_in(bill, filed(("2025-01-01", "2026-04-10", 4), ("2026-04-10", None, 6))) == bound


def test_a_household_that_shrinks_keeps_the_months_it_was_large() -> None:
    filings = filed(("2025-01-01", "2026-07-01", 6), ("2026-07-01", None, 3))
    assert [bound_in(number, filings) for number in (6, 7, 12)] == [2880 + 1200, 2880 + 600, 2880 + 600]


def test_who_moves_in_is_not_counted_with_the_household_before() -> None:
    filings = filed(("2025-01-01", "2026-03-01", 6), ("2026-03-01", None, 2))
    stay = Period(date(2026, 3, 1), date.max)
    assert bound_in(3, filings, stay) == 2880


def test_without_a_rule_nothing_is_given() -> None:
    plain = ELECTRICITY.model_copy(update={"household": None})
    assert window_parts(plain, YEAR, LONG, month(1), filed(("2020-01-01", None, 9))) == WindowParts(0, 1, 1)


def _by_month(kind: str, **more: Any) -> TariffContent:
    document = ELECTRICITY.model_dump()
    document["tiers"]["window"] |= {"kind": "year", "anchor": "01-01", "partial": kind}
    document["household"] |= more
    return TariffContent.model_validate(document)


def test_who_is_there_for_some_months_gets_the_raise_of_those() -> None:
    stay = Period(date(2026, 4, 1), date(2026, 7, 1))
    filings = filed(("2026-05-01", None, 6))
    parts = window_parts(_by_month("by_month"), YEAR, stay, month(6), filings)
    assert parts == WindowParts(steps=2, covered=3, whole=12)
    assert first_bound(parts) == 2880 * 3 // 12 + 2 * 100
    by_day = window_parts(_by_month("by_day"), YEAR, stay, month(6), filings)
    assert by_day == WindowParts(steps=31 + 30, covered=91, whole=365)


@pytest.mark.parametrize(("kind", "parts"), [("by_day", (365, 365, 365)), ("by_month", (12, 12, 12))])
def test_a_year_that_begins_in_mid_month_is_given_whole(kind: str, parts: tuple[int, int, int]) -> None:
    """It touches thirteen months: by days none of them is left out."""
    content = _by_month(kind)
    window = content.tiers.window.model_copy(update={"anchor": "02-15"})
    content = content.model_copy(update={"tiers": content.tiers.model_copy(update={"window": window})})
    year = Period(date(2026, 2, 15), date(2027, 2, 15))
    found = window_parts(content, year, LONG, month(12), filed(("2025-01-01", None, 6)))
    assert found == WindowParts(*parts)


@st.composite
def histories(draw: st.DrawFn) -> list[Filing]:
    days = sorted(draw(st.sets(st.integers(0, 900), max_size=6)))
    starts = [date(2025, 1, 1) + timedelta(days=n) for n in days]
    ends: list[date | None] = [*starts[1:], None] if starts else []
    return [
        Filing(a, b, draw(st.integers(1, 9))) for a, b in zip(starts, ends, strict=True) if draw(st.integers(0, 4)) > 0
    ]


@given(histories(), st.integers(1, 12), st.integers(0, 700), st.sampled_from(["household", "extra_person"]))
def test_it_is_the_sum_over_the_months(filings: list[Filing], bill: int, moved_in: int, each: str) -> None:
    content = _by_month("full", each=each)
    stay = Period(min(date(2025, 1, 1) + timedelta(days=moved_in), month(bill).start), date.max)
    assert content.household is not None
    steps = 0
    for number in range(1, 13):
        day = date(2026, min(number, bill), 1)
        steps += content.household.steps(persons_on(filings, max(day, stay.start)))
    assert window_parts(content, YEAR, stay, month(bill), filings) == WindowParts(steps, 12, 12)
