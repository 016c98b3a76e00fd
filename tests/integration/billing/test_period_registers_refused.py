"""Electricity by registers of price periods that are in doubt: refused with what is wrong, or billed by policy."""

from cloud.kit.db import Database
from tests.integration.billing.registers import (
    FEBRUARY,
    HOURS,
    JANUARY,
    USED,
    after,
    bill_of,
    quantities,
    reads,
    refused,
    site_with,
    tariff,
)


async def test_registers_that_do_not_add_up_are_asked_about_or_billed_by_policy(worker_db: Database) -> None:
    site = await site_with(worker_db, tariff())
    await reads(site, after(USED, sum(USED.values()) - 3))
    code, detail = await refused(site)
    assert code == "register-sum"
    assert "add up to 208.580 kWh" in detail
    assert "total counted 208.577 kWh" in detail
    bill = await bill_of(site, open_exceptions="bill")
    assert quantities(bill) == USED | {"flat": USED["flat"] - 3}


async def test_a_remainder_beyond_every_period_is_never_billed(worker_db: Database) -> None:
    site = await site_with(worker_db, tariff())
    await reads(site, after(USED, 10))
    code, detail = await refused(site, open_exceptions="bill")
    assert code == "register-sum"
    assert "more than can be taken off one period" in detail


async def test_a_register_that_was_not_read_is_named_with_its_day(worker_db: Database) -> None:
    site = await site_with(worker_db, tariff())
    values = after(USED)
    del values[FEBRUARY]["valley"]
    await reads(site, values)
    code, detail = await refused(site)
    assert code == "missing-register-reading"
    assert detail == (
        "electricity: register valley of meter E0 has no reading at the start of 2026-02-01,"
        " where the bill begins or ends"
    )


async def test_registers_are_not_estimated(worker_db: Database) -> None:
    """Where missing readings are estimated, an account by registers is listed: nothing tells how to divide them."""
    site = await site_with(worker_db, tariff())
    values = after(USED)
    await reads(site, {JANUARY: values[JANUARY]})
    code, detail = await refused(site, missing_readings="estimate")
    assert (code, "no reading at the start of 2026-02-01" in detail) == ("missing-reading", True)


async def test_a_doubt_about_a_register_of_a_period_stops_the_bill_even_where_doubts_are_estimated(
    worker_db: Database,
) -> None:
    site = await site_with(worker_db, tariff())
    await reads(site, after(USED))
    await site.rows(
        """INSERT INTO meter_exception (project_id, meter_id, channel, rule, from_at, until_at, found, expected)
           VALUES (%s, %s, 3, 'maximum', '2026-01-05', '2026-01-05', 2, 1) RETURNING 1""",
        site.project.id,
        site.flats[0].meters["electricity"],
    )
    assert (await refused(site, open_exceptions="estimate"))[0] == "open-exceptions"


async def test_the_daily_finding_about_registers_inside_each_other_does_not_stop_the_bill(worker_db: Database) -> None:
    """Validation takes it for granted that the registers of periods make the total: the agreement knows better."""
    registers = {"sharp": ["sharp"], "peak": ["peak", "-sharp"], "flat": ["flat"], "valley": ["valley"]}
    site = await site_with(worker_db, tariff(("sharp", *HOURS), registers={"periods": registers}))
    await reads(site, after({"sharp": 10_000, **USED}, sum(USED.values())))
    await site.rows(
        """INSERT INTO meter_exception (project_id, meter_id, channel, rule, from_at, until_at, found, expected)
           VALUES (%s, %s, 1, 'register-sum', '2026-01-05', '2026-01-06', 2, 1) RETURNING 1""",
        site.project.id,
        site.flats[0].meters["electricity"],
    )
    assert quantities(await bill_of(site))["sharp"] == 10_000


async def test_an_open_finding_about_plain_registers_stops_the_bill(worker_db: Database) -> None:
    site = await site_with(worker_db, tariff())
    await reads(site, after(USED))
    await site.rows(
        """INSERT INTO meter_exception (project_id, meter_id, channel, rule, from_at, until_at, found, expected)
           VALUES (%s, %s, 1, 'register-sum', '2026-01-05', '2026-01-06', 2, 1) RETURNING 1""",
        site.project.id,
        site.flats[0].meters["electricity"],
    )
    assert (await refused(site))[0] == "open-exceptions"


async def test_registers_named_wrongly_are_told_before_anything_is_billed(worker_db: Database) -> None:
    registers = {"peak": ["peak", "-flat"], "flat": ["flat"], "valley": ["valley"]}
    site = await site_with(worker_db, tariff(registers={"periods": registers}))
    await reads(site, after(USED))
    code, detail = await refused(site, open_exceptions="bill")
    assert code == "register-sum"
    assert "less than nothing of peak" in detail


async def test_codes_that_say_no_register_need_a_map(worker_db: Database) -> None:
    site = await site_with(worker_db, tariff(("day", "night")))
    await reads(site, after(USED))
    code, detail = await refused(site)
    assert (code, "day, night" in detail) == ("registers-not-mapped", True)


async def test_the_order_of_time_is_not_in_registers(worker_db: Database) -> None:
    content = tariff(schedule=[{"hours": HOURS}], allocation={"method": "chronological"})
    site = await site_with(worker_db, content)
    await reads(site, after(USED))
    await site.rows("UPDATE service_agreement SET time_of_use = 'registers' RETURNING 1")
    assert (await refused(site))[0] == "registers-no-order"


async def test_intervals_need_the_hours_of_the_tariff(worker_db: Database) -> None:
    site = await site_with(worker_db, tariff())
    await reads(site, after(USED))
    await site.rows("UPDATE service_agreement SET time_of_use = 'intervals' RETURNING 1")
    assert (await refused(site))[0] == "intervals-no-hours"
