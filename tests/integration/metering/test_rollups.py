"""Roll-ups equal the sum of the usage rows that each bar holds whole, whatever changed, on both engines."""

import random
import secrets
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any, LiteralString
from zoneinfo import ZoneInfo

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from cloud.kit.db import SYSTEM, Asker, Database
from cloud.kit.jobs import JobContext
from cloud.kit.migrate import migrate, read_migrations
from cloud.kit.periods import Period
from cloud.metering.consumption.series import edges
from cloud.metering.records import ChangedSpan, Step
from cloud.metering.rollups import maintenance
from cloud.metering.rollups import reading as rollups
from cloud.metering.rollups.reading import BarSum
from cloud.metering.rollups.sql import REACH
from tests.integration.metering.counted import COUNT
from tests.integration.metering.site import Site, make_site

ZONES = ("Asia/Shanghai", "Asia/Kolkata", "Europe/Berlin")
PERIOD = Period(date(2026, 3, 1), date(2026, 5, 1))
"""Clocks change in Berlin on 29 March."""
STEPS: tuple[Step, ...] = ("hour", "day", "month")
Row = tuple[int, datetime, int, int, int]
"""Meter, start, length, quantity, method."""


@pytest.fixture(params=ZONES)
def zone(request: pytest.FixtureRequest) -> ZoneInfo:
    return ZoneInfo(request.param)


async def rows(db: Database, query: str, *values: object, asker: Asker = SYSTEM) -> list[dict[str, Any]]:
    async with db.transaction(asker) as conn:
        return await (await conn.execute(query.encode(), values)).fetchall()


INSERT: LiteralString = """
    INSERT INTO store.usage (meter_id, start, length_s, quantity, method, channel, project_id)
    SELECT *, 1, %s FROM unnest(%s::bigint[], %s::timestamptz[], %s::int[], %s::bigint[], %s::smallint[])
"""


async def add(db: Database, site: Site, usage: Sequence[Row]) -> None:
    """Stores rows and counts them, in one transaction."""
    async with db.transaction(SYSTEM) as conn:
        await conn.execute(INSERT, (site.project_id, *map(list, zip(*usage, strict=True))))
        await conn.execute(COUNT)


async def note(db: Database, site: Site) -> None:
    """What the settle job and the one after it do."""
    span = ChangedSpan(
        site.project_id, site.meters[0], 1, datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC)
    )
    async with db.transaction(SYSTEM) as conn:
        await rollups.refresh(conn, [span])
    await maintenance.refresh_roll_ups(JobContext(1, None, {}, db))
    assert await rows(db, "SELECT 1 FROM store.stale_roll_up UNION ALL SELECT 1 FROM store.usage_total_change") == []


def some_rows(chance: random.Random, meters: Sequence[int], zone: ZoneInfo) -> list[Row]:
    """A meter by the quarter, one by the hour, one by the day; and gaps that nobody shaped."""
    quarters, hours, days = (edges(Period(date(2026, 3, 27), date(2026, 4, 3)), step, zone) for step in
                             ("hour", "hour", "day"))  # fmt: skip
    made: list[Row] = []
    for start in quarters[:-1]:
        made += [
            (meters[0], start + timedelta(minutes=15 * n), 900, chance.randrange(500), chance.choice((0, 3)))
            for n in range(4)
            if chance.random() < 0.9
        ]
    made += [(meters[1], start, 3600, chance.randrange(2000), 0) for start in hours[:-1] if chance.random() < 0.9]
    made += [
        (meters[2], start, int((end - start).total_seconds()), chance.randrange(40_000), 4)
        for start, end in pairwise(days)
    ]
    made.append((meters[1], hours[-1], 5 * 3600, 777, 2))
    made += [(meters[1], hours[-1] + timedelta(hours=5 + n), 3600, chance.randrange(2000), 0) for n in range(90)]
    made.append((meters[1], hours[-1] + timedelta(hours=95), 40 * 3600, 888, 2))
    made.append((meters[0], hours[-1] + timedelta(days=3), 110 * 86400, 10**9, 2))
    return made


def expected(usage: Sequence[Row], step: Step, zone: ZoneInfo) -> dict[tuple[int, datetime], tuple[int, ...]]:
    """By meter and bar: quantity, rows, seconds covered, seconds estimated."""
    bounds = edges(PERIOD, step, zone)
    sums: dict[tuple[int, datetime], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for meter, start, length, quantity, method in usage:
        nth = max(n for n, at in enumerate(bounds) if at <= start)
        if nth + 1 < len(bounds) and start + timedelta(seconds=length) <= bounds[nth + 1]:
            added = (quantity, 1, length, length if method in (3, 4, 5, 6) else 0)
            sums[(meter, bounds[nth])] = [a + b for a, b in zip(sums[(meter, bounds[nth])], added, strict=True)]
    return {key: tuple(values) for key, values in sums.items()}


async def compare(db: Database, site: Site, zone: ZoneInfo, top: Sequence[int]) -> None:
    stored = [
        (row["meter_id"], row["start"], row["length_s"], row["quantity"], row["method"])
        for row in await rows(db, "SELECT * FROM store.usage WHERE project_id = %s", site.project_id)
    ]
    for step in STEPS:
        wanted = expected(stored, step, zone)
        instants = edges(PERIOD, step, zone)
        await compare_bars(db, site, stored, instants, step, zone, top)
        await compare_bars(db, site, stored, [instants[0], instants[-1]], step, zone, top)
        view = await rows(db, f"SELECT * FROM usage_{step} WHERE project_id = %s", site.project_id)
        found = {
            (row["meter_id"], row["start"]): (row["quantity"], row["rows"], row["covered_s"], row["estimated_s"])
            for row in view
        }
        assert found == wanted
        bounds = edges(PERIOD, step, zone)
        assert all(row["length_s"] == (bounds[bounds.index(row["start"]) + 1] - row["start"]).total_seconds()
                   and row["day"] == row["start"].astimezone(zone).date() for row in view)  # fmt: skip
        totals = await rows(db, "SELECT * FROM usage_total WHERE project_id = %s AND reach <= %s", site.project_id,
                            REACH[step])  # fmt: skip
        for name, place in (("all_meters", 0), ("rows", 1), ("covered_s", 2), ("estimated_s", 3)):
            assert sum(row[name] for row in totals) == sum(sums[place] for sums in wanted.values())


async def compare_bars(
    db: Database,
    site: Site,
    stored: Sequence[Row],
    instants: Sequence[datetime],
    step: Step,
    zone: ZoneInfo,
    top: Sequence[int],
) -> None:
    """What is read as bars is what the rows add up to, of the project and of any of its meters."""
    members = {0: site.meters, 1: site.meters[:1], 2: site.meters[1:]}
    if len(instants) == 2 and step == "hour":
        return
    async with db.transaction(SYSTEM) as conn:
        assert await rollups.project_is_rolled_up(conn, instants, step, zone)
        assert await rollups.top_meters(conn, site.project_id, "electricity") == len(top)
        project = await rollups.project_bars(conn, site.project_id, "electricity", 1, instants, step, zone)
        found = await rollups.member_bars(conn, members, 1, instants, step)
    assert project == bars_of_rows(stored, instants, top)
    assert found == {part: bars_of_rows(stored, instants, meters) for part, meters in members.items()}


def bars_of_rows(stored: Sequence[Row], instants: Sequence[datetime], meters: Sequence[int]) -> dict[int, BarSum]:
    """The reference: row by row, meter by meter."""
    sums: dict[int, list[int]] = {}
    broken: set[int] = set()
    for meter in meters:
        mine: dict[int, list[int]] = {}
        over: set[int] = set()
        for start, length, quantity, method in (row[1:] for row in stored if row[0] == meter):
            end = start + timedelta(seconds=length)
            touched = [n for n, (low, high) in enumerate(pairwise(instants)) if start < high and end > low]
            if touched and start >= instants[touched[0]] and end <= instants[touched[0] + 1]:
                added = (quantity, length, length if method in (3, 4, 5, 6) else 0)
                mine[touched[0]] = [a + b for a, b in zip(mine.get(touched[0], [0, 0, 0]), added, strict=True)]
            else:
                over.update(touched)
        for nth in mine.keys() - over:
            sums[nth] = [a + b for a, b in zip(sums.get(nth, [0, 0, 0]), mine[nth], strict=True)]
        broken |= over
    return {
        nth: BarSum(sums[nth][0], sums[nth][1], sums[nth][2], nth in broken) if nth in sums else BarSum(broken=True)
        for nth in sums.keys() | broken
    }


async def test_equal_to_the_rows_after_any_change(worker_db: Database, zone: ZoneInfo) -> None:
    chance = random.Random(4)
    site = await make_site(worker_db, zone=zone.key)
    other = await make_site(worker_db, code="other", zone="Australia/Darwin")
    usage = some_rows(chance, site.meters, zone)
    await add(worker_db, other, [(other.meters[0], usage[0][1], 900, 1, 0)])
    chance.shuffle(usage)
    half = len(usage) // 2
    await add(worker_db, site, usage[:half])
    await compare_totals_before_the_job(worker_db, site, zone)
    await note(worker_db, site)
    await compare(worker_db, site, zone, site.meters)
    await add(worker_db, site, usage[half:])
    some = [row[1] for row in usage if chance.random() < 0.3]
    await rows(worker_db, """UPDATE store.usage SET quantity = quantity + 5, method = 3 - method %% 2
                             WHERE project_id = %s AND start = ANY (%s) AND length_s < 100000 RETURNING 1""",
               site.project_id, some)  # fmt: skip
    gone = [row[1] for row in usage if chance.random() < 0.3]
    await rows(worker_db, "DELETE FROM store.usage WHERE project_id = %s AND start = ANY (%s) RETURNING 1",
               site.project_id, gone)  # fmt: skip
    await rows(worker_db, "UPDATE meter SET parent_id = %s WHERE id = %s RETURNING 1", site.meters[2], site.meters[0])
    await note(worker_db, site)
    await compare(worker_db, site, zone, site.meters[1:])
    await rows(worker_db, "UPDATE meter SET parent_id = NULL WHERE id = %s RETURNING 1", site.meters[0])
    await compare(worker_db, site, zone, site.meters)


async def compare_totals_before_the_job(db: Database, site: Site, zone: ZoneInfo) -> None:
    """Totals are right in the transaction that changed the rows, folded or not."""
    total = await rows(db, "SELECT sum(all_meters) AS n FROM usage_total WHERE project_id = %s", site.project_id)
    assert total == await rows(db, "SELECT sum(quantity) AS n FROM store.usage WHERE project_id = %s", site.project_id)
    assert await rows(db, "SELECT 1 FROM store.usage_total_change LIMIT 1")


async def test_what_changed_is_told_before_the_job(worker_db: Database, zone: ZoneInfo) -> None:
    """Late rows count from the commit that derives them, which marks them; aggregates follow by a job."""
    site = await make_site(worker_db, zone=zone.key)
    usage = some_rows(random.Random(5), site.meters, zone)
    late = [row for row in usage if row[1] >= datetime(2026, 3, 31, 3, tzinfo=UTC)]
    early = [row for row in usage if row not in late]
    await add(worker_db, site, early)
    await note(worker_db, site)
    await add(worker_db, site, late)
    await rows(
        worker_db,
        """INSERT INTO store.changed_usage (meter_id, channel, project_id, from_at, until_at)
           VALUES (%s, 1, %s, %s, %s) RETURNING 1""",
        site.meters[0], site.project_id, datetime(2026, 3, 31, 3, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC),
    )  # fmt: skip
    for step in STEPS:
        await compare_bars(worker_db, site, usage, edges(PERIOD, step, zone), step, zone, site.meters)


async def test_half_hours_of_lord_howe_are_added_up_from_rows(worker_db: Database) -> None:
    zone = ZoneInfo("Australia/Lord_Howe")
    async with worker_db.transaction(SYSTEM) as conn:
        june, january = (edges(Period(date(2026, n, 1), date(2026, n, 3)), "day", zone) for n in (6, 1))
        assert await rollups.project_is_rolled_up(conn, january, "day", zone)
        assert not await rollups.project_is_rolled_up(conn, june, "day", zone)
        assert not await rollups.project_is_rolled_up(conn, january, "15min", zone)


async def test_what_is_there_already_gets_its_marks(server_dsn: str) -> None:
    """A database of before 0022, and without what builds on it, with rows, master and sub-meter, estimates and gaps."""
    name = f"gm_marks_{secrets.token_hex(6)}"
    with psycopg.connect(server_dsn, autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name} TEMPLATE template0".encode())
    dsn = make_conninfo(server_dsn, dbname=name)
    try:
        builds_on_it = ("0022", "0041", "0051", "0070", "0076")
        migrate(dsn, [one for one in read_migrations() if not one.name.startswith(builds_on_it)])
        zone = ZoneInfo("Europe/Berlin")
        async with Database(dsn, "gatemeter_worker", max_size=2) as db:
            site = await make_site(db, zone=zone.key)
            usage = some_rows(random.Random(6), site.meters, zone)
            async with db.transaction(SYSTEM) as conn:
                await conn.execute(INSERT, (site.project_id, *map(list, zip(*usage, strict=True))))
            await rows(db, "UPDATE meter SET parent_id = %s WHERE id = %s RETURNING 1", site.meters[2], site.meters[0])
        migrate(dsn)
        async with Database(dsn, "gatemeter_worker", max_size=2) as db:
            await note(db, site)
            await compare(db, site, zone, site.meters[1:])
    finally:
        with psycopg.connect(server_dsn, autocommit=True) as conn:
            conn.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


async def test_a_project_that_moves_to_another_zone_is_counted_again(worker_db: Database) -> None:
    old, new = ZoneInfo("Asia/Shanghai"), ZoneInfo("Asia/Kolkata")
    site = await make_site(worker_db, zone=old.key)
    usage = some_rows(random.Random(1), site.meters, new)
    await add(worker_db, site, usage)
    await rows(worker_db, "UPDATE project SET time_zone = %s RETURNING 1", new.key)
    await note(worker_db, site)
    await compare(worker_db, site, new, site.meters)


async def test_who_may_read_them(worker_db: Database, web_db: Database, owner_dsn: str) -> None:
    site = await make_site(worker_db)
    start = datetime(2026, 3, 1, 16, tzinfo=UTC)
    with psycopg.connect(owner_dsn, autocommit=True) as owner:
        owner.execute(
            """INSERT INTO store.usage (meter_id, channel, start, length_s, quantity, project_id)
               SELECT %s, 1, %s::timestamptz + n * interval '1 hour', 3600, 1, %s FROM generate_series(0, 23) n""",
            (site.meters[0], start, site.project_id),
        )
        owner.execute(
            """INSERT INTO store.usage (meter_id, channel, start, length_s, quantity, method, project_id)
               VALUES (%s, 1, %s, 9000000, 1, 2, %s)""",
            (site.meters[0], start + timedelta(days=1), site.project_id),
        )
        owner.execute(COUNT)
    await note(worker_db, site)
    staff = Asker(kind="staff", projects=(site.project_id,))
    for name, size in (
        ("usage_hour", 24),
        ("usage_day", 1),
        ("usage_month", 1),
        ("usage_total", 25),
        ("crossing_usage", 1),
    ):
        assert len(await rows(web_db, f"SELECT 1 FROM {name}", asker=staff)) == size
        for asker in (Asker(), Asker(kind="staff", projects=(site.project_id + 1,)), SYSTEM,
                      Asker(kind="resident", projects=(site.project_id,), persons=(1,))):  # fmt: skip
            assert await rows(web_db, f"SELECT 1 FROM {name}", asker=asker) == []
    for door in ("CALL gm.count_again(NULL)", "SELECT gm.retain()", "SELECT gm.fold_totals()"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await rows(web_db, door, asker=staff)


async def test_strays_get_a_partition_and_old_ones_are_archived(worker_db: Database, owner_dsn: str) -> None:
    site = await make_site(worker_db, meters=1)
    old = datetime(2021, 5, 17, tzinfo=UTC)
    key = (site.meters[0], 1, old, 5, site.project_id)
    insert = "INSERT INTO store.reading (meter_id, channel, taken_at, value, project_id) VALUES (%s, %s, %s, %s, %s)"
    with psycopg.connect(owner_dsn, autocommit=True) as owner:
        owner.execute(insert, key)
        plain = owner.execute("SELECT gm.has_timescale()").fetchone() == (False,)
    context = JobContext(1, None, {}, worker_db)
    await maintenance.maintain(context)
    place = await rows(worker_db, "SELECT tableoid::regclass::text AS name, value FROM store.reading")
    assert [row["value"] for row in place] == [5]
    assert not plain or place[0]["name"] == "store.reading_2021_05"
    with psycopg.connect(owner_dsn, autocommit=True) as owner:
        if plain:
            assert owner.execute("SELECT to_regclass('store.reading_2021_05_brin')").fetchone() != (None,)
        owner.execute("UPDATE store.retention SET readings_months = 24")
    result = await maintenance.maintain(context)
    if not plain:
        assert result["retired"] == 0, "chunks are dropped only when somebody said so"
        with psycopg.connect(owner_dsn, autocommit=True) as owner:
            owner.execute("UPDATE store.retention SET drop_chunks = true")
        assert (await maintenance.maintain(context))["retired"] == 1
    assert await rows(worker_db, "SELECT 1 FROM store.reading") == []
    with psycopg.connect(owner_dsn, autocommit=True) as owner:
        if plain:
            assert owner.execute("SELECT value FROM archive.reading_2021_05").fetchall() == [(5,)]
        horizon = owner.execute("SELECT gm.readings_kept_from()").fetchone()
        owner.execute("UPDATE store.retention SET readings_months = NULL")
        assert owner.execute("SELECT gm.readings_kept_from()").fetchone() == horizon != (None,)
