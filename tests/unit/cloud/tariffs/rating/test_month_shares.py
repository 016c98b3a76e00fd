"""Parts of months: however a stay is cut, its months add up."""

from datetime import date, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from cloud.kit.periods import Period
from cloud.tariffs.rating.month_shares import MONTH, begun, by_day


def test_by_their_days() -> None:
    assert by_day(Period(date(2026, 2, 1), date(2026, 3, 1))) == MONTH
    assert by_day(Period(date(2026, 2, 1), date(2026, 2, 15))) == MONTH // 2
    assert by_day(Period(date(2026, 1, 15), date(2026, 3, 15))) == 548_387 + MONTH + 451_613


DAYS = st.dates(date(2024, 1, 1), date(2026, 12, 31))


@given(DAYS, st.lists(st.integers(1, 90), min_size=2, max_size=6))
def test_cut_anywhere_nothing_is_lost(start: date, lengths: list[int]) -> None:
    cuts = [start]
    for length in lengths:
        cuts.append(cuts[-1] + timedelta(days=length))
    parts = [Period(first, last) for first, last in pairwise(cuts)]
    whole = Period(cuts[0], cuts[-1])
    assert sum(map(by_day, parts)) == by_day(whole)
    touched = {(day.year, day.month) for n in range(whole.days) for day in [start + timedelta(days=n)]}
    assert sum(begun(part, whole) for part in parts) == MONTH * len(touched)
