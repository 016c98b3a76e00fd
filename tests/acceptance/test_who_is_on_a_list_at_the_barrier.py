"""Who is on the black list is refused, who is on the white list is let in and out, with the cloud and without it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cloud.kit.db import SYSTEM, Database
from cloud.parking.lists import service as lists
from cloud.parking.lists.records import Entry, Listed, NewEntry
from simulators.barrier.lane import Lane
from tests.acceptance.system import PASSWORDS, running_system, system_rows, until
from tests.acceptance.test_from_barrier_to_fee import is_set, lane, online, set_up

BARRED, ENGINE, STRANGER = "京A66666", "京O00001", "沪B12345"
SITE: dict[str, Any] = {
    "health_period_s": 1.0,
    "barriers": [
        {
            "name": "garage",
            "lot": "lot-1",
            "prefix": "barriers",
            "lanes": [
                {"device": "lane-in", "sn": "IN", "direction": "entry", "temporary_allowed": False},
                {"device": "lane-out", "sn": "OUT", "direction": "exit"},
            ],
        }
    ],
}


@pytest.mark.slow
async def test_the_lists_decide_at_a_real_gateway(
    tmp_path: Path, owner_dsn: str, worker_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BARRIER_PASSWORD", PASSWORDS["barriers"])
    project_id = await set_up(worker_db)
    await put(worker_db, project_id, "white", ENGINE)
    with running_system(tmp_path, owner_dsn, SITE) as system:
        system.start_ingest()
        system.start_gateway()
        async with lane(system, "IN") as entry, lane(system, "OUT") as exit_:
            await online(worker_db, project_id)
            barred = await put(worker_db, project_id, "black", BARRED)
            await put(worker_db, project_id, "black", STRANGER, begins_in=timedelta(days=1))
            await holds_all(worker_db)

            await is_refused(worker_db, entry, BARRED, "blacklist")
            await is_refused(worker_db, entry, STRANGER, "no-temporary")  # its time has not come
            system.kill("ingest")  # the cloud is away
            for barrier in (entry, exit_):
                engine = await barrier.arrive(ENGINE)
                await until(is_set(engine.left), "who is on the white list passes without the cloud")
                assert len(barrier.orders) == 1

            system.start_ingest()
            async with worker_db.transaction(SYSTEM) as conn:
                await lists.end(conn, barred.id, "apologised", "user:1", datetime.now(UTC))
            await holds_all(worker_db)
            await is_refused(worker_db, entry, BARRED, "no-temporary")  # like everybody without a permit
        system.stop("gateway")
        system.stop("ingest")


async def put(db: Database, project_id: int, listing: Listed, plate: str, begins_in: timedelta = timedelta()) -> Entry:
    """Puts a plate on a list of all lots, for ever."""
    now = datetime.now(UTC)
    async with db.transaction(SYSTEM) as conn:
        new = NewEntry(project_id, listing, plate, "test", None, now + begins_in, None)
        return await lists.add(conn, new, "user:1", now)


async def holds_all(db: Database) -> None:
    """The gateway has told that it holds all that was told to it."""

    async def held() -> bool:
        (row,) = await system_rows(db, "SELECT held = number AND number > 0 AS all_of_it FROM gateway_access")
        return bool(row["all_of_it"])

    await until(held, "the gateway holds what it was told")


async def is_refused(db: Database, barrier: Lane, plate: str, rule: str) -> None:
    """The vehicle arrives, is refused by this rule, told so to the cloud, and turns back."""
    before = len(barrier.orders)
    standing = await barrier.arrive(plate)

    async def told() -> bool:
        query = "SELECT count(*) AS n FROM passage WHERE plate = %s AND decision = %s"
        (row,) = await system_rows(db, query, (plate, rule))
        return bool(row["n"])

    await until(told, f"{plate} is refused: {rule}")
    assert len(barrier.orders) == before
    assert not standing.left.is_set()
    await barrier.turn_back()
