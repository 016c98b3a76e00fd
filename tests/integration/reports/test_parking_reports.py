"""Reports of parking against a simple reading of the same stays, payments and openings."""

import io
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from random import Random
from statistics import fmean, median
from zoneinfo import ZoneInfo

import httpx
import openpyxl
import pytest

from cloud.kit.db import SYSTEM, Conn, Database
from cloud.parking import service as parking
from cloud.reports.parking import service
from cloud.reports.parking.repository import Wanted
from tests.integration.app import Auth, People
from tests.integration.parking.site import Site, make_site, minutes

ZONE = ZoneInfo("Asia/Shanghai")
ONE = Decimal(1)
FIRST, LAST = date(2026, 5, 1), date(2026, 5, 15)
START = datetime(2026, 4, 30, 16, tzinfo=UTC)
_STAY = """
    INSERT INTO parking_session (project_id, lot_id, plate, vehicle_class, entered_at, left_at, state, currency)
    VALUES (%s, %s, %s, 'small', %s, %s, %s, 'CNY')
"""


@dataclass(frozen=True)
class Stay:
    lot_id: int
    entered_at: datetime | None
    left_at: datetime | None
    state: str


@dataclass(frozen=True)
class Filled:
    """A site with a second lot, and what stands in its tables."""

    site: Site
    other_lot: int
    stays: list[Stay]


def made_up(lots: list[int]) -> list[Stay]:
    random = Random(5)
    found = []
    for nth in range(120):
        entered = START + minutes(random.randrange(-2_000, 22_000))
        left: datetime | None = entered + timedelta(seconds=random.randrange(1, 90_000))
        state = random.choice(["closed"] * 5 + ["open", "unmatched"])
        if state == "open":
            left = None
        unseen = state == "unmatched" and nth % 2
        found.append(Stay(random.choice(lots), None if unseen else entered, left, state))
    return found


@pytest.fixture
async def filled(worker_db: Database) -> Filled:
    site = await make_site(worker_db)
    async with worker_db.transaction(SYSTEM) as conn:
        other = await parking.create_lot(conn, site.project_id, "other", "Other lot", 4)
        stays = made_up([site.lot_id, other.id])
        for nth, stay in enumerate(stays):
            await conn.execute(
                _STAY, (site.project_id, stay.lot_id, f"京A{nth:05}", stay.entered_at, stay.left_at, stay.state)
            )
    return Filled(site, other.id, stays)


async def asked(conn: Conn, filled: Filled, lot_id: int | None = None) -> Wanted:
    return await service.wanted(conn, filled.site.project_id, FIRST, LAST, lot_id)


def local(at: datetime) -> datetime:
    return at.astimezone(ZONE)


@pytest.mark.parametrize("step", ["day", "hour"])
async def test_turnover_is_the_stays_that_ended_with_their_mean_and_median(
    worker_db: Database, filled: Filled, step: str
) -> None:
    for lot_id in (None, filled.other_lot):
        async with worker_db.transaction(SYSTEM) as conn:
            rows = await service.turnover(conn, await asked(conn, filled, lot_id), step)  # type: ignore[arg-type]
        expected: dict[str, list[float]] = {}
        for stay in filled.stays:
            if stay.state != "closed" or lot_id not in (None, stay.lot_id):
                continue
            assert stay.entered_at is not None
            assert stay.left_at is not None
            if FIRST <= local(stay.left_at).date() < LAST:
                name = f"{local(stay.left_at):%Y-%m-%d}" if step == "day" else f"{local(stay.left_at):%H}"
                expected.setdefault(name, []).append((stay.left_at - stay.entered_at).total_seconds())
        assert [(row.step, row.stays) for row in rows] == sorted((name, len(all_)) for name, all_ in expected.items())
        for row in rows:
            assert abs(row.mean_s - fmean(expected[row.step])) <= 1
            assert abs(row.median_s - median(expected[row.step])) <= 1


async def test_occupancy_is_who_was_inside_by_hour_of_the_week(worker_db: Database, filled: Filled) -> None:
    now = START + timedelta(days=10, hours=5)
    async with worker_db.transaction(SYSTEM) as conn:
        rows = await service.occupancy(conn, await asked(conn, filled, filled.other_lot), now)
    inside: dict[tuple[int, int], list[int]] = {}
    at = START
    spans = [
        (one.entered_at, one.left_at or now)
        for one in filled.stays
        if one.lot_id == filled.other_lot and one.state != "unmatched" and one.entered_at is not None
    ]
    while at < now:
        here = sum(start <= at < end for start, end in spans)
        inside.setdefault((local(at).isoweekday(), local(at).hour), []).append(here)
        at += minutes(1)
    assert {(row.weekday, row.hour) for row in rows} == set(inside)
    for row in rows:
        seen = inside[row.weekday, row.hour]
        assert abs(float(row.mean) - fmean(seen)) < 0.15
        assert row.most >= max(seen), "within a minute there may have been more"
        assert row.percent is not None
        assert abs(float(row.percent) - 25 * fmean(seen)) < 2


async def test_days_to_come_and_days_without_anything_are_empty(worker_db: Database, filled: Filled) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        wanted = await service.wanted(conn, filled.site.project_id, date(2031, 1, 1), date(2031, 1, 8))
        assert await service.turnover(conn, wanted) == []
        assert await service.occupancy(conn, wanted, START) == []
        assert await service.revenue(conn, wanted) == []
        assert await service.unmatched(conn, wanted) == []
        assert await service.openings(conn, wanted) == []


async def test_unmatched_stays_by_what_is_missing(worker_db: Database, filled: Filled) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        rows = await service.unmatched(conn, await asked(conn, filled))
    expected = Counter(
        (local(one.left_at).date(), "Main lot" if one.lot_id == filled.site.lot_id else "Other lot",
         "exit" if one.entered_at else "entry")
        for one in filled.stays
        if one.state == "unmatched" and one.left_at is not None and FIRST <= local(one.left_at).date() < LAST
    )  # fmt: skip
    assert {(row.day, row.lot, row.missing): row.stays for row in rows} == expected


async def test_revenue_by_lane_and_method_and_openings_by_hand(
    app_client: httpx.AsyncClient, people: People, web_db: Database, ingest_db: Database, worker_db: Database
) -> None:
    site = await make_site(worker_db)
    now = datetime.now(UTC)
    entered = now - timedelta(hours=5)
    for nth, (method, leaves) in enumerate([("cash", True), ("cash", True), ("wechat", True), ("wechat", False)]):
        plate = f"京A{nth:05}"
        await site.report(ingest_db, [site.passage("entry", plate, entered)], now)
        async with worker_db.transaction(SYSTEM) as conn:
            row = await (await conn.execute("SELECT id FROM parking_session WHERE plate = %s", (plate,))).fetchone()
        assert row is not None
        async with web_db.transaction(site.staff) as conn:
            due = (await parking.quote(conn, row["id"], now)).due
            await parking.pay(conn, row["id"], due, method, "user:cashier", at=now)
        if leaves:
            await site.report(ingest_db, [site.passage("exit", plate, now)], now)
    async with web_db.transaction(site.staff) as conn:
        for code, words in (("emergency", "ambulance"), ("emergency", "ambulance"), ("other", "camera is dirty")):
            await parking.open_lane(conn, site.exit.id, words, "user:guard", code)

    manager = await people.staff("manager", site.project_id)
    today = now.astimezone(ZONE).date()
    query = f"project_id={site.project_id}&from={today}&to={today + timedelta(days=1)}"
    items = (await app_client.get(f"/api/v1/parking-reports/revenue?{query}", headers=manager)).json()["items"]
    found = [(one["lane"], one["method"], one["payments"], Decimal(one["amount"]["amount"]) / due) for one in items]
    assert sorted(found) == [("", "wechat", 1, ONE), ("exit", "cash", 2, 2 * ONE), ("exit", "wechat", 1, ONE)]
    openings = (await app_client.get(f"/api/v1/parking-reports/openings?{query}", headers=manager)).json()["items"]
    assert [(one["code"], one["reason"], one["actor"], one["openings"]) for one in openings] == [
        ("emergency", "ambulance", "user:guard", 2), ("other", "camera is dirty", "user:guard", 1),
    ]  # fmt: skip
    csv = await app_client.get(f"/api/v1/parking-reports/openings/file?{query}", headers=manager)
    assert csv.text.splitlines()[1].startswith("Main lot,exit,user:guard,emergency,ambulance,2,0,")
    sheet = await app_client.get(f"/api/v1/parking-reports/revenue/file?{query}&format=xlsx", headers=manager)
    table = openpyxl.load_workbook(io.BytesIO(sheet.content)).active
    assert table is not None
    assert [cell.value for cell in next(table.iter_rows())][:4] == ["day", "lot", "lane", "method"]
    assert table.max_row == 4


async def test_who_may_read_reports(app_client: httpx.AsyncClient, people: People, filled: Filled) -> None:
    query = f"project_id={filled.site.project_id}&from=2026-05-01&to=2026-05-15"

    async def status(auth: Auth, name: str = "occupancy") -> int:
        return (await app_client.get(f"/api/v1/parking-reports/{name}?{query}", headers=auth)).status_code

    assert await status(await people.staff("viewer", filled.site.project_id)) == 200
    assert await status(await people.staff("guard", filled.site.project_id)) == 403
    assert await status(await people.staff("display", filled.site.project_id)) == 403
    assert await status(await people.staff("admin", (await people.project("far")).id)) == 404
    long = await app_client.get(
        f"/api/v1/parking-reports/turnover?project_id={filled.site.project_id}&from=2020-01-01&to=2026-01-01",
        headers=await people.staff("admin", filled.site.project_id),
    )
    assert (long.status_code, long.json()["code"]) == (422, "bad-period")
