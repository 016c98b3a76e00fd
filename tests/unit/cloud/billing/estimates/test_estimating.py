"""How many bills in a row are estimated."""

from collections.abc import Sequence
from datetime import date, timedelta
from itertools import takewhile

from hypothesis import given
from hypothesis import strategies as st

from cloud.billing.estimates.estimating import Recent, in_a_row
from cloud.billing.records import EstimateKind
from cloud.kit.periods import Period

FIRST = date(2026, 1, 1)
KINDS = st.lists(st.sampled_from(["open", "between", None]), max_size=8)


def day(nth: int) -> date:
    return FIRST + timedelta(days=30 * nth)


def recent(kinds: Sequence[EstimateKind | None], pieces: int = 1) -> list[Recent]:
    """Charges of 30 days each, latest first; so many `pieces` of the same kind are one bill."""
    found = [
        Recent(nth // pieces, Period(day(nth), day(nth + 1)), kind)
        for nth, kind in enumerate(kind for kind in kinds for _ in range(pieces))
    ]
    return found[::-1]


@given(KINDS, st.integers(1, 3))
def test_bills_are_counted_back_to_the_first_that_was_read(kinds: list[EstimateKind | None], pieces: int) -> None:
    wanted = len(list(takewhile(lambda kind: kind == "open", reversed(kinds))))
    assert in_a_row(recent(kinds, pieces), day(len(kinds) * pieces)) == wanted


@given(KINDS)
def test_what_comes_later_does_not_count(kinds: list[EstimateKind | None]) -> None:
    assert in_a_row(recent([*kinds, "open", "open"]), day(len(kinds))) == in_a_row(recent(kinds), day(len(kinds)))


def test_a_month_that_no_bill_charges_ends_the_row() -> None:
    charged = recent(["open", "open", "open"])
    assert in_a_row(charged, day(3)) == 3
    assert in_a_row(charged, day(4)) == 0
    assert in_a_row([one for one in charged if one.period.start != day(1)], day(3)) == 1
