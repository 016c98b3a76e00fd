"""The proof of roll-ups runs beside derivations: nothing is counted twice or lost, whoever commits first."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from cloud.estate import service as estate
from cloud.kit.db import SYSTEM, Conn, Database
from cloud.kit.jobs import JobContext
from cloud.kit.periods import Period
from cloud.kit.portions import past_deadlocks
from cloud.metering.derivation import update as derivation
from cloud.metering.rollups import proving
from cloud.metering.rollups.proving import UsageWasMiscounted
from tests.integration.metering.site import Site, make_site
from tests.integration.metering.test_counting import CHANGES_OF_CLOCKS, counted_again, read, unlike_each_other
from tests.integration.metering.test_derivation import derive, table

_WAITS = """
    SELECT FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock' AND backend_type = 'client backend'
"""
_PATIENCE_S = 60.0
_FORGOTTEN = """
    INSERT INTO store.usage (meter_id, channel, start, length_s, quantity, method, project_id)
    SELECT m.id, 1, %s - n * interval '13 hours', 900 * (1 + n %% 70), n * 7, n %% 5, m.project_id
    FROM meter m CROSS JOIN generate_series(%s::int, %s::int) AS n ON CONFLICT DO NOTHING
"""


@asynccontextmanager
async def deriving(db: Database, site: Site) -> AsyncIterator[None]:
    """All meters are derived and counted; committed at the end of the block."""
    zones = await zones_of(db)
    async with db.transaction(SYSTEM) as conn:
        await derivation.bring_up(conn, await derivation.lock_meters(conn, site.meters), zones)
        yield


async def zones_of(db: Database) -> dict[int, ZoneInfo]:
    async with db.transaction(SYSTEM) as conn:
        return {project.id: project.zone for project in await estate.projects(conn)}


async def forget_to_count(db: Database, start: datetime, first: int, last: int) -> None:
    """Rows of all lengths, before `start`, that somebody added and did not count."""
    async with db.transaction(SYSTEM) as conn:
        await conn.execute(_FORGOTTEN, (start, first, last))


async def prove(db: Database) -> int:
    """How many counts were wrong of all days."""
    async with db.transaction(SYSTEM) as conn:
        projects = await estate.projects(conn)
    days = Period(date(2000, 1, 1), date(2100, 1, 1))
    return sum([await proving.mend(db, SYSTEM, project, days) for project in projects])


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not await condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def a_site(db: Database, zone: str) -> tuple[Site, datetime]:
    site = await make_site(db, meters=5, zone=zone)
    await unlike_each_other(db, site)
    return site, CHANGES_OF_CLOCKS[zone] - timedelta(days=2)


@pytest.mark.parametrize("zone", ["Asia/Kathmandu", "America/Havana"])
async def test_rows_that_are_not_committed_are_none_of_the_proof(
    worker_db: Database, owner_db: Database, zone: str
) -> None:
    site, start = await a_site(worker_db, zone)
    for slots in ([*range(0, 400, 3), 96 * 120], [*range(0, 400, 2), 96 * 120, 96 * 130]):
        await read(worker_db, dict.fromkeys(site.meters, slots), start)
        async with deriving(worker_db, site):
            assert await prove(owner_db) == 0
        assert await prove(owner_db) == 0
    await counted_again(worker_db, owner_db)


async def test_a_proof_that_mends_waits_for_who_writes(worker_db: Database, owner_db: Database) -> None:
    """What it mends touches rows that the writer has added, changed and removed."""
    site, start = await a_site(worker_db, "Europe/Berlin")
    await read(worker_db, {meter: [*range(0, 400, 9), 96 * 120] for meter in site.meters}, start)
    await derive(worker_db)
    await forget_to_count(worker_db, start + timedelta(days=5), 1, 100)
    await read(worker_db, {meter: [*range(0, 400, 5), 96 * 100] for meter in site.meters}, start)
    async with deriving(owner_db, site):
        proof = asyncio.create_task(prove(worker_db))

        async def waits() -> bool:
            return proof.done() or await table(owner_db, _WAITS) != []

        await until(waits)
        assert not proof.done()
    assert await proof > 0
    assert await prove(owner_db) == 0
    await counted_again(worker_db, owner_db)


async def test_a_proof_that_the_database_ends_for_a_writer_begins_anew(worker_db: Database, owner_db: Database) -> None:
    """The writer has a month and wants a day, the proof has days and wants the month."""
    if await table(worker_db, "SELECT WHERE gm.has_timescale()"):
        pytest.skip("the engine rolls up days and months itself")
    site, start = await a_site(worker_db, "Asia/Shanghai")
    await read(worker_db, {meter: [*range(400)] for meter in site.meters}, start)
    await derive(worker_db)
    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute(
            """INSERT INTO store.usage (meter_id, channel, start, length_s, quantity, method, project_id)
               SELECT id, 1, %s - interval '7 minutes', 60, 5, 0, project_id FROM meter""",
            (start,),
        )
    proofs: list[asyncio.Task[bool]] = []

    async def write() -> None:
        async with owner_db.transaction(SYSTEM) as conn:
            await conn.execute("SET LOCAL deadlock_timeout = '60s'")
            await touch(conn, "month")
            proofs.append(asyncio.create_task(_nightly(worker_db)))

            async def waits() -> bool:
                return proofs[0].done() or await table(owner_db, _WAITS) != []

            await until(waits)
            await touch(conn, "day")

    await past_deadlocks(write)
    assert any(await asyncio.gather(*proofs))
    assert await prove(owner_db) == 0
    await counted_again(worker_db, owner_db)


async def touch(conn: Conn, step: str) -> None:
    await conn.execute(f"UPDATE store.usage_{step} SET rows = rows".encode())


async def _nightly(db: Database) -> bool:
    """Whether the nightly job found something to mend."""
    try:
        await proving.prove_counts(JobContext(1, None, {}, db))
    except UsageWasMiscounted:
        return True
    return False


@pytest.mark.parametrize("zone", CHANGES_OF_CLOCKS)
async def test_proofs_among_random_derivations(worker_db: Database, owner_db: Database, zone: str) -> None:
    """Rows come, change and go in portions; somebody forgets to count some; proofs run all the while."""
    chance = random.Random(zone)
    site, start = await a_site(worker_db, zone)
    over = asyncio.Event()

    async def prove_on() -> None:
        while not over.is_set():
            await _nightly(owner_db)
            await asyncio.sleep(0)

    proofs = asyncio.create_task(prove_on())
    try:
        for n in range(6):
            slots = {
                meter: [*chance.sample(range(96 * 6), chance.randrange(1, 200)), 96 * chance.choice([40, 70, 120])]
                for meter in site.meters
            }
            await read(worker_db, slots, start)
            if n % 2:
                await forget_to_count(worker_db, start + timedelta(days=6), n * 5, n * 5 + 9)
            await derive(worker_db)
    finally:
        over.set()
        await proofs
    await prove(owner_db)
    assert await prove(owner_db) == 0
    await counted_again(worker_db, owner_db)


async def test_a_proof_that_mends_holds_up_no_other_meter(worker_db: Database, owner_db: Database) -> None:
    """It waits for the writer of the meter that it mends; everybody else goes on."""
    site, start = await a_site(worker_db, "Asia/Shanghai")
    first, others = site.meters[0], site.meters[1:]
    await read(worker_db, {meter: [*range(0, 400, 9), 96 * 120] for meter in site.meters}, start)
    await derive(worker_db)
    async with owner_db.transaction(SYSTEM) as conn:
        # Of another channel: the derivation leaves it as it is.
        await conn.execute(
            """INSERT INTO store.usage (meter_id, channel, start, length_s, quantity, method, project_id)
               SELECT id, 2, %s, 86400, 5, 0, project_id FROM meter WHERE id = %s""",
            (start + timedelta(hours=5), first),
        )
    # Within what was read before: who makes a chunk keeps others out of it, with TimescaleDB, until he commits.
    await read(worker_db, {meter: [*range(0, 400, 5)] for meter in site.meters}, start)
    zones = await zones_of(worker_db)

    async def waits() -> bool:
        return proof.done() or await table(owner_db, _WAITS) != []

    async with owner_db.transaction(SYSTEM) as conn:
        assert await derivation.lock_meters(conn, [first]) == [first]
        await conn.execute("LOCK TABLE store.usage IN ROW EXCLUSIVE MODE")
        proof = asyncio.create_task(prove(worker_db))
        await until(waits)
        assert not proof.done()
        async with asyncio.timeout(_PATIENCE_S), owner_db.transaction(SYSTEM) as other:
            assert await derivation.lock_meters(other, others) == others
            assert (await derivation.bring_up(other, others, zones)).changed > 0
        assert not proof.done()
    assert await proof > 0
    assert await prove(owner_db) == 0
    await counted_again(worker_db, owner_db)
