"""Numbers of bills have no holes and none twice, whoever issues at the same time, fails, or is killed over it."""

import asyncio
from datetime import date
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from cloud.billing import service as billing
from cloud.billing.corrections import crediting
from cloud.billing.corrections.notes import Part
from cloud.billing.runs import issuing
from cloud.kit.db import SYSTEM, Conn, Database
from cloud.kit.periods import Period, next_month
from tests.integration.billing.site import Site, make_site, noon

MONTHS = [date(2026, month, 1) for month in (1, 2)]
TODAY = noon(date(2026, 3, 1))
FLATS = 6


@pytest.fixture
async def site(worker_db: Database, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Six flats whose property fee of two months is drafted and approved; two bills are issued at once."""
    monkeypatch.setattr(issuing, "CHUNK", 2)
    made = await make_site(worker_db, FLATS, services=("property",))
    for month in MONTHS:
        async with worker_db.transaction(SYSTEM) as conn:
            job = await billing.start_run(conn, made.project.id, Period(month, next_month(month)))
            run = await billing.run_of_job(conn, job)
        await billing.execute_run(worker_db, SYSTEM, run.id, now=TODAY)
        async with worker_db.transaction(SYSTEM) as conn:
            await billing.approve_run(conn, run.id)
    return made


async def _issue_all_at_once(site: Site, workers: int = 2) -> list[Exception]:
    """Several workers at every run, each with connections of its own; what any of them broke off with."""
    runs = await site.rows("SELECT id FROM bill_run ORDER BY id")
    issued = [billing.issue_run(site.db, SYSTEM, run["id"], now=TODAY) for run in runs for _ in range(workers)]
    found = await asyncio.gather(*issued, return_exceptions=True)
    return [one for one in found if isinstance(one, Exception)]


class Killed:
    """The nth transaction that has taken its numbers loses its connection, as if somebody had pulled the plug."""

    def __init__(self, nth: int, owner_dsn: str) -> None:
        self._left, self._allocate, self._owner_dsn = nth, crediting.allocate, owner_dsn

    async def __call__(self, conn: Conn, *of: Any) -> None:
        self._left -= 1
        if self._left == 0:
            with psycopg.connect(self._owner_dsn, autocommit=True) as owner:
                owner.execute("SELECT pg_terminate_backend(%s, 10000)", (conn.info.backend_pid,))
        await self._allocate(conn, *of)


async def _numbers(site: Site, kind: str) -> list[str]:
    query = "SELECT number FROM bill WHERE kind = %s AND number IS NOT NULL ORDER BY number"
    return [row["number"] for row in await site.rows(query, kind)]


def _in_a_row(letter: str, count: int) -> list[str]:
    return [f"{letter}2026-{n:06d}" for n in range(1, count + 1)]


def _cannot_be_issued(owner_dsn: str, account_id: int) -> None:
    with psycopg.connect(owner_dsn, autocommit=True) as owner:
        check = f"CHECK (account_id <> {account_id} OR state = 'draft')"
        owner.execute(f"ALTER TABLE bill ADD CONSTRAINT refuse {check}".encode())


@pytest.mark.parametrize("killed", [1, 2, 3, 4])
async def test_bills_that_many_issue_while_one_fails_and_one_is_killed(
    site: Site, owner_dsn: str, monkeypatch: pytest.MonkeyPatch, killed: int
) -> None:
    bad = site.flats[2].account_id
    _cannot_be_issued(owner_dsn, bad)
    with monkeypatch.context() as patched:
        patched.setattr(issuing, "allocate", Killed(killed, owner_dsn))
        broken = await _issue_all_at_once(site)
    assert [type(one) for one in broken] == [psycopg.errors.AdminShutdown]
    numbers = await _numbers(site, "bill")
    assert numbers == _in_a_row("", len(numbers)), "what was killed took its numbers back"
    assert await _issue_all_at_once(site) == []
    good = 2 * (FLATS - 1)
    assert await _numbers(site, "bill") == _in_a_row("", good)
    failures = await site.rows("SELECT account_id, code FROM bill_run_failure")
    assert [(one["account_id"], one["code"]) for one in failures] == [(bad, "refused")] * 2
    assert [run["state"] for run in await site.rows("SELECT state FROM bill_run")] == ["issued"] * 2
    assert len(await site.rows("SELECT FROM journal")) == good
    assert await site.proof() == []


async def test_credit_notes_that_many_approve_while_one_fails_and_one_is_killed(
    site: Site, owner_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await _issue_all_at_once(site) == []
    bills = [bill for bill in await site.bills() if bill.number is not None]
    async with site.db.transaction(SYSTEM) as conn:
        notes = [
            await billing.note_of_bill(conn, bill.id, "credit_note", [Part(1, Decimal(1))], "goodwill", by=5)
            for bill in bills[:6]
        ]

    async def approve(note_id: int, by: int) -> None:
        async with site.db.transaction(SYSTEM) as conn:
            await billing.approve_note(conn, note_id, by=by, now=TODAY)

    async def all_at_once(by: int) -> list[Exception]:
        # The first is approved by who asked for it.
        deciders = [5, *[by] * (len(notes) - 1)]
        approving = [approve(note.id, who) for note, who in zip(notes, deciders, strict=True)]
        return [one for one in await asyncio.gather(*approving, return_exceptions=True) if isinstance(one, Exception)]

    with monkeypatch.context() as patched:
        patched.setattr(issuing, "allocate", Killed(3, owner_dsn))
        broken = await all_at_once(6)
    assert sorted(type(one).__name__ for one in broken) == ["AdminShutdown", "Conflict"]
    assert await _numbers(site, "credit_note") == _in_a_row("C", 4)
    await approve(notes[0].id, 6)
    assert [type(one).__name__ for one in await all_at_once(6)] == []
    assert await _numbers(site, "credit_note") == _in_a_row("C", 6)
    assert await site.proof() == []
