"""What decides beside the rule what a stay costs: the quota of the day in any order of the passages, days, charging."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from random import Random
from zoneinfo import ZoneInfo

import pytest

from cloud.estate.calendar import CalendarDay, set_calendar_days
from cloud.kit.db import SYSTEM, Database
from cloud.kit.errors import Conflict
from cloud.parking import service
from cloud.parking.charging.circumstances import circumstances
from cloud.parking.coupons.redeeming import note_charging
from cloud.parking.fees.circumstances import Charged, CoveredTime
from cloud.parking.fees.models import ChargingCredit, ParkingRule, PriceWindow, Schedule, Unit
from gateway.contract.access import LotEntry
from gateway.contract.messages import Passage
from tests.integration.parking.permits.holder import make_permit
from tests.integration.parking.site import NOON, Site, minutes, openings, rows
from tests.integration.parking.told import heard, tell

PLATE = "京A12345"
MORNING = datetime(2026, 5, 4, 0, tzinfo=UTC)
"""08:00 in Shanghai on a Monday, with the rule of `_publish` in force."""
SHANGHAI = ZoneInfo("Asia/Shanghai")
HOURLY = Unit(minutes=60, price=Decimal(2))
QUOTA = Schedule(free_minutes=120, free_minutes_per="day", billing_from="end-of-free", unit=HOURLY)


async def _publish(db: Database, site: Site, schedule: Schedule) -> None:
    async with db.transaction(SYSTEM) as conn:
        await service.publish_rule(conn, site.lot_id, ParkingRule(name="x", schedule=schedule), date(2026, 5, 2))


def _stay(site: Site, begin: int, length: int, plate: str = PLATE) -> list[Passage]:
    entered = MORNING + minutes(begin)
    return [site.passage("entry", plate, entered), site.passage("exit", plate, entered + minutes(length))]


async def _fees(db: Database) -> list[Decimal | None]:
    found = await rows(db, "SELECT fee FROM parking_session ORDER BY entered_at")
    return [row["fee"] for row in found]


@pytest.mark.parametrize("seed", range(4))
async def test_stays_of_a_day_share_its_free_minutes_whatever_the_order_of_the_passages(
    ingest_db: Database, worker_db: Database, site: Site, seed: int
) -> None:
    await _publish(worker_db, site, QUOTA)
    # 60 minutes of the quota are used, then 45 more; 15 are left for the third, and the next day begins afresh.
    days = [*_stay(site, 0, 60), *_stay(site, 90, 45), *_stay(site, 240, 75), *_stay(site, 24 * 60, 121)]
    others = _stay(site, 0, 180, "粤B1")
    passages = [*days, *others]
    Random(seed).shuffle(passages)
    now = MORNING + timedelta(days=3)
    for start in range(0, len(passages), 3):
        await site.report(ingest_db, passages[start : start + 3], now)
    found = await rows(ingest_db, "SELECT fee FROM parking_session WHERE plate = %s ORDER BY entered_at", (PLATE,))
    assert [row["fee"] for row in found] == [Decimal(0), Decimal(0), Decimal(2), Decimal(2)]
    found = await rows(ingest_db, "SELECT fee FROM parking_session WHERE plate <> %s", (PLATE,))
    assert [row["fee"] for row in found] == [Decimal(2)]


async def test_an_earlier_stay_that_becomes_known_late_prices_the_later_one_anew(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    await _publish(worker_db, site, QUOTA)
    now = MORNING + timedelta(days=1)
    await site.report(ingest_db, _stay(site, 300, 120), now)
    assert await _fees(ingest_db) == [Decimal(0)]
    await site.report(ingest_db, _stay(site, 0, 100), now)
    assert await _fees(ingest_db) == [Decimal(0), Decimal(4)]


async def test_what_a_permit_covered_of_earlier_stays_took_nothing_of_the_quota(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    await _publish(worker_db, site, QUOTA)
    await make_permit(worker_db, site, (PLATE,), since=MORNING + minutes(10), until=MORNING + minutes(330))
    await site.report(ingest_db, [*_stay(site, 0, 100), *_stay(site, 300, 120)], MORNING + timedelta(days=1))
    async with worker_db.transaction(SYSTEM) as conn:
        sessions = [await service.get_session(conn, row["id"]) for row in await rows(worker_db, _IDS)]
        given = await circumstances(conn, site.project_id, SHANGHAI, [one.session for one in sessions])
    second = given[sessions[1].session.id]
    assert second.free_used == minutes(10)
    assert CoveredTime(MORNING + minutes(300), MORNING + minutes(330)) in second.covered


_IDS = "SELECT id FROM parking_session ORDER BY entered_at"


async def test_the_edge_promises_no_free_minutes_that_may_be_used_up(worker_db: Database, site: Site) -> None:
    await _publish(worker_db, site, QUOTA)
    await tell(worker_db, site.project_id, MORNING + timedelta(days=30))
    assert [entry.free_ms for entry in await heard(worker_db) if isinstance(entry, LotEntry)] == [0]


def _windows() -> Sequence[PriceWindow]:
    working, others = ("work",), ("rest", "holiday", "critical")
    return (
        PriceWindow(start="00:00", end="24:00", days=working, minutes=60, price=Decimal(2)),
        PriceWindow(start="00:00", end="24:00", days=others, minutes=60, price=Decimal(1)),
    )


async def test_days_are_what_the_calendar_of_the_project_says(
    ingest_db: Database, web_db: Database, worker_db: Database, site: Site
) -> None:
    await _publish(worker_db, site, Schedule(windows=tuple(_windows())))
    async with worker_db.transaction(SYSTEM) as conn:
        days = [CalendarDay(date(2026, 5, 4), "holiday", "劳动节"), CalendarDay(date(2026, 5, 9), "work", "上班")]
        await set_calendar_days(conn, site.project_id, days)
    week = [passage for day in range(7) for passage in _stay(site, day * 1440, 60)]
    await site.report(ingest_db, week, MORNING + timedelta(days=8))
    # Monday is a holiday, Saturday the 9th is worked instead, Sunday is a day of rest.
    assert await _fees(ingest_db) == [Decimal(price) for price in (1, 2, 2, 2, 2, 2, 1)]


async def test_charging_gives_free_time_and_lets_the_waiting_vehicle_out(
    ingest_db: Database, web_db: Database, worker_db: Database, site: Site
) -> None:
    credit = ChargingCredit(free_minutes_per_kwh=6, at_most_minutes=180)
    await _publish(worker_db, site, Schedule(unit=HOURLY, charging=credit))
    entered, leaves = MORNING, MORNING + minutes(150)
    arrived = site.passage("exit", PLATE, leaves, "arrived")
    await site.report(ingest_db, [site.passage("entry", PLATE, entered), arrived], leaves)
    (session,) = await rows(ingest_db, "SELECT id FROM parking_session")
    async with web_db.transaction(site.staff) as conn:
        await note_charging(conn, session["id"], Decimal("10.5"), 0, "user:guard", leaves)
        quote = await service.quote(conn, session["id"], leaves)
        assert [(step.kind, step.amount) for step in quote.steps] == [
            ("units", Decimal("6.00")),
            ("charging-credit", Decimal("-2.00")),
        ]
    assert await openings(ingest_db) == []
    async with web_db.transaction(site.staff) as conn:
        await note_charging(conn, session["id"], Decimal(20), 0, "user:guard", leaves)
        session_of = (await service.get_session(conn, session["id"])).session
        given = await circumstances(conn, site.project_id, SHANGHAI, [session_of])
    assert given[session["id"]].charged == Charged(Decimal("30.500"), 0)
    assert len(await openings(ingest_db)) == 1
    await site.report(ingest_db, [site.passage("exit", PLATE, leaves, "passed", arrived)], leaves)
    assert await _fees(ingest_db) == [Decimal(0)]
    async with web_db.transaction(site.staff) as conn:
        with pytest.raises(Conflict, match="over"):
            await note_charging(conn, session["id"], Decimal(1), 0, "user:guard", leaves)


async def test_the_rule_of_the_day_of_entry_still_holds(ingest_db: Database, worker_db: Database, site: Site) -> None:
    await _publish(worker_db, site, QUOTA)
    before = [site.passage("entry", PLATE, NOON), site.passage("exit", PLATE, NOON + minutes(300))]
    await site.report(ingest_db, before, NOON + timedelta(days=1))
    assert await _fees(ingest_db) == [Decimal("8.00")]
