"""Electricity by the meter's own registers of price periods: the same bill as by intervals, or a clear refusal."""

import random
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from cloud.billing import service as billing
from cloud.billing.corrections.late_usage import Outcome, rerate_late
from cloud.billing.documents.service import bill_document
from cloud.billing.explanation.models import ExplanationOut
from cloud.billing.records import Bill
from cloud.billing.service import RunOptions
from cloud.kit import i18n
from cloud.kit.db import SYSTEM, Database
from cloud.kit.paging import PageRequest
from cloud.kit.periods import Period, day_start, next_month
from cloud.tariffs import service as tariffs
from cloud.tariffs.model.tariff import TariffContent
from tests.integration.billing.site import Site, make_site, noon
from tests.unit.cloud.billing.by_hand import add_up

JANUARY, FEBRUARY, MARCH = date(2026, 1, 1), date(2026, 2, 1), date(2026, 3, 1)
CHANNELS = {"total": 1, "sharp": 2, "peak": 3, "flat": 4, "valley": 5}
PRICES = {"peak": ["0.9173", "1.1"], "flat": ["0.6128", "0.8"], "valley": ["0.3071", "0.5"]}
HOURS = {"peak": ["08:00-12:00"], "flat": ["12:00-24:00"], "valley": ["00:00-08:00"]}
USED = {"peak": 61_230, "flat": 102_540, "valley": 44_810}
"""Watt-hours of January."""


def _tariff(codes: tuple[str, ...] = ("peak", "flat", "valley"), **periods: Any) -> TariffContent:
    prices = {code: PRICES.get(code, ["1.2", "1.4"]) for code in codes}
    return TariffContent.model_validate(
        {
            "currency": "CNY",
            "service": "electricity",
            "unit": "kWh",
            "tiers": {"bounds": [100], "window": {"kind": "month"}},
            "periods": {"codes": codes, "allocation": {"method": "proportional"}, **periods},
            "components": [{"kind": "energy", "code": "energy", "prices": prices}],
        }
    )


async def _site(db: Database, content: TariffContent) -> Site:
    """One flat that pays by `content`; nothing is read yet."""
    site = await make_site(db, flats=1, services=("electricity",))
    return await _pays_by(site, content)


async def _pays_by(site: Site, content: TariffContent, since: date = JANUARY) -> Site:
    async with site.db.transaction(SYSTEM) as conn:
        version = await tariffs.publish(conn, site.project.id, "tou", "TOU", "electricity", content, since)
        await conn.execute("UPDATE service_agreement SET tariff_id = %s", (version.tariff_id,))
    return replace(site, tariffs={"electricity": version.tariff_id})


async def _reads(site: Site, at: Mapping[date, Mapping[str, int]]) -> None:
    """Readings of registers at the beginning of days, and usage of the total between them."""
    meter_id, zone = site.flats[0].meters["electricity"], site.project.zone
    async with site.db.transaction(SYSTEM) as conn, conn.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO store.reading (meter_id, channel, taken_at, value, project_id) VALUES (%s, %s, %s, %s, %s)",
            [
                (meter_id, CHANNELS[name], day_start(day, zone), value, site.project.id)
                for day, values in at.items()
                for name, value in values.items()
            ],
        )
        for channel in ("total", "sharp"):
            days = [day for day in at if channel in at[day]]
            for first, last in pairwise(days):
                length = (day_start(last, zone) - day_start(first, zone)).total_seconds()
                await cursor.execute(
                    "INSERT INTO store.usage (meter_id, channel, start, length_s, quantity, project_id)"
                    " VALUES (%s, %s, %s, %s, %s, %s)",
                    (
                        meter_id,
                        CHANNELS[channel],
                        day_start(first, zone),
                        int(length),
                        max(at[last][channel] - at[first][channel], 0),
                        site.project.id,
                    ),
                )


def _after(used: Mapping[str, int], total: int | None = None) -> dict[date, dict[str, int]]:
    """Registers before and after January; the total counts them all unless another is said."""
    start = {name: 1_000_000 * channel for name, channel in CHANNELS.items() if name in used or name == "total"}
    counted = {**used, "total": sum(used.values()) if total is None else total}
    return {JANUARY: start, FEBRUARY: {name: value + counted[name] for name, value in start.items()}}


async def _run(site: Site, month: date, **options: Any) -> billing.BillRun:
    period = Period(month, next_month(month))
    async with site.db.transaction(SYSTEM) as conn:
        job = await billing.start_run(
            conn, site.project.id, period, options=RunOptions(**{"issue_at_once": True, **options})
        )
        run = await billing.run_of_job(conn, job)
    return await billing.execute_run(site.db, SYSTEM, run.id, now=noon(period.end))


async def _bill(site: Site, month: date = JANUARY, **options: Any) -> Bill:
    """The newest bill; what it says of itself adds up by hand."""
    run = await _run(site, month, **options)
    async with site.db.transaction(SYSTEM) as conn:
        assert await billing.run_failures(conn, run.id) == []
        bill = await billing.get_bill(conn, (await site.bills())[-1].id)
        add_up(ExplanationOut.of(bill, await billing.explain(conn, bill)).model_dump(mode="json"))
    return bill


async def _document(site: Site, bill: Bill) -> str:
    """The notes of the English document."""
    async with site.db.transaction(SYSTEM) as conn:
        found = await bill_document(conn, bill.summary.id, "en", i18n.load_catalogues()["en"], None)
    return "\n".join(note for block in found.blocks for note in block.notes)


async def _refused(site: Site, month: date = JANUARY, **options: Any) -> tuple[str, str]:
    run = await _run(site, month, **options)
    async with site.db.transaction(SYSTEM) as conn:
        (failure,) = await billing.run_failures(conn, run.id)
    assert run.billed == 0
    return failure.code, failure.detail


def _quantities(bill: Bill) -> dict[str, int]:
    found: dict[str, int] = {}
    for charge in bill.charges:
        for line in charge.lines:
            if line.kind == "usage":
                assert line.quantity is not None
                found[str(line.time_period)] = found.get(str(line.time_period), 0) + int(line.quantity.scaleb(3))
    return found


async def test_a_bill_by_registers_cites_them_and_explains_itself(worker_db: Database) -> None:
    site = await _site(worker_db, _tariff())
    await _reads(site, _after(USED))
    bill = await _bill(site)
    assert _quantities(bill) == USED
    (kept,) = bill.inputs["charges"]
    assert [(one["name"], one["channel"], one["opening"]["value"], one["advance"]) for one in kept["registers"]] == [
        ("peak", 3, 3_000_000, 61_230), ("flat", 4, 4_000_000, 102_540), ("valley", 5, 5_000_000, 44_810)
    ]  # fmt: skip
    assert kept["registers"][0]["closing"]["taken_at"].startswith("2026-01-31T16:00:00")
    assert "remainder" not in kept
    text = await _document(site, bill)
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
    content = _tariff(schedule=[{"hours": HOURS}], allocation=allocation)
    site = await _site(worker_db, content)
    await _reads(site, _after(used))
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
    by_intervals = await _bill(site, issue_at_once=False)
    assert "registers" not in by_intervals.inputs["charges"][0]
    async with site.db.transaction(SYSTEM) as conn:
        await billing.cancel_run(conn, (await billing.list_runs(conn, PageRequest(1))).items[0].id)
    await site.rows("UPDATE service_agreement SET time_of_use = 'registers' RETURNING 1")
    by_registers = await _bill(site)
    assert "registers" in by_registers.inputs["charges"][0]
    assert by_registers.summary.total == by_intervals.summary.total

    def told(bill: Bill) -> list[tuple[Any, ...]]:
        return [(one.kind, one.tier, one.time_period, one.quantity, one.price, one.amount) for one in bill.lines]

    assert told(by_registers) == told(by_intervals)


async def test_what_only_the_total_counted_is_charged_in_the_largest_period(worker_db: Database) -> None:
    site = await _site(worker_db, _tariff())
    await _reads(site, _after(USED, sum(USED.values()) + 2))
    bill = await _bill(site)
    assert _quantities(bill) == USED | {"flat": USED["flat"] + 2}
    assert bill.inputs["charges"][0]["remainder"] == {"quantity": 2, "time_period": "flat"}
    text = await _document(site, bill)
    assert "0.002 kWh that only the total register counted are charged as Mid-peak" in text


async def test_registers_that_do_not_add_up_are_asked_about_or_billed_by_policy(worker_db: Database) -> None:
    site = await _site(worker_db, _tariff())
    await _reads(site, _after(USED, sum(USED.values()) - 3))
    code, detail = await _refused(site)
    assert code == "register-sum"
    assert "add up to 208.580 kWh" in detail
    assert "total counted 208.577 kWh" in detail
    bill = await _bill(site, open_exceptions="bill")
    assert _quantities(bill) == USED | {"flat": USED["flat"] - 3}


async def test_a_remainder_beyond_every_period_is_never_billed(worker_db: Database) -> None:
    site = await _site(worker_db, _tariff())
    await _reads(site, _after(USED, 10))
    code, detail = await _refused(site, open_exceptions="bill")
    assert code == "register-sum"
    assert "more than can be taken off one period" in detail


async def test_the_tolerance_follows_multiplier_and_resolution(worker_db: Database) -> None:
    site = await _site(worker_db, _tariff())
    await site.rows("UPDATE meter_register SET multiplier = 40, resolution = 10 RETURNING 1")
    values = _after(USED, sum(USED.values()) + 20)
    await _reads(site, values)
    await site.rows("UPDATE store.usage SET quantity = quantity * 40 RETURNING 1")
    bill = await _bill(site)
    assert _quantities(bill) == {code: 40 * used for code, used in USED.items()} | {"flat": 40 * (USED["flat"] + 20)}
    (kept,) = bill.inputs["charges"]
    assert (Decimal(kept["multiplier"]), kept["remainder"]["quantity"]) == (Decimal(40), 800)


async def test_a_register_that_was_not_read_is_named_with_its_day(worker_db: Database) -> None:
    site = await _site(worker_db, _tariff())
    values = _after(USED)
    del values[FEBRUARY]["valley"]
    await _reads(site, values)
    code, detail = await _refused(site)
    assert code == "missing-register-reading"
    assert detail == (
        "electricity: register valley of meter E0 has no reading at the start of 2026-02-01,"
        " where the bill begins or ends"
    )


async def test_registers_are_not_estimated(worker_db: Database) -> None:
    """Where missing readings are estimated, an account by registers is listed: nothing tells how to divide them."""
    site = await _site(worker_db, _tariff())
    values = _after(USED)
    await _reads(site, {JANUARY: values[JANUARY]})
    code, detail = await _refused(site, missing_readings="estimate")
    assert (code, "no reading at the start of 2026-02-01" in detail) == ("missing-reading", True)


async def test_a_doubt_about_a_register_of_a_period_stops_the_bill_even_where_doubts_are_estimated(
    worker_db: Database,
) -> None:
    site = await _site(worker_db, _tariff())
    await _reads(site, _after(USED))
    await site.rows(
        """INSERT INTO meter_exception (project_id, meter_id, channel, rule, from_at, until_at, found, expected)
           VALUES (%s, %s, 3, 'maximum', '2026-01-05', '2026-01-05', 2, 1) RETURNING 1""",
        site.project.id,
        site.flats[0].meters["electricity"],
    )
    assert (await _refused(site, open_exceptions="estimate"))[0] == "open-exceptions"


async def test_sharp_hours_that_the_peak_register_counts_too_are_taken_off_it(worker_db: Database) -> None:
    registers = {"sharp": ["sharp"], "peak": ["peak", "-sharp"], "flat": ["flat"], "valley": ["valley"]}
    site = await _site(worker_db, _tariff(("sharp", *HOURS), registers={"periods": registers}))
    counted = {"sharp": 10_000, **USED}
    await _reads(site, _after(counted, sum(USED.values())))
    bill = await _bill(site)
    assert _quantities(bill) == {**USED, "sharp": 10_000, "peak": USED["peak"] - 10_000}
    text = await _document(site, bill)
    assert "Peak is Register peak (T2) − Register sharp peak (T1)" in text


async def test_the_daily_finding_about_registers_inside_each_other_does_not_stop_the_bill(worker_db: Database) -> None:
    """Validation takes it for granted that the registers of periods make the total: the agreement knows better."""
    registers = {"sharp": ["sharp"], "peak": ["peak", "-sharp"], "flat": ["flat"], "valley": ["valley"]}
    site = await _site(worker_db, _tariff(("sharp", *HOURS), registers={"periods": registers}))
    await _reads(site, _after({"sharp": 10_000, **USED}, sum(USED.values())))
    await site.rows(
        """INSERT INTO meter_exception (project_id, meter_id, channel, rule, from_at, until_at, found, expected)
           VALUES (%s, %s, 1, 'register-sum', '2026-01-05', '2026-01-06', 2, 1) RETURNING 1""",
        site.project.id,
        site.flats[0].meters["electricity"],
    )
    assert _quantities(await _bill(site))["sharp"] == 10_000


async def test_an_open_finding_about_plain_registers_stops_the_bill(worker_db: Database) -> None:
    site = await _site(worker_db, _tariff())
    await _reads(site, _after(USED))
    await site.rows(
        """INSERT INTO meter_exception (project_id, meter_id, channel, rule, from_at, until_at, found, expected)
           VALUES (%s, %s, 1, 'register-sum', '2026-01-05', '2026-01-06', 2, 1) RETURNING 1""",
        site.project.id,
        site.flats[0].meters["electricity"],
    )
    assert (await _refused(site))[0] == "open-exceptions"


async def test_sharp_hours_that_the_total_leaves_out_are_added_to_it(worker_db: Database) -> None:
    registers = {code: [code] for code in ("sharp", *HOURS)}
    content = _tariff(("sharp", *HOURS), registers={"periods": registers, "beside_total": ["sharp"]})
    site = await _site(worker_db, content)
    await _reads(site, _after({"sharp": 10_000, **USED}, sum(USED.values())))
    bill = await _bill(site)
    assert _quantities(bill) == {"sharp": 10_000, **USED}
    assert bill.charges[0].quantity == sum(USED.values()) + 10_000
    text = await _document(site, bill)
    assert "With 10 kWh that the total register leaves out: 218.58 kWh" in text


async def test_a_tariff_of_two_periods_adds_the_registers_of_four(worker_db: Database) -> None:
    site = await _site(worker_db, _tariff(("peak", "valley")))
    await _reads(site, _after({"sharp": 10_000, **USED}))
    assert (await _refused(site))[0] == "register-sum"
    await site.rows(
        """UPDATE service_agreement SET registers =
           '{"periods": {"peak": ["sharp", "peak", "flat"], "valley": ["valley"]}}' RETURNING 1"""
    )
    assert _quantities(await _bill(site)) == {
        "peak": 10_000 + USED["peak"] + USED["flat"],
        "valley": USED["valley"],
    }


async def test_a_period_may_be_what_the_other_registers_leave_of_the_total(worker_db: Database) -> None:
    registers = {"peak": ["peak"], "flat": ["total", "-peak", "-valley"], "valley": ["valley"]}
    site = await _site(worker_db, _tariff(registers={"periods": registers}))
    values = _after(USED)
    for day in values:
        del values[day]["flat"]
    await _reads(site, values)
    assert _quantities(await _bill(site)) == USED


async def test_registers_named_wrongly_are_told_before_anything_is_billed(worker_db: Database) -> None:
    registers = {"peak": ["peak", "-flat"], "flat": ["flat"], "valley": ["valley"]}
    site = await _site(worker_db, _tariff(registers={"periods": registers}))
    await _reads(site, _after(USED))
    code, detail = await _refused(site, open_exceptions="bill")
    assert code == "register-sum"
    assert "less than nothing of peak" in detail


async def test_codes_that_say_no_register_need_a_map(worker_db: Database) -> None:
    site = await _site(worker_db, _tariff(("day", "night")))
    await _reads(site, _after(USED))
    code, detail = await _refused(site)
    assert (code, "day, night" in detail) == ("registers-not-mapped", True)


async def test_the_order_of_time_is_not_in_registers(worker_db: Database) -> None:
    content = _tariff(schedule=[{"hours": HOURS}], allocation={"method": "chronological"})
    site = await _site(worker_db, content)
    await _reads(site, _after(USED))
    await site.rows("UPDATE service_agreement SET time_of_use = 'registers' RETURNING 1")
    assert (await _refused(site))[0] == "registers-no-order"


async def test_intervals_need_the_hours_of_the_tariff(worker_db: Database) -> None:
    site = await _site(worker_db, _tariff())
    await _reads(site, _after(USED))
    await site.rows("UPDATE service_agreement SET time_of_use = 'intervals' RETURNING 1")
    assert (await _refused(site))[0] == "intervals-no-hours"


async def test_a_new_tariff_version_divides_registers_only_where_they_were_read(worker_db: Database) -> None:
    middle = date(2026, 1, 16)
    site = await _site(worker_db, _tariff())
    await _pays_by(site, _tariff(schedule=[{"hours": HOURS}], source="registers"), since=middle)
    values = _after(USED)
    half = {name: values[JANUARY][name] + (values[FEBRUARY][name] - values[JANUARY][name]) // 2 for name in USED}
    total = values[JANUARY]["total"] + sum(half[name] - values[JANUARY][name] for name in USED)
    await _reads(site, {JANUARY: values[JANUARY], middle: {"total": total}, FEBRUARY: values[FEBRUARY]})
    code, detail = await _refused(site)
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
    bill = await _bill(site)
    assert len(bill.charges) == 2
    assert _quantities(bill) == USED


async def test_the_next_bill_goes_on_from_the_registers_that_the_last_one_cites(worker_db: Database) -> None:
    site = await _site(worker_db, _tariff())
    values = _after(USED)
    values[MARCH] = {name: value + 1000 for name, value in values[FEBRUARY].items()}
    values[MARCH]["total"] += 2000
    await _reads(site, values)
    await _bill(site)
    # A better reading of the boundary comes: what was billed stays, and nothing is billed twice.
    await site.rows("UPDATE store.reading SET value = value - 700 WHERE channel = 3 AND taken_at = %s RETURNING 1",
                    day_start(FEBRUARY, site.project.zone))  # fmt: skip
    bill = await _bill(site, FEBRUARY)
    assert _quantities(bill) == {"peak": 1000, "flat": 1000, "valley": 1000}
    assert bill.inputs["charges"][0]["registers"][0]["opening"]["value"] == values[FEBRUARY]["peak"]


async def test_a_late_reading_of_a_register_moves_usage_between_periods(worker_db: Database) -> None:
    site = await _site(worker_db, _tariff())
    await _reads(site, _after(USED))
    before = await _bill(site)
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
    site = await _site(worker_db, _tariff())
    values = _after(USED)
    old, meter_id = values[JANUARY], site.flats[0].meters["electricity"]
    # The old meter counted 1 kWh of each on its way out; the new one starts at 0.
    values[FEBRUARY] = {name: USED[name] - 1000 for name in USED} | {"total": sum(USED.values()) - 3000}
    await _reads(site, values)
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
    assert _quantities(await _bill(site)) == USED
    assert Decimal(0) < (await site.bills())[0].total
