"""What gateways are told of lots and stays: the differences, and nothing twice."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from cloud.kit.db import SYSTEM, Database
from cloud.kit.locks import try_lock
from cloud.kit.yaml_files import load_yaml
from cloud.parking import service
from cloud.parking.edge import telling as edge
from cloud.parking.edge.repository import LotPlace
from cloud.parking.fees.models import ParkingRule
from cloud.parking.fees.versions import Pricing
from cloud.parking.records import RuleVersion
from gateway.access.book import AccessBook
from gateway.contract.access import AccessEntry, AccessUpdate, GoneEntry, LotEntry, StayEntry, as_sent
from tests.integration.parking.site import MALL, NOON, Site, minutes
from tests.integration.parking.told import heard, tell

PLATE = "京A12345"
RULE = load_yaml(MALL, ParkingRule)


async def told(db: Database, site: Site, now: datetime = NOON) -> list[AccessEntry]:
    """What the gateway is told now."""
    await tell(db, site.project_id, now)
    return await heard(db)


def lots(entries: Sequence[AccessEntry]) -> list[LotEntry]:
    return [entry for entry in entries if isinstance(entry, LotEntry)]


async def test_lots_are_told_with_their_room_and_free_minutes_once(worker_db: Database, site: Site) -> None:
    first = lots(await told(worker_db, site))
    assert (first[0].lot, first[0].vehicle_class, first[0].capacity) == ("main", "", 2)
    assert first[0].free_ms == RULE.schedule.free_minutes * 60_000
    assert {entry.vehicle_class for entry in first} == {"", *RULE.classes}
    assert all(entry.capacity == -1 for entry in first[1:])
    assert await told(worker_db, site) == []


async def test_a_rule_that_changed_gives_the_smaller_allowance_for_a_while(worker_db: Database, site: Site) -> None:
    stingy = RULE.model_copy(update={"schedule": RULE.schedule.model_copy(update={"free_minutes": 5})})
    async with worker_db.transaction(SYSTEM) as conn:
        await service.publish_rule(conn, site.lot_id, stingy, NOON.date())
        await service.publish_rule(conn, site.lot_id, RULE, NOON.date() + timedelta(days=2))
    free = [lots(await told(worker_db, site, NOON + timedelta(days=days)))[:1] for days in (0, 5, 30)]
    assert free[0][0].free_ms == 5 * 60_000
    assert free[1] == [], "whoever came in by the other rule may leave now"
    assert free[2][0].free_ms == RULE.schedule.free_minutes * 60_000


def test_without_a_rule_nothing_is_free() -> None:
    assert edge.free_minutes([], "small") == 0
    versions = [RuleVersion(1, 1, 1, date(2025, 1, 1), None, RULE)]
    assert edge.free_minutes(versions, "small") == RULE.schedule.free_minutes
    of_a_day = RULE.schedule.model_copy(update={"free_minutes_per": "day"})
    quota = RuleVersion(2, 1, 2, date(2025, 2, 1), None, RULE.model_copy(update={"schedule": of_a_day}))
    assert edge.free_minutes([*versions, quota], "small") == 0, "only the cloud knows what is left of a quota"


def test_a_lot_whose_rule_has_ended_tells_of_no_free_minutes() -> None:
    """Nobody can price a stay that begins today: no lane may take it for free."""
    ended = RuleVersion(1, 1, 1, date(2025, 1, 1), NOON.date() - timedelta(days=1), RULE)
    for version, free in ((ended, 0), (replace(ended, valid_until=None), RULE.schedule.free_minutes)):
        rates = Pricing(ZoneInfo("Asia/Shanghai"), (version,))
        first = next(iter(edge._lot_entries(LotPlace(1, "main", 2), rates, NOON)))
        assert first.free_ms == free * 60_000


async def test_a_stay_is_told_by_its_entry_and_taken_back_when_it_ends(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    entry = site.passage("entry", PLATE, NOON)
    await site.report(ingest_db, [entry], NOON)
    entries = await told(worker_db, site)
    assert StayEntry(entry.id, PLATE, "main", "small", entry.taken_at) in entries
    await site.report(ingest_db, [site.passage("exit", PLATE, NOON + minutes(10))], NOON + minutes(10))
    assert await told(worker_db, site, NOON + minutes(11)) == [GoneEntry("stay", entry.id)]
    assert await told(worker_db, site, NOON + minutes(12)) == []


async def test_a_stay_that_was_over_before_it_was_told_is_told_to_be_gone(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    await told(worker_db, site)
    entry = site.passage("entry", PLATE, NOON)
    await site.report(ingest_db, [entry, site.passage("exit", PLATE, NOON + minutes(5))], NOON + minutes(5))
    assert await told(worker_db, site, NOON + minutes(6)) == [GoneEntry("stay", entry.id)]


async def test_what_is_paid_lets_out_without_the_cloud_until_the_time_to_leave_is_over(
    ingest_db: Database, worker_db: Database, web_db: Database, site: Site
) -> None:
    entry = site.passage("entry", PLATE, NOON)
    await site.report(ingest_db, [entry], NOON)
    later = NOON + timedelta(hours=5)
    async with web_db.transaction(site.staff) as conn:
        session = (await service.cars_inside(conn, site.project_id))[0]
        assert session.inside == 1
    session_id = await _session_id(worker_db)
    async with web_db.transaction(site.staff) as conn:
        due = (await service.quote(conn, session_id, later)).due
        await service.pay(conn, session_id, Decimal(due), "cash", "user:guard", at=later)
    stays = [one for one in await told(worker_db, site, later) if isinstance(one, StayEntry)]
    leave_by = int((later + minutes(RULE.leave_within_minutes)).timestamp() * 1000)
    assert [one.paid_until for one in stays] == [leave_by]
    late = later + timedelta(hours=3)
    assert [one.paid_until for one in await told(worker_db, site, late) if isinstance(one, StayEntry)] == [1]
    book = AccessBook()
    await book.take(AccessUpdate(1, "p", "gw1", 0, 1, 1, 1, leave_by, tuple(map(as_sent, stays)), "test", "k1"))
    assert book.inside("main") == 1
    book.close()


async def _session_id(db: Database) -> int:
    async with db.transaction(SYSTEM) as conn:
        row = await (await conn.execute("SELECT id FROM parking_session")).fetchone()
    assert row is not None
    return int(row["id"])


async def test_a_little_at_a_time_all_is_told_once(
    ingest_db: Database, worker_db: Database, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge, "_ROWS_AT_ONCE", 2)
    await told(worker_db, site)
    stays = [site.passage("entry", f"京A0000{n}", NOON) for n in range(5)]
    await site.report(ingest_db, stays, NOON)
    await site.report(ingest_db, [site.passage("exit", "京A00000", NOON + minutes(1))], NOON + minutes(1))

    later = NOON + minutes(1)
    async with worker_db.transaction(SYSTEM) as other:
        assert await try_lock(other, edge._LOCK_SPACE, [site.project_id])
        assert await tell(worker_db, site.project_id, later) == 0, "another worker is at it"
    assert await tell(worker_db, site.project_id, later) > 1
    found = await heard(worker_db)
    assert {one.key for one in found if isinstance(one, StayEntry)} == {str(one.id) for one in stays[1:]}
    assert {one.key for one in found if isinstance(one, GoneEntry)} == {str(stays[0].id)}
    assert await tell(worker_db, site.project_id, later) == 0, "what is told is told once"
    assert await heard(worker_db) == []
