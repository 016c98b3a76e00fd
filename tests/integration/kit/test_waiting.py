"""Connections that wait a moment on the spot: what takes longer holds up nobody, and can be given up."""

import asyncio

import psycopg
import pytest

from cloud.kit.db import SYSTEM, Conn, Database

_SLOW = "SELECT pg_sleep(30)"


async def test_a_slow_statement_gives_way_to_other_tasks(ingest_db: Database) -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0)
            ticks += 1

    async with ingest_db.transaction(SYSTEM) as conn:
        ticking = asyncio.create_task(tick())
        await conn.execute("SELECT pg_sleep(0.5)")
        ticking.cancel()
    # By itself each statement may hold the others up for a moment, and then no more.
    assert ticks > 10


async def test_a_row_of_prompt_statements_gives_way_to_other_tasks(ingest_db: Database) -> None:
    ended = asyncio.Event()
    asyncio.get_running_loop().call_later(0.05, ended.set)
    async with ingest_db.transaction(SYSTEM) as conn:
        async with asyncio.timeout(60):
            while not ended.is_set():
                await conn.execute("SELECT 1")


async def test_a_slow_statement_can_be_given_up_and_the_connection_lives_on(ingest_db: Database) -> None:
    async with asyncio.timeout(20), ingest_db.transaction(SYSTEM) as conn:
        with pytest.raises(TimeoutError):
            await _within_moments(conn)
        row = await (await conn.execute("SELECT 7 AS answer")).fetchone()
    assert row == {"answer": 7}


async def test_a_connection_that_the_server_ends_is_an_operational_error(ingest_db: Database, owner_dsn: str) -> None:
    async with asyncio.timeout(60):
        with pytest.raises(psycopg.OperationalError):
            await _ended_by_the_server(ingest_db, owner_dsn)


async def _within_moments(conn: Conn) -> None:
    async with asyncio.timeout(0.2), conn.transaction():
        await conn.execute(_SLOW)


async def _ended_by_the_server(db: Database, owner_dsn: str) -> None:
    async with db.transaction(SYSTEM) as conn:
        with psycopg.connect(owner_dsn, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s)", (conn.info.backend_pid,))
        await conn.execute(_SLOW)
