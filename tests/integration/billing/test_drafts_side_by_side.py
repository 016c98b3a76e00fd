"""Chunks of a run are drafted side by side: each account once, whoever works on the run; nothing is re-rated then."""

import asyncio
from collections.abc import Sequence
from datetime import date
from typing import Any

import psycopg
import pytest

from cloud.billing import service as billing
from cloud.billing.agreements.due import draft_agreed
from cloud.billing.runs import drafting
from cloud.billing.service import RunOptions
from cloud.kit.db import SYSTEM, Conn, Database
from cloud.kit.periods import Period
from tests.integration.billing.site import Site, make_site, noon

JANUARY, FEBRUARY = date(2026, 1, 1), date(2026, 2, 1)
FLATS = 6


@pytest.fixture
async def site(worker_db: Database, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Six flats with a month of readings, drafted two by two."""
    monkeypatch.setattr(drafting, "CHUNK", 2)
    made = await make_site(worker_db, FLATS, services=("electricity", "property"))
    for flat in made.flats:
        await made.read(flat, "electricity", [100_000])
    return made


async def _started(site: Site) -> int:
    async with site.db.transaction(SYSTEM) as conn:
        options = RunOptions(issue_at_once=True)
        job_id = await billing.start_run(conn, site.project.id, Period(JANUARY, FEBRUARY), options=options)
        return (await billing.run_of_job(conn, job_id)).id


async def _executed(site: Site, run_id: int, **more: Any) -> billing.BillRun:
    return await billing.execute_run(site.db, SYSTEM, run_id, now=noon(FEBRUARY), **more)


async def test_two_chunks_are_under_way_at_once_and_no_re_rating_beside_them(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = asyncio.Barrier(drafting.AT_ONCE)
    refused: list[type[Exception]] = []

    async def meets_another(conn: Conn, *of: Any) -> Any:
        if len(refused) < drafting.AT_ONCE:
            async with asyncio.timeout(60):
                await both.wait()
            try:
                async with site.db.transaction(SYSTEM) as other:
                    await other.execute("SET LOCAL lock_timeout = '50ms'")
                    await drafting.lock_charges(other, site.project.id)
            except psycopg.Error as error:
                refused.append(type(error))
        return await draft_agreed(conn, *of)

    monkeypatch.setattr(drafting, "draft_agreed", meets_another)
    told: list[tuple[int, int]] = []

    async def progress(done: int, total: int) -> None:
        told.append((done, total))

    run = await _executed(site, await _started(site), progress=progress)
    assert (run.state, run.billed, run.failed) == ("issued", FLATS, 0)
    assert refused == [psycopg.errors.LockNotAvailable] * drafting.AT_ONCE
    assert told == [(done, FLATS) for done in (0, 2, 4, 6)]
    assert await site.proof() == []


async def test_two_workers_at_the_same_run_draft_each_account_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that was taken for dead goes on beside the one that took the run up."""
    monkeypatch.setattr(drafting, "CHUNK", 1)
    run_id = await _started(site)
    done = await asyncio.gather(*(_executed(site, run_id) for _ in range(2)), return_exceptions=True)
    assert [one for one in done if isinstance(one, Exception)] == []
    run = await _executed(site, run_id)
    assert (run.state, run.billed, run.failed) == ("issued", FLATS, 0)
    bills = await site.bills()
    assert sorted(bill.account_id for bill in bills) == [flat.account_id for flat in site.flats]
    assert sorted(str(bill.number) for bill in bills) == [f"2026-{n:06}" for n in range(1, FLATS + 1)]
    assert await site.rows("SELECT FROM bill_run_failure") == []
    assert await site.proof() == []


async def test_a_chunk_that_breaks_off_ends_the_other_one_and_the_run_goes_on_later(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    async def gone(conn: Conn, project: Any, period: Period, account_ids: Sequence[int]) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise ConnectionResetError
        return await draft_agreed(conn, project, period, account_ids)

    run_id = await _started(site)
    with monkeypatch.context() as broken:
        broken.setattr(drafting, "draft_agreed", gone)
        with pytest.raises(ConnectionResetError):
            await _executed(site, run_id)
    (state,) = await site.rows("SELECT state FROM bill_run")
    assert state == {"state": "failed"}
    run = await _executed(site, run_id)
    assert (run.state, run.billed, run.failed) == ("issued", FLATS, 0)
    assert await site.proof() == []


async def test_numbers_follow_the_accounts_whichever_chunk_was_first(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = asyncio.Event()

    async def the_first_is_the_last(conn: Conn, project: Any, period: Period, account_ids: Sequence[int]) -> Any:
        if site.flats[0].account_id in account_ids:
            async with asyncio.timeout(60):
                await first.wait()
        elif site.flats[2].account_id in account_ids:
            asyncio.get_running_loop().call_later(0.1, first.set)
        return await draft_agreed(conn, project, period, account_ids)

    monkeypatch.setattr(drafting, "draft_agreed", the_first_is_the_last)
    await _executed(site, await _started(site))
    by_number = await site.rows("SELECT a.number FROM bill b JOIN account a ON a.id = b.account_id ORDER BY b.number")
    assert [row["number"] for row in by_number] == sorted(row["number"] for row in by_number)
