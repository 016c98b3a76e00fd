"""Electricity by peak, flat and valley, from the intervals of the meter: seasons, holidays, ways to the tiers."""

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from cloud.billing import service as billing
from cloud.billing.explanation.models import ExplanationOut
from cloud.estate.calendar import CalendarDay, set_calendar_days
from cloud.kit.calendars import day_type
from cloud.kit.db import SYSTEM, Database
from cloud.kit.periods import day_start, month_of
from cloud.tariffs import service as tariffs
from cloud.tariffs.model.tariff import TariffContent
from tests.integration.billing.site import Site, failures_of, make_site
from tests.unit.cloud.billing.by_hand import add_up

JANUARY = date(2026, 1, 1)
HOLIDAYS = [
    CalendarDay(date(2026, 1, 1), "holiday", "New Year"),
    CalendarDay(date(2026, 1, 2), "holiday"),
    CalendarDay(date(2026, 1, 4), "work", "worked Sunday"),
]
PRICES = {"peak": ["0.9", "1.1"], "flat": ["0.6", "0.8"], "valley": ["0.3", "0.5"]}
WORK = {"peak": ["08:00-12:00"], "flat": ["12:00-24:00"], "valley": ["00:00-08:00"]}
REST: dict[str, list[str]] = {"peak": [], "flat": ["08:00-24:00"], "valley": ["00:00-08:00"]}


def tariff_of(allocation: dict[str, Any], **changes: Any) -> TariffContent:
    return TariffContent.model_validate(
        {
            "currency": "CNY",
            "service": "electricity",
            "unit": "kWh",
            "tiers": {"bounds": [100], "window": {"kind": "month"}},
            "periods": {
                "codes": ["peak", "flat", "valley"],
                "allocation": allocation,
                "schedule": [
                    {"days": ["work", "critical"], "hours": WORK},
                    {"days": ["rest", "holiday"], "hours": REST},
                ],
            },
            "components": [{"kind": "energy", "code": "energy", "prices": PRICES}],
        }
        | changes
    )


def used(slot: int) -> int:
    """Watt-hours of the n-th quarter of an hour of January."""
    return 20 + slot * 7 % 113


async def metered_site(db: Database, content: TariffContent, minutes: int = 15) -> Site:
    """One flat whose meter counted every quarter of an hour of January, billed by `content`."""
    site = await make_site(db, flats=1, services=("electricity",))
    meter_id, start = site.flats[0].meters["electricity"], day_start(JANUARY, site.project.zone)
    slots, each = 31 * 96, minutes // 15
    values = [sum(used(slot) for slot in range(day * 96)) for day in range(32)]
    await site.rows(
        """INSERT INTO store.reading (meter_id, channel, taken_at, value, project_id)
           SELECT %s, 1, taken_at, value, %s FROM unnest(%s::timestamptz[], %s::bigint[]) AS new (taken_at, value)
           RETURNING 1""",
        meter_id,
        site.project.id,
        [start + timedelta(days=day) for day in range(32)],
        values,
    )
    async with site.db.transaction(SYSTEM) as conn, conn.cursor() as cursor:
        await cursor.executemany(
            """INSERT INTO store.usage (meter_id, channel, start, length_s, quantity, project_id)
               VALUES (%s, 1, %s, %s, %s, %s)""",
            [
                (
                    meter_id,
                    start + timedelta(minutes=15 * slot),
                    minutes * 60,
                    sum(used(one) for one in range(slot, slot + each)),
                    site.project.id,
                )
                for slot in range(0, slots, each)
            ],
        )
        await set_calendar_days(conn, site.project.id, HOLIDAYS)
    async with site.db.transaction(SYSTEM) as conn:
        version = await tariffs.publish(conn, site.project.id, "tou", "TOU", "electricity", content, JANUARY)
        await conn.execute("UPDATE service_agreement SET tariff_id = %s", (version.tariff_id,))
    return replace(site, tariffs={"electricity": version.tariff_id})


def _code(slot: int) -> str:
    """The obvious way: which hours the n-th quarter of January belongs to."""
    day, quarter = JANUARY + timedelta(days=slot // 96), slot % 96
    kind = day_type(day, {one.day: one.kind for one in HOLIDAYS})
    if quarter < 32:
        return "valley"
    return "peak" if quarter < 48 and kind == "work" else "flat"


async def _bill(site: Site) -> billing.Bill:
    """The bill of January; what it says of itself adds up by hand."""
    run = await site.run(JANUARY)
    async with site.db.transaction(SYSTEM) as conn:
        failures = await failures_of(conn, run.id)
        assert failures == []
        bill = await billing.get_bill(conn, (await site.bills())[0].id)
        add_up(ExplanationOut.of(bill, await billing.explain(conn, bill)).model_dump(mode="json"))
    return bill


async def test_every_quarter_of_an_hour_is_in_its_period(worker_db: Database) -> None:
    site = await metered_site(worker_db, tariff_of({"method": "proportional"}))
    bill = await _bill(site)
    wanted: dict[str | None, int] = {}
    for slot in range(31 * 96):
        wanted[_code(slot)] = wanted.get(_code(slot), 0) + used(slot)
    found: dict[str | None, Decimal] = {}
    for line in bill.lines:
        if line.kind == "usage":
            assert line.quantity is not None
            found[line.time_period] = found.get(line.time_period, Decimal(0)) + line.quantity
    assert found == {code: Decimal(quantity).scaleb(-3) for code, quantity in wanted.items()}
    assert bill.charges[0].quantity == sum(wanted.values())
    assert await site.proof() == []


async def test_in_the_order_of_time_the_first_hundred_kilowatt_hours_are_tier_one(worker_db: Database) -> None:
    bill = await _bill(await metered_site(worker_db, tariff_of({"method": "chronological"})))
    position, wanted = 0, dict.fromkeys([(code, tier) for code in PRICES for tier in (1, 2)], 0)
    for slot in range(31 * 96):
        first = min(used(slot), max(100_000 - position, 0))
        wanted[_code(slot), 1] += first
        wanted[_code(slot), 2] += used(slot) - first
        position += used(slot)
    found = {
        (line.time_period, line.tier): line.quantity.scaleb(3)
        for line in bill.lines
        if line.kind == "usage" and line.quantity is not None
    }
    assert found == {key: quantity for key, quantity in wanted.items() if quantity}


async def test_the_three_ways_to_the_tiers_give_different_bills(worker_db: Database) -> None:
    site = await metered_site(worker_db, tariff_of({"method": "proportional"}))
    totals = set()
    ways: list[dict[str, Any]] = [
        {"method": "proportional"},
        {"method": "chronological"},
        {"method": "priority", "order": [*PRICES]},
    ]
    for number, allocation in enumerate(ways):
        prices = PRICES | {"peak": ["0.9", "2.1"]}
        content = tariff_of(allocation, components=[{"kind": "energy", "code": "energy", "prices": prices}])
        async with site.db.transaction(SYSTEM) as conn:
            version = await tariffs.publish(conn, site.project.id, f"t{number}", "T", "electricity", content, JANUARY)
            await conn.execute("UPDATE service_agreement SET tariff_id = %s", (version.tariff_id,))
            job_id = await billing.start_run(conn, site.project.id, month_of(JANUARY))
            run = await billing.run_of_job(conn, job_id)
        done = await billing.execute_run(site.db, SYSTEM, run.id)
        totals.add(done.total)
        async with site.db.transaction(SYSTEM) as conn:
            await billing.cancel_run(conn, run.id)
    assert len(totals) == 3


async def test_hourly_intervals_do_when_the_hours_are_whole(worker_db: Database) -> None:
    bill = await _bill(await metered_site(worker_db, tariff_of({"method": "proportional"}), minutes=60))
    assert {line.time_period for line in bill.lines if line.kind == "usage"} == {"peak", "flat", "valley"}


async def test_daily_usage_cannot_be_billed_by_the_hour(worker_db: Database) -> None:
    site = await metered_site(worker_db, tariff_of({"method": "proportional"}), minutes=24 * 60)
    run = await site.run(JANUARY)
    async with site.db.transaction(SYSTEM) as conn:
        (failure,) = await failures_of(conn, run.id)
    assert (run.billed, failure.code) == (0, "intervals-too-long")


INDUSTRIAL: list[dict[str, Any]] = [
    {"kind": "energy", "code": "energy", "prices": {"all": ["0.6"]}},
    {"kind": "demand", "code": "load", "price": "40.00"},
    {"kind": "capacity", "code": "transformer", "price": "25.00"},
    {
        "kind": "power_factor",
        "code": "pf",
        "of": ["energy", "load"],
        "steps": [{"at_least": "0.90", "percent": "-0.75"}, {"at_least": "0", "percent": "5"}],
    },
    {"kind": "tax", "code": "vat", "percent": "13"},
]


async def test_load_capacity_and_power_factor_of_an_industrial_user(worker_db: Database) -> None:
    """The highest quarter of an hour makes the load; 0.8 of active to apparent energy costs 5 percent."""
    content = tariff_of({}, periods=None, tiers={}, components=INDUSTRIAL)
    site = await metered_site(worker_db, content)
    total = sum(used(slot) for slot in range(31 * 96))
    await site.rows("UPDATE service_agreement SET capacity_va = 30000 RETURNING 1")
    await site.rows(
        """INSERT INTO store.usage (meter_id, channel, start, length_s, quantity, project_id)
           SELECT %s, 8, %s, 86400, %s, %s RETURNING 1""",
        site.flats[0].meters["electricity"],
        day_start(JANUARY, site.project.zone),
        total * 3 // 4,
        site.project.id,
    )
    bill = await _bill(site)
    lines = {line.component: line for line in bill.lines}
    highest = max(used(slot) for slot in range(31 * 96)) * 4
    assert lines["load"].quantity == Decimal(highest).scaleb(-3)
    assert (lines["transformer"].quantity, lines["transformer"].amount) == (Decimal(30), Decimal("750.00"))
    base = lines["energy"].amount + lines["load"].amount
    assert (lines["pf"].quantity, lines["pf"].price) == (base, Decimal("0.05"))
    before_tax = sum((line.amount for line in bill.lines if line.kind != "tax"), Decimal(0))
    assert lines["vat"].quantity == before_tax
    assert await site.proof() == []


@pytest.mark.parametrize(
    ("components", "code"),
    [(INDUSTRIAL[:3], "missing-capacity"), ([INDUSTRIAL[0], INDUSTRIAL[3] | {"of": []}], "missing-reactive")],
)
async def test_what_a_tariff_goes_by_must_be_known(
    worker_db: Database, components: list[dict[str, Any]], code: str
) -> None:
    site = await metered_site(worker_db, tariff_of({}, periods=None, tiers={}, components=components))
    run = await site.run(JANUARY)
    async with site.db.transaction(SYSTEM) as conn:
        (failure,) = await failures_of(conn, run.id)
    assert (run.billed, failure.code) == (0, code)


async def test_a_load_needs_short_intervals(worker_db: Database) -> None:
    site = await metered_site(
        worker_db, tariff_of({}, periods=None, tiers={}, components=INDUSTRIAL[:2]), minutes=24 * 60
    )
    run = await site.run(JANUARY)
    async with site.db.transaction(SYSTEM) as conn:
        (failure,) = await failures_of(conn, run.id)
    assert failure.code == "missing-load"


async def test_accounts_without_tiers_pay_the_single_price(worker_db: Database) -> None:
    part = {"kind": "energy", "code": "energy", "prices": {"all": ["0.5", "0.9"]}, "single": {"all": "0.55"}}
    site = await metered_site(worker_db, tariff_of({}, periods=None, components=[part]))
    await site.rows("UPDATE service_agreement SET single = true RETURNING 1")
    (line,) = (await _bill(site)).lines
    assert (line.tier, line.price) == (None, Decimal("0.55"))


async def test_a_bill_is_cut_where_the_season_changes_and_the_tiers_go_on(worker_db: Database) -> None:
    """Cheap until 15 January: what the first part used counts for the tiers of the second."""
    seasons = [
        {"code": "first", "first": "01-01", "last": "01-15"},
        {"code": "other", "first": "01-16", "last": "12-31"},
    ]
    rows = {"first": {"all": ["0.1", "0.2"]}, "other": {"all": ["1", "2"]}}
    component = {"kind": "energy", "code": "energy", "by_season": rows}
    content = tariff_of({}, periods=None, seasons=seasons, components=[component])
    bill = await _bill(await metered_site(worker_db, content))
    first = sum(used(slot) for slot in range(15 * 96))
    second = sum(used(slot) for slot in range(15 * 96, 31 * 96))
    assert first > 100_000
    assert [(charge.quantity, line.season, line.tier) for charge in bill.charges for line in charge.lines] == [
        (first, "first", 1),
        (first, "first", 2),
        (second, "other", 2),
    ]
