"""What is left, how long it lasts, and that a warning is told once per crossing."""

import itertools
from collections.abc import Sequence
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from cloud.prepaid.positions import Position, Spent, Thresholds, days_left, signal

cents = st.integers(-(10**9), 10**9).map(lambda minor: Decimal(minor) / 100)
spending = st.builds(Spent, st.integers(0, 10**7).map(lambda minor: Decimal(minor) / 100), st.integers(1, 400))


@given(cents, cents, cents)
def test_what_is_left_adds_up_exactly(held: Decimal, owed: Decimal, accrued: Decimal) -> None:
    assert Position(held, owed, accrued).available + owed + accrued == held


@given(cents, st.lists(spending, max_size=4))
def test_days_left_are_the_last_whole_day_that_is_paid(available: Decimal, spent: list[Spent]) -> None:
    days = days_left(available, spent)
    # The same by cross-multiplication, without a division.
    whole = 1
    for one in spent:
        whole *= one.days
    rate = sum(one.amount * (whole // one.days) for one in spent)
    if available <= 0:
        assert days == 0
    elif rate == 0:
        assert days is None
    else:
        assert days is not None
        assert days * rate <= available * whole < (days + 1) * rate


def _told(history: Sequence[tuple[Decimal, int | None]], thresholds: Thresholds) -> list[int]:
    """When a warning is told."""
    warned, told = False, []
    for n, (available, days) in enumerate(history):
        match signal(available, days, thresholds, warned):
            case "warn":
                told.append(n)
                warned = True
            case "rearm":
                warned = False
            case None:
                pass
    return told


def test_a_crossing_is_told_once_until_it_is_clearly_over() -> None:
    thresholds = Thresholds(Decimal(20), 5)
    history: list[tuple[Decimal, int | None]] = [
        (Decimal(40), 20), (Decimal("19.99"), 9), (Decimal(18), 8), (Decimal(22), 9), (Decimal(19), 8),
        (Decimal(100), 6), (Decimal(100), 4), (Decimal(100), 7), (Decimal(100), 4), (Decimal(100), None),
    ]  # fmt: skip
    # 22 is not clear of 20, nor 6 days of 5: only 100 with 7 days left are.
    assert _told(history, thresholds) == [1, 8]


def test_the_bound_itself_is_not_low() -> None:
    thresholds = Thresholds(Decimal(20), 5)
    assert signal(Decimal(20), 5, thresholds, False) is None
    assert signal(Decimal("19.99"), 5, thresholds, False) == "warn"
    assert signal(Decimal(20), 4, thresholds, False) == "warn"
    assert signal(Decimal(-5), 0, Thresholds(None, None), False) is None


@given(st.lists(st.tuples(cents, st.none() | st.integers(0, 30)), max_size=40))
def test_between_two_warnings_it_was_clear_of_every_threshold(history: list[tuple[Decimal, int | None]]) -> None:
    thresholds = Thresholds(Decimal(20), 5)
    told = _told(history, thresholds)
    for first, second in itertools.pairwise(told):
        between = history[first + 1 : second]
        assert any(available >= Decimal(25) and (days is None or days >= 7) for available, days in between), (
            "told twice without having recovered"
        )
