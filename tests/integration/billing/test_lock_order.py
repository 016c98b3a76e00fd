"""Whoever changes what accounts owe locks accounts, then bills, then what hangs on them: nobody waits in a circle."""

import asyncio
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from cloud.billing import service as billing
from cloud.billing.arrears import accrual
from cloud.billing.corrections import crediting
from cloud.billing.corrections.notes import Part
from cloud.billing.runs import issuing
from cloud.billing.settlement import held
from cloud.kit.db import SYSTEM, Database
from cloud.kit.periods import Period
from cloud.payments import service as payments
from tests.integration.billing.late import count_otherwise, late
from tests.integration.billing.site import Site, make_site, noon
from tests.integration.payments.owing import make_owing

JANUARY, FEBRUARY, MARCH, APRIL = (date(2026, month, 1) for month in range(1, 5))
ALONE = billing.Policy(own_approval=True)


@pytest.fixture
async def site(worker_db: Database) -> Site:
    """Two flats that owe for January; the first holds money too, for it says that its bill is wrong.

    Of the second too much was charged: February comes to less than nothing.
    """
    made = await make_site(worker_db, services=("electricity",))
    for flat in made.flats:
        await made.read(flat, "electricity", [300_500, 1_000])
    await made.run(JANUARY)
    async with worker_db.transaction(SYSTEM) as conn:
        await billing.set_policy(conn, made.project.id, date(2025, 1, 1), ALONE)
        bill = (await made.bills(account_id=made.flats[0].account_id))[0]
        await billing.open_dispute(conn, bill.id, "too high", by=None, by_resident=False, today=FEBRUARY)
        await payments.record_payment(conn, made.flats[0].account_id, Decimal(100), "cash", FEBRUARY)
    await count_otherwise(made, made.flats[1], JANUARY, -200_000)
    await late(made)
    return made


async def someone_waits(site: Site, *tasks: asyncio.Task[Any]) -> None:
    """Until some session waits for a row of another, or one of the tasks is done."""
    async with asyncio.timeout(60):
        while not await site.rows("SELECT FROM pg_locks WHERE NOT granted"):
            if any(task.done() for task in tasks):
                return
            await asyncio.sleep(0.01)


async def _fees(site: Site) -> None:
    async with site.db.transaction(SYSTEM) as conn:
        await billing.refresh_late_fees(conn, site.project.id, APRIL)


async def test_late_fees_and_a_run_that_issues_credit_notes_do_not_wait_in_a_circle(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with site.db.transaction(SYSTEM) as conn:
        run = await billing.run_of_job(conn, await billing.start_run(conn, site.project.id, Period(FEBRUARY, MARCH)))
    await billing.execute_run(site.db, SYSTEM, run.id, now=noon(MARCH))
    async with site.db.transaction(SYSTEM) as conn:
        await billing.approve_run(conn, run.id)
    fees: list[asyncio.Task[None]] = []

    async def after_the_fees_have_begun(*of: Any) -> Any:
        # The notes are given to bills by now, and those are locked.
        fees.append(asyncio.create_task(_fees(site)))
        await someone_waits(site, *fees)
        return await held.deduct(*of)

    monkeypatch.setattr(issuing, "deduct", after_the_fees_have_begun)
    assert (await billing.issue_run(site.db, SYSTEM, run.id, now=noon(MARCH))).billed == 2
    await fees[0]
    assert [bill.kind for bill in await site.bills(account_id=site.flats[1].account_id)] == ["bill", "credit_note"]
    assert len(await site.rows("SELECT FROM late_fee")) == 2
    assert await site.proof() == []


async def test_a_note_and_a_run_do_not_wait_in_a_circle_for_numbers_and_bills(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers are taken after bills are locked: whoever holds the numbers of credit notes waits for nobody."""
    bill = (await site.bills(account_id=site.flats[1].account_id))[0]
    async with site.db.transaction(SYSTEM) as conn:
        note = await billing.note_of_bill(conn, bill.id, "credit_note", [Part(1, Decimal(1))], "goodwill", by=None)
    running: list[asyncio.Task[None]] = []

    async def while_a_note_is_approved(*of: Any) -> None:
        if not running:
            running.append(asyncio.create_task(_approve()))
            await someone_waits(site, *running)
        await crediting.allocate(*of)

    async def _approve() -> None:
        async with site.db.transaction(SYSTEM) as conn:
            await billing.approve_note(conn, note.id, by=None, now=noon(MARCH))

    monkeypatch.setattr(issuing, "allocate", while_a_note_is_approved)
    assert (await site.run(FEBRUARY, noon(MARCH))).billed == 2
    await running[0]
    assert await site.proof() == []


async def test_a_broken_plan_and_the_payment_that_would_keep_it_do_not_wait_in_a_circle(
    worker_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    owing = await make_owing(worker_db, ALONE, (JANUARY,), flats=1)
    (bill,) = await owing.bills()
    async with worker_db.transaction(SYSTEM) as conn:
        parts = [(date(2026, 3, 10), bill.open - 1), (date(2026, 4, 10), Decimal(1))]
        plan = await billing.ask_plan(conn, owing.account_id, [bill.id], parts, "hardship", by=None, today=MARCH)
        await billing.approve_plan(conn, plan.id, ALONE, by=None, today=MARCH)
    paying: list[asyncio.Task[Any]] = []
    again = accrual.derive_again

    async def while_it_is_paid(*of: Any) -> None:
        # The plan is found broken, and only then do its bills become another matter.
        paying.append(asyncio.create_task(owing.pay(bill.open, date(2026, 4, 9))))
        await someone_waits(owing.site, *paying)
        await again(*of)

    monkeypatch.setattr(accrual, "derive_again", while_it_is_paid)

    async def end() -> int:
        async with worker_db.transaction(SYSTEM) as conn:
            return await billing.end_broken_plans(conn, owing.site.project.id, date(2026, 4, 20))

    assert await end() == 1
    await paying[0]
    async with worker_db.transaction(SYSTEM) as conn:
        assert (await billing.get_plan(conn, plan.id)).state == "broken"
    assert await owing.site.proof() == []
