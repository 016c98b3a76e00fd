"""What changes while gateways are told all of it is neither withdrawn nor told anew."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from cloud.devices import access
from cloud.kit.db import SYSTEM, Conn, Database
from cloud.kit.errors import Conflict
from cloud.parking import service as parking
from cloud.parking.charging import debts
from cloud.parking.lists import service as lists
from cloud.parking.lists.records import NewEntry
from cloud.parking.lists.telling import tell_lists
from tests.integration.parking.site import NOON, Site, rows

PLATE = "京A66666"
HOUR = timedelta(hours=1)
Known = Callable[[Conn, int, Sequence[str]], Awaitable[dict[tuple[str, str], bool]]]


async def add(db: Database, site: Site, plate: str = PLATE) -> None:
    async with db.transaction(SYSTEM) as conn:
        new = NewEntry(site.project_id, "black", plate, "blocked the fire lane", None, NOON, None)
        await lists.add(conn, new, "user:1", NOON)


async def held(db: Database) -> set[str]:
    """What the gateway is told now."""
    return {row["key"] for row in await rows(db, "SELECT key FROM gateway_access_entry WHERE entry IS NOT NULL")}


async def done_or_waiting(db: Database, task: asyncio.Task[None]) -> None:
    """Until a task is done, or waits for a lock that somebody else holds."""
    while not task.done():
        if (await rows(db, "SELECT count(*) AS n FROM pg_locks WHERE NOT granted"))[0]["n"]:
            return
        await asyncio.sleep(0.01)


@pytest.fixture
async def meanwhile(
    worker_db: Database, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Coroutine[Any, Any, None]], list[asyncio.Task[None]]]:
    """Something that happens after what is to be told was read, and before what a gateway knows is."""

    def happens(change: Coroutine[Any, Any, None]) -> list[asyncio.Task[None]]:
        known: Known = access.known
        tasks: list[asyncio.Task[None]] = []

        async def later(conn: Conn, gateway_id: int, kinds: Sequence[str]) -> dict[tuple[str, str], bool]:
            if not tasks:
                tasks.append(asyncio.create_task(change))
                await done_or_waiting(worker_db, tasks[0])
            return await known(conn, gateway_id, kinds)

        monkeypatch.setattr(access, "known", later)
        return tasks

    return happens


async def test_an_entry_that_is_made_while_all_are_told_is_not_withdrawn(
    worker_db: Database, site: Site, meanwhile: Callable[[Coroutine[Any, Any, None]], list[asyncio.Task[None]]]
) -> None:
    await add(worker_db, site, "粤B67890")
    tasks = meanwhile(add(worker_db, site))
    async with worker_db.transaction(SYSTEM) as conn:
        await tell_lists(conn, site.project_id, NOON)
    await asyncio.gather(*tasks)
    assert len(await held(worker_db)) == 2


async def test_a_debt_that_is_paid_while_all_are_told_is_owed_no_more(
    ingest_db: Database,
    worker_db: Database,
    site: Site,
    meanwhile: Callable[[Coroutine[Any, Any, None]], list[asyncio.Task[None]]],
) -> None:
    left = NOON + 5 * HOUR
    await site.report(ingest_db, [site.passage("entry", PLATE, NOON), site.passage("exit", PLATE, left)], left)
    async with worker_db.transaction(SYSTEM) as conn:
        await debts.tell_owing(conn, site.project_id)
    assert await held(worker_db) == {f"owing-{PLATE}"}

    async def pay() -> None:
        (stay,) = await rows(worker_db, "SELECT id FROM parking_session")
        async with worker_db.transaction(SYSTEM) as conn:
            await parking.pay(conn, stay["id"], Decimal("8.00"), "cash", "user:1", at=NOON + 6 * HOUR)

    tasks = meanwhile(pay())
    async with worker_db.transaction(SYSTEM) as conn:
        await debts.tell_owing(conn, site.project_id)
    await asyncio.gather(*tasks)
    assert await held(worker_db) == set()


async def test_of_two_who_list_a_plate_at_once_one_is_refused(worker_db: Database, site: Site) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        new = NewEntry(site.project_id, "white", PLATE, "doctor", None, NOON, None)
        await lists.add(conn, new, "user:1", NOON)
        other = asyncio.create_task(add(worker_db, site))
        await done_or_waiting(worker_db, other)
    with pytest.raises(Conflict, match="is on the white list"):
        await other
    assert len(await held(worker_db)) == 1
