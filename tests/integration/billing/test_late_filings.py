"""Persons that are filed, or put right, for days that were billed already: bills of these days are rated again."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from cloud.billing import service as billing
from cloud.billing.corrections.late_usage import Outcome, rerate_late
from cloud.billing.runs.drafting import Drafter
from cloud.billing.service import RunOptions
from cloud.estate.occupancies import repository
from cloud.estate.occupancies import service as occupancies
from cloud.kit.db import SYSTEM
from cloud.kit.periods import Period, day_start
from tests.integration.billing.late import (
    APRIL,
    FEBRUARY,
    JANUARY,
    MARCH,
    charged_in_all,
    count_otherwise,
    revisions,
    site,
    site_world,
    yearly,
)
from tests.integration.billing.site import Flat, Site, noon
from tests.integration.billing.test_estimates import read

__all__ = ["site", "site_world"]


async def file(site: Site, flat: Flat, persons: int, from_day: date) -> int:
    async with site.db.transaction(SYSTEM) as conn:
        return (await occupancies.file_persons(conn, site.project.id, flat.unit_id, persons, from_day)).id


async def filed(site: Site) -> Outcome:
    return await billing.rerate_filed(site.db, SYSTEM, site.project.id)


async def waiting(site: Site) -> list[str | None]:
    return [row["code"] for row in await site.rows("SELECT code FROM late_filing")]


def with_more_room(kwh: Decimal, room: int) -> Decimal:
    """What a year of the Beijing tariff costs whose first two bounds are moved by so many kWh."""
    first, second = min(kwh, Decimal(2880 + room)), max(min(kwh, Decimal(4800 + room)) - 2880 - room, Decimal(0))
    third = max(kwh - 4800 - room, Decimal(0))
    exact = first * Decimal("0.4883") + second * Decimal("0.5383") + third * Decimal("0.7883")
    return exact.quantize(Decimal("0.01"), "ROUND_HALF_UP")


async def test_more_persons_filed_backwards_widen_the_tiers_of_issued_bills(site: Site) -> None:
    flat, other = site.flats
    await file(site, flat, 6, JANUARY)
    assert await filed(site) == Outcome(adjusted=1)
    assert await charged_in_all(site, flat) == with_more_room(Decimal("3050.5"), 1200)
    (march,) = await revisions(site, flat)
    assert (march["month"], march["difference"]) == (MARCH, Decimal("-8.52"))
    causes = await site.rows("SELECT DISTINCT cause FROM adjustment WHERE difference <> 0")
    assert causes == [{"cause": "persons"}]
    assert await revisions(site, other) == []
    assert await waiting(site) == []
    assert await filed(site) == Outcome()
    assert await site.proof() == []


async def test_a_wrong_filing_that_is_taken_back_gives_back_all_it_changed(site: Site) -> None:
    flat = site.flats[0]
    await file(site, flat, 2, JANUARY)
    wrong = await file(site, flat, 6, FEBRUARY)
    await filed(site)
    assert await charged_in_all(site, flat) < yearly(Decimal("3050.5"))
    async with site.db.transaction(SYSTEM) as conn:
        await occupancies.delete_household(conn, wrong, go_back=True)
        (left,) = await repository.locked_households(conn, flat.unit_id)
    assert (left.persons, left.valid.end) == (2, None)
    await filed(site)
    assert await charged_in_all(site, flat) == yearly(Decimal("3050.5"))


async def test_an_end_that_is_entered_late_narrows_the_tiers_again(site: Site) -> None:
    flat = site.flats[0]
    six = await file(site, flat, 6, JANUARY)
    await filed(site)
    async with site.db.transaction(SYSTEM) as conn:
        await occupancies.change_household(conn, six, valid_until=FEBRUARY)
    await filed(site)
    # March counts with what is filed in it, nobody; so do the months to come: January alone gets 100 kWh.
    assert await charged_in_all(site, flat) == with_more_room(Decimal("3050.5"), 100)


async def test_persons_that_changed_nothing_yet_bear_on_usage_that_comes_late(site: Site) -> None:
    """The tiers are widened before the usage that fills them is known."""
    flat = site.flats[1]
    await count_otherwise(site, flat, MARCH, -500_000)
    await rerate_late(site.db, SYSTEM, site.project.id)
    await file(site, flat, 6, JANUARY)
    assert await filed(site) == Outcome()
    await count_otherwise(site, flat, MARCH, 1_000_000)
    await rerate_late(site.db, SYSTEM, site.project.id)
    assert await charged_in_all(site, flat) == with_more_room(Decimal("3550.5"), 1200)


async def test_what_is_filed_for_days_that_no_bill_has_charged_is_no_correction(site: Site) -> None:
    flat = site.flats[0]
    await file(site, flat, 6, APRIL)
    assert await waiting(site) == []
    async with site.db.transaction(SYSTEM) as conn:
        await occupancies.file_persons(conn, site.project.id, flat.unit_id, 6, date(2026, 6, 1))
        (still,) = await repository.locked_households(conn, flat.unit_id)
    assert (still.persons, still.valid.start, still.valid.end) == (6, APRIL, None)


async def test_a_draft_that_charges_these_days_is_waited_for(site: Site) -> None:
    flat = site.flats[0]
    meter = flat.meters["electricity"]
    await site.rows(
        """WITH one AS (INSERT INTO store.reading (meter_id, channel, taken_at, value, project_id)
                        VALUES (%s, 1, '2026-04-30 16:00Z', 8100500, %s))
           INSERT INTO store.usage (meter_id, channel, start, length_s, quantity, project_id)
           VALUES (%s, 1, '2026-03-31 16:00Z', 2592000, 50000, %s) RETURNING 1""",
        meter, site.project.id, meter, site.project.id,
    )  # fmt: skip
    async with site.db.transaction(SYSTEM) as conn:
        only = RunOptions(account_id=flat.account_id)
        job = await billing.start_run(conn, site.project.id, Period(APRIL, date(2026, 5, 1)), options=only)
        run = await billing.run_of_job(conn, job)
    await billing.execute_run(site.db, SYSTEM, run.id, now=noon(date(2026, 5, 1)))
    await file(site, flat, 6, MARCH)
    assert (await filed(site)).waiting == 1
    assert await waiting(site) == ["draft-waits"]
    async with site.db.transaction(SYSTEM) as conn:
        await billing.cancel_run(conn, run.id)
    assert (await filed(site)).waiting == 0
    assert await waiting(site) == []


async def test_persons_filed_while_a_draft_is_written_are_not_lost(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The draft has read who lives there, and its charges are not to be seen yet."""
    flat = site.flats[0]
    await read(site, flat, [(day_start(date(2026, 5, 1), site.project.zone), 8_550_500)])
    write = Drafter._write

    async def meanwhile(*told: Any) -> None:
        await file(site, flat, 6, APRIL)
        await write(*told)

    monkeypatch.setattr(Drafter, "_write", meanwhile)
    async with site.db.transaction(SYSTEM) as conn:
        only = RunOptions(account_id=flat.account_id, issue_at_once=True)
        job = await billing.start_run(conn, site.project.id, Period(APRIL, date(2026, 5, 1)), options=only)
        run = await billing.run_of_job(conn, job)
    await billing.execute_run(site.db, SYSTEM, run.id, now=noon(date(2026, 5, 1)))
    await filed(site)
    assert await charged_in_all(site, flat) == yearly(Decimal("3050.5")) + 500 * Decimal("0.4883")
