"""Instalments add up, payments reach them in order, and what money pays is paid by date."""

from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.billing.arrears.instalments import broken_on, monthly, progress
from cloud.billing.settlement.claims import Debt, Instalment, Schedule, share_of_fees, share_of_principal, unpaid

FIRST = date(2026, 1, 31)


def _days(*amounts: int) -> list[Instalment]:
    return [Instalment(n, FIRST + timedelta(days=30 * n), Decimal(amount)) for n, amount in enumerate(amounts, 1)]


@given(cents=st.integers(1, 10**9), count=st.integers(1, 60))
def test_months_add_up_to_the_debt(cents: int, count: int) -> None:
    total = Decimal(cents).scaleb(-2)
    if cents < count:
        with pytest.raises(ValueError, match="smallest unit"):
            monthly(total, FIRST, count)
        return
    parts = monthly(total, FIRST, count)
    assert sum((one.amount for one in parts), Decimal(0)) == total
    assert max(one.amount for one in parts) - min(one.amount for one in parts) <= Decimal("0.01")
    assert [one.due_on for one in parts] == sorted({one.due_on for one in parts})


def test_short_months_have_their_last_day() -> None:
    assert [one.due_on for one in monthly(Decimal(100), FIRST, 3)] == [FIRST, date(2026, 2, 28), date(2026, 3, 31)]
    assert [one.amount for one in monthly(Decimal(100), FIRST, 3)] == [
        Decimal("33.34"),
        Decimal("33.33"),
        Decimal("33.33"),
    ]


def test_no_instalment_is_no_plan() -> None:
    with pytest.raises(ValueError, match="at least one"):
        monthly(Decimal(100), FIRST, 0)


@given(
    amounts=st.lists(st.integers(1, 50), min_size=1, max_size=6),
    paid=st.lists(st.tuples(st.integers(0, 250), st.integers(1, 100)), max_size=6),
    late_days=st.integers(0, 10),
    forgiven=st.none() | st.integers(0, 250),
    today=st.integers(0, 250),
)
def test_what_is_forgiven_breaks_no_plan(
    amounts: list[int], paid: list[tuple[int, int]], late_days: int, forgiven: int | None, today: int
) -> None:
    """A reference that walks over the days: broken on the first one after an instalment's last that finds it unpaid."""

    def day(number: int) -> date:
        return FIRST + timedelta(days=number)

    wanted = None
    for number in range(today + 1):
        last = number - 1
        due = [n for n in range(1, len(amounts) + 1) if 30 * n + late_days == last]
        owed = sum(amounts[: due[0]]) if due else 0
        if due and (forgiven is None or last >= forgiven) and sum(one for on, one in paid if on <= last) < owed:
            wanted = day(number)
            break
    money = [(day(on), Decimal(one)) for on, one in paid]
    found = broken_on(_days(*amounts), money, late_days, day(today), None if forgiven is None else day(forgiven))
    # What is known of payments by now may lie after today: only days that are over count.
    assert (found if found is not None and found <= day(today) else None) == wanted


def test_payments_reach_instalments_in_order() -> None:
    paid = [(FIRST + timedelta(days=5), Decimal(30)), (FIRST, Decimal(90))]
    found = [(one.paid, one.settled_on) for one in progress(_days(100, 100), paid)]
    assert found == [(Decimal(100), FIRST + timedelta(days=5)), (Decimal(20), None)]


@pytest.mark.parametrize(
    ("paid_after", "today_after", "broken_after"),
    [(None, 5, None), (None, 6, 6), (5, 300, 36), (6, 7, 6), (6, 3, 6)],
)
def test_a_missed_instalment_breaks_the_plan(
    paid_after: int | None, today_after: int, broken_after: int | None
) -> None:
    """Due on day 30, then on day 60; five days late is in time."""
    due = FIRST + timedelta(days=30)
    paid = [] if paid_after is None else [(due + timedelta(days=paid_after), Decimal(100))]
    found = broken_on(_days(100, 100), paid, 5, due + timedelta(days=today_after))
    assert found == (None if broken_after is None else due + timedelta(days=broken_after))


def test_instalments_take_the_place_of_their_bills() -> None:
    """This month's bill is paid before next month's instalment, though the bill of the plan is older."""
    debts = [Debt(1, date(2025, 12, 1), Decimal(200)), Debt(2, date(2026, 3, 15), Decimal(80))]
    schedule = Schedule((1,), tuple(_days(100, 100)))
    assert share_of_principal(Decimal(150), debts, FIRST, schedule) == {1: Decimal(100), 2: Decimal(50)}
    assert share_of_principal(Decimal(150), debts, FIRST) == {1: Decimal(150)}
    partly = Schedule((1,), tuple(_days(100, 100)), Decimal(100))
    assert share_of_principal(Decimal(90), [Debt(1, date(2025, 12, 1), Decimal(100)), debts[1]], FIRST, partly) == {
        1: Decimal(10),
        2: Decimal(80),
    }


def test_an_instalment_that_is_due_comes_first() -> None:
    """A plan must not break because the same money could have paid an older bill."""
    debts = [Debt(1, date(2025, 12, 1), Decimal(200)), Debt(2, date(2026, 1, 15), Decimal(80))]
    schedule = Schedule((1,), tuple(_days(100, 100)))
    due = schedule.instalments[0].due_on
    assert share_of_principal(Decimal(150), debts, due, schedule) == {1: Decimal(100), 2: Decimal(50)}
    assert share_of_principal(Decimal(150), debts, due - timedelta(days=1), schedule) == {
        1: Decimal(70),
        2: Decimal(80),
    }


_MONEY = st.integers(0, 10**5).map(lambda cents: Decimal(cents).scaleb(-2))


@given(
    money=_MONEY,
    debts=st.lists(st.tuples(st.integers(0, 30), _MONEY), max_size=6),
    planned=st.integers(0, 6),
    count=st.integers(1, 5),
)
def test_money_is_spent_once_and_only_on_what_is_owed(
    money: Decimal, debts: list[tuple[int, Decimal]], planned: int, count: int
) -> None:
    owed = [Debt(n, FIRST + timedelta(days=day), amount) for n, (day, amount) in enumerate(debts)]
    whole = sum((debt.payable for debt in owed[:planned]), Decimal(0))
    schedule = None
    if owed[:planned] and whole >= Decimal("0.05"):
        schedule = Schedule(tuple(debt.bill_id for debt in owed[:planned]), tuple(monthly(whole, FIRST, count)))
    parts = share_of_principal(money, owed, FIRST + timedelta(days=40), schedule)
    assert all(0 < parts[debt.bill_id] <= debt.payable for debt in owed if debt.bill_id in parts)
    assert sum(parts.values(), Decimal(0)) == min(money, sum((debt.payable for debt in owed), Decimal(0)))


@given(amounts=st.lists(_MONEY.filter(lambda amount: amount > 0), min_size=1, max_size=6), paid=_MONEY)
def test_what_is_open_is_the_rest(amounts: list[Decimal], paid: Decimal) -> None:
    instalments = [Instalment(n, FIRST + timedelta(days=n), amount) for n, amount in enumerate(amounts, 1)]
    rest = unpaid(instalments, paid)
    assert sum((amount for _, amount in rest), Decimal(0)) == max(sum(amounts, Decimal(0)) - paid, Decimal(0))
    assert [one.number for one, _ in rest] == list(range(len(amounts) - len(rest) + 1, len(amounts) + 1))


def test_late_fees_are_paid_in_order() -> None:
    assert share_of_fees(Decimal(5), {3: Decimal(2), 1: Decimal(0), 2: Decimal(9)}) == {3: Decimal(2), 2: Decimal(3)}
