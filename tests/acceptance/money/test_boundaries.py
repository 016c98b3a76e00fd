"""Boundaries of bills: "Boundaries are in the project's time zone, never UTC. Beware: year roll-over inside an
interval, move-in/out in mid-window, person-count change, multiplier change without a boundary reading, sharing out
before sub-meter estimates settle, a vacancy discount without filed dates." (The last one is with the discounts.)
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from cloud.billing import service as billing
from cloud.kit.db import SYSTEM, Database
from cloud.kit.periods import Period, day_start, next_month
from cloud.tariffs import service as tariffs
from cloud.tariffs.model.tariff import TariffContent
from tests.acceptance.money.office import Document, Office
from tests.integration.app import People
from tests.integration.billing.site import SINCE, Flat, Site, failures_of, make_site
from tests.integration.metering.house import make_house, use, use_month
from tests.unit.cloud.billing.by_hand import add_up

JANUARY, FEBRUARY = date(2026, 1, 1), date(2026, 2, 1)
DECEMBER, NEW_YEAR = date(2026, 12, 1), date(2027, 1, 1)
HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Meter:
    """The electricity meter of a flat, whose register is told in Wh."""

    site: Site
    flat: Flat

    async def shows(self, *readings: tuple[datetime, int]) -> None:
        """The register stood there at these instants."""
        await self._many(
            """INSERT INTO store.reading (meter_id, channel, taken_at, value, project_id)
               SELECT %s, 1, at, wh, %s FROM unnest(%s::timestamptz[], %s::bigint[]) AS new (at, wh) RETURNING 1""",
            readings,
        )

    async def counted(self, start: datetime, length: timedelta, wh: Sequence[int]) -> None:
        """Usage of intervals that follow each other."""
        rows = [(start + n * length, quantity) for n, quantity in enumerate(wh)]
        await self.site.rows(
            """INSERT INTO store.usage (meter_id, channel, start, length_s, quantity, project_id)
               SELECT %s, 1, at, %s, wh, %s FROM unnest(%s::timestamptz[], %s::bigint[]) AS new (at, wh) RETURNING 1""",
            self.flat.meters["electricity"], int(length.total_seconds()), self.site.project.id,
            [at for at, _ in rows], [quantity for _, quantity in rows],
        )  # fmt: skip

    async def _many(self, query: str, rows: Sequence[tuple[datetime, int]]) -> None:
        async with self.site.db.transaction(SYSTEM) as conn:
            values = [at for at, _ in rows], [wh for _, wh in rows]
            await conn.execute(query.encode(), (self.flat.meters["electricity"], self.site.project.id, *values))

    def midnight(self, day: date) -> datetime:
        """The instant at which the local day begins."""
        return day_start(day, self.site.project.zone)


@pytest.fixture
async def site(worker_db: Database) -> Site:
    """Two flats that pay for electricity by the tiers of a year; nothing is read yet."""
    return await (await make_site(worker_db, services=("electricity",))).may_leap()


@pytest.fixture
def meter(site: Site) -> Meter:
    """The meter of the first flat."""
    return Meter(site, site.flats[0])


async def _bill_of(office: Office, flat: Flat, nth: int = -1) -> Document:
    """The whole bill; what it says of itself adds up by hand."""
    bill = (await office.bills(flat))[nth]
    explanation = await office.get(f"bills/{bill['id']}/explanation")
    add_up(explanation)
    return explanation


def _used(explanation: Document) -> list[tuple[int | None, Decimal]]:
    (charge,) = explanation["bill"]["charges"]
    return [
        (line["tier"], Decimal(line["quantity"]["quantity"])) for line in charge["lines"] if line["kind"] == "usage"
    ]


async def _reasons(site: Site, period: Period) -> list[tuple[str, str]]:
    """Why a run over the period does not bill the accounts."""
    async with site.db.transaction(SYSTEM) as conn:
        job_id = await billing.start_run(conn, site.project.id, period)
        run = await billing.run_of_job(conn, job_id)
    await billing.execute_run(site.db, SYSTEM, run.id)
    async with site.db.transaction(SYSTEM) as conn:
        found = [(one.code, one.detail) for one in await failures_of(conn, run.id)]
        await billing.cancel_run(conn, run.id)
    return found


DAY_AND_NIGHT = TariffContent.model_validate({
    "currency": "CNY", "service": "electricity", "unit": "kWh",
    "periods": {
        "codes": ["day", "night"], "allocation": {"method": "proportional"},
        "schedule": [{"hours": {"day": ["06:00-22:00"], "night": ["00:00-06:00", "22:00-24:00"]}}],
    },
    "components": [{"kind": "energy", "code": "energy", "prices": {"day": ["0.6"], "night": ["0.3"]}}],
})  # fmt: skip


@pytest.mark.parametrize(
    ("zone", "month", "hours"),
    [
        ("Asia/Shanghai", JANUARY, 744),
        ("Asia/Urumqi", JANUARY, 744),
        ("Europe/Berlin", date(2026, 3, 1), 743),
        ("America/New_York", date(2026, 11, 1), 721),
        ("Asia/Kathmandu", JANUARY, 744),
    ],
)
async def test_months_days_and_hours_are_those_of_the_projects_clock(
    office: Office, worker_db: Database, zone: str, month: date, hours: int
) -> None:
    """Also where clocks jump, and where no local hour is an hour of UTC."""
    site = await make_site(worker_db, 1, services=(), code="elsewhere", zone=zone)
    office, meter = Office(site, office.client, office.auth), Meter(site, site.flats[0])
    async with worker_db.transaction(SYSTEM) as conn:
        sold = await tariffs.publish(conn, site.project.id, "e", "E", "electricity", DAY_AND_NIGHT, SINCE)
        await billing.create_agreement(
            conn, site.project.id, meter.flat.account_id, "electricity", sold.tariff_id,
            meter.flat.meters["electricity"], None, SINCE,
        )  # fmt: skip
    # A day more on both sides: what belongs to other months by the local clock, and would not by UTC.
    first = meter.midnight(month) - 24 * HOUR
    used = [1_000 + n for n in range(hours + 48)]
    await meter.counted(first, HOUR, used)
    await meter.shows((meter.midnight(month), sum(used[:24])), (meter.midnight(next_month(month)), sum(used[:-24])))
    wanted: Counter[str] = Counter()
    for n, wh in enumerate(used):
        local = (first + n * HOUR).astimezone(ZoneInfo(zone))
        if (local.year, local.month) == (month.year, month.month):
            wanted["day" if 6 <= local.hour < 22 else "night"] += wh
    await site.run(month)
    explanation = await _bill_of(office, meter.flat)
    (charge,) = explanation["bill"]["charges"]
    assert charge["period"] == {"start": f"{month}", "end": f"{next_month(month)}"}
    lines = [line for line in charge["lines"] if line["kind"] == "usage"]
    assert {line["time_period"]: Decimal(line["quantity"]["quantity"]) * 1000 for line in lines} == wanted


async def test_a_bill_is_dated_by_the_projects_clock(office: Office, meter: Meter) -> None:
    await meter.site.read(meter.flat, "electricity", [100_000])
    # 23:30 of 31 January in London is the first of February in Shanghai.
    await meter.site.run(JANUARY, datetime(2026, 1, 31, 23, 30, tzinfo=UTC))
    (bill,) = await office.bills()
    assert (bill["issued_on"], bill["due_on"]) == ("2026-02-01", "2026-02-16")


async def test_a_year_that_ends_inside_an_interval(office: Office, meter: Meter) -> None:
    """Nobody knows what of two hours belongs to which year, until somebody read the register at midnight."""
    first, last = meter.midnight(DECEMBER), meter.midnight(FEBRUARY.replace(year=2027))
    before, after, midnight = (meter.midnight(NEW_YEAR) + n * HOUR for n in (-1, 1, 0))
    await meter.shows((first, 0), (before, 3_000_000), (after, 3_004_000), (last, 3_104_000))
    await meter.counted(first, before - first, [3_000_000])
    await meter.counted(before, 2 * HOUR, [4_000])
    await meter.counted(after, last - after, [100_000])
    await meter.site.rows("DELETE FROM service_agreement WHERE account_id <> %s RETURNING 1", meter.flat.account_id)
    for period in (Period(DECEMBER, NEW_YEAR), Period(NEW_YEAR, date(2027, 2, 1)), Period(DECEMBER, date(2027, 2, 1))):
        ((code, detail),) = await _reasons(meter.site, period)
        assert code == "missing-reading"
        assert "2027-01-01" in detail, "it names the day of which nothing is known"
    assert await office.bills() == []
    await meter.site.rows("DELETE FROM store.usage WHERE start = %s RETURNING 1", before)
    await meter.counted(before, HOUR, [2_500, 1_500])
    await meter.shows((midnight, 3_002_500))
    await office.bill(DECEMBER)
    await office.bill(NEW_YEAR)
    old, new = [await _bill_of(office, meter.flat, nth) for nth in (0, 1)]
    assert _used(old) == [(1, Decimal(2880)), (2, Decimal("122.5"))]
    assert _used(new) == [(1, Decimal("101.5"))], "the tiers of the new year are empty"


async def test_who_moves_in_in_mid_window_begins_with_empty_tiers(office: Office, meter: Meter) -> None:
    site, (leaver, newcomer) = office.site, office.site.flats
    moved = date(2026, 1, 21)
    start, at, end = (meter.midnight(day) for day in (JANUARY, moved, FEBRUARY))
    await meter.shows((start, 0), (at, 2_950_000), (end, 3_150_000))
    await meter.counted(start, at - start, [2_950_000])
    await meter.counted(at, end - at, [200_000])
    (agreement,) = [
        one for one in await office.items("service-agreements") if one["account_id"] == leaver.account_id
    ]  # fmt: skip
    await office.post(f"service-agreements/{agreement['id']}/endings", day=f"{moved}")
    await office.post(
        "service-agreements", project_id=site.project.id, account_id=newcomer.account_id, service="electricity",
        tariff_id=site.tariffs["electricity"], meter_id=leaver.meters["electricity"], valid_from=f"{moved}",
    )  # fmt: skip
    await site.rows(
        "DELETE FROM service_agreement WHERE meter_id = %s RETURNING 1", newcomer.meters["electricity"]
    )  # fmt: skip
    run = await office.bill(JANUARY)
    assert (run["billed"], run["failures"]) == (2, [])
    old, new = await _bill_of(office, leaver), await _bill_of(office, newcomer)
    assert _used(old) == [(1, Decimal(2880)), (2, Decimal(70))]
    assert _used(new) == [(1, Decimal(200))]
    closing, opening = old["bill"]["charges"][0]["closing"], new["bill"]["charges"][0]["opening"]
    assert closing == opening, "one reading ends the one bill and begins the other"


async def test_a_household_that_grows_gets_wider_tiers_from_the_month_after(office: Office, meter: Meter) -> None:
    """Six persons or more: 100 kWh more a month in tiers 1 and 2, which end at 2880 and 4800 kWh a year."""
    site, (grows, stays) = office.site, office.site.flats
    for flat in (grows, stays):
        await site.read(flat, "electricity", [300_000, 3_700_000])
    await office.post(
        "households", project_id=site.project.id, unit_id=grows.unit_id, persons=6, valid_from="2026-01-15"
    )
    for month in (JANUARY, FEBRUARY):
        await office.bill(month)

    async def bounds(flat: Flat, nth: int) -> list[str | None]:
        told = await _bill_of(office, flat, nth)
        return [step["upper"] for step in told["charges"][0]["tiers"]["steps"]]

    assert await bounds(grows, 0) == ["2880", "4800", None]
    assert await bounds(grows, 1) == ["3980", "5900", None], "eleven of twelve months"
    assert _used(await _bill_of(office, grows, 1)) == [(1, Decimal(3680)), (2, Decimal(20))]
    assert await bounds(stays, 1) == ["2880", "4800", None]
    assert _used(await _bill_of(office, stays, 1)) == [(1, Decimal(2580)), (2, Decimal(1120))]


async def test_another_multiplier_needs_the_reading_at_which_it_begins(office: Office, meter: Meter) -> None:
    path, at = f"meters/{meter.flat.meters['electricity']}/exchanges", meter.midnight(date(2026, 1, 16)).isoformat()
    assert await office.refused(path, at=at, reason="multiplier", multiplier="60") == (422, "missing-final")
    # Nor is it billed where it got into the database without one: 100 kWh at 1, 100 kWh at 60, or anything between.
    start, end = meter.midnight(JANUARY), meter.midnight(FEBRUARY)
    await meter.shows((start, 0), (end, 200_000))
    await meter.counted(start, end - start, [200_000])
    await meter.site.rows(
        """WITH old AS (UPDATE meter_register SET valid = tstzrange(lower(valid), %s) WHERE meter_id = %s RETURNING *)
           INSERT INTO meter_register (project_id, meter_id, valid, reason, multiplier, modulus, resolution,
                                       max_per_hour)
           SELECT project_id, meter_id, tstzrange(%s, NULL), 'multiplier', 60, modulus, resolution, max_per_hour
           FROM old RETURNING 1""",
        at, meter.flat.meters["electricity"], at,
    )  # fmt: skip
    await meter.site.rows("DELETE FROM service_agreement WHERE account_id <> %s RETURNING 1", meter.flat.account_id)
    ((code, detail),) = await _reasons(meter.site, Period(JANUARY, FEBRUARY))
    assert code == "usage-not-settled"
    assert "E0" in detail, "it names the meter"
    assert await office.bills() == []


async def test_another_multiplier_with_its_reading_counts_each_part_by_its_own(office: Office, meter: Meter) -> None:
    path, middle = f"meters/{meter.flat.meters['electricity']}", meter.midnight(date(2026, 1, 16))
    for day, kwh in ((JANUARY, "0"), (FEBRUARY, "110")):
        await office.post(f"{path}/readings", value=kwh, taken_at=meter.midnight(day).isoformat())
    await office.post(f"{path}/exchanges", at=middle.isoformat(), reason="multiplier", multiplier="60", final="100")
    await office.nightly("metering.derive-usage")
    await office.preview(JANUARY)
    explanation = await _bill_of(office, meter.flat)
    assert _used(explanation) == [(1, Decimal(100 + 10 * 60))]


async def test_nothing_is_shared_out_before_the_sub_meters_have_settled(
    office: Office, people: People, worker_db: Database
) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        house = await make_house(conn, await people.project("house"))
        for meter_id, used in zip([house.master, *house.subs[:2]], (1000, 300, 200), strict=True):
            await use_month(conn, house, meter_id, used)
        # The last two days of the third are missing.
        await use(conn, house, house.subs[2], day_start(date(2026, 3, 1), house.project.zone), [400] * 696)
    rule = await office.post(
        "apportionment-rules", project_id=house.project.id, name="Loss", medium="electricity", shared="loss",
        basis="area", meter_id=house.master, participants="building", building_id=house.building_id,
        valid_from="2026-01-01",
    )  # fmt: skip
    march = {"from": "2026-03-01", "to": "2026-04-01"}
    assert await office.refused(f"apportionment-rules/{rule['id']}/runs", **march) == (409, "not-settled")
    assert await office.items(f"apportionment-rules/{rule['id']}/runs") == []
    # Whoever cannot wait says so, and it is written down.
    run = await office.post(f"apportionment-rules/{rule['id']}/runs", **march, estimate=True)
    assert (run["estimated"], Decimal(run["amount"]["quantity"])) == (True, Decimal("74.4"))
