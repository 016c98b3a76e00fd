"""Electricity by the meter's own registers of price periods: the same bill as by intervals."""

import random
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from cloud.billing import service as billing
from cloud.billing.corrections.late_usage import Outcome, rerate_late
from cloud.billing.records import Bill
from cloud.kit.db import SYSTEM, Database
from cloud.kit.paging import PageRequest
from cloud.kit.periods import day_start
from tests.integration.billing.registers import (
    CHANNELS,
    FEBRUARY,
    HOURS,
    JANUARY,
    MARCH,
    USED,
    after,
    bill_of,
    notes_of,
    pays_by,
    quantities,
    reads,
    refused,
    site_with,
    tariff,
)


async def test_a_bill_by_registers_cites_them_and_explains_itself(worker_db: Database) -> None:
    site = await site_with(worker_db, tariff())
    await reads(site, after(USED))
    bill = await bill_of(site)
    assert quantities(bill) == USED
    (kept,) = bill.inputs["charges"]
    assert [(one["name"], one["channel"], one["opening"]["value"], one["advance"]) for one in kept["registers"]] == [
        ("peak", 3, 3_000_000, 61_230), ("flat", 4, 4_000_000, 102_540), ("valley", 5, 5_000_000, 44_810)
    ]  # fmt: skip
    assert kept["registers"][0]["closing"]["taken_at"].startswith("2026-01-31T16:00:00")
    assert "remainder" not in kept
    text = await notes_of(site, bill)
    assert "Register peak (T2): 3,061.23 − 3,000 = 61.23 kWh" in text
    assert "Register valley (T4): 5,044.81 − 5,000 = 44.81 kWh" in text
    assert await site.proof() == []


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("allocation", [{"method": "proportional"}, {"method": "priority", "order": [*HOURS]}])
async def test_registers_and_intervals_of_the_same_usage_give_the_same_bill(
    worker_db: Database, allocation: dict[str, Any], seed: int
) -> None:
    chance = random.Random(seed)
    hours = [chance.randrange(0, 900) for _ in range(31 * 24)]
    used = dict.fromkeys(HOURS, 0)
    for hour, quantity in enumerate(hours):
        used["valley" if hour % 24 < 8 else "peak" if hour % 24 < 12 else "flat"] += quantity
    content = tariff(schedule=[{"hours": HOURS}], allocation=allocation)
    site = await site_with(worker_db, content)
    await reads(site, after(used))
    await site.rows("DELETE FROM store.usage RETURNING 1")
    start = day_start(JANUARY, site.project.zone)
    await site.rows(
        """INSERT INTO store.usage (meter_id, channel, start, length_s, quantity, project_id)
           SELECT %s, 1, start, 3600, quantity, %s FROM unnest(%s::timestamptz[], %s::bigint[]) AS u (start, quantity)
           RETURNING 1""",
        site.flats[0].meters["electricity"],
        site.project.id,
        [start + timedelta(hours=hour) for hour in range(len(hours))],
        hours,
    )
    by_intervals = await bill_of(site, issue_at_once=False)
    assert "registers" not in by_intervals.inputs["charges"][0]
    async with site.db.transaction(SYSTEM) as conn:
        await billing.cancel_run(conn, (await billing.list_runs(conn, PageRequest(1))).items[0].id)
    await site.rows("UPDATE service_agreement SET time_of_use = 'registers' RETURNING 1")
    by_registers = await bill_of(site)
    assert "registers" in by_registers.inputs["charges"][0]
    assert by_registers.summary.total == by_intervals.summary.total

    def told(bill: Bill) -> list[tuple[Any, ...]]:
        return [(one.kind, one.tier, one.time_period, one.quantity, one.price, one.amount) for one in bill.lines]

    assert told(by_registers) == told(by_intervals)


async def test_what_only_the_total_counted_is_charged_in_the_largest_period(worker_db: Database) -> None:
    site = await site_with(worker_db, tariff())
    await reads(site, after(USED, sum(USED.values()) + 2))
    bill = await bill_of(site)
    assert quantities(bill) == USED | {"flat": USED["flat"] + 2}
    assert bill.inputs["charges"][0]["remainder"] == {"quantity": 2, "time_period": "flat"}
    text = await notes_of(site, bill)
    assert "0.002 kWh that only the total register counted are charged as Mid-peak" in text


async def test_the_tolerance_follows_multiplier_and_resolution(worker_db: Database) -> None:
    site = await site_with(worker_db, tariff())
    await site.rows("UPDATE meter_register SET multiplier = 40, resolution = 10 RETURNING 1")
    values = after(USED, sum(USED.values()) + 20)
    await reads(site, values)
    await site.rows("UPDATE store.usage SET quantity = quantity * 40 RETURNING 1")
    bill = await bill_of(site)
    assert quantities(bill) == {code: 40 * used for code, used in USED.items()} | {"flat": 40 * (USED["flat"] + 20)}
    (kept,) = bill.inputs["charges"]
    assert (Decimal(kept["multiplier"]), kept["remainder"]["quantity"]) == (Decimal(40), 800)


async def test_sharp_hours_that_the_peak_register_counts_too_are_taken_off_it(worker_db: Database) -> None:
    registers = {"sharp": ["sharp"], "peak": ["peak", "-sharp"], "flat": ["flat"], "valley": ["valley"]}
    site = await site_with(worker_db, tariff(("sharp", *HOURS), registers={"periods": registers}))
    counted = {"sharp": 10_000, **USED}
    await reads(site, after(counted, sum(USED.values())))
    bill = await bill_of(site)
    assert quantities(bill) == {**USED, "sharp": 10_000, "peak": USED["peak"] - 10_000}
    text = await notes_of(site, bill)
    assert "Peak is Register peak (T2) − Register sharp peak (T1)" in text


async def test_sharp_hours_that_the_total_leaves_out_are_added_to_it(worker_db: Database) -> None:
    registers = {code: [code] for code in ("sharp", *HOURS)}
    content = tariff(("sharp", *HOURS), registers={"periods": registers, "beside_total": ["sharp"]})
    site = await site_with(worker_db, content)
    await reads(site, after({"sharp": 10_000, **USED}, sum(USED.values())))
    bill = await bill_of(site)
    assert quantities(bill) == {"sharp": 10_000, **USED}
    assert bill.charges[0].quantity == sum(USED.values()) + 10_000
    text = await notes_of(site, bill)
    assert "With 10 kWh that the total register leaves out: 218.58 kWh" in text


async def test_a_tariff_of_two_periods_adds_the_registers_of_four(worker_db: Database) -> None:
    site = await site_with(worker_db, tariff(("peak", "valley")))
    await reads(site, after({"sharp": 10_000, **USED}))
    assert (await refused(site))[0] == "register-sum"
    await site.rows(
        """UPDATE service_agreement SET registers =
           '{"periods": {"peak": ["sharp", "peak", "flat"], "valley": ["valley"]}}' RETURNING 1"""
    )
    assert quantities(await bill_of(site)) == {
        "peak": 10_000 + USED["peak"] + USED["flat"],
        "valley": USED["valley"],
    }


async def test_a_period_may_be_what_the_other_registers_leave_of_the_total(worker_db: Database) -> None:
    registers = {"peak": ["peak"], "flat": ["total", "-peak", "-valley"], "valley": ["valley"]}
    site = await site_with(worker_db, tariff(registers={"periods": registers}))
    values = after(USED)
    for day in values:
        del values[day]["flat"]
    await reads(site, values)
    assert quantities(await bill_of(site)) == USED


async def test_a_new_tariff_version_divides_registers_only_where_they_were_read(worker_db: Database) -> None:
    middle = date(2026, 1, 16)
    site = await site_with(worker_db, tariff())
    await pays_by(site, tariff(schedule=[{"hours": HOURS}], source="registers"), since=middle)
    values = after(USED)
    half = {name: values[JANUARY][name] + (values[FEBRUARY][name] - values[JANUARY][name]) // 2 for name in USED}
    total = values[JANUARY]["total"] + sum(half[name] - values[JANUARY][name] for name in USED)
    await reads(site, {JANUARY: values[JANUARY], middle: {"total": total}, FEBRUARY: values[FEBRUARY]})
    code, detail = await refused(site)
    assert code == "missing-register-reading"
    assert "2026-01-16, where the tariff, its season or its tier window changes" in detail
    await site.rows(
        """INSERT INTO store.reading (meter_id, channel, taken_at, value, project_id)
           SELECT %s, channel, %s, value, %s FROM unnest(%s::smallint[], %s::bigint[]) AS r (channel, value)
           RETURNING 1""",
        site.flats[0].meters["electricity"],
        day_start(middle, site.project.zone),
        site.project.id,
        [CHANNELS[name] for name in half],
        list(half.values()),
    )
    bill = await bill_of(site)
    assert len(bill.charges) == 2
    assert quantities(bill) == USED


async def test_the_next_bill_goes_on_from_the_registers_that_the_last_one_cites(worker_db: Database) -> None:
    site = await site_with(worker_db, tariff())
    values = after(USED)
    values[MARCH] = {name: value + 1000 for name, value in values[FEBRUARY].items()}
    values[MARCH]["total"] += 2000
    await reads(site, values)
    await bill_of(site)
    # A better reading of the boundary comes: what was billed stays, and nothing is billed twice.
    await site.rows("UPDATE store.reading SET value = value - 700 WHERE channel = 3 AND taken_at = %s RETURNING 1",
                    day_start(FEBRUARY, site.project.zone))  # fmt: skip
    bill = await bill_of(site, FEBRUARY)
    assert quantities(bill) == {"peak": 1000, "flat": 1000, "valley": 1000}
    assert bill.inputs["charges"][0]["registers"][0]["opening"]["value"] == values[FEBRUARY]["peak"]


async def test_a_late_reading_of_a_register_moves_usage_between_periods(worker_db: Database) -> None:
    site = await site_with(worker_db, tariff())
    await reads(site, after(USED))
    before = await bill_of(site)
    meter_id, zone = site.flats[0].meters["electricity"], site.project.zone
    end = day_start(FEBRUARY, zone)
    for channel, wh in ((3, 5_000), (5, -5_000)):
        await site.rows("UPDATE store.reading SET value = value + %s WHERE channel = %s AND taken_at = %s RETURNING 1",
                        wh, channel, end)  # fmt: skip
    await site.rows(
        """INSERT INTO store.changed_usage (meter_id, channel, project_id, from_at, until_at)
           VALUES (%s, 3, %s, %s, %s) RETURNING 1""",
        meter_id, site.project.id, day_start(JANUARY, zone), end,
    )  # fmt: skip
    assert await rerate_late(site.db, SYSTEM, site.project.id) == Outcome(adjusted=1)
    (revision,) = await site.rows("SELECT amount, inputs, difference FROM adjustment")
    assert revision["inputs"]["runs"] == [["peak", 66_230], ["flat", 102_540], ["valley", 39_810]]
    assert revision["amount"] == before.summary.total + revision["difference"]
    assert revision["difference"] > 0
    # By the agreement of then: what is agreed now is of the future.
    await site.rows("UPDATE service_agreement SET time_of_use = 'intervals', registers = NULL RETURNING 1")
    await site.rows(
        """INSERT INTO store.changed_usage (meter_id, channel, project_id, from_at, until_at)
           VALUES (%s, 3, %s, %s, %s) RETURNING 1""",
        meter_id, site.project.id, day_start(JANUARY, zone), end,
    )  # fmt: skip
    assert await rerate_late(site.db, SYSTEM, site.project.id) == Outcome()
    assert await site.proof() == []


async def test_an_exchange_counts_with_the_readings_of_every_register(worker_db: Database) -> None:
    site = await site_with(worker_db, tariff())
    values = after(USED)
    old, meter_id = values[JANUARY], site.flats[0].meters["electricity"]
    # The old meter counted 1 kWh of each on its way out; the new one starts at 0.
    values[FEBRUARY] = {name: USED[name] - 1000 for name in USED} | {"total": sum(USED.values()) - 3000}
    await reads(site, values)
    await site.rows("UPDATE store.usage SET quantity = %s RETURNING 1", sum(USED.values()))
    at = day_start(date(2026, 1, 10), site.project.zone)
    (register,) = await site.rows(
        "UPDATE meter_register SET valid = tstzrange(lower(valid), %s) WHERE meter_id = %s RETURNING id", at, meter_id
    )
    (new,) = await site.rows(
        """INSERT INTO meter_register (project_id, meter_id, valid, reason, serial, multiplier, modulus, resolution,
                                       max_per_hour)
           SELECT project_id, meter_id, tstzrange(%s, NULL), 'exchanged', 'N', multiplier, modulus, resolution,
                  max_per_hour FROM meter_register WHERE id = %s RETURNING id""",
        at,
        register["id"],
    )
    for name in ("peak", "flat", "valley", "total"):
        extra = 3000 if name == "total" else 1000
        await site.rows(
            """INSERT INTO register_end (project_id, register_id, channel, opening, closing)
               VALUES (%s, %s, %s, NULL, %s), (%s, %s, %s, 0, NULL) RETURNING 1""",
            site.project.id, register["id"], CHANNELS[name], old[name] + extra,
            site.project.id, new["id"], CHANNELS[name],
        )  # fmt: skip
    assert quantities(await bill_of(site)) == USED
    assert Decimal(0) < (await site.bills())[0].total
