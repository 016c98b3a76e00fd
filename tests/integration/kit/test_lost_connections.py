"""A pool whose connections the server has ended: who asks next gets one that lives, however many there were."""

import asyncio

import psycopg

from cloud.kit.db import SYSTEM, Database

_MANY = 8
_PATIENCE_S = 6.0
"""Enough for one new connection, and too little to find out about eight lost ones one after another: the library rests
1, 2, 4 … seconds between them."""


async def test_who_asks_first_after_a_restart_does_not_wait_for_each_lost_connection(owner_dsn: str) -> None:
    async with Database(owner_dsn, "gatemeter_worker", max_size=_MANY, timeout_s=_PATIENCE_S) as db:
        await _lose_all(db, owner_dsn)
        assert await _answer(db) == 7


async def test_who_asks_at_the_same_time_after_a_restart_is_answered_too(owner_dsn: str) -> None:
    async with Database(owner_dsn, "gatemeter_web", max_size=_MANY, timeout_s=_PATIENCE_S) as db:
        await _lose_all(db, owner_dsn)
        answers = await asyncio.gather(*(_answer(db) for _ in range(2 * _MANY)))
        assert answers == [7] * (2 * _MANY)


async def test_a_connection_that_lives_is_kept_when_another_one_is_lost(owner_dsn: str) -> None:
    async with Database(owner_dsn, "gatemeter_worker", max_size=3, timeout_s=_PATIENCE_S) as db:
        first, *others = sorted(await _held_at_once(db, 3))
        _end(owner_dsn, [first])
        assert await _answer(db) == 7
        assert set(others) <= set(await _held_at_once(db, 3))


async def _lose_all(db: Database, owner_dsn: str) -> None:
    lost = await _held_at_once(db, _MANY)
    assert len(set(lost)) == _MANY
    _end(owner_dsn, lost)


async def _held_at_once(db: Database, count: int) -> list[int]:
    """The server processes of so many connections of the pool, all of them back in it."""
    all_there = asyncio.Barrier(count)

    async def hold() -> int:
        async with db.transaction(SYSTEM) as conn:
            await all_there.wait()
            return conn.info.backend_pid

    return await asyncio.gather(*(hold() for _ in range(count)))


def _end(owner_dsn: str, pids: list[int]) -> None:
    with psycopg.connect(owner_dsn, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(pid, 10000) FROM unnest(%s::integer[]) pid", (pids,))


async def _answer(db: Database) -> int:
    async with db.transaction(SYSTEM) as conn:
        row = await (await conn.execute("SELECT 7 AS answer")).fetchone()
    assert row is not None
    answer: int = row["answer"]
    return answer
