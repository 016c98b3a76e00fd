"""Late fees: published cases, partial payments, grace, minimum, cap, the day of payment."""

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cloud.billing.arrears.late_fees import LateFeeRule, Pause, late_fee
from cloud.billing.concessions.reductions import Concession, reductions
from cloud.kit.money import round_half_up
from cloud.kit.periods import Period, month_of
from cloud.kit.periods import months as months_of
from cloud.tariffs.model.tariff import TariffContent
from cloud.tariffs.rating.columns import Usages
from cloud.tariffs.rating.engine import rate_batch
from cloud.tariffs.rating.explain import total
from cloud.tariffs.rating.month_shares import MONTH
from cloud.tariffs.rating.plan import plan

DUE = date(2026, 3, 15)
PER_MILLE = LateFeeRule(daily_rate=Decimal("0.001"))
ORACLES: list[dict[str, Any]] = yaml.safe_load(
    (Path(__file__).parents[4] / "oracles/late_fees.yaml").read_text("utf-8")
)


def _cases(name: str) -> list[dict[str, str]]:
    return next(oracle["cases"] for oracle in ORACLES if oracle["name"].startswith(name))


@pytest.mark.parametrize("case", _cases("residential electricity late fee"), ids=str)
def test_published_late_fees(case: dict[str, Any]) -> None:
    rule = LateFeeRule(daily_rate=Decimal("0.001"), minimum=Decimal(case.get("minimum", "0")))
    fee = late_fee(Decimal(case["principal"]), DUE, [], rule, DUE + timedelta(days=case["days"]))
    assert fee.amount == Decimal(case["amount"])


@pytest.mark.parametrize("case", _cases("vacancy reduction") + _cases("area fee"), ids=str)
def test_published_area_fees(case: dict[str, Any]) -> None:
    content = TariffContent.model_validate(
        {
            "currency": "CNY",
            "service": "property",
            "components": [{"kind": "area", "code": "property_fee", "price": case["rate"]}],
        }
    )
    area = int(Decimal(case["area"]).scaleb(2))
    fee = total(rate_batch(plan(content), Usages(quantity=[], area=[area], months=[MONTH]), 1), 0)
    if "factor" in case:
        month = month_of(DUE)
        vacancy = Concession(1, "vacancy", "vacant", "factor", Decimal(case["factor"]), month, 10)
        (reduction,) = reductions([("property_fee", fee)], "property", month, [vacancy], 2)
        assert reduction.amount < 0
        fee += reduction.amount
    assert fee == Decimal(case["amount"])


@pytest.mark.parametrize("case", _cases("vacancy reduction"), ids=str)
def test_the_published_reduction_holds_for_the_months_that_were_filed(case: dict[str, Any]) -> None:
    """Each vacant month costs the reduced amount; the month after the last is charged in full again."""
    full = round_half_up(Decimal(case["area"]) * Decimal(case["rate"]), 2)
    months = list(months_of(date(2026, 1, 1), date(2027, 1, 1)))
    filed = Period(months[0].start, months[case["months_vacant"] - 1].end)
    vacancy = Concession(1, "vacancy", "vacant", "factor", Decimal(case["factor"]), filed, 10)
    charged = [
        full + sum(one.amount for one in reductions([("property_fee", full)], "property", month, [vacancy], 2))
        for month in months
    ]
    assert charged == [Decimal(case["amount"])] * case["months_vacant"] + [full] * (12 - case["months_vacant"])


def test_no_number_of_a_late_fee_example_is_passed_over() -> None:
    """What the tests here know to compare; another key in the file needs a test first."""
    known = {"principal", "days", "minimum", "amount", "area", "rate", "factor", "months_vacant"}
    assert {key for oracle in ORACLES for key in oracle} == {"name", "cases", "note"}
    assert {key for oracle in ORACLES for case in oracle["cases"] for key in case} == known
    assert len(ORACLES) == len(("late fee", "vacancy reduction", "area fee"))


@pytest.mark.parametrize(("days_after_due", "amount"), [(0, "0"), (1, "0.10"), (30, "3.00")])
def test_the_day_after_the_due_date_is_the_first(days_after_due: int, amount: str) -> None:
    fee = late_fee(Decimal(100), DUE, [], PER_MILLE, DUE + timedelta(days=days_after_due))
    assert fee.amount == Decimal(amount)


def test_a_partial_payment_lowers_the_base_from_the_next_day_on() -> None:
    paid = [(DUE + timedelta(days=10), Decimal(60))]
    fee = late_fee(Decimal(100), DUE, paid, PER_MILLE, DUE + timedelta(days=30))
    assert [(step.days, step.principal, step.part) for step in fee.steps] == [
        (10, Decimal(100), Decimal("1.000")),
        (20, Decimal(40), Decimal("0.800")),
    ]
    assert (fee.steps[0].first, fee.steps[0].last) == (DUE + timedelta(days=1), DUE + timedelta(days=10))
    assert fee.amount == Decimal("1.80")


def test_it_stops_on_the_day_the_principal_is_settled() -> None:
    paid = [(DUE + timedelta(days=5), Decimal(40)), (DUE + timedelta(days=10), Decimal(60))]
    fees = [late_fee(Decimal(100), DUE, paid, PER_MILLE, DUE + timedelta(days=days)).amount for days in (10, 11, 400)]
    assert fees == [Decimal("0.80")] * 3


def test_paid_before_the_due_date_lowers_it_from_the_start() -> None:
    fee = late_fee(Decimal(100), DUE, [(DUE - timedelta(days=3), Decimal(50))], PER_MILLE, DUE + timedelta(days=10))
    assert fee.amount == Decimal("0.50")


def test_days_of_grace_are_free_for_good() -> None:
    rule = LateFeeRule(daily_rate=Decimal("0.001"), grace_days=5)
    assert late_fee(Decimal(100), DUE, [], rule, DUE + timedelta(days=5)).amount == 0
    assert late_fee(Decimal(100), DUE, [], rule, DUE + timedelta(days=6)).amount == Decimal("0.10")


def test_the_cap_is_a_share_of_the_principal() -> None:
    rule = LateFeeRule(daily_rate=Decimal("0.001"), cap_share=Decimal("0.1"))
    assert late_fee(Decimal(100), DUE, [], rule, DUE + timedelta(days=100)).amount == Decimal("10.00")
    assert late_fee(Decimal(100), DUE, [], rule, DUE + timedelta(days=1000)).amount == Decimal("10.00")


def test_days_of_later_years_have_a_rate_of_their_own() -> None:
    """供电营业规则: two per mille a day in the year of the debt, three across years."""
    rule = LateFeeRule(daily_rate=Decimal("0.002"), later_rate=Decimal("0.003"))
    fee = late_fee(Decimal(100), date(2025, 12, 20), [], rule, date(2026, 1, 10))
    assert [(step.first, step.last, step.days, step.rate) for step in fee.steps] == [
        (date(2025, 12, 21), date(2025, 12, 31), 11, Decimal("0.002")),
        (date(2026, 1, 1), date(2026, 1, 10), 10, Decimal("0.003")),
    ]
    assert fee.amount == Decimal("5.20")


def test_a_dispute_of_a_part_leaves_the_rest() -> None:
    pause = Pause(DUE + timedelta(days=11), DUE + timedelta(days=20), Decimal(60))
    fee = late_fee(Decimal(100), DUE, [], PER_MILLE, DUE + timedelta(days=30), pauses=[pause])
    assert [(step.days, step.principal) for step in fee.steps] == [
        (10, Decimal(100)),
        (10, Decimal(40)),
        (10, Decimal(100)),
    ]
    assert fee.amount == Decimal("2.40")


def test_all_of_a_bill_in_dispute_bears_nothing() -> None:
    pause = Pause(DUE + timedelta(days=11))
    fees = [
        late_fee(Decimal(100), DUE, [], PER_MILLE, DUE + timedelta(days=n), pauses=[pause]).amount for n in (10, 99)
    ]
    assert fees == [Decimal("1.00"), Decimal("1.00")]


_PAUSES = st.lists(
    st.tuples(st.integers(-10, 400), st.none() | st.integers(0, 200), st.none() | st.integers(0, 10**6)), max_size=4
)


@given(
    principal=st.integers(1, 10**7),
    payments=st.lists(st.tuples(st.integers(-10, 400), st.integers(1, 10**6)), max_size=5),
    days=st.integers(0, 500),
    due_on=st.dates(date(2023, 12, 1), date(2025, 1, 10)),
    rule=st.builds(
        LateFeeRule,
        daily_rate=st.decimals(0, 1, places=4),
        grace_days=st.integers(0, 40),
        minimum=st.decimals(0, 5, places=2),
        cap_share=st.none() | st.decimals(0, 1, places=2),
        later_rate=st.none() | st.decimals(0, 1, places=4),
    ),
    pauses=_PAUSES,
)
def test_equals_the_sum_over_single_days(
    principal: int,
    payments: list[tuple[int, int]],
    days: int,
    due_on: date,
    rule: LateFeeRule,
    pauses: list[tuple[int, int | None, int | None]],
) -> None:
    whole, through = Decimal(principal).scaleb(-2), due_on + timedelta(days=days)
    paid, left = [], whole
    for offset, cents in sorted(payments):
        amount = min(Decimal(cents).scaleb(-2), left)
        left -= amount
        paid.append((due_on + timedelta(days=offset), amount))
    stops = [
        Pause(
            due_on + timedelta(days=offset),
            None if length is None else due_on + timedelta(days=offset + length),
            None if cents is None else Decimal(cents).scaleb(-2),
        )
        for offset, length, cents in pauses
    ]
    expected = Decimal(0)
    for number in range(rule.grace_days + 1, days + 1):
        day = due_on + timedelta(days=number)
        base = whole - sum((amount for on, amount in paid if on < day), Decimal(0))
        for stop in stops:
            if stop.first <= day and (stop.last is None or day <= stop.last):
                base -= base if stop.amount is None else stop.amount
        later = day.year > due_on.year and rule.later_rate is not None
        expected += max(base, Decimal(0)) * ((rule.later_rate or Decimal(0)) if later else rule.daily_rate)
    fee = late_fee(whole, due_on, paid, rule, through, pauses=stops)
    assert sum((step.part for step in fee.steps), Decimal(0)) == expected
    if expected == 0:
        assert fee.amount == 0
    else:
        cap = whole if rule.cap_share is None else round_half_up(whole * rule.cap_share)
        wanted = max(round_half_up(expected), rule.minimum)
        assert fee.amount == (wanted if rule.cap_share is None else min(wanted, cap))
