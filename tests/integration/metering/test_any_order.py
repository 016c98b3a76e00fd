"""Readings, edits and exchanges in any order, portions and repetition come to the identical usage and findings."""

import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from cloud.kit.db import SYSTEM, Database
from gateway.contract.messages import Point
from tests.integration.metering.site import CHANNEL, HOUR_MS, MODULUS, START_MS, Site, make_site
from tests.integration.metering.test_derivation import Rows, derive, store, table

DAY_MS = 24 * HOUR_MS
Event = Callable[[Database, Database], Coroutine[Any, Any, None]]


def at(ms: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)


@dataclass
class Life:
    """What happens to one meter, in the right order of time; events are independent of each other's order."""

    meter_id: int
    device: str
    points: list[Point] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)


def live(meter_id: int, device: str, chance: random.Random) -> Life:
    life = Life(meter_id, device)
    step = chance.choice([900_000, 1_800_000, HOUR_MS])
    phase = chance.choice([0, 0, 1_500, 400_000, chance.randrange(step)])
    time, value = START_MS + phase, chance.choice([0, MODULUS - 100_000])
    exchange = chance.choice([None, chance.randrange(1, 200)])
    for n in range(chance.randint(30, 260)):
        wait = chance.choices([step, step * 2, 5 * HOUR_MS, 3 * DAY_MS, 101 * DAY_MS], [180, 6, 2, 1, 0.2])[0]
        time += wait
        value = (value + chance.randint(0, 9_000 * wait // HOUR_MS)) % MODULUS
        shown = value + chance.choices([0, 10_000_000, -value, -1 - value, MODULUS], [200, 2, 2, 1, 1])[0]
        life.points.append(Point(device, CHANNEL, time + chance.choice([0, 0, 0, 250_000, 310_000]), shown))
        if n == exchange:
            old, value = value, chance.randint(0, 5_000)
            when = max(time, START_MS + 2 * DAY_MS) + 311_000
            life.events.append(exchanged(meter_id, when + chance.choice([0, -when % HOUR_MS]),
                                         chance.choice([old, None]), chance.choice([value, None]),
                                         chance.choice([Decimal(1), Decimal("2.5")])))  # fmt: skip
    for point in chance.sample(life.points, 4):
        action = chance.choice(["set", "use", "ignore"])
        life.events.append(edited(meter_id, point.taken_at, action, max(point.value, 0) + 7))
    return life


def exchanged(meter_id: int, when: int, closing: int | None, opening: int | None, multiplier: Decimal) -> Event:
    async def event(worker: Database, _: Database) -> None:
        async with worker.transaction(SYSTEM) as conn:
            row = await (
                await conn.execute(
                    "UPDATE meter_register SET valid = tstzrange(lower(valid), %s) WHERE meter_id = %s RETURNING *",
                    (at(when), meter_id),
                )
            ).fetchone()
            assert row is not None
            new = await (
                await conn.execute(
                    """INSERT INTO meter_register (project_id, meter_id, valid, reason, multiplier, modulus,
                                                   max_per_hour)
                       VALUES (%s, %s, tstzrange(%s, NULL), 'exchanged', %s, %s, %s) RETURNING id""",
                    (row["project_id"], meter_id, at(when), multiplier, row["modulus"], row["max_per_hour"]),
                )
            ).fetchone()
            assert new is not None
            for register, name, stand in ((row["id"], "closing", closing), (new["id"], "opening", opening)):
                if stand is not None:
                    await conn.execute(
                        f"INSERT INTO register_end (register_id, channel, project_id, {name}) VALUES (%s, 1, %s, %s)",
                        (register, row["project_id"], stand),
                    )
            await dirty(conn, meter_id, when, 2**42)

    return event


def edited(meter_id: int, when: int, action: str, value: int) -> Event:
    async def event(worker: Database, _: Database) -> None:
        async with worker.transaction(SYSTEM) as conn:
            await conn.execute(
                """INSERT INTO reading_edit (project_id, meter_id, channel, taken_at, version, action, value, reason,
                                             actor)
                   SELECT project_id, id, 1, %s, 1, %s, %s, 'test', 'test' FROM meter WHERE id = %s""",
                (at(when), action, value if action == "set" else None, meter_id),
            )
            await dirty(conn, meter_id, when, when)

    return event


async def dirty(conn: Any, meter_id: int, begin: int, end: int) -> None:
    await conn.execute(
        """INSERT INTO store.dirty_window (meter_id, channel, project_id, from_at, until_at)
           SELECT id, 1, project_id, %s, %s FROM meter WHERE id = %s""",
        (at(begin), at(end), meter_id),
    )


def arrival(points: list[Point]) -> Event:
    async def event(_: Database, ingest: Database) -> None:
        await store(ingest, points)

    return event


async def everything(db: Database) -> dict[str, Rows]:
    """What the derivation keeps, without versions and ids."""
    return {
        "usage": await table(
            db,
            """SELECT meter_id, start, length_s, quantity, quality, method FROM store.usage ORDER BY meter_id, start""",
        ),
        "refused": await table(db, "SELECT * FROM store.refused_reading ORDER BY meter_id, taken_at"),
        "turns": await table(db, "SELECT * FROM store.register_turn ORDER BY meter_id, taken_at"),
        "gaps": await table(db, "SELECT * FROM store.estimated_gap ORDER BY meter_id, from_at"),
        "findings": await table(
            db,
            """SELECT meter_id, rule, from_at, until_at, found, expected FROM meter_exception
               ORDER BY meter_id, rule, from_at""",
        ),
    }


async def from_scratch(db: Database) -> None:
    async with db.transaction(SYSTEM) as conn:
        for name in ("usage", "usage_superseded", "refused_reading", "register_turn", "estimated_gap"):
            await conn.execute(f"DELETE FROM store.{name}".encode())
        await conn.execute("DELETE FROM meter_exception")
        await conn.execute(
            """INSERT INTO store.dirty_window (meter_id, channel, project_id, from_at, until_at)
               SELECT DISTINCT meter_id, channel, project_id, timestamptz 'epoch', timestamptz 'infinity'
               FROM store.reading"""
        )
    await derive(db)


async def make_meters(db: Database, chance: random.Random, site: Site) -> None:
    """Each meter with an interval of its own, installed when or shortly after it was read first."""
    async with db.transaction(SYSTEM) as conn:
        for meter_id in site.meters:
            interval = chance.choice([900, 1800, 3600, 3600, 86400])
            await conn.execute("UPDATE meter SET interval_s = %s WHERE id = %s", (interval, meter_id))
            begin = chance.choice([date(2025, 1, 1), date(2026, 1, 1), date(2026, 1, 2)])
            await conn.execute(
                "UPDATE meter_register SET valid = tstzrange(%s, NULL) WHERE meter_id = %s", (begin, meter_id)
            )


def portions(lives: list[Life], chance: random.Random) -> list[Event]:
    """Everything that happens, in some order and partly twice."""
    points = [point for life in lives for point in life.points]
    if chance.random() < 0.6:
        chance.shuffle(points)
    elif chance.random() < 0.5:
        points.reverse()
    points += chance.sample(points, 10)
    events: list[Event] = []
    while points:
        size = chance.choice([1, 3, 10, 60, 200])
        events.append(arrival(points[:size]))
        points = points[size:]
    for event in (event for life in lives for event in life.events):
        events.insert(chance.randint(0, len(events)), event)
    return events


@pytest.mark.parametrize("seed", range(8))
async def test_any_order_comes_to_the_same(worker_db: Database, ingest_db: Database, seed: int) -> None:
    chance = random.Random(seed)
    zone = chance.choice(["Asia/Shanghai", "Europe/Berlin", "Asia/Kolkata"])
    site = await make_site(worker_db, meters=4, zone=zone)
    await make_meters(worker_db, chance, site)
    lives = [live(meter_id, f"m{n}", chance) for n, meter_id in enumerate(site.meters, start=1)]
    for event in portions(lives, chance):
        await event(worker_db, ingest_db)
        if chance.random() < 0.7:
            await derive(worker_db)
    await derive(worker_db)
    found = await everything(worker_db)
    await from_scratch(worker_db)
    at_once = await everything(worker_db)
    for name, rows in at_once.items():
        assert found[name] == rows, name
    assert len(found["usage"]) > 10
    edges = [
        (row["start"], row["start"] + timedelta(seconds=row["length_s"]), row["meter_id"]) for row in found["usage"]
    ]
    assert all(a[1] <= b[0] or a[2] != b[2] for a, b in pairwise(edges))
