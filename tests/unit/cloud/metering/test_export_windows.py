"""How a large export of usage is cut: every bar of every group once, in order, in statements of bounded size."""

from hypothesis import given
from hypothesis import strategies as st

from cloud.metering.exports.making import windows

BARS_AT_ONCE = 5_000
METER_DAYS_AT_ONCE = 20_000

GROUPS = st.dictionaries(st.integers(0, 10_000), st.integers(0, 12_000), max_size=40)


@given(GROUPS, st.integers(1, 2_500), st.integers(1, 8))
def test_every_bar_once_and_in_order(meters: dict[int, int], days: int, bars_a_day: int) -> None:
    bars = days * bars_a_day
    covered: list[tuple[int, int, int]] = []
    for window in windows(meters, bars, days):
        length = window.last - window.first
        cost = sum(meters[part] for part in window.groups) * days * length
        assert len(window.groups) * length <= BARS_AT_ONCE
        assert cost <= METER_DAYS_AT_ONCE * bars or (len(window.groups), length) == (1, 1)
        covered += [(part, window.first, window.last) for part in window.groups]
    assert covered == sorted(covered)
    reached = dict.fromkeys(meters, 0)
    for part, first, last in covered:
        assert (first, last > first) == (reached[part], True)
        reached[part] = last
    assert set(reached.values()) <= {bars}


def test_small_groups_share_a_statement() -> None:
    assert [list(window.groups) for window in windows(dict.fromkeys(range(100), 1), 31, 31)] == [list(range(100))]


def test_a_group_of_many_meters_is_cut_by_time() -> None:
    assert [(one.first, one.last) for one in windows({0: 10_000}, 5, 5)] == [(0, 2), (2, 4), (4, 5)]
