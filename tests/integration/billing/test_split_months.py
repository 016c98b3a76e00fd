"""A month that two tenants share: what is wrong with the days of one holds up the bills of the other in nothing."""

from datetime import date, datetime, timedelta

import pytest

from cloud.billing import service as billing
from cloud.billing.settlement.standing import standings
from cloud.kit.db import SYSTEM, Database
from cloud.kit.periods import day_start, month_of
from cloud.metering.exceptions.service import decide
from tests.integration.billing.site import SINCE, Flat, Site, failures_of, make_site, noon
from tests.integration.billing.test_checked_before_bills import come
from tests.integration.metering.test_derivation import derive

JANUARY, FEBRUARY, MARCH, APRIL = (date(2026, n, 1) for n in range(1, 5))
MOVED = date(2026, 2, 15)
USUAL = 10_000
"""Wh a day, of both."""


@pytest.fixture
async def site(worker_db: Database) -> Site:
    """Who lives in the first flat moves out on 15 February, and who pays for the second flat moves in there."""
    made = await make_site(worker_db, flats=2, services=("electricity",))
    leaver, newcomer = made.flats
    await made.rows("DELETE FROM service_agreement WHERE account_id = %s RETURNING 1", newcomer.account_id)
    await made.rows("UPDATE service_agreement SET valid = daterange(%s, %s) RETURNING 1", SINCE, MOVED)
    async with made.db.transaction(SYSTEM) as conn:
        await billing.create_agreement(
            conn, made.project.id, newcomer.account_id, "electricity", made.tariffs["electricity"],
            leaver.meters["electricity"], leaver.unit_id, MOVED,
        )  # fmt: skip
    return made


async def used(site: Site, *, before: int = USUAL, after: int = USUAL, since: date = SINCE) -> None:
    """Readings of each midnight up to 1 March, so much a day in February before and after the move."""
    day, value = SINCE, 5_000_000
    while day <= MARCH:
        if day >= since:
            await come(site, site.flats[0], day, value)
        value += USUAL if day < FEBRUARY else before if day < MOVED else after
        day += timedelta(days=1)


async def found(site: Site, rule: str, first: date, end: date, *, at: datetime | None = None) -> int:
    """An open finding about these days, or about the reading of one moment."""
    from_at, until_at = (at, at) if at else (day_start(day, site.project.zone) for day in (first, end))
    (row,) = await site.rows(
        """INSERT INTO meter_exception (project_id, meter_id, channel, rule, from_at, until_at)
           VALUES (%s, %s, 1, %s, %s, %s) RETURNING id""",
        site.project.id, site.flats[0].meters["electricity"], rule, from_at, until_at,
    )  # fmt: skip
    return int(row["id"])


async def failed(site: Site, month: date) -> dict[int, str]:
    """Bills a month, all steps of the run, and says who is left out and why."""
    async with site.db.transaction(SYSTEM) as conn:
        job_id = await billing.start_run(
            conn, site.project.id, month_of(month), options=billing.RunOptions(issue_at_once=True)
        )
        run = await billing.run_of_job(conn, job_id)
    now = noon(month_of(month).end)
    await billing.check_run(site.db, SYSTEM, run.id, now=now)
    await billing.execute_run(site.db, SYSTEM, run.id, now=now)
    async with site.db.transaction(SYSTEM) as conn:
        return {one.account_id: one.detail for one in await failures_of(conn, run.id)}


def leaver(site: Site) -> Flat:
    return site.flats[0]


def newcomer(site: Site) -> Flat:
    return site.flats[1]


@pytest.mark.parametrize(
    ("first", "end", "held"),
    [
        (date(2026, 2, 9), MOVED, ["leaver"]),
        (MOVED, date(2026, 2, 17), ["newcomer"]),
        (date(2026, 2, 14), date(2026, 2, 16), ["leaver", "newcomer"]),
        (MARCH, date(2026, 3, 3), []),
        (date(2026, 1, 20), FEBRUARY, []),
    ],
)
async def test_a_finding_about_days_holds_up_whoever_lived_there(
    site: Site, first: date, end: date, held: list[str]
) -> None:
    await used(site)
    await failed(site, JANUARY)
    await found(site, "exchange", first, end)
    reasons = await failed(site, FEBRUARY)
    names = {leaver(site).account_id: "leaver", newcomer(site).account_id: "newcomer"}
    assert sorted(names[one] for one in reasons) == held


async def test_a_finding_about_the_reading_between_them_is_about_both(site: Site) -> None:
    await used(site)
    await failed(site, JANUARY)
    await found(site, "exchange", MOVED, MOVED, at=day_start(MOVED, site.project.zone))
    assert len(await failed(site, FEBRUARY)) == 2


@pytest.mark.parametrize(
    ("before", "after", "held"),
    [(USUAL * 9, USUAL, "leaver"), (USUAL, USUAL * 9, "newcomer"), (USUAL * 9, USUAL * 9, "both")],
)
async def test_a_month_unlike_the_one_before_is_so_by_one_of_them(
    site: Site, before: int, after: int, held: str
) -> None:
    """The month as a whole is a finding; whose days are as usual is billed."""
    await used(site, before=before, after=after)
    await failed(site, JANUARY)
    reasons = await failed(site, FEBRUARY)
    both = {"leaver": [leaver(site)], "newcomer": [newcomer(site)], "both": site.flats}[held]
    assert sorted(reasons) == sorted(flat.account_id for flat in both)
    assert all("high-low" in reason for reason in reasons.values())


async def test_what_comes_late_of_who_moved_out_is_not_awaited_by_who_moved_in(site: Site) -> None:
    """Both are billed for February. Then a reading of his days comes, and a finding about it that nobody decides on."""
    await used(site)
    await failed(site, JANUARY)
    assert await failed(site, FEBRUARY) == {}
    zone, meter = site.project.zone, leaver(site).meters["electricity"]
    at = day_start(MOVED, zone) - timedelta(days=1)
    await site.rows("UPDATE store.reading SET value = value + 4_000 WHERE meter_id = %s AND taken_at = %s RETURNING 1",
                    meter, at)  # fmt: skip
    await site.rows(
        """INSERT INTO store.dirty_window (meter_id, channel, project_id, from_at, until_at)
           VALUES (%s, 1, %s, %s, %s) RETURNING 1""",
        meter, site.project.id, at, at,
    )  # fmt: skip
    await derive(site.db)
    doubt = await found(site, "exchange", MOVED - timedelta(days=2), MOVED)
    accounts = [flat.account_id for flat in site.flats]
    async with site.db.transaction(SYSTEM) as conn:
        assert [one.to_be_rated for one in (await standings(conn, accounts)).values()] == [True, True]
    for _ in range(2):
        assert (await billing.rerate_late(site.db, SYSTEM, site.project.id)).waiting == 1
        async with site.db.transaction(SYSTEM) as conn:
            assert [one.to_be_rated for one in (await standings(conn, accounts)).values()] == [True, False]
    async with site.db.transaction(SYSTEM) as conn:
        await decide(conn, [doubt], "dismiss", "chief", "looked at")
    assert (await billing.rerate_late(site.db, SYSTEM, site.project.id)).waiting == 0
    assert await site.rows("SELECT FROM late_usage") == []
