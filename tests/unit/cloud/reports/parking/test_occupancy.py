"""Vehicles inside by hour of the week against counting minute by minute."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.reports.parking.occupancy import hours_between, inside_by_hour

BERLIN = ZoneInfo("Europe/Berlin")
# Clocks go forward in the night to Sunday 29 March 2026.
START = datetime(2026, 3, 27, 23, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def ms(at: datetime) -> int:
    return int(at.timestamp()) * 1000


def by_minutes(stays: list[tuple[int, int]], minutes: int) -> dict[int, tuple[int, int, int]]:
    """By hour of the week: vehicle-minutes, minutes, most at once."""
    found: dict[int, list[int]] = defaultdict(list)
    for minute in range(minutes):
        local = (START + minute * MINUTE).astimezone(BERLIN)
        found[local.weekday() * 24 + local.hour].append(sum(start <= minute < end for start, end in stays))
    return {cell: (sum(inside), len(inside), max(inside)) for cell, inside in found.items()}


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(-300, 3000), st.integers(0, 2000)), max_size=25),
    st.integers(1, 3000),
)
def test_every_hour_has_the_time_and_the_most_that_counting_by_the_minute_gives(
    stays: list[tuple[int, int]], minutes: int
) -> None:
    spans = [(start, start + length) for start, length in stays]
    starts, ends = (np.array([ms(START + one[nth] * MINUTE) for one in spans], np.int64) for nth in (0, 1))
    found = inside_by_hour(starts, ends, hours_between(START, START + minutes * MINUTE, BERLIN))
    expected = by_minutes(spans, minutes)
    for cell in range(7 * 24):
        vehicle_minutes, looked, most = expected.get(cell, (0, 0, 0))
        assert found.vehicle_ms[cell] == vehicle_minutes * 60_000
        assert found.looked_ms[cell] == looked * 60_000
        assert found.most[cell] == most


def test_who_leaves_as_another_comes_was_not_inside_with_it() -> None:
    starts = np.array([ms(START), ms(START + 30 * MINUTE)], np.int64)
    ends = np.array([ms(START + 30 * MINUTE), ms(START + 60 * MINUTE)], np.int64)
    found = inside_by_hour(starts, ends, hours_between(START, START + 60 * MINUTE, BERLIN))
    assert found.most.max() == 1
    assert found.vehicle_ms.sum() == 60 * 60_000


@pytest.mark.parametrize("stays", [0, 1])
def test_nothing_but_the_period_counts(stays: int) -> None:
    long = np.full(stays, ms(START - timedelta(days=900)), np.int64)
    until = np.full(stays, ms(START + timedelta(days=900)), np.int64)
    found = inside_by_hour(long, until, hours_between(START, START + timedelta(hours=5), BERLIN))
    assert found.vehicle_ms.sum() == stays * 5 * 3_600_000
