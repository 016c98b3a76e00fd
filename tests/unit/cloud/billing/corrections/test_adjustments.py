"""Differences of two states of a charge add up, whatever lines they have."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cloud.billing.corrections.adjustments import differences, differs, line_key, stretches
from cloud.kit.periods import Period

AMOUNTS = st.decimals(Decimal("-9999.99"), Decimal("9999.99"), places=2)
QUANTITIES = st.none() | st.decimals(Decimal(0), Decimal(10_000), places=3)


def _line(kind: str, tier: int | None, price: str | None, quantity: Decimal | None, amount: Decimal) -> dict[str, Any]:
    known = {"component": "energy", "time_period": None, "season": None, "unit": "kWh"}
    return {"kind": kind, "tier": tier, "price": price, "quantity": quantity, "amount": amount, **known}


LINES = st.lists(
    st.builds(
        _line,
        st.sampled_from(["usage", "rounding"]),
        st.sampled_from([None, 1, 2]),
        st.sampled_from([None, "0.4883", "0.48830"]),
        QUANTITIES,
        AMOUNTS,
    ),
    max_size=8,
)


def _sums(lines: list[dict[str, Any]]) -> tuple[Decimal, ...]:
    return tuple(sum((line[name] or Decimal(0) for line in lines), Decimal(0)) for name in ("quantity", "amount"))


@given(LINES, LINES)
def test_differences_are_what_leads_from_one_state_to_the_other(
    before: list[dict[str, Any]], after: list[dict[str, Any]]
) -> None:
    found = differences(before, after)
    assert sum(now - was for was, now in (one.amount for one in found)) == sum(line["amount"] for line in after) - sum(
        line["amount"] for line in before
    )
    kept = {one.key for one in found}
    for key in map(line_key, [*before, *after]):
        was, now = (_sums([line for line in lines if line_key(line) == key]) for lines in (before, after))
        same = was == now
        assert (key in kept) != same


@given(LINES)
def test_a_charge_does_not_differ_from_itself(lines: list[dict[str, Any]]) -> None:
    stored = [{**line, "amount": str(line["amount"])} for line in lines]
    assert differences(lines, stored) == []


def test_what_others_carry_over_is_no_fact_of_its_own() -> None:
    before = {"quantity": 1, "carry": "0.003", "opening": {"value": 1}}
    assert not differs(before, {"quantity": 1, "carry": "0", "opening": {"value": 2}, "agreed": ["2026-01-01", None]})
    assert differs(before, {**before, "quantity": 2})
    assert differs(before, {**before, "runs": []})


@given(st.sets(st.integers(0, 30)))
def test_days_side_by_side_are_one_stretch(days: set[int]) -> None:
    first = date(2026, 1, 1)
    periods = [Period(first + timedelta(day), first + timedelta(day + 1)) for day in days]
    found = stretches(periods)
    assert set(found) == set(periods)
    for day, period in zip(days, periods, strict=True):
        before, after = day, day
        while before - 1 in days:
            before -= 1
        while after + 1 in days:
            after += 1
        assert found[period] == Period(first + timedelta(before), first + timedelta(after + 1))
