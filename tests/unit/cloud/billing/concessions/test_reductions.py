"""Concessions: published cases, their order, days, bounds, and a simple loop that says the same."""

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from itertools import pairwise
from random import Random
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.billing.concessions.reductions import POSITIONS, Concession, Kind, Reduction, Rule, reductions
from cloud.kit.periods import Period

JANUARY = Period(date(2026, 1, 1), date(2026, 2, 1))
ALWAYS = Period(date(2025, 1, 1), date(2027, 1, 1))


def concession(kind: Kind, value: str, *, number: int = 1, rule: Rule = "other", **more: object) -> Concession:
    told: dict[str, object] = {"valid": ALWAYS, "position": POSITIONS[rule], **more}
    return Concession(number, rule, f"{rule} {number}", kind, Decimal(value), **told)  # type: ignore[arg-type]


def taken(found: Sequence[Reduction]) -> list[str]:
    return [str(one.amount) for one in found]


def off(amount: str, *concessions: Concession, period: Period = JANUARY) -> list[str]:
    return taken(reductions([("fee", Decimal(amount))], "property", period, concessions, 2))


def test_each_is_computed_on_what_the_one_before_left() -> None:
    vacant = concession("factor", "0.70", number=9, rule="vacancy")
    long = concession("percent", "10", number=3, rule="long_lease")
    found = reductions([("fee", Decimal("250.60"))], "property", JANUARY, [long, vacant], 2)
    assert [one.concession.rule for one in found] == ["vacancy", "long_lease"]
    assert [(str(one.base), str(one.amount)) for one in found] == [("250.60", "-75.18"), ("175.42", "-17.54")]
    assert [str(one.share) for one in found] == ["0.30", "0.10"]


def test_of_one_position_the_older_comes_first() -> None:
    found = [concession("amount", "5", number=2), concession("percent", "50", number=1)]
    assert off("100.00", *found) == ["-50.00", "-5.00"]
    assert off("100.00", concession("amount", "5", number=2, position=1), found[1]) == ["-5.00", "-47.50"]


def test_what_is_taken_off_is_base_times_share_as_it_is_printed() -> None:
    assert off("210.35", concession("percent", "50")) == ["-105.18"]
    assert off("0.05", concession("factor", "0.50")) == ["-0.03"]


@pytest.mark.parametrize(("first", "last", "expected"), [(1, 15, "-14.52"), (16, 31, "-15.48"), (1, 31, "-30.00")])
def test_part_of_a_period_counts_by_days(first: int, last: int, expected: str) -> None:
    valid = Period(date(2026, 1, first), date(2026, 1, last) + timedelta(days=1))
    assert off("100.00", concession("factor", "0.70", valid=valid)) == [expected]


def test_what_ends_before_the_period_takes_nothing() -> None:
    before, after = Period(ALWAYS.start, JANUARY.start), Period(JANUARY.end, ALWAYS.end)
    assert off("100.00", concession("percent", "10", valid=before), concession("percent", "10", valid=after)) == []


def test_an_amount_is_so_much_a_month_and_never_more_than_is_left() -> None:
    assert off("100.00", concession("amount", "20")) == ["-20.00"]
    assert off("100.00", concession("amount", "20"), period=Period(date(2026, 1, 1), date(2026, 3, 1))) == ["-40.00"]
    assert off("30.00", concession("amount", "20", number=1), concession("amount", "20", number=2)) == [
        "-20.00",
        "-10.00",
    ]
    assert off("0.00", concession("amount", "20")) == []


def test_it_applies_to_the_services_and_components_it_names() -> None:
    parts = [("water", Decimal("20.70")), ("sewage", Decimal("13.60"))]
    named = concession("percent", "50", components=("sewage",))
    assert taken(reductions(parts, "water", JANUARY, [named], 2)) == ["-6.80"]
    assert reductions(parts, "water", JANUARY, [concession("percent", "50", services=("electricity",))], 2) == ()
    # 10 % of both takes 2.07 of the one and 1.36 of the other: 12.24 remains of the sewage.
    both = [concession("percent", "10", number=1), concession("percent", "50", number=2, components=("sewage",))]
    assert taken(reductions(parts, "water", JANUARY, both, 2)) == ["-3.43", "-6.12"]


def test_a_credit_within_the_charge_is_not_reduced_and_the_charge_stays_above_zero() -> None:
    parts = [("energy", Decimal("100.00")), ("power_factor", Decimal("-40.00"))]
    assert taken(reductions(parts, "x", JANUARY, [concession("percent", "100", components=("energy",))], 2)) == [
        "-60.00"
    ]
    assert reductions(parts, "x", JANUARY, [concession("percent", "50", components=("power_factor",))], 2) == ()


amounts = st.integers(-10_000, 1_000_000).map(lambda cents: Decimal(cents).scaleb(-2))
days = st.integers(0, 89)


@st.composite
def some_concession(draw: st.DrawFn) -> Concession:
    kind: Kind = draw(st.sampled_from(get_args(Kind)))
    places = 2 if kind == "amount" else 4
    most = {"percent": 100, "factor": 1, "amount": 500}[kind]
    value = Decimal(draw(st.integers(0, most * 10**places))).scaleb(-places)
    start = date(2025, 12, 1) + timedelta(days=draw(days))
    valid = Period(start, start + timedelta(days=1 + draw(days)))
    names = draw(st.sets(st.sampled_from(["a", "b", "c"])))
    rule: Rule = draw(st.sampled_from(get_args(Rule)))
    number = draw(st.integers(1, 10**6))
    return Concession(number, rule, "", kind, value, valid, POSITIONS[rule], components=tuple(sorted(names)))


def half_up(value: Fraction) -> Decimal:
    return (Decimal(value.numerator) / value.denominator).quantize(Decimal("0.01"), ROUND_HALF_UP)


def by_hand(parts: dict[str, Decimal], period: Period, concessions: Sequence[Concession]) -> list[Decimal]:
    """The same for concessions on whole charges, day by day and in plain fractions."""
    left, found = sum(parts.values(), Decimal(0)), []
    for one in sorted(concessions, key=lambda one: (one.position, one.id)):
        owed = max(left, Decimal(0))
        there = [
            day for n in range(period.days) if one.valid.start <= (day := period.start + timedelta(n)) < one.valid.end
        ]
        share = 1 - Fraction(one.value) if one.kind == "factor" else Fraction(one.value) / 100
        off = half_up(Fraction(owed) * share * len(there) / period.days)
        if off:
            found.append(-off)
            left -= off
    return found


@given(
    st.fixed_dictionaries({"a": amounts, "b": amounts}),
    st.lists(some_concession(), max_size=5, unique_by=lambda one: one.id),
    days,
)
def test_on_whole_charges_it_says_what_a_simple_loop_says(
    parts: dict[str, Decimal], concessions: list[Concession], length: int
) -> None:
    period = Period(JANUARY.start, JANUARY.start + timedelta(days=1 + length))
    whole = [one for one in concessions if one.kind != "amount" and not one.components]
    found = reductions(list(parts.items()), "x", period, whole, 2)
    assert [one.amount for one in found] == by_hand(parts, period, whole)


@given(
    st.lists(st.tuples(st.sampled_from("abc"), amounts), max_size=6),
    st.lists(some_concession(), max_size=6, unique_by=lambda one: one.id),
    st.randoms(use_true_random=False),
)
def test_nothing_falls_below_zero_and_the_order_of_asking_does_not_matter(
    parts: list[tuple[str, Decimal]], concessions: list[Concession], random: Random
) -> None:
    found = reductions(parts, "x", JANUARY, concessions, 2)
    total = sum((amount for _, amount in parts), Decimal(0))
    assert all(one.amount < 0 for one in found)
    assert total + sum((one.amount for one in found), Decimal(0)) >= min(total, Decimal(0))
    shuffled = list(concessions)
    random.shuffle(shuffled)
    assert reductions(parts, "x", JANUARY, shuffled, 2) == found
    for one in found:
        named = [amount for code, amount in parts if code in (one.concession.components or "abc")]
        assert -one.amount <= one.base <= sum((max(amount, Decimal(0)) for amount in named), Decimal(0))


@given(st.integers(0, 10**6), st.lists(st.integers(1, 30), max_size=4))
def test_an_amount_is_the_same_however_the_month_is_cut(cents: int, cuts: list[int]) -> None:
    given_off = concession("amount", str(Decimal(cents).scaleb(-2)))
    edges = [JANUARY.start, *(JANUARY.start + timedelta(days=n) for n in sorted(set(cuts))), JANUARY.end]
    pieces = [Period(start, end) for start, end in pairwise(edges)]
    parts = [("fee", Decimal(10**6).quantize(Decimal("0.01")))]
    found = [one.amount for piece in pieces for one in reductions(parts, "x", piece, [given_off], 2)]
    assert -sum(found, Decimal(0)) == given_off.value
