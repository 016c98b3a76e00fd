"""Promise 5: "A late reading re-rates its original period **and every later bill of the same tier window**; re-rating
with unchanged data yields no line."
"""

from datetime import date
from decimal import Decimal
from itertools import pairwise

import pytest

from cloud.kit.db import SYSTEM, Database
from cloud.kit.periods import day_start, local_day
from cloud.metering.edits.service import NewEdit, add_edit
from tests.acceptance.money.office import Document, Office
from tests.integration.billing.site import Site, make_site

MONTHS = [date(2026, n, 1) for n in range(1, 5)]
USAGE = [Decimal(2_800), Decimal(100), Decimal(1_900), Decimal(300)]
"""kWh of January to April. Tiers of a year end at 2880 and 4800 kWh, inclusive."""
FIRST_DAYS = [date(2026, n, 1) for n in range(1, 6)]


@pytest.fixture
async def site(worker_db: Database) -> Site:
    """One flat that pays for electricity; nothing is read yet."""
    return await (await make_site(worker_db, flats=1, services=("electricity",))).may_leap()


async def _derive(office: Office) -> None:
    """Usage follows from readings: what the worker does every minute."""
    await office.nightly("metering.derive-usage")


async def _read_and_bill(office: Office) -> None:
    """The register is read on the first of every month, then the month is billed."""
    flat, value = office.site.flats[0], Decimal(5_000)
    for day, used in zip(FIRST_DAYS, [Decimal(0), *USAGE], strict=True):
        value += used
        at = day_start(day, office.site.project.zone).isoformat()
        await office.post(f"meters/{flat.meters['electricity']}/readings", value=f"{value}", taken_at=at)
    await _derive(office)
    for month in MONTHS:
        run = await office.bill(month)
        assert (run["billed"], run["failures"]) == (1, []), month


async def _was_misread(office: Office, day: date, more: int) -> None:
    """The register stood `more` kWh higher on this day than was billed; somebody says so with a reason."""
    site, meter_id = office.site, office.site.flats[0].meters["electricity"]
    at = day_start(day, site.project.zone)
    (reading,) = await site.rows("SELECT value FROM store.reading WHERE meter_id = %s AND taken_at = %s", meter_id, at)
    edit = NewEdit(meter_id, 1, at, "set", "the photo says otherwise", "user:clerk", reading["value"] + more * 1000)
    async with site.db.transaction(SYSTEM) as conn:
        await add_edit(conn, edit)


async def _adjustments(office: Office) -> dict[date, Document]:
    """What the night found, by the month that was billed wrongly."""
    await office.nightly("billing.re-rate")
    found = [one for one in await office.items("adjustments") if Decimal(one["difference"]["amount"])]
    numbers = {bill["id"]: date.fromisoformat(bill["period"]["start"]) for bill in await office.bills()}
    return {numbers[one["original_bill_id"]]: one for one in found}


def _year(kwh: Decimal) -> Decimal:
    """What so many kWh of a year cost by the published tiers, the obvious way."""
    first, second = min(kwh, Decimal(2880)), max(min(kwh, Decimal(4800)) - 2880, Decimal(0))
    exact = first * Decimal("0.4883") + second * Decimal("0.5383") + max(kwh - 4800, Decimal(0)) * Decimal("0.7883")
    return exact.quantize(Decimal("0.01"), "ROUND_HALF_UP")


def _months(usage: list[Decimal]) -> list[Decimal]:
    """What each month costs: how much its usage adds to the year."""
    sums = [sum(usage[:n], Decimal(0)) for n in range(len(usage) + 1)]
    return [_year(after) - _year(before) for before, after in pairwise(sums)]


async def test_a_late_reading_re_rates_its_period_and_every_later_bill_of_the_tier_window(office: Office) -> None:
    await _read_and_bill(office)
    billed = await office.bills()
    assert [Decimal(bill["total"]["amount"]) for bill in billed] == _months(USAGE)
    # January used 90 kWh more than was billed and April 90 less; February and March lie between, moved up in the tiers.
    for day in FIRST_DAYS[1:4]:
        await _was_misread(office, day, 90)
    await _derive(office)
    found = await _adjustments(office)
    right = _months([USAGE[0] + 90, *USAGE[1:3], USAGE[3] - 90])
    wanted = {
        month: now - was for month, was, now in zip(MONTHS, _months(USAGE), right, strict=True) if now != was
    }  # fmt: skip
    assert {month: Decimal(one["difference"]["amount"]) for month, one in found.items()} == wanted
    assert set(wanted) == set(MONTHS), "all four bills of the window are concerned"
    february = found[MONTHS[1]]
    assert sum(Decimal(line["quantity"]["quantity"]) for line in february["differences"]) == 0
    assert [(line["tier"], line["quantity"]["quantity"]) for line in february["differences"]] == [(1, "-80"), (2, "80")]
    assert await office.bills() == billed, "no issued bill has changed"


async def test_bills_and_their_adjustments_come_to_what_the_right_readings_give(office: Office) -> None:
    await _read_and_bill(office)
    for day in FIRST_DAYS[1:]:
        await _was_misread(office, day, 90)
    await _derive(office)
    await office.nightly("billing.re-rate")
    # The next bill takes them up: 400 kWh of May.
    flat, site = office.site.flats[0], office.site
    value, at = Decimal(5_000) + sum(USAGE) + 90 + 400, day_start(date(2026, 6, 1), site.project.zone)
    await office.post(f"meters/{flat.meters['electricity']}/readings", value=f"{value}", taken_at=at.isoformat())
    await _derive(office)
    await office.bill(date(2026, 5, 1))
    charged = sum(Decimal(bill["total"]["amount"]) for bill in await office.bills())
    assert charged == _year(sum(USAGE, Decimal(0)) + 90 + 400)
    assert await site.proof() == []


async def test_another_tier_window_is_not_touched(office: Office) -> None:
    """The tiers of 2026 say nothing about 2027."""
    await _read_and_bill(office)
    site, meter_id = office.site, office.site.flats[0].meters["electricity"]
    value = Decimal(5_000) + sum(USAGE)
    for day, used in ((date(2027, 1, 1), 1_000), (date(2027, 2, 1), 50)):
        value += used
        await site.rows(
            """INSERT INTO store.reading (meter_id, channel, taken_at, value, project_id) VALUES (%s, 1, %s, %s, %s)
               RETURNING 1""",
            meter_id, day_start(day, site.project.zone), int(value * 1000), site.project.id,
        )  # fmt: skip
    zone = site.project.zone
    start, end = day_start(date(2027, 1, 1), zone), day_start(date(2027, 2, 1), zone)
    assert local_day(start, zone) == date(2027, 1, 1)
    await site.rows(
        """INSERT INTO store.usage (meter_id, channel, start, length_s, quantity, project_id)
           VALUES (%s, 1, %s, %s, 50000, %s) RETURNING 1""",
        meter_id, start, int((end - start).total_seconds()), site.project.id,
    )  # fmt: skip
    await site.run(date(2027, 1, 1))
    for day in FIRST_DAYS[1:4]:
        await _was_misread(office, day, 90)
    await _derive(office)
    assert set(await _adjustments(office)) == set(MONTHS)
    assert len(await office.bills()) == 5


async def test_re_rating_with_unchanged_data_yields_no_line(office: Office) -> None:
    await _read_and_bill(office)
    account_id = office.site.flats[0].account_id
    # A reading that says what was known, a night, a re-rating on demand: nothing of it is a correction.
    await _was_misread(office, FIRST_DAYS[1], 0)
    await _derive(office)
    assert await _adjustments(office) == {}
    asked = await office.post(f"accounts/{account_id}/re-ratings", since="2026-01-01")
    await office.work(int(asked["job"].rpartition("/")[2]))
    assert await office.items("adjustments") == []
    # Nor is a second night after a real one.
    await _was_misread(office, FIRST_DAYS[1], 90)
    await _derive(office)
    first = await _adjustments(office)
    assert first
    assert await _adjustments(office) == first
    run = await office.preview(MONTHS[3])
    (draft,) = await office.items("bills", run_id=run["id"])
    lines = (await office.whole(draft))["corrections"]
    assert all(Decimal(line["amount"]["amount"]) for line in lines)
