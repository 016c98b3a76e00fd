"""Edges of short bars on days on which clocks change."""

from datetime import date, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from cloud.kit.periods import Period
from cloud.metering.selection import bar_edges


@pytest.mark.parametrize(("day", "hours"), [(date(2026, 3, 29), 23), (date(2026, 3, 30), 24), (date(2026, 10, 25), 25)])
def test_short_bars_fill_the_local_day(day: date, hours: int) -> None:
    zone = ZoneInfo("Europe/Berlin")
    period = Period(day, day + timedelta(days=1))
    edges = bar_edges(period, "15min", zone)
    assert (edges[0], edges[-1]) == period.instants(zone)
    assert len(edges) - 1 == hours * 4
    assert {later - earlier for earlier, later in pairwise(edges)} == {timedelta(minutes=15)}
    assert len(bar_edges(period, "30min", zone)) - 1 == hours * 2
