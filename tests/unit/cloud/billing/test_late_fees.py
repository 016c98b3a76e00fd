"""Late fees: published cases, partial payments, grace, minimum, cap, the day of payment."""

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cloud.billing.concessions import Concession, reductions
from cloud.billing.late_fees import LateFeeRule, late_fee
from cloud.kit.periods import month_of
from cloud.tariffs.columns import Usages
from cloud.tariffs.explain import total
from cloud.tariffs.models import TariffContent
from cloud.tariffs.month_shares import MONTH
from cloud.tariffs.plan import plan
from cloud.tariffs.rating import rate_batch

DUE = date(2026, 3, 15)
PER_MILLE = LateFeeRule(daily_rate=Decimal("0.001"))
ORACLES: list[dict[str, Any]] = yaml.safe_load(
    (Path(__file__).parents[3] / "oracles/late_fees.yaml").read_text("utf-8")
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


@given(
    principal=st.integers(1, 10**7),
    payments=st.lists(st.tuples(st.integers(-10, 60), st.integers(1, 10**6)), max_size=5),
    days=st.integers(0, 90),
)
def test_equals_the_sum_over_single_days(principal: int, payments: list[tuple[int, int]], days: int) -> None:
    paid, left = [], Decimal(principal).scaleb(-2)
    for offset, cents in sorted(payments):
        amount = min(Decimal(cents).scaleb(-2), left)
        left -= amount
        paid.append((DUE + timedelta(days=offset), amount))
    fee = late_fee(Decimal(principal).scaleb(-2), DUE, paid, PER_MILLE, DUE + timedelta(days=days))
    expected = Decimal(0)
    for number in range(1, days + 1):
        day = DUE + timedelta(days=number)
        base = Decimal(principal).scaleb(-2) - sum((amount for on, amount in paid if on < day), Decimal(0))
        expected += base * PER_MILLE.daily_rate
    assert sum((step.part for step in fee.steps), Decimal(0)) == expected
