"""From a balance that is used up to a supply that is off, and back: with the orders that a gateway would get."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import LiteralString

import psycopg
import pytest

from cloud.billing import service as billing
from cloud.devices import service as devices
from cloud.estate.occupancies import service as occupancies
from cloud.kit.db import SYSTEM, Database
from cloud.kit.errors import Conflict
from cloud.kit.periods import day_start
from cloud.prepaid import service
from cloud.prepaid.records import Policy
from gateway.contract.messages import DeviceHealth, Health
from tests.integration.prepaid.home import POLICY, Home, make_home
from tests.worlds import World, world


@world
async def home_world(db: Database) -> Home:
    return await make_home(db)


@pytest.fixture
def home(home_world: World[Home], worker_db: Database) -> Home:
    """That world, which only this test changes."""
    return home_world.of(worker_db)


async def test_the_whole_way_off_and_back_on(home: Home) -> None:
    await home.value(home.at(-12))
    assert ((await home.case()).state, (await home.move(home.at(-11))).hold) == ("warned", "too-early")
    # The notice is written, but without an address it goes nowhere: a paper has to be handed over.
    assert (await home.move(home.at(-10))).hold == "not-told"
    (notice,) = await home.site.rows("SELECT * FROM notice WHERE kind = 'supply.warning'")
    assert (notice["state"], notice["reason"]) == ("suppressed", "no-address")
    assert (await home.delivered(home.at(-10))).state == "notified"
    assert (await home.move(home.at(-7, 9))).hold == "too-early"
    assert ((await home.move(home.at(-7))).state, (await home.case()).hold) == ("due", "not-confirmed")
    assert (await home.confirm(home.at(-1, 10))).hold == "quiet-time"
    assert (await home.move(home.at())).hold == "not-told"
    assert (await home.delivered(home.at(minute=5))).hold == "second-notice"
    assert (await home.move(home.at(minute=34))).hold == "second-notice"
    assert await home.orders() == []
    assert (await home.move(home.at(minute=35))).state == "ordered"
    (cut,) = await home.orders()
    assert (cut.action, cut.state, cut.device_code) == ("switch-off", "queued", "e-1")
    assert cut.expires_at - cut.issued_at == timedelta(minutes=10)
    await home.reports(cut.id, "done")
    assert (await home.move(home.at(minute=37))).state == "off"
    assert len(await home.orders()) == 1
    await home.pay("500.00")
    # In the transaction of the payment, before any job.
    assert (await home.case()).state == "reconnecting"
    _, back = await home.orders()
    assert (back.action, back.state) == ("switch-on", "queued")
    await home.reports(back.id, "done")
    case = await home.move(home.at(minute=40))
    assert (case.state, case.ending) == ("reconnected", "paid")
    assert [step for step, _ in await home.steps()] == [
        "opened", "notice", "due", "confirmed", "second-notice", "ordered", "off", "restore-ordered", "reconnected",
    ]  # fmt: skip
    told = await home.site.rows("SELECT kind FROM notice WHERE kind LIKE 'supply.%%' ORDER BY id")
    assert [row["kind"] for row in told] == ["supply.warning", "supply.warning", "supply.cut", "supply.back"]
    with pytest.raises(psycopg.errors.IntegrityConstraintViolation):
        await home.site.rows("UPDATE supply_case SET hold = 'x' RETURNING 1")


async def test_a_notice_that_went_out_by_mail_counts_from_then(home: Home) -> None:
    await home.value(home.at(-12))
    await home.move(home.at(-10))
    query = "UPDATE notice SET state = 'sent', reason = '', ended_at = %s WHERE kind = 'supply.warning' RETURNING 1"
    await home.site.rows(query, home.at(-10, 11))
    case = await home.move(home.at(-10, 12))
    assert (case.state, case.notified_at) == ("notified", home.at(-10, 11))


async def test_a_payment_before_the_order_cancels_the_case(home: Home) -> None:
    await home.value(home.at(-12))
    await home.delivered(home.at(-10))
    await home.pay("10.00")
    assert (await home.case()).state in ("notified", "due")
    await home.pay("500.00")
    case = await home.case()
    assert (case.state, case.ending) == ("cancelled", "paid")
    assert await home.orders() == []


async def test_a_payment_takes_back_an_order_that_no_gateway_has_taken(home: Home) -> None:
    assert (await home.brought_to_order()).state == "ordered"
    await home.pay("500.00")
    orders = {one.action: one for one in await home.orders()}
    assert (orders["switch-off"].state, orders["switch-on"].state) == ("expired", "queued")
    # It was published just before and carried out all the same, after the order to switch on was.
    await home.reports(orders["switch-on"].id, "done")
    await asyncio.sleep(0.01)
    await home.reports(orders["switch-off"].id, "done")
    case = await home.move(home.at(1))
    assert (case.state, case.restores) == ("reconnecting", 2)
    assert [one.action for one in await home.orders()].count("switch-on") == 2


async def test_a_supply_that_does_not_come_back_is_tried_again_and_alarms(home: Home) -> None:
    case = await home.brought_to_order()
    await home.reports(case.cut_id, "done")
    await home.pay("500.00")
    await home.reports((await home.case()).restore_id, "failed")
    case = await home.move(home.at(1))
    assert (case.state, case.restores, case.alarmed_at) == ("reconnecting", 2, home.at(1))
    assert [step for step, _ in await home.steps()].count("alarm") == 1
    await home.reports(case.restore_id, "done")
    assert (await home.move(home.at(1, 11))).state == "reconnected"


async def test_a_supply_whose_device_is_gone_is_closed_by_who_saw_it_on(home: Home) -> None:
    case = await home.brought_to_order()
    await home.reports(case.cut_id, "done")
    await home.pay("500.00")
    with pytest.raises(Conflict, match="reconnecting already"):
        await home.end(case.id, "the electrician was there", home.at(2))
    await home.reports((await home.case()).restore_id, "failed")
    assert (await home.move(home.at(1))).alarmed_at is not None
    await home.end(case.id, "the electrician was there", home.at(2))
    closed = await home.case()
    assert (closed.state, closed.ending) == ("reconnected", "paid")
    assert (await home.steps())[-1][0] == "reconnected"


async def test_an_order_that_failed_is_not_repeated_for_ever(home: Home) -> None:
    case = await home.brought_to_order()
    for minute in (41, 43, 45):
        await home.reports(case.cut_id, "failed")
        case = await home.move(home.at(minute=minute))
    assert (case.state, case.hold, case.cuts) == ("due", "cut-failed", 3)
    assert len(await home.orders()) == 3
    # And then the money comes: nobody trusts that nothing was switched.
    await home.pay("500.00")
    assert (await home.case()).state == "reconnecting"


async def test_a_payment_and_an_order_at_the_same_moment(home: Home) -> None:
    await home.value(home.at(-12))
    await home.delivered(home.at(-10))
    await home.move(home.at(-7))
    await home.confirm(home.at())
    await home.delivered(home.at(minute=5))
    await asyncio.gather(home.pay("500.00"), home.move(home.at(minute=40)))
    case = await home.case()
    assert case.state in ("cancelled", "reconnecting")
    assert ("switch-on" in [one.action for one in await home.orders()]) == (case.state == "reconnecting")
    assert all(one.state == "expired" for one in await home.orders() if one.action == "switch-off")


async def test_protection_stops_a_case_and_gives_a_supply_back(home: Home) -> None:
    await home.value(home.at(-12))
    await home.set_terms(home.at(-12), kind="medical", reason="respirator", protected_until=home.day)
    assert (await home.move(home.at(-10))).hold == "protected"
    await home.set_terms(home.at(-10))
    assert (await home.brought_to_order()).state == "ordered"
    await home.set_terms(home.at(minute=41), kind="care", reason="a baby", protected_until=home.day)
    case = await home.case()
    assert (case.state, case.ending) == ("reconnecting", "protected")


async def test_emergency_credit_lifts_the_bound_for_a_while(home: Home) -> None:
    await home.value(home.at(-12))
    await home.set_terms(home.at(-11), credit=Decimal(500), credit_until=home.at(-9).date())
    assert (await home.case()).state == "cancelled"
    found = await home.value(home.at(-9))
    assert (found.allowance, found.below) == (Decimal(500), False)
    assert (await home.value(home.at(-8))).below


SILENT = "DELETE FROM store.reading WHERE taken_at > %(yesterday)s RETURNING 1"
ESTIMATED = "UPDATE store.usage SET method = 2 WHERE start = %(yesterday)s RETURNING 1"
FINDING = """
    INSERT INTO meter_exception (project_id, meter_id, channel, rule, from_at, until_at)
    SELECT project_id, id, 1, 'spike', %(yesterday)s, %(yesterday)s FROM meter WHERE medium = 'electricity' RETURNING 1
"""


@pytest.mark.parametrize("doubt", [SILENT, ESTIMATED, FINDING], ids=["silent", "estimated", "finding"])
async def test_doubtful_readings_never_switch_anybody_off(home: Home, doubt: LiteralString) -> None:
    await home.value(home.at(-12))
    await home.delivered(home.at(-10))
    await home.move(home.at(-7))
    await home.confirm(home.at())
    await home.delivered(home.at(minute=5))
    yesterday = day_start(home.day - timedelta(days=1), home.site.project.zone)
    async with home.db.transaction(SYSTEM) as conn:
        assert (await conn.execute(doubt, {"yesterday": yesterday})).rowcount >= 1
    case = await home.move(home.at(minute=40))
    assert (case.state, case.hold) == ("due", "unverified")
    assert await home.orders() == []


async def test_nobody_is_switched_off_before_what_his_bills_charged_is_rated_again(home: Home) -> None:
    """Persons were filed for days that a bill has charged: the night may give money back."""
    month = (home.day.replace(day=1) - timedelta(days=1)).replace(day=1)
    await home.site.run(month, home.at(-12))
    await home.value(home.at(-12))
    await home.delivered(home.at(-10))
    await home.move(home.at(-7))
    await home.confirm(home.at())
    await home.delivered(home.at(minute=5))
    async with home.db.transaction(SYSTEM) as conn:
        await occupancies.file_persons(conn, home.site.project.id, home.flat.unit_id, 6, month)
    case = await home.move(home.at(minute=40))
    assert (case.state, case.hold) == ("due", "to-be-rated")
    assert await home.orders() == []
    await billing.rerate_filed(home.db, SYSTEM, home.site.project.id)
    assert (await home.move(home.at(minute=41))).state == "ordered"


async def test_a_disputed_bill_stops_the_case(home: Home) -> None:
    first = home.day.replace(day=1)
    await home.site.run((first - timedelta(days=1)).replace(day=1), home.at(-12))
    await home.value(home.at(-12))
    (bill,) = await home.site.bills()
    async with home.db.transaction(SYSTEM) as conn:
        await billing.open_dispute(conn, bill.id, "too high", by=None, by_resident=False, today=bill.issued_on or first)
    case = await home.move(home.at(-8))
    assert case.hold == "disputed" or case.ending == "paid"
    assert case.state in ("warned", "cancelled")


async def test_a_relay_that_nobody_has_told_of_is_not_switched(home: Home) -> None:
    await home.value(home.at(-12))
    async with home.db.transaction(SYSTEM) as conn:
        silent = DeviceHealth("e-1", 0, 1, 0, 0, 0, 0, ("read-now",))
        now_ms = int(datetime.now(UTC).timestamp() * 1000)
        await devices.apply_health(conn, home.gateway_id, Health(now_ms, "0", 1, 0, 0, 0, 0, (silent,)))
    assert (await home.move(home.at(-10))).hold == "no-relay"


async def test_a_project_that_stops_disconnecting_ends_its_cases(home: Home) -> None:
    assert (await home.brought_to_order()).state == "ordered"
    await home.set_policy(replace(POLICY, rules=replace(POLICY.rules, disconnects=False)))
    case = await home.move(home.at(minute=41))
    assert (case.state, case.ending) == ("reconnecting", "not-allowed")


async def test_by_hand_a_case_ends_and_nothing_else_can_be_done_with_it(home: Home) -> None:
    await home.value(home.at(-12))
    case = await home.case()
    async with home.db.transaction(SYSTEM) as conn:
        with pytest.raises(Conflict, match="run out"):
            await service.confirm_case(conn, case.id, None, home.at(-12))
        assert (await service.end_case(conn, case.id, "talked to them", home.at(-12))).ending == "by-hand"
        with pytest.raises(Conflict):
            await service.end_case(conn, case.id, "again", home.at(-12))
    assert Policy() != POLICY


async def test_the_rules_of_switching_off_are_not_for_everybody(home: Home) -> None:
    async with home.db.transaction(SYSTEM) as conn:
        with pytest.raises(Conflict, match=r"supply\.disconnect"):
            await service.set_policy(conn, home.site.project.id, Policy(), may_disconnect=False)
        same = replace(POLICY, thresholds=Policy().thresholds)
        assert await service.set_policy(conn, home.site.project.id, same, may_disconnect=False) == same
