"""From the exit barrier to the fee: priced, paid, let out by exactly one command, closed."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import LiteralString

import msgspec
import pytest

from cloud.kit.db import SYSTEM, Database
from cloud.kit.errors import Conflict, InvalidInput, NotFound
from cloud.kit.jobs import JobContext
from cloud.kit.yaml_files import load_yaml
from cloud.parking import jobs, service
from cloud.parking.fees.models import ParkingRule
from cloud.parking.records import Paid, Quote
from tests.integration.parking.site import MALL, NOON, Site, minutes, openings, rows, stays

PLATE = "京A12345"
FIVE_HOURS = NOON + timedelta(hours=5)


async def _enter(db: Database, site: Site) -> int:
    await site.report(db, [site.passage("entry", PLATE, NOON)], NOON)
    (session,) = await rows(db, "SELECT id FROM parking_session WHERE state = 'open'")
    return int(session["id"])


async def _quote(db: Database, site: Site, session_id: int, at: datetime) -> Quote:
    async with db.transaction(site.staff) as conn:
        return await service.quote(conn, session_id, at)


async def _pay(db: Database, site: Site, session_id: int, amount: str, at: datetime) -> Paid:
    async with db.transaction(site.staff) as conn:
        return await service.pay(conn, session_id, Decimal(amount), "cash", "user:guard", at=at)


async def test_enter_quote_pay_open_once_leave(ingest_db: Database, web_db: Database, site: Site) -> None:
    session_id = await _enter(ingest_db, site)
    arrived = site.passage("exit", PLATE, FIVE_HOURS, "arrived")
    await site.report(ingest_db, [arrived], FIVE_HOURS)
    assert await openings(ingest_db) == []
    price = await _quote(web_db, site, session_id, FIVE_HOURS + minutes(9))
    assert (price.due, price.until) == (Decimal("8.00"), FIVE_HOURS)  # the time at the barrier costs nothing
    assert sum(step.amount for step in price.steps) == price.fee

    paid = await _pay(web_db, site, session_id, "8.00", FIVE_HOURS + minutes(10))
    (opening,) = await openings(ingest_db)
    assert opening == {"arguments": {"passage": arrived.id}, "actor": "user:guard", "reason": "paid"}
    assert paid.command_id is not None
    await site.report(ingest_db, [arrived], FIVE_HOURS + minutes(11))
    assert len(await openings(ingest_db)) == 1
    with pytest.raises(Conflict, match="nothing is due"):
        await _pay(web_db, site, session_id, "8.00", FIVE_HOURS + minutes(11))

    passed = site.passage("exit", PLATE, FIVE_HOURS, "passed", arrived)
    await site.report(ingest_db, [passed, passed], FIVE_HOURS + minutes(12))
    assert await stays(ingest_db) == [(PLATE, "closed", NOON, FIVE_HOURS, Decimal("8.00"), FIVE_HOURS)]
    async with web_db.transaction(site.staff) as conn:
        detail = await service.get_session(conn, session_id)
        inside = await service.cars_inside(conn, site.project_id)
    assert (detail.session.paid, [found.outcome for found in detail.passages]) == (Decimal("8.00"), ["passed"] * 2)
    assert sum(Decimal(step["amount"]) for step in detail.session.fee_steps) == Decimal("8.00")
    assert [found.inside for found in inside] == [0]


async def test_a_free_stay_is_let_out_by_the_system(ingest_db: Database, site: Site) -> None:
    await _enter(ingest_db, site)
    arrived = site.passage("exit", PLATE, NOON + minutes(90), "arrived")
    for _ in range(3):
        await site.report(ingest_db, [arrived], NOON + minutes(90))
    (opening,) = await openings(ingest_db)
    assert (opening["actor"], opening["arguments"]) == ("system:parking", {"passage": arrived.id})


async def test_an_entry_that_becomes_known_after_the_exit_lets_out_too(ingest_db: Database, site: Site) -> None:
    await site.report(ingest_db, [site.passage("exit", PLATE, NOON + minutes(30), "arrived")], NOON + minutes(30))
    assert await openings(ingest_db) == []
    await site.report(ingest_db, [site.passage("entry", PLATE, NOON)], NOON + minutes(31))
    assert len(await openings(ingest_db)) == 1


async def test_paid_before_and_leaving_in_time(ingest_db: Database, web_db: Database, site: Site) -> None:
    session_id = await _enter(ingest_db, site)
    paid = await _pay(web_db, site, session_id, "8.00", FIVE_HOURS)
    assert (paid.command_id, paid.paid_until) == (None, FIVE_HOURS)
    leaves = FIVE_HOURS + minutes(15)
    await site.report(ingest_db, [site.passage("exit", PLATE, leaves, "arrived")], leaves)
    assert len(await openings(ingest_db)) == 1
    await site.report(ingest_db, [site.passage("exit", PLATE, leaves)], leaves)
    assert await stays(ingest_db) == [(PLATE, "closed", NOON, leaves, Decimal("8.00"), FIVE_HOURS)]


async def test_overstaying_costs_the_whole_stay_less_what_was_paid(
    ingest_db: Database, web_db: Database, site: Site
) -> None:
    session_id = await _enter(ingest_db, site)
    await _pay(web_db, site, session_id, "8.00", FIVE_HOURS)
    leaves = FIVE_HOURS + minutes(125)
    await site.report(ingest_db, [site.passage("exit", PLATE, leaves, "arrived")], leaves)
    assert await openings(ingest_db) == []
    price = await _quote(web_db, site, session_id, leaves)
    assert (price.fee, price.paid, price.due) == (Decimal("11.00"), Decimal("8.00"), Decimal("3.00"))
    await _pay(web_db, site, session_id, "3.00", leaves)
    assert len(await openings(ingest_db)) == 1


async def test_another_amount_than_the_one_due_is_refused(ingest_db: Database, web_db: Database, site: Site) -> None:
    session_id = await _enter(ingest_db, site)
    with pytest.raises(Conflict) as refused:
        await _pay(web_db, site, session_id, "7.00", FIVE_HOURS)
    assert (refused.value.code, refused.value.params["due"]) == ("amount-changed", Decimal("8.00"))
    with pytest.raises(InvalidInput):
        await _pay(web_db, site, session_id, "-8.00", FIVE_HOURS)
    with pytest.raises(NotFound):
        await _pay(web_db, site, session_id + 1, "8.00", FIVE_HOURS)
    assert await rows(ingest_db, "SELECT id FROM parking_payment") == []


async def test_two_cashiers_take_one_payment(ingest_db: Database, web_db: Database, site: Site) -> None:
    session_id = await _enter(ingest_db, site)
    async with web_db.transaction(site.staff) as conn:
        await service.pay(conn, session_id, Decimal("8.00"), "cash", "user:one", at=FIVE_HOURS)
        second = asyncio.create_task(_pay(web_db, site, session_id, "8.00", FIVE_HOURS))
        await _until_it_waits(ingest_db, second)
    with pytest.raises(Conflict, match="nothing is due"):
        await second
    assert len(await rows(ingest_db, "SELECT id FROM parking_payment")) == 1


async def _until_it_waits(db: Database, task: "asyncio.Task[Paid]") -> None:
    """Returns once somebody waits for a plate, or the task is over."""
    query: LiteralString = """SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
                              AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""
    async with asyncio.timeout(60):
        while not task.done() and not await rows(db, query):
            await asyncio.sleep(0.01)


async def test_late_passages_never_open_a_second_time_for_one_vehicle(ingest_db: Database, site: Site) -> None:
    await _enter(ingest_db, site)
    await site.report(ingest_db, [site.passage("exit", PLATE, NOON + minutes(60), "arrived")], NOON + minutes(60))
    assert len(await openings(ingest_db)) == 1
    between = [site.passage("exit", PLATE, NOON + minutes(20)), site.passage("entry", PLATE, NOON + minutes(30))]
    await site.report(ingest_db, between, NOON + minutes(61))
    assert [stay[1] for stay in await stays(ingest_db)] == ["closed", "open"]
    assert len(await openings(ingest_db)) == 1


async def test_turning_back_keeps_the_stay_open_and_the_clock_running(
    ingest_db: Database, web_db: Database, site: Site
) -> None:
    session_id = await _enter(ingest_db, site)
    arrived = site.passage("exit", PLATE, FIVE_HOURS, "arrived")
    turned = site.passage("exit", PLATE, FIVE_HOURS, "turned-back", arrived)
    await site.report(ingest_db, [arrived, turned], FIVE_HOURS)
    price = await _quote(web_db, site, session_id, FIVE_HOURS + minutes(60))
    assert price.due == Decimal("9.00")


async def test_who_left_without_paying_can_pay_afterwards(ingest_db: Database, web_db: Database, site: Site) -> None:
    session_id = await _enter(ingest_db, site)
    await site.report(ingest_db, [site.passage("exit", PLATE, FIVE_HOURS)], FIVE_HOURS)
    paid = await _pay(web_db, site, session_id, "8.00", FIVE_HOURS + timedelta(days=3))
    assert paid.command_id is None
    assert (await _quote(web_db, site, session_id, FIVE_HOURS + timedelta(days=9))).due == Decimal("0.00")


async def test_a_stay_nobody_can_price_is_left_to_the_operator(
    ingest_db: Database, web_db: Database, site: Site
) -> None:
    await site.report(ingest_db, [site.passage("exit", PLATE, NOON)], NOON)
    (session,) = await rows(ingest_db, "SELECT id FROM parking_session")
    with pytest.raises(Conflict) as refused:
        await _quote(web_db, site, session["id"], NOON)
    assert refused.value.code == "unmatched"


async def test_opening_by_hand_needs_a_reason(ingest_db: Database, web_db: Database, site: Site) -> None:
    async with web_db.transaction(site.staff) as conn:
        with pytest.raises(InvalidInput):
            await service.open_lane(conn, site.exit.id, "  ", "user:guard")
        await service.open_lane(conn, site.exit.id, "ambulance", "user:guard")
    assert await openings(ingest_db) == [{"arguments": {}, "actor": "user:guard", "reason": "ambulance"}]


async def test_a_new_rule_prices_those_who_enter_from_its_day_on(
    ingest_db: Database, worker_db: Database, web_db: Database, site: Site
) -> None:
    rule = load_yaml(MALL, ParkingRule)
    dearer = rule.model_copy(
        update={"schedule": rule.schedule.model_copy(update={"caps": rule.classes["new-energy"].caps})}
    )
    async with worker_db.transaction(SYSTEM) as conn:
        await service.publish_rule(conn, site.lot_id, dearer, date(2026, 5, 2))
        with pytest.raises(Conflict, match="begin later"):
            await service.publish_rule(conn, site.lot_id, rule, date(2026, 5, 2))
        with pytest.raises(Conflict, match="EUR"):
            await service.publish_rule(conn, site.lot_id, rule.model_copy(update={"currency": "EUR"}), date(2026, 6, 1))
    session_id = await _enter(ingest_db, site)
    assert (await _quote(web_db, site, session_id, NOON + timedelta(hours=24))).fee == Decimal("20.00")
    tomorrow = NOON + timedelta(days=1)
    await site.report(ingest_db, [site.passage("entry", "京B1", tomorrow)], tomorrow)
    (other,) = await rows(ingest_db, "SELECT id FROM parking_session WHERE plate = '京B1'")
    assert (await _quote(web_db, site, other["id"], tomorrow + timedelta(hours=24))).fee == Decimal("10.00")


STATES = [
    ("queued", 1), ("delivered", 1), ("executing", 1), ("done", 1), ("uncertain", 1), ("expired", 2), ("failed", 2),
]  # fmt: skip


@pytest.mark.parametrize(("state", "ordered"), STATES)
async def test_an_opening_that_surely_did_not_happen_is_ordered_again(
    ingest_db: Database, worker_db: Database, site: Site, state: str, ordered: int
) -> None:
    await _enter(ingest_db, site)
    await site.report(ingest_db, [site.passage("exit", PLATE, NOON + minutes(60), "arrived")], NOON + minutes(60))
    await rows(ingest_db, "UPDATE command SET state = %s RETURNING id", [state])
    for later in (2, 3):
        async with worker_db.transaction(SYSTEM) as conn:
            await service.let_out_waiting(conn, site.project_id, NOON + minutes(60 + later))
    assert len(await openings(ingest_db)) == ordered


async def test_a_lane_that_may_have_opened_already_is_not_opened_once_more(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    """The order was the lane's own, and its barrier did not answer: only a person opens, or the vehicle comes anew."""
    await _enter(ingest_db, site)
    at = NOON + minutes(60)
    arrived = msgspec.structs.replace(site.passage("exit", PLATE, at, "arrived"), decision="uncertain")
    await site.report(ingest_db, [arrived], at)
    async with worker_db.transaction(SYSTEM) as conn:
        assert await service.let_out_waiting(conn, site.project_id, at) == 0
    assert await openings(ingest_db) == []
    await site.report(ingest_db, [site.passage("exit", PLATE, at + minutes(1), "arrived")], at + minutes(1))
    assert len(await openings(ingest_db)) == 1


async def test_the_job_lets_out_who_waits_now(ingest_db: Database, worker_db: Database, site: Site) -> None:
    now = datetime.now(UTC)
    await site.report(ingest_db, [site.passage("entry", PLATE, now - minutes(60))], now)
    await site.report(ingest_db, [site.passage("exit", PLATE, now, "arrived")], now)
    await rows(ingest_db, "UPDATE command SET state = 'expired' RETURNING id")
    assert await jobs.let_out(JobContext(1, None, {}, worker_db)) == {"opened": 1}
    assert await jobs.let_out(JobContext(1, None, {}, worker_db)) == {"opened": 0}


async def test_nobody_is_let_out_again_who_left_turned_back_or_owes(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    await _enter(ingest_db, site)
    at = NOON + minutes(60)
    arrived = site.passage("exit", PLATE, at, "arrived")
    await site.report(ingest_db, [arrived], at)
    await rows(ingest_db, "UPDATE command SET state = 'expired' RETURNING id")
    await site.report(ingest_db, [site.passage("exit", PLATE, at, "turned-back", arrived)], at)
    async with worker_db.transaction(SYSTEM) as conn:
        assert await service.let_out_waiting(conn, site.project_id, at) == 0
    await site.report(ingest_db, [site.passage("exit", PLATE, FIVE_HOURS, "arrived")], FIVE_HOURS)
    async with worker_db.transaction(SYSTEM) as conn:
        assert await service.let_out_waiting(conn, site.project_id, FIVE_HOURS) == 0


async def test_a_payment_opens_where_an_earlier_opening_expired(
    ingest_db: Database, web_db: Database, site: Site
) -> None:
    session_id = await _enter(ingest_db, site)
    await _pay(web_db, site, session_id, "8.00", FIVE_HOURS)
    leaves = FIVE_HOURS + minutes(10)
    await site.report(ingest_db, [site.passage("exit", PLATE, leaves, "arrived")], leaves)
    await rows(ingest_db, "UPDATE command SET state = 'expired' RETURNING id")
    overstays = leaves + minutes(200)
    await site.report(ingest_db, [site.passage("exit", PLATE, overstays, "arrived")], overstays)
    price = await _quote(web_db, site, session_id, overstays)
    assert (await _pay(web_db, site, session_id, str(price.due), overstays)).command_id is not None
    assert [row["reason"] for row in await openings(ingest_db)] == ["nothing due", "paid"]


async def test_two_workers_with_the_same_arrival_open_once(owner_dsn: str, ingest_db: Database, site: Site) -> None:
    await _enter(ingest_db, site)
    at = NOON + minutes(60)
    arrived = site.passage("exit", PLATE, at, "arrived")
    # The camera recognises the standing vehicle again, as another passage.
    again = site.passage("exit", PLATE, at + timedelta(seconds=5), "arrived")
    await asyncio.gather(*(site.report(ingest_db, [one], at) for one in (arrived, arrived, again, arrived, again)))
    assert len(await openings(ingest_db)) == 1


async def test_staff_end_a_stay_that_nobody_saw_end(ingest_db: Database, web_db: Database, site: Site) -> None:
    await site.report(ingest_db, [site.passage("entry", "", NOON)], NOON)
    (unlicensed,) = await rows(ingest_db, "SELECT id FROM parking_session")
    async with web_db.transaction(site.staff) as conn:
        with pytest.raises(InvalidInput):
            await service.close_session(conn, unlicensed["id"], " ", "user:guard")
        await service.close_session(conn, unlicensed["id"], "not in the lot", "user:guard", FIVE_HOURS)
        with pytest.raises(Conflict, match="over already"):
            await service.close_session(conn, unlicensed["id"], "again", "user:guard", FIVE_HOURS)
        assert [found.inside for found in await service.cars_inside(conn, site.project_id)] == [0]
    assert await rows(ingest_db, "SELECT state, left_at, closed_by, closed_reason FROM parking_session") == [
        {"state": "unmatched", "left_at": FIVE_HOURS, "closed_by": "user:guard", "closed_reason": "not in the lot"}
    ]
    async with web_db.transaction(site.staff) as conn:
        found = await conn.execute("SELECT after FROM audit_entry WHERE action = 'update' AND user_id = 1")
        assert [row["after"]["closed_reason"] for row in await found.fetchall()] == ["not in the lot"]


async def test_a_stay_ended_by_hand_opens_again_only_when_its_vehicle_is_seen(
    ingest_db: Database, web_db: Database, site: Site
) -> None:
    session_id = await _enter(ingest_db, site)
    async with web_db.transaction(site.staff) as conn:
        await service.close_session(conn, session_id, "gone", "user:guard", FIVE_HOURS)
    late = site.passage("exit", PLATE, NOON + minutes(5), "turned-back")
    await site.report(ingest_db, [late], FIVE_HOURS)
    assert [stay[1] for stay in await stays(ingest_db)] == ["unmatched"]
    leaves = FIVE_HOURS + minutes(30)
    await site.report(ingest_db, [site.passage("exit", PLATE, leaves, "arrived")], leaves)
    assert [stay[1] for stay in await stays(ingest_db)] == ["open"]
    await site.report(ingest_db, [site.passage("exit", PLATE, leaves)], leaves)
    assert [stay[1:4] for stay in await stays(ingest_db)] == [("closed", NOON, leaves)]


async def test_a_clock_ahead_of_the_clouds_prices_from_its_own_entry(
    ingest_db: Database, web_db: Database, site: Site
) -> None:
    session_id = await _enter(ingest_db, site)
    price = await _quote(web_db, site, session_id, NOON - minutes(9))
    assert (price.due, price.until) == (Decimal("0.00"), NOON)
    ahead = site.passage("exit", PLATE, FIVE_HOURS + minutes(9), "arrived")
    await site.report(ingest_db, [ahead], FIVE_HOURS)
    paid = await _pay(web_db, site, session_id, "9.00", FIVE_HOURS + minutes(1))
    assert paid.command_id is not None
