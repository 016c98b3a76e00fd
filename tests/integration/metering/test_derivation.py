"""Usage is the same table in whatever portions, order and repetition the readings come."""

import random
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
from psycopg.types.json import Jsonb

from cloud.devices import service as devices
from cloud.ingest.messages import Incoming
from cloud.ingest.writer import Writer
from cloud.kit.db import SYSTEM, Database
from cloud.kit.errors import InvalidInput
from cloud.kit.jobs import JobContext
from cloud.kit.periods import day_start
from cloud.metering import jobs
from cloud.metering import service as metering
from cloud.metering.derivation import update as derivation
from cloud.metering.readings.intake import Batch, PointColumns
from gateway.contract.messages import Point
from tests.integration.metering.site import CHANNEL, HOUR_MS, START_MS, Site, hourly, make_site, message

Rows = list[dict[str, Any]]


@pytest.fixture
async def site(worker_db: Database) -> Site:
    return await make_site(worker_db)


async def store(db: Database, points: list[Point]) -> None:
    await Writer(db).store([message(1, points)])


async def derive(db: Database) -> dict[str, object]:
    async with db.transaction(SYSTEM) as conn:
        row = await (await conn.execute("INSERT INTO job (kind) VALUES ('test') RETURNING id")).fetchone()
    assert row is not None
    result = await jobs.derive_usage(JobContext(row["id"], None, {}, db))
    assert result is not None
    return result


async def table(db: Database, query: str) -> Rows:
    async with db.transaction(SYSTEM) as conn:
        return await (await conn.execute(query.encode())).fetchall()


async def usage(db: Database) -> Rows:
    return await table(
        db,
        """SELECT meter_id, channel, start, length_s, quantity, quality, method FROM store.usage
           ORDER BY meter_id, channel, start""",
    )


async def refused(db: Database) -> Rows:
    return await table(
        db,
        """SELECT meter_id, channel, from_at AS taken_at, found AS value, rule AS code FROM meter_exception
           ORDER BY meter_id, channel, from_at""",
    )


async def derive_all_at_once(db: Database) -> None:
    async with db.transaction(SYSTEM) as conn:
        await conn.execute("DELETE FROM store.usage")
        await conn.execute("DELETE FROM store.refused_reading")
        await conn.execute("DELETE FROM meter_exception")
        await conn.execute(
            """INSERT INTO store.dirty_window (meter_id, channel, project_id, from_at, until_at)
               SELECT meter_id, channel, project_id, min(taken_at), max(taken_at) FROM store.reading GROUP BY 1, 2, 3"""
        )
    await derive(db)


def a_life(device: str, chance: random.Random) -> list[Point]:
    """Some days of a register: irregular times, gaps, zeros, spikes, rollovers."""
    points, time, value = [], START_MS, chance.choice([0, 999_900_000])
    for _ in range(chance.randint(20, 80)):
        time += chance.choice([60_000, 900_000, 1_800_000, HOUR_MS, HOUR_MS, HOUR_MS, 5 * HOUR_MS])
        if chance.random() < 0.5:
            time += -time % HOUR_MS + chance.choice([0, 0, 1_500, 299_999, 300_000])
        value = (value + chance.randint(0, 30_000)) % 1_000_000_000
        shown = value
        match chance.randint(0, 19):
            case 0:
                shown = 0
            case 1:
                shown = value + 10_000_000
            case 2:
                value += chance.randint(50_000, 300_000)
                shown = value
        points.append(Point(device, CHANNEL, time, shown))
    return points


@pytest.mark.parametrize("seed", range(12))
async def test_portions_make_no_difference(worker_db: Database, ingest_db: Database, site: Site, seed: int) -> None:
    chance = random.Random(seed)
    points = [point for n in range(1, 4) for point in a_life(f"m{n}", chance)]
    if chance.random() < 0.7:
        chance.shuffle(points)
    points += chance.sample(points, 10)
    while points:
        size = chance.choice([1, 2, 5, 20, 60])
        await store(ingest_db, points[:size])
        points = points[size:]
        await derive(worker_db)
    in_portions = await usage(worker_db), await refused(worker_db)
    await derive_all_at_once(worker_db)
    assert in_portions == (await usage(worker_db), await refused(worker_db))
    assert in_portions[0]


async def test_unchanged_rows_keep_their_version(worker_db: Database, ingest_db: Database, site: Site) -> None:
    await store(ingest_db, hourly("m1", 0, [100, 200, 300, 400, 500, 600]))
    assert (await derive(worker_db))["added"] == 5
    await store(ingest_db, hourly("m1", 0, [100, 200, 300]))
    assert await derive(worker_db) == {
        "meters": 0, "readings": 0, "added": 0, "changed": 0, "removed": 0, "refused": 0,
    }  # fmt: skip
    # A reading inside the tolerance, before the one that was the boundary until now, moves it.
    await store(ingest_db, [*hourly("m2", 0, [100]), Point("m2", CHANNEL, START_MS + HOUR_MS + 2_000, 210)])
    await store(ingest_db, hourly("m2", 2, [300, 400]))
    await derive(worker_db)
    await store(ingest_db, [Point("m2", CHANNEL, START_MS + HOUR_MS, 200)])
    await derive(worker_db)
    rows = await table(
        worker_db, f"SELECT quantity, version FROM store.usage WHERE meter_id = {site.meters[1]} ORDER BY start"
    )
    assert [(row["quantity"], row["version"]) for row in rows] == [(100, 2), (100, 2), (100, 1)]


async def test_a_late_reading_splits_the_gap(worker_db: Database, ingest_db: Database, site: Site) -> None:
    await store(ingest_db, hourly("m1", 0, [100]) + hourly("m1", 3, [400]))
    await derive(worker_db)
    rows = [(row["length_s"], row["quantity"], row["method"]) for row in await usage(worker_db)]
    assert [(length, method) for length, _, method in rows] == [(3600, 6)] * 3
    assert sum(quantity for _, quantity, _ in rows) == 300
    await store(ingest_db, hourly("m1", 1, [150, 300]))
    await derive(worker_db)
    assert [(row["length_s"], row["quantity"], row["method"]) for row in await usage(worker_db)] == [
        (3600, 50, 0),
        (3600, 150, 0),
        (3600, 100, 0),
    ]


async def test_refused_readings_are_shown_and_forgotten_when_they_turn_out_right(
    worker_db: Database, ingest_db: Database, site: Site
) -> None:
    await store(ingest_db, hourly("m1", 0, [100_000, 500]))
    await derive(worker_db)
    assert [(row["value"], row["code"]) for row in await refused(worker_db)] == [(500, "backward")]
    # An earlier reading comes late and shows that the first one was the wrong one.
    await store(ingest_db, hourly("m1", -1, [400]))
    await derive(worker_db)
    # An hour in which nothing was accepted is missing besides.
    assert [(row["value"], row["code"]) for row in await refused(worker_db)] == [(1, "gap"), (100_000, "maximum")]
    assert [(row["length_s"], row["quantity"], row["method"]) for row in await usage(worker_db)] == [(3600, 50, 3)] * 2


async def test_only_registers_like_the_main_one_are_derived(
    worker_db: Database, ingest_db: Database, site: Site
) -> None:
    points = [
        Point("m1", channel, START_MS + n * HOUR_MS, 100 + n)
        for channel in (CHANNEL, "energy_import_peak", "voltage_l1", "energy_net_total", "volume_total")
        for n in range(3)
    ]
    await store(ingest_db, points)
    await derive(worker_db)
    assert {row["channel"] for row in await usage(worker_db)} == {1, 3}
    assert await table(worker_db, "SELECT 1 AS left_over FROM store.dirty_window") == []


async def test_a_bogus_first_reading_is_found_out_when_more_come(
    worker_db: Database, ingest_db: Database, site: Site
) -> None:
    for n, value in enumerate([0, 5_000_000, 5_000_100, 5_000_250]):
        await store(ingest_db, hourly("m1", n, [value]))
        await derive(worker_db)
    assert [(row["value"], row["code"]) for row in await refused(worker_db)] == [(0, "backward")]
    assert [row["quantity"] for row in await usage(worker_db)] == [100, 150]


async def test_one_absurd_value_does_not_stop_the_usage_of_all_meters(
    worker_db: Database, ingest_db: Database, site: Site
) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE meter_register SET multiplier = 8000 WHERE meter_id = %s", (site.meters[0],))
    await store(ingest_db, [*hourly("m1", 0, [2**60 - 1, 100, 200]), *hourly("m2", 0, [100, 200])])
    await derive(worker_db)
    assert [row["quantity"] for row in await usage(worker_db)] == [800_000, 100]


async def test_a_multiplier_that_leaves_64_bits_is_refused(worker_db: Database, site: Site) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        with pytest.raises(InvalidInput, match="modulus times multiplier"):
            await metering.create_meter(
                conn, site.project_id, "X", "electricity", None, 10**15, 1, date(2025, 1, 1), Decimal(11)
            )


async def test_readings_of_another_connection_are_neither_lost_nor_derived_early(
    worker_db: Database, ingest_db: Database, owner_dsn: str, site: Site
) -> None:
    await store(ingest_db, hourly("m1", 0, [100, 200]))
    async with Database(owner_dsn, "gatemeter_ingest", max_size=1) as other, other.transaction(SYSTEM) as conn:
        batch = message(2, hourly("m1", 2, [300]))
        assert isinstance(batch, Incoming)
        assert isinstance(batch.content, PointColumns)
        await devices.resolve_gateways(conn, {(site.project_id, "gw-1")})
        await metering.store_points(
            conn, [Batch(site.project_id, site.gateway_id, "gw-1", batch.received_ms, batch.content)]
        )
        await derive(worker_db)
        assert [row["quantity"] for row in await usage(worker_db)] == [100]
    await derive(worker_db)
    assert [row["quantity"] for row in await usage(worker_db)] == [100, 100]


async def test_a_window_added_while_usage_is_derived_stays(
    worker_db: Database, ingest_db: Database, site: Site
) -> None:
    await store(ingest_db, hourly("m1", 0, [100, 200]))
    async with worker_db.transaction(SYSTEM) as conn:
        meters = await derivation.lock_meters(conn, site.meters)
        windows = await derivation.take_registers(conn, meters, {site.project_id: ZoneInfo("Asia/Shanghai")})
        await store(ingest_db, hourly("m1", 2, [300]))
        assert (await derivation.update(conn, windows)).meters == 1
    assert len(await table(worker_db, "SELECT id FROM store.dirty_window")) == 1
    await derive(worker_db)
    assert [row["quantity"] for row in await usage(worker_db)] == [100, 100]
    await derive_all_at_once(worker_db)
    assert [row["quantity"] for row in await usage(worker_db)] == [100, 100]


async def test_days_that_arrive_in_reversed_order(worker_db: Database, ingest_db: Database, site: Site) -> None:
    for day in reversed(range(20)):
        await store(ingest_db, hourly("m1", 24 * day, range(2400 * day, 2400 * (day + 1), 100)))
        await derive(worker_db)
    rows = await usage(worker_db)
    assert (len(rows), {row["quantity"] for row in rows}) == (20 * 24 - 1, {100})


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Auckland"])
async def test_months_begin_at_local_midnight_in_every_zone(
    worker_db: Database, ingest_db: Database, zone: str
) -> None:
    site = await make_site(worker_db, zone=zone)
    start, end = day_start(date(2025, 11, 1), ZoneInfo(zone)), day_start(date(2025, 12, 1), ZoneInfo(zone))
    first, last = (int(at.timestamp() * 1000) for at in (start, end))
    points = [Point("m1", CHANNEL, first + 400 + n * 1_800_000, n * 10) for n in range((last - first) // 1_800_000 + 1)]
    await store(ingest_db, points)
    await derive(worker_db)
    async with worker_db.transaction(SYSTEM) as conn:
        total = await metering.usage_between(conn, site.meters[0], 1, start, end)
        found = await metering.boundary_readings(conn, [(site.meters[0], start), (site.meters[0], end)])
    assert (total.complete, total.quantity) == (True, points[-1].value)
    assert sorted(reading.value for reading in found.values()) == [0, points[-1].value]


async def test_late_readings_find_their_place_where_the_series_is_packed(
    worker_db: Database, ingest_db: Database, owner_dsn: str, site: Site
) -> None:
    """With TimescaleDB in a compressed chunk, without it in the partition of their month."""
    kept = hourly("m1", 0, [100, 200, 300])
    await store(ingest_db, [kept[0], kept[2]])
    await derive(worker_db)
    with psycopg.connect(owner_dsn, autocommit=True) as owner:
        timescale = owner.execute("SELECT gm.has_timescale()").fetchone() == (True,)
        if timescale:
            for series in ("reading", "usage"):
                chunks = owner.execute(f"SELECT compress_chunk(show_chunks('store.{series}'))".encode()).fetchall()
                assert chunks
    for _ in range(2):
        await store(ingest_db, kept)
        await derive(worker_db)
    await store(ingest_db, hourly("m1", 1, [999]))
    assert [row["value"] for row in await table(worker_db, "SELECT value FROM store.reading ORDER BY taken_at")] == [
        100, 200, 300,
    ]  # fmt: skip
    assert [row["value"] for row in await table(worker_db, "SELECT value FROM store.reading_revision")] == [999]
    assert [row["quantity"] for row in await usage(worker_db)] == [100, 100]
    if not timescale:
        places = await table(worker_db, "SELECT DISTINCT tableoid::regclass::text AS place FROM store.reading")
        assert [row["place"] for row in places] == ["store.reading_2026_01"]


async def test_usage_whose_readings_are_kept_no_more_stays_as_it_is(
    worker_db: Database, ingest_db: Database, owner_dsn: str, site: Site
) -> None:
    await store(ingest_db, hourly("m1", 0, range(100, 2_100, 100)))
    await derive(worker_db)
    before = await usage(worker_db)
    with psycopg.connect(owner_dsn, autocommit=True) as owner:
        horizon = datetime.fromtimestamp((START_MS + 10 * HOUR_MS) / 1000, UTC)
        owner.execute("UPDATE store.retention SET readings_gone_before = %s", (horizon,))
        owner.execute("DELETE FROM store.reading WHERE taken_at < %s", (horizon,))
    await store(ingest_db, [*hourly("m1", 3, [5_000]), *hourly("m1", 20, [2_150])])
    await derive(worker_db)
    after = await usage(worker_db)
    assert after[: len(before)] == before
    assert [row["quantity"] for row in after[len(before) :]] == [150]


@pytest.mark.parametrize(
    ("settings", "told"), [({}, 1), ({"gap_slots": 1}, 1), ({"gap_slots": 2}, 0), ({"rules": {"gap": "off"}}, 0)]
)
async def test_gaps_are_told_as_the_thresholds_of_the_meter_say(
    worker_db: Database, ingest_db: Database, site: Site, settings: dict[str, object], told: int
) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute(
            "INSERT INTO validation_threshold (project_id, meter_id, settings) VALUES (%s, %s, %s)",
            (site.project_id, site.meters[0], Jsonb(settings)),
        )
    await store(ingest_db, hourly("m1", 0, [100]) + hourly("m1", 3, [400]))
    await derive(worker_db)
    assert [(row["value"], row["code"]) for row in await refused(worker_db)] == [(2, "gap")] * told
