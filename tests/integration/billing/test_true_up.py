"""Estimates and their true-up under random histories: in the end all bills come to what readings in time would have."""

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from itertools import accumulate, count
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cloud.kit.db import Database
from cloud.kit.periods import day_start
from tests.integration.billing.late import late
from tests.integration.billing.site import Site, make_site
from tests.integration.billing.test_estimates import ESTIMATE, charges, read, run
from tests.integration.billing.test_late_data import WINDOWS, content_of, flat_of, fresh, standing_of

MONTHS = [date(2026, n, 1) for n in range(1, 5)]
# The limit of estimates in a row is not what this is about.
ALWAYS = replace(ESTIMATE, estimate_limit=len(MONTHS))
EXAMPLES = 60 if os.environ.get("HYPOTHESIS_PROFILE") == "long" else 6
WH = st.one_of(st.integers(0, 2_000_000), st.sampled_from([2_880_000, 2_880_001, 960_000]))
# Readings are known by number: in the middle of each month, and at its end. Months are billed in order.
STEPS = st.lists(st.one_of(st.just("bill"), st.integers(0, 7), st.just("rate")), max_size=12)


@pytest.fixture
async def site(worker_db: Database) -> Site:
    """A project; every example has a flat of its own."""
    return await make_site(worker_db, flats=1, services=())


@pytest.fixture
def numbers() -> Iterator[int]:
    """Numbers of the flats."""
    return count()


def _instants(site: Site) -> list[datetime]:
    """The middle and the end of each month."""
    days = [
        day for month, end in zip(MONTHS, [*MONTHS[1:], date(2026, 5, 1)], strict=True)
        for day in (month + timedelta(days=14), end)
    ]  # fmt: skip
    return [day_start(day, site.project.zone) for day in days]


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(WINDOWS), st.booleans(), st.lists(WH, min_size=8, max_size=8), STEPS)
# Two estimates, then a reading in the middle of the month after; one that came in time is known late.
@example("year", True, [700_000, 2_500_000, 0, 10, 300_000, 1, 5, 2_880_000], ["bill", "bill", 4, "rate", "bill", 1])
# Estimated too high: the register stands lower at the end of February than what January was billed with.
@example("month", False, [900_000, 0, 0, 0, 0, 0, 0, 7], [0, "bill", 3, "bill", "rate", "bill"])
async def test_all_bills_come_to_what_one_bill_from_readings_would_have(
    site: Site, numbers: Iterator[int], window: str, cumulative: bool, usage: list[int], steps: list[Any]
) -> None:
    content = content_of(window, cumulative=cumulative)
    flat = await flat_of(site, next(numbers), content)
    instants, values = _instants(site), [5_000_000 + used for used in accumulate(usage)]
    await read(site, flat, [(day_start(MONTHS[0], site.project.zone), 5_000_000)])
    known: set[int] = set()
    months = iter(MONTHS)

    async def step_on(step: Any) -> None:
        if step == "rate":
            await late(site)
        elif step != "bill":
            if step not in known:
                known.add(step)
                await read(site, flat, [(instants[step], values[step])])
        elif (month := next(months, None)) is not None:
            _, why = await run(site, month, ALWAYS)
            assert why == {}

    for step in [*steps, 7, "rate", *(["bill"] * len(MONTHS)), "rate"]:
        await step_on(step)
    standing = await charges(site, flat)
    assert {one["estimate"] for one in standing} <= {None, "between"}
    quantities = [one["quantity"] for one in standing]
    assert sum(quantities) == sum(usage)
    for month, quantity in enumerate(quantities):
        if {2 * month - 1, 2 * month + 1} <= known | {-1}:
            assert quantity == usage[2 * month] + usage[2 * month + 1]
    rows = await standing_of(site, flat)
    assert [row["amount"] for row in rows] == [row["lines"] for row in rows] == fresh(content, quantities)
    if window == "year" and cumulative:
        assert sum(row["amount"] for row in rows) == sum(fresh(content, [sum(usage)]))
    assert (await late(site)).adjusted == 0
    assert await site.proof() == []
