"""Reports of parking about money, openings and what cannot be matched, against a plain reading of made-up rows."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import httpx
import pytest

from cloud.devices import service as devices
from cloud.kit.db import SYSTEM, Conn, Database
from cloud.parking import service as parking
from cloud.reports.parking import service
from cloud.reports.parking.repository import Wanted
from tests.integration.app import People
from tests.integration.browser import Browser, text_of
from tests.integration.parking.site import Site, make_site, minutes

ZONE = ZoneInfo("Asia/Shanghai")
FIRST, LAST = date(2026, 5, 1), date(2026, 5, 15)
START = datetime(2026, 4, 30, 16, tzinfo=UTC)
LAST_MOMENT = START + timedelta(days=30)
METHODS = ("cash", "wechat", "alipay")
NAMES = ("Main lot", "Other lot")


@pytest.fixture
async def site(worker_db: Database) -> Site:
    """A site with a second lot."""
    made = await make_site(worker_db)
    async with worker_db.transaction(SYSTEM) as conn:
        await parking.create_lot(conn, made.project_id, "other", "Other lot", 4)
    return made


async def _new(conn: Conn, table: str, row: dict[str, Any]) -> int:
    names = ", ".join(row)
    query: Any = f"INSERT INTO {table} ({names}) VALUES ({', '.join(['%s'] * len(row))}) RETURNING id"
    found = await (await conn.execute(query, list(row.values()))).fetchone()
    assert found is not None
    return int(found["id"])


async def _lots(conn: Conn) -> list[int]:
    return [row["id"] for row in await (await conn.execute("SELECT id FROM parking_lot ORDER BY id")).fetchall()]


async def _wanted(conn: Conn, site: Site, lot_id: int | None = None) -> Wanted:
    return await service.wanted(conn, site.project_id, FIRST, LAST, lot_id)


async def _stay(conn: Conn, site: Site, nth: int, random: Random, lots: Sequence[int]) -> tuple[int, int, str]:
    """A stay with what happened at the exit, if anything: its id, its lot, and the lane that a report should name."""
    lot = random.choice(lots)
    left = START + minutes(random.randrange(0, 20_000))
    row = {"project_id": site.project_id, "lot_id": lot, "plate": f"京A{nth:05}", "vehicle_class": "small",
           "entered_at": left - minutes(90), "left_at": left, "state": "closed", "currency": "CNY"}  # fmt: skip
    stay = await _new(conn, "parking_session", row)
    lane = ""
    for outcome in random.choice(([], ["turned-back"], ["arrived"], ["turned-back", "passed"])):
        at = left + timedelta(seconds=len(outcome))
        passage = {"id": UUID(int=random.getrandbits(128), version=4), "project_id": site.project_id,
                   "lane_id": site.exit.id, "session_id": stay, "plate": f"京A{nth:05}", "plate_read": f"京A{nth:05}",
                   "vehicle_class": "small", "score": 900, "direction": "exit", "taken_at": at, "outcome": outcome,
                   "outcome_at": at}  # fmt: skip
        names = ", ".join(passage)
        query: Any = f"INSERT INTO passage ({names}) VALUES ({', '.join(['%s'] * len(passage))})"
        await conn.execute(query, list(passage.values()))
        lane = "exit" if outcome in ("arrived", "passed") else lane
    return stay, lot, lane


async def test_revenue_counts_each_payment_once_in_every_row_that_it_has_a_part_in(
    worker_db: Database, site: Site
) -> None:
    """Payments of several stays, of two parts for one stay, of other days and such as failed."""
    random = Random(11)
    amounts: dict[tuple[Any, ...], Decimal] = defaultdict(Decimal)
    payments: dict[tuple[Any, ...], set[int]] = defaultdict(set)
    async with worker_db.transaction(SYSTEM) as conn:
        lots = await _lots(conn)
        stays = [await _stay(conn, site, nth, random, lots) for nth in range(25)]
        for _ in range(60):
            parts = [(random.choice(stays), Decimal(random.randrange(1, 4000)) / 100)
                     for _ in range(random.choice((1, 1, 2, 3)))]  # fmt: skip
            parts += parts[:1] if random.random() < 0.3 else []
            paid_on = FIRST + timedelta(days=random.randrange(-3, 17))
            method, state = random.choice(METHODS), random.choice(("settled", "settled", "refunded", "failed"))
            row = {"project_id": site.project_id, "purpose": "parking", "method": method, "currency": "CNY",
                   "amount": sum(amount for _, amount in parts) + 1, "paid_on": paid_on, "state": state}  # fmt: skip
            payment = await _new(conn, "payment", row)
            for (stay, lot, lane), amount in parts:
                part = {"project_id": site.project_id, "payment_id": payment, "session_id": stay, "amount": amount,
                        "paid_until": START}  # fmt: skip
                await _new(conn, "parking_payment", part)
                if state != "failed" and FIRST <= paid_on < LAST:
                    key = (paid_on, NAMES[lots.index(lot)], lane, method)
                    amounts[key] += amount
                    payments[key].add(payment)
        for lot_id in (None, lots[1]):
            found = await service.revenue(conn, await _wanted(conn, site, lot_id))
            expected = {key: (len(payments[key]), amount) for key, amount in amounts.items()
                        if lot_id is None or key[1] == NAMES[1]}  # fmt: skip
            assert {(one.day, one.lot, one.lane, one.method): (one.payments, one.amount) for one in found} == expected
            assert len(found) == len(expected)


async def test_openings_by_hand_are_counted_by_lane_person_and_reason(worker_db: Database, site: Site) -> None:
    random = Random(3)
    expected: Counter[tuple[str, ...]] = Counter()
    confirmed: Counter[tuple[str, ...]] = Counter()
    last: dict[tuple[str, ...], datetime] = {}
    async with worker_db.transaction(SYSTEM) as conn:
        for _ in range(80):
            lane = random.choice((site.entry, site.exit))
            who, why = random.choice(("user:li", "user:wang")), random.choice(("ambulance", "dirty plate"))
            code = random.choice(("other", "emergency"))
            at = START + minutes(random.randrange(-3_000, 23_000))
            state = random.choice(("done", "failed", "uncertain", "expired"))
            command = UUID(int=random.getrandbits(128), version=4)
            await conn.execute(
                """INSERT INTO command (id, project_id, device_id, action, actor, issued_at, expires_at, state)
                   VALUES (%s, %s, %s, 'open-barrier', %s, %s, %s, %s)""",
                (command, site.project_id, lane.device_id, who, at, at + minutes(1), state),
            )
            row = {"project_id": site.project_id, "lane_id": lane.id, "command_id": command, "opened_by": who,
                   "code": code, "reason": why, "opened_at": at}  # fmt: skip
            await _new(conn, "manual_opening", row)
            if START <= at < START + timedelta(days=14):
                key = (lane.name, who, code, why)
                expected[key] += 1
                confirmed[key] += state == "done"
                last[key] = max(at, last.get(key, at))
        rows = await service.openings(conn, await _wanted(conn, site))
        (other,) = [lot for lot in await _lots(conn) if lot != site.lot_id]
        assert await service.openings(conn, await _wanted(conn, site, other)) == []
    assert {
        (one.lane, one.actor, one.code, one.reason): (one.openings, one.confirmed, one.last_at) for one in rows
    } == {key: (expected[key], confirmed[key], last[key]) for key in expected}
    assert [one.openings for one in rows] == sorted(expected.values(), reverse=True)


async def test_unmatched_stays_say_whether_entry_or_exit_is_missing_or_somebody_ended_them(
    worker_db: Database, site: Site
) -> None:
    random = Random(9)
    expected: Counter[tuple[Any, ...]] = Counter()
    async with worker_db.transaction(SYSTEM) as conn:
        lots = await _lots(conn)
        for nth in range(90):
            left = START + minutes(random.randrange(-2_000, 23_000))
            entered = random.choice((None, left - minutes(30)))
            by = {"closed_by": "user:li", "closed_reason": "gone", "closed_at": left}
            seen, by_hand = random.random() < 0.5, random.random() < 0.3
            state, lot = random.choice(("unmatched", "unmatched", "closed")), random.choice(lots)
            row = {"project_id": site.project_id, "lot_id": lot, "plate": f"京A{nth:05}", "vehicle_class": "small",
                   "entered_at": entered, "left_at": left, "state": state, "currency": "CNY", "entry_seen": seen,
                   **(by if by_hand else {})}  # fmt: skip
            await _new(conn, "parking_session", row)
            missing = "closed-by-hand" if by_hand else "exit" if entered is not None and seen else "entry"
            if state == "unmatched" and START <= left < START + timedelta(days=14):
                expected[left.astimezone(ZONE).date(), NAMES[lots.index(lot)], missing] += 1
        rows = await service.unmatched(conn, await _wanted(conn, site))
    assert {(one.day, one.lot, one.missing): one.stays for one in rows} == expected


async def test_reports_are_of_one_project_and_turnover_of_stays_whose_entry_was_seen(
    worker_db: Database, site: Site, people: People
) -> None:
    """Rows of another project, and a stay that began when it was seen at the exit."""
    far = await people.project("far")
    random = Random(6)
    async with worker_db.transaction(SYSTEM) as conn:
        lot = await parking.create_lot(conn, far.id, "far", "Far lot", 3)
        edge = await devices.create_gateway(conn, far.id, "far", "Far gate")
        device = await devices.create_device(conn, far.id, edge.id, "exit", "barrier")
        lane = await parking.create_lane(conn, lot.id, "exit", "exit", "exit", device.id)
        theirs = replace(site, project_id=far.id, exit=lane)
        for nth in range(6):
            stay, *_ = await _stay(conn, theirs, nth, random, [lot.id])
            state = "unmatched" if nth % 2 else "closed"
            await conn.execute("UPDATE parking_session SET state = %s WHERE id = %s", (state, stay))
            row = {"project_id": far.id, "purpose": "parking", "method": "cash", "currency": "CNY", "amount": 8,
                   "paid_on": FIRST, "state": "settled"}  # fmt: skip
            payment = await _new(conn, "payment", row)
            part = {"project_id": far.id, "payment_id": payment, "session_id": stay, "amount": 8, "paid_until": START}
            await _new(conn, "parking_payment", part)
            command = UUID(int=random.getrandbits(128), version=4)
            await conn.execute(
                """INSERT INTO command (id, project_id, device_id, action, actor, issued_at, expires_at)
                   VALUES (%s, %s, %s, 'open-barrier', 'x', %s, %s)""",
                (command, far.id, device.id, START, START + minutes(1)),
            )
            opening = {"project_id": far.id, "lane_id": lane.id, "command_id": command, "opened_by": "user:x",
                       "reason": "fire", "opened_at": START}  # fmt: skip
            await _new(conn, "manual_opening", opening)
        unseen, *_ = await _stay(conn, site, 99, random, [site.lot_id])
        await conn.execute("UPDATE parking_session SET entry_seen = false WHERE id = %s", (unseen,))
        ours = await _wanted(conn, site)
        other = await service.wanted(conn, far.id, FIRST, LAST)
        for of in (service.turnover, service.revenue, service.openings, service.unmatched):
            assert await of(conn, ours) == [], of.__name__
            assert await of(conn, other) != [], of.__name__
        occupied = await service.occupancy(conn, ours, START + timedelta(days=14))
        alone = await service.occupancy(conn, other, START + timedelta(days=14))
    assert sum(one.most for one in occupied) <= 3, "one stay of ninety minutes"
    assert sum(one.most for one in alone) > 3


async def test_places_taken_of_a_lot_with_another_inside(ingest_db: Database, worker_db: Database, site: Site) -> None:
    """Who is in the inner lot has a stay in both, and is one vehicle; the spaces are those of both."""
    async with worker_db.transaction(SYSTEM) as conn:
        inner = await parking.create_lot(conn, site.project_id, "inner", "Inner lot", 2, site.lot_id)
        for lot_id in (site.lot_id, inner.id):
            row = {"project_id": site.project_id, "lot_id": lot_id, "plate": "京A00001", "vehicle_class": "small",
                   "entered_at": START, "left_at": START + timedelta(days=7), "state": "closed",
                   "currency": "CNY"}  # fmt: skip
            await _new(conn, "parking_session", row)
        week = service.wanted(conn, site.project_id, FIRST, FIRST + timedelta(days=7))
        every = await service.occupancy(conn, await week, LAST_MOMENT)
        outer = await service.wanted(conn, site.project_id, FIRST, FIRST + timedelta(days=7), site.lot_id)
        of_outer = await service.occupancy(conn, outer, LAST_MOMENT)
    # Two of the main lot, two of the inner one, four of the other lot.
    assert {(one.mean, one.most, one.percent) for one in every} == {(Decimal("1.0"), 1, Decimal("12.5"))}
    assert {(one.mean, one.most, one.percent) for one in of_outer} == {(Decimal("1.0"), 1, Decimal("25.0"))}


async def test_the_page_of_revenue_adds_up_and_its_file_has_every_row(
    app_client: httpx.AsyncClient, people: People, worker_db: Database, owner_db: Database, site: Site
) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        stay, *_ = await _stay(conn, site, 1, Random(2), [site.lot_id])
        for nth, amount in enumerate(("8.00", "12.50", "0.25")):
            row = {"project_id": site.project_id, "purpose": "parking", "method": METHODS[nth], "currency": "CNY",
                   "amount": amount, "paid_on": FIRST, "state": "settled"}  # fmt: skip
            payment = await _new(conn, "payment", row)
            part = {"project_id": site.project_id, "payment_id": payment, "session_id": stay, "amount": amount,
                    "paid_until": START}  # fmt: skip
            await _new(conn, "parking_payment", part)
    browser = Browser(app_client, await people.staff("manager", site.project_id))
    async with owner_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
    days = f"from={FIRST}&until={LAST}"
    assert "Total ¥20.75" in text_of(await browser.see(f"/parking/reports/revenue?{days}"))
    file = (await browser.see(f"/parking/reports/revenue?{days}&format=csv")).strip().splitlines()
    assert sorted(line.split(",")[3] for line in file[1:]) == ["alipay", "cash", "wechat"]
    chart = await browser.see(f"/parking/reports/revenue/chart?{days}")
    assert '"20.75"' in chart


async def test_pages_show_days_and_charts_as_their_reader_writes_them(
    app_client: httpx.AsyncClient, people: People, worker_db: Database, owner_db: Database, site: Site
) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        for nth in range(3):
            await _stay(conn, site, nth, Random(2), [site.lot_id])
    browser = Browser(app_client, await people.staff("manager", site.project_id))
    async with owner_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
    day = FIRST
    days = f"from={day}&until={day + timedelta(days=13)}"
    english = text_of(await browser.see(f"/parking/reports/turnover?{days}"))
    assert "May" in english
    assert "2026-05-" not in english
    drawn = await browser.see(f"/parking/reports/turnover/chart?{days}")
    assert "Stays that ended" in drawn
    app_client.cookies.set("locale", "zh-CN")
    async with owner_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE app_user SET locale = 'zh-CN'")
    chinese = text_of(await browser.see(f"/parking/reports/turnover?{days}"))
    assert "2026年5月" in chinese
    drawn = await browser.see(f"/parking/reports/turnover/chart?{days}")
    assert "Stays that ended" not in drawn
    assert "2026-05-" not in drawn
