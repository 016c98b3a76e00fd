"""Promise 5 under random late data: bills and their adjustments come to what a fresh rating of the right data gives."""

import os
from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cloud.billing import service as billing
from cloud.estate import service as estate
from cloud.kit.db import SYSTEM, Database
from cloud.kit.yaml_files import load_yaml
from cloud.metering import service as metering
from cloud.metering.records import NewMeter
from cloud.tariffs import service as tariffs
from cloud.tariffs.model.tariff import TariffContent
from tests.integration.billing.late import count_otherwise, late
from tests.integration.billing.site import SINCE, TARIFFS, Flat, Site, make_site, noon
from tests.unit.cloud.tariffs import reference

MONTHS = [date(2026, n, 1) for n in range(1, 5)]
EXAMPLES = 100 if os.environ.get("HYPOTHESIS_PROFILE") == "long" else 10
WINDOWS = ("year", "month", "bill")
WH = st.one_of(st.integers(0, 3_000_000), st.sampled_from([2_880_000, 2_880_001, 4_800_000, 960_000]))
# A month is billed; the right usage of a month becomes known; what came late is re-rated.
STEPS = st.lists(st.one_of(st.none(), st.tuples(st.integers(0, 3), WH), st.just("rate")), max_size=10)


@pytest.fixture
async def site(worker_db: Database) -> Site:
    """A project; every example has a flat of its own."""
    return await make_site(worker_db, flats=1, services=())


@pytest.fixture
def numbers() -> Iterator[int]:
    """Numbers of the flats."""
    return count()


def content_of(window: str, *, cumulative: bool) -> TariffContent:
    """The tariff of Beijing with another tier window, or with every bill rounded by itself."""
    content = load_yaml(TARIFFS / "beijing-electricity.yaml", TariffContent).model_dump(mode="json")
    content["tiers"]["window"] = {"kind": window}
    content["rounding"]["cumulative"] = cumulative
    if window != "year":
        del content["household"]
    return TariffContent.model_validate(content)


async def flat_of(site: Site, number: int, content: TariffContent) -> Flat:
    """A flat that pays for electricity by a tariff of its own."""
    first, code, project_id = site.flats[0], f"X-{number}", site.project.id
    async with site.db.transaction(SYSTEM) as conn:
        account = await estate.create_account(conn, project_id, code, first.unit_id, first.person_id, date(2025, 1, 1))
        meter = NewMeter(code, "electricity", first.unit_id, 10**9, 10**9, date(2025, 1, 1))
        (made,) = await metering.create_meters(conn, project_id, [meter])
        tariff = (await tariffs.publish(conn, project_id, code, code, "electricity", content, SINCE)).tariff_id
        await billing.create_agreement(conn, project_id, account.id, "electricity", tariff, made.id, None, SINCE)
    return Flat(first.unit_id, account.id, first.person_id, {"electricity": made.id})


def fresh(content: TariffContent, usage: Sequence[int]) -> list[Decimal]:
    """What each month costs when the right usage is rated in order, by the Decimal reference."""
    amounts, before, carry = [], 0, Decimal(0)
    whole = content.tiers.window.kind == "year"
    for wh in usage:
        result = reference.rate(
            content,
            reference.Account(
                usage={"all": Decimal(wh).scaleb(-3)},
                before=Decimal(before if whole else 0).scaleb(-3),
                carry=carry if whole else Decimal(0),
            ),
        )
        amounts.append(result.total)
        before, carry = before + wh, (carry + result.exact) % Decimal("0.01")
    return amounts


async def standing_of(site: Site, flat: Flat) -> list[dict[str, Any]]:
    """Every charge with its adjustments, and the sum of the lines by which bills charged and corrected it, or will."""
    return await site.rows(
        """SELECT c.amount + coalesce(sum(a.difference), 0) AS amount,
                  coalesce((SELECT sum(l.amount) FROM bill_line l WHERE l.charge_id = c.id), 0)
                  + coalesce((SELECT sum((d ->> 'amount')::numeric) FROM adjustment x,
                                   jsonb_array_elements(x.differences) d
                              WHERE x.charge_id = c.id AND x.id NOT IN (SELECT adjustment_id FROM billed_adjustment)),
                             0) AS lines
           FROM charge c LEFT JOIN adjustment a ON a.charge_id = c.id
           WHERE c.meter_id = %s GROUP BY c.id ORDER BY c.period""",
        flat.meters["electricity"],
    )


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(WINDOWS), st.booleans(), st.lists(WH, min_size=4, max_size=4), STEPS)
@example("year", True, [300_511, 2_600_017, 1, 2_880_000], [None, (0, 400_513), None, None, (1, 2_600_018), None])
@example("year", False, [0, 0, 0, 0], [None, None, (0, 11)])
async def test_bills_and_adjustments_are_what_a_fresh_rating_gives(
    site: Site, numbers: Iterator[int], window: str, cumulative: bool, usage: list[int], steps: list[Any]
) -> None:
    content = content_of(window, cumulative=cumulative)
    flat = await flat_of(site, next(numbers), content)
    await site.read(flat, "electricity", usage)
    now, months = list(usage), iter(MONTHS)
    for step in [*steps, "rate"]:
        if step is None:
            month = next(months, None)
            if month is not None:
                await site.run(month, noon(date(2026, 5, 1)))
        elif step == "rate":
            await late(site)
        else:
            nth, right = step
            await count_otherwise(site, flat, MONTHS[nth], right - now[nth])
            now[nth] = right
    # Also what was refused because its neighbour had been billed beyond it, before that was re-rated.
    for month in MONTHS:
        await site.run(month, noon(date(2026, 5, 1)))
    await late(site)
    standing = await standing_of(site, flat)
    assert [row["amount"] for row in standing] == [row["lines"] for row in standing] == fresh(content, now)
    assert (await late(site)).adjusted == 0
    assert await site.proof() == []
