"""What drivers are told at their lane: exactly what is due there, anew when it changes, and never in anybody's way."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import psycopg
import pytest

from cloud.devices import service as devices
from cloud.kit.db import SYSTEM, Conn, Database
from cloud.kit.jobs import JobContext
from cloud.kit.paging import PageRequest
from cloud.kit.periods import in_ms
from cloud.notices import service as notices
from cloud.notices.records import Settings
from cloud.parking import jobs, service
from cloud.parking.charging import showing
from cloud.parking.coupons import service as coupons
from cloud.parking.coupons.records import NewBatch
from cloud.parking.coupons.redeeming import redeem_for
from cloud.parking.stays import corrections, tickets
from cloud.reports import exceptions
from gateway.contract.messages import DeviceHealth, Health
from tests.integration.parking.site import NOON, Site, minutes, openings, rows

PLATE = "京A12345"
FIVE_HOURS = NOON + timedelta(hours=5)
BARRIER = ("open-barrier", "close-barrier")


async def shows(db: Database, site: Site, *lanes: str, also: Sequence[str] = ("show-due",)) -> None:
    """The gateway says what these lanes can."""
    async with db.transaction(SYSTEM) as conn:
        gateway = (await devices.list_gateways(conn, PageRequest(1), site.project_id)).items[0]
        told = tuple(DeviceHealth(lane, 0, 0, 0, 0, 0, 0, (*BARRIER, *also)) for lane in lanes)
        health = Health(in_ms(datetime.now(UTC)), "0", 1, 0, 0, 0, 0, told)
        await devices.apply_health(conn, gateway.id, health)


async def shown(db: Database) -> list[dict[str, Any]]:
    """What displays are told, oldest first."""
    query = "SELECT arguments FROM command WHERE action = 'show-due' ORDER BY issued_at, id"
    return [row["arguments"] for row in await rows(db, query)]


async def amounts(db: Database) -> list[str]:
    return [one["amount"] for one in await shown(db)]


async def enter(db: Database, site: Site, plate: str = PLATE, at: datetime = NOON) -> int:
    await site.report(db, [site.passage("entry", plate, at)], at)
    (session,) = await rows(db, "SELECT id FROM parking_session WHERE state = 'open' AND plate = %s", [plate])
    return int(session["id"])


async def arrive(db: Database, site: Site, plate: str = PLATE, at: datetime = FIVE_HOURS) -> UUID:
    passage = site.passage("exit", plate, at, "arrived")
    await site.report(db, [passage], at)
    return UUID(passage.id)


async def pay(db: Database, session_id: int, amount: str, at: datetime) -> None:
    async with db.transaction(SYSTEM) as conn:
        await service.pay(conn, session_id, Decimal(amount), "cash", "user:guard", at=at)


async def test_who_owes_reads_plate_and_amount_once_and_nothing_opens(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    await shows(worker_db, site, "entry", "exit")
    await enter(ingest_db, site)
    passage = await arrive(ingest_db, site)
    (told,) = await shown(ingest_db)
    text = told.pop("text")
    assert told == {
        "passage": str(passage), "plate": PLATE, "amount": "8.00", "currency": "CNY", "minutes": "300",
        "since": "2026-05-01 12:00:00",
    }  # fmt: skip
    assert "8.00" in text
    async with worker_db.transaction(SYSTEM) as conn:
        await service.let_out_waiting(conn, site.project_id, FIVE_HOURS + minutes(3))
    assert await amounts(ingest_db) == ["8.00"]
    assert await openings(ingest_db) == []


async def test_it_is_told_in_the_language_of_the_project_with_the_code_where_there_is_one(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    await shows(worker_db, site, "exit")
    async with worker_db.transaction(SYSTEM) as conn:
        await notices.set_settings(conn, Settings(site.project_id, language="en"))
        await service.set_money_policy(conn, site.project_id, service.MoneyPolicy(), public=True)
    await enter(ingest_db, site)
    await arrive(ingest_db, site)
    (told,) = await shown(ingest_db)
    assert told["text"] == "Please pay ¥8.00: by phone with the QR code on the sign"


async def test_after_a_part_the_rest_is_shown_and_then_it_opens(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    await shows(worker_db, site, "exit")
    first = await enter(ingest_db, site, at=NOON - timedelta(days=2))
    left = NOON - timedelta(days=2) + timedelta(hours=5)
    await site.report(ingest_db, [site.passage("exit", PLATE, left)], left)
    second = await enter(ingest_db, site)
    passage = await arrive(ingest_db, site)
    assert await amounts(ingest_db) == ["16.00"], "the debt is collected"
    await pay(worker_db, second, "8.00", FIVE_HOURS + minutes(1))
    assert await amounts(ingest_db) == ["16.00", "8.00"]
    assert await openings(ingest_db) == []
    await pay(worker_db, first, "8.00", FIVE_HOURS + minutes(2))
    async with worker_db.transaction(SYSTEM) as conn:
        await service.let_out_waiting(conn, site.project_id, FIVE_HOURS + minutes(3))
    assert [one["arguments"]["passage"] for one in await openings(ingest_db)] == [str(passage)]
    assert len(await shown(ingest_db)) == 2


async def test_a_coupon_lowers_what_is_shown(ingest_db: Database, worker_db: Database, site: Site) -> None:
    await shows(worker_db, site, "exit")
    await enter(ingest_db, site)
    await arrive(ingest_db, site)
    async with worker_db.transaction(SYSTEM) as conn:
        merchant = await coupons.create_merchant(conn, site.project_id, "Noodles", "monthly")
        new = NewBatch(merchant.id, "money", Decimal(5), Decimal(0), 1, date(2026, 1, 1), date(2027, 1, 1))
        batch = await coupons.issue(conn, new, "user:manager", NOON)
        (coupon,) = (await coupons.list_coupons(conn, PageRequest(1), batch.id)).items
        await redeem_for(conn, site.project_id, PLATE, coupon.code, "public", FIVE_HOURS + minutes(1))
    assert await amounts(ingest_db) == ["8.00", "3.00"]


async def test_what_no_gateway_took_in_time_is_told_again(ingest_db: Database, worker_db: Database, site: Site) -> None:
    await shows(worker_db, site, "exit")
    await enter(ingest_db, site, at=datetime.now(UTC) - timedelta(hours=4, minutes=58))
    await arrive(ingest_db, site, at=datetime.now(UTC))
    for state, told in (("failed", 1), ("expired", 2), ("done", 2)):
        await rows(ingest_db, "UPDATE command SET state = %s RETURNING id", [state])
        await jobs.let_out(JobContext(1, None, {}, worker_db))
        assert len(await shown(ingest_db)) == told


async def stood_for(db: Database, total: timedelta, told: timedelta) -> None:
    """The vehicle came to the exit `total` ago, and its driver was told what is due `told` ago."""
    async with db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE passage SET taken_at = now() - %s WHERE outcome = 'arrived'", [total])
        last = "(SELECT due_command_id FROM passage WHERE outcome = 'arrived')"
        await conn.execute(f"UPDATE command SET issued_at = now() - %s WHERE id IN {last}", [told])


@pytest.mark.parametrize("state", ["failed", "uncertain"])
async def test_what_a_lane_could_not_show_is_told_again_with_growing_pauses(
    ingest_db: Database, worker_db: Database, site: Site, state: str
) -> None:
    """Its gateway had lost the barriers' broker, or stopped in the midst of it."""
    await shows(worker_db, site, "exit")
    await enter(ingest_db, site, at=datetime.now(UTC) - timedelta(hours=4, minutes=30))
    await arrive(ingest_db, site, at=datetime.now(UTC))
    told: list[int] = []
    for minute in range(1, 30):
        await rows(ingest_db, "UPDATE command SET state = %s WHERE state = 'queued' RETURNING id", [state])
        last = told[-1] if told else 0
        await stood_for(worker_db, minutes(minute), minutes(minute - last))
        before = len(await shown(ingest_db))
        await jobs.let_out(JobContext(1, None, {}, worker_db))
        if len(await shown(ingest_db)) > before:
            told.append(minute)
    assert told == [1, 2, 4, 8, 16]
    assert await openings(ingest_db) == []


async def test_who_stands_there_longer_than_a_display_shows_it_is_told_again(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    await shows(worker_db, site, "exit")
    await enter(ingest_db, site, at=datetime.now(UTC) - timedelta(hours=4, minutes=30))
    await arrive(ingest_db, site, at=datetime.now(UTC))
    await rows(ingest_db, "UPDATE command SET state = 'done' RETURNING id")
    for minute, told in ((8, 1), (9, 2)):
        await stood_for(worker_db, minutes(minute), minutes(minute))
        await jobs.let_out(JobContext(1, None, {}, worker_db))
        assert len(await shown(ingest_db)) == told


@pytest.mark.parametrize("end", ["turned-back", "passed", "another", "long ago"])
async def test_what_failed_is_not_told_again_once_nobody_stands_there(
    ingest_db: Database, worker_db: Database, site: Site, end: str
) -> None:
    await shows(worker_db, site, "exit")
    came = datetime.now(UTC) - minutes(10)
    await enter(ingest_db, site, at=came - timedelta(hours=4, minutes=30))
    passage = site.passage("exit", PLATE, came, "arrived")
    await site.report(ingest_db, [passage], came)
    await rows(ingest_db, "UPDATE command SET state = 'failed' RETURNING id")
    await stood_for(worker_db, minutes(31 if end == "long ago" else 10), minutes(9))
    if end == "another":
        await arrive(ingest_db, site, "京B77777", datetime.now(UTC))
    elif end != "long ago":
        await site.report(ingest_db, [site.passage("exit", PLATE, came, end, passage)], datetime.now(UTC))
    await jobs.let_out(JobContext(1, None, {}, worker_db))
    assert [one["plate"] for one in await shown(ingest_db) if one["plate"] == PLATE] == [PLATE]


async def test_what_failed_is_told_again_with_what_is_due_by_now_and_not_once_it_is_paid(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    await shows(worker_db, site, "exit")
    left = datetime.now(UTC) - timedelta(days=2)
    await enter(ingest_db, site, at=left - timedelta(hours=5))
    await site.report(ingest_db, [site.passage("exit", PLATE, left)], left)
    session_id = await enter(ingest_db, site, at=datetime.now(UTC) - timedelta(hours=4))
    await arrive(ingest_db, site, at=datetime.now(UTC))
    (first,) = await amounts(ingest_db)
    await rows(ingest_db, "UPDATE command SET state = 'failed' RETURNING id")
    await stood_for(worker_db, minutes(2), minutes(2))
    async with worker_db.transaction(SYSTEM) as conn:
        price = await service.quote(conn, session_id)
    await pay(worker_db, session_id, str(price.due), datetime.now(UTC))
    await jobs.let_out(JobContext(1, None, {}, worker_db))
    assert await amounts(ingest_db) == [first, "8.00"]
    await rows(ingest_db, "UPDATE command SET state = 'failed' RETURNING id")
    await stood_for(worker_db, minutes(4), minutes(2))
    (debt,) = await rows(ingest_db, "SELECT id FROM parking_session WHERE unpaid > 0 AND state = 'closed'")
    await pay(worker_db, debt["id"], "8.00", datetime.now(UTC))
    await jobs.let_out(JobContext(1, None, {}, worker_db))
    assert await amounts(ingest_db) == [first, "8.00"]
    assert len(await openings(ingest_db)) == 1


async def test_a_corrected_plate_shows_its_own_amount(ingest_db: Database, worker_db: Database, site: Site) -> None:
    await shows(worker_db, site, "exit")
    await enter(ingest_db, site, "京B77777", NOON - timedelta(hours=20))
    await enter(ingest_db, site)
    passage = await arrive(ingest_db, site)
    async with worker_db.transaction(SYSTEM) as conn:
        await corrections.say_plate(conn, passage, "京B77777", "misread", "user:guard", FIVE_HOURS + minutes(1))
    assert [(one["plate"], one["amount"]) for one in await shown(ingest_db)] == [
        (PLATE, "8.00"),
        ("京B77777", "21.00"),
    ]


async def test_a_vehicle_without_a_plate_is_named_by_its_ticket(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    await shows(worker_db, site, "exit")
    entered = site.passage("entry", "", NOON)
    await site.report(ingest_db, [entered], NOON)
    waiting = site.passage("exit", "", FIVE_HOURS, "arrived")
    async with worker_db.transaction(SYSTEM) as conn:
        ticket = await tickets.issue_ticket(conn, UUID(entered.id), "user:guard", NOON)
    await site.report(ingest_db, [waiting], FIVE_HOURS)
    assert await shown(ingest_db) == []
    async with worker_db.transaction(SYSTEM) as conn:
        await tickets.show_ticket(conn, ticket, UUID(waiting.id), "user:guard", FIVE_HOURS)
    (told,) = await shown(ingest_db)
    assert (told["ticket"], told["amount"], "plate" in told) == (ticket.code, "8.00", False)


@pytest.mark.parametrize("can", [None, (), ("list-plate",)])
async def test_a_lane_that_does_not_say_that_it_shows_anything_is_told_nothing(
    ingest_db: Database, worker_db: Database, site: Site, can: tuple[str, ...] | None
) -> None:
    """An older gateway would refuse the word each time."""
    if can is not None:
        await shows(worker_db, site, "entry", "exit", also=can)
    session_id = await enter(ingest_db, site)
    await arrive(ingest_db, site)
    assert await shown(ingest_db) == []
    await pay(worker_db, session_id, "8.00", FIVE_HOURS + minutes(1))
    assert len(await openings(ingest_db)) == 1


async def test_what_is_told_afterwards_is_shown_to_nobody(ingest_db: Database, worker_db: Database, site: Site) -> None:
    await shows(worker_db, site, "exit")
    await enter(ingest_db, site)
    passage = msgspec.structs.replace(site.passage("exit", PLATE, FIVE_HOURS, "arrived"), offline=True)
    await site.report(ingest_db, [passage], FIVE_HOURS + minutes(2))
    assert await shown(ingest_db) == []


async def two_exits(db: Database, site: Site) -> None:
    async with db.transaction(SYSTEM) as conn:
        gateway_id = (await devices.get_device(conn, site.exit.device_id)).gateway_id
        device = await devices.create_device(conn, site.project_id, gateway_id, "exit-2", "barrier")
        await service.create_lane(conn, site.lot_id, "exit-2", "exit-2", "exit", device.id)
    await shows(db, site, "exit", "exit-2")


async def both_arrive(db: Database, site: Site, owing: str, other: str) -> None:
    at = FIVE_HOURS
    second = msgspec.structs.replace(site.passage("exit-2", other, at, "arrived"), direction="exit")
    await site.report(db, [site.passage("exit", owing, at, "arrived"), second], at)


async def test_a_display_that_cannot_be_told_holds_nobody(
    ingest_db: Database, worker_db: Database, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One owes, the other one does not; what fails in telling the first is undone alone."""

    async def breaks(conn: Conn, *_: object) -> None:
        await conn.execute("SELECT 1 / 0")

    monkeypatch.setattr(showing, "_tell", breaks)
    await two_exits(worker_db, site)
    await enter(ingest_db, site)
    await enter(ingest_db, site, "京C33333", FIVE_HOURS - minutes(20))
    await both_arrive(ingest_db, site, PLATE, "京C33333")
    assert len(await openings(ingest_db)) == 1
    assert (await rows(ingest_db, "SELECT count(*) AS n FROM passage WHERE outcome = 'arrived'"))[0]["n"] == 2


async def test_all_of_a_transaction_are_told_at_once(
    ingest_db: Database, worker_db: Database, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So many statements for two as for one, and none for who owes nothing."""
    counted: list[int] = []
    tell, execute = showing._tell, psycopg.AsyncConnection.execute

    async def count(self: Any, *arguments: Any, **more: Any) -> Any:
        if counted:
            counted[-1] += 1
        return await execute(self, *arguments, **more)

    async def counting(*arguments: Any) -> None:
        counted.append(0)
        monkeypatch.setattr(psycopg.AsyncConnection, "execute", count)
        await tell(*arguments)
        monkeypatch.setattr(psycopg.AsyncConnection, "execute", execute)

    monkeypatch.setattr(showing, "_tell", counting)
    await two_exits(worker_db, site)
    await enter(ingest_db, site, "京F66666", FIVE_HOURS - minutes(30))
    await arrive(ingest_db, site, "京F66666", FIVE_HOURS - minutes(10))
    assert counted == []
    for plate in (PLATE, "京C33333", "京D44444"):
        await enter(ingest_db, site, plate)
    await arrive(ingest_db, site, "京D44444", FIVE_HOURS - minutes(5))
    await both_arrive(ingest_db, site, PLATE, "京C33333")
    assert len(counted) == 2
    assert counted[0] == counted[1] > 0
    assert len(await shown(ingest_db)) == 3


async def test_what_a_display_did_not_show_is_no_work_for_anybody(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    await shows(worker_db, site, "exit")
    await enter(ingest_db, site)
    await arrive(ingest_db, site)
    for state in ("failed", "expired", "uncertain"):
        await rows(ingest_db, "UPDATE command SET state = %s RETURNING id", [state])
        async with worker_db.transaction(SYSTEM) as conn:
            assert (await exceptions.exceptions(conn, PageRequest(10), "commands", site.project_id)).items == []
