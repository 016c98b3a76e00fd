"""What people and other features read: boundaries, bars, totals, each within its scope."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from cloud.ingest.writer import Writer
from cloud.kit.db import SYSTEM, Asker, Database
from cloud.kit.errors import NotFound
from cloud.kit.paging import PageRequest, page_request
from cloud.kit.periods import Period
from cloud.metering import service
from cloud.metering.records import UsageTotal
from gateway.contract.messages import Point
from tests.integration.metering.site import CHANNEL, HOUR_MS, START_MS, Site, hourly, make_site, message
from tests.integration.metering.test_derivation import derive

ZONE = ZoneInfo("Asia/Shanghai")
START = datetime.fromtimestamp(START_MS / 1000, UTC)


@pytest.fixture
async def site(worker_db: Database, ingest_db: Database) -> Site:
    """m1: 48 hours of 10 Wh an hour with two readings missing; m2: one reading, 2 s late."""
    site = await make_site(worker_db)
    points = [point for n, point in enumerate(hourly("m1", 0, range(0, 490, 10))) if n not in (20, 21)]
    points.append(Point("m2", CHANNEL, START_MS + 2_000, 7))
    await Writer(ingest_db).store([message(1, points)])
    await derive(worker_db)
    return site


def staff(site: Site) -> Asker:
    return Asker(kind="staff", projects=(site.project_id,))


async def test_bars_and_totals(web_db: Database, worker_db: Database, site: Site) -> None:
    first = START.astimezone(ZONE).date()
    async with web_db.transaction(staff(site)) as conn:
        bars = await service.usage_series(conn, site.meters[0], Period(first, first + timedelta(days=3)), "hour", ZONE)
        whole = await service.usage_between(conn, site.meters[0], 1, START, START + timedelta(hours=48))
        cut = await service.usage_between(conn, site.meters[0], 1, START, START + timedelta(hours=20))
        consumed = await service.consumption(conn, site.project_id, "electricity", START, START + timedelta(hours=48))
    assert [bar.quantity for bar in bars[8:27]] == [10] * 19
    assert sum(bar.quantity or 0 for bar in bars[27:30]) == 30
    assert [bar.estimated for bar in bars[26:31]] == [False, True, True, True, False]
    assert not any(bar.spans_gap for bar in bars)
    assert whole == UsageTotal(quantity=480, complete=True, rollovers=0, gaps=0, estimated=3)
    assert cut.complete
    assert consumed == 480


async def test_boundaries_follow_the_rule_of_usage(worker_db: Database, site: Site) -> None:
    first, second = site.meters[:2]
    missing = START + timedelta(hours=20)
    async with worker_db.transaction(SYSTEM) as conn:
        found = await service.boundary_readings(conn, [(first, START), (first, missing), (second, START)])
        exact = await service.boundary_readings(conn, [(second, START)], timedelta(seconds=2))
        latest = await service.latest_readings(conn, site.meters)
    assert {key: reading.value for key, reading in found.items()} == {(first, START): 0, (second, START): 7}
    assert exact == {}
    assert {meter: [one.value for one in readings] for meter, readings in latest.items()} == {first: [480], second: [7]}


async def test_pages_of_readings_continue_where_they_ended(web_db: Database, site: Site) -> None:
    seen: list[int] = []
    page = PageRequest(limit=20)
    async with web_db.transaction(staff(site)) as conn:
        while True:
            found = await service.list_readings(
                conn, page, site.meters[0], 1, START, START + timedelta(milliseconds=60 * HOUR_MS)
            )
            seen += [reading.value for reading in found.items]
            if found.next_cursor is None:
                break
            page = page_request(20, found.next_cursor)
    assert seen == [value for n, value in reversed(list(enumerate(range(0, 490, 10)))) if n not in (20, 21)]


@pytest.mark.parametrize("asker", [SYSTEM, Asker(), Asker(kind="staff", projects=(10**6,))], ids=str)
async def test_the_web_sees_nothing_outside_its_scope(web_db: Database, site: Site, asker: Asker) -> None:
    async with web_db.transaction(asker) as conn:
        assert await service.usage_between(conn, site.meters[0], 1, START, START + timedelta(hours=48)) == UsageTotal(
            0, False, 0, 0
        )
        assert await service.list_exceptions(conn) == []
        with pytest.raises(NotFound):
            await service.usage_series(conn, site.meters[0], Period(date(2026, 1, 1), date(2026, 1, 2)), "day", ZONE)
