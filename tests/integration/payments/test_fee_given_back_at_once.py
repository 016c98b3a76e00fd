"""A late fee that is given back while the next bill is issued: the two wait for each other, whichever is first."""

import asyncio
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from cloud.billing import service as billing
from cloud.billing.arrears.rules import Waiver
from cloud.billing.runs import issuing
from cloud.billing.service import Policy
from cloud.billing.settlement import held
from cloud.kit.db import SYSTEM, Conn, Database
from cloud.kit.periods import Period
from tests.integration.billing.site import noon
from tests.integration.billing.test_lock_order import someone_waits
from tests.integration.payments.owing import FEBRUARY, FEE, JANUARY, RULE, Owing, make_owing

ALONE = Policy(due_days=15, late_fee=RULE, own_approval=True)
MARCH = date(2026, 3, 1)
GIVEN_BACK = Decimal("2.10")


@pytest.fixture
async def owing(worker_db: Database) -> Owing:
    """A flat that has paid January with its late fee; February is drafted and approved."""
    made = await make_owing(worker_db, ALONE, (JANUARY,), flats=1)
    await made.pay(FEE + GIVEN_BACK, date(2026, 2, 26))
    async with worker_db.transaction(SYSTEM) as conn:
        job = await billing.start_run(conn, made.site.project.id, Period(FEBRUARY, MARCH))
        run = await billing.run_of_job(conn, job)
    await billing.execute_run(worker_db, SYSTEM, run.id, now=noon(MARCH))
    async with worker_db.transaction(SYSTEM) as conn:
        await billing.approve_run(conn, run.id)
    return made


async def _ask(owing: Owing) -> Waiver:
    (paid, _) = await owing.bills()
    assert (paid.state, paid.late_fee_paid) == ("paid", GIVEN_BACK)
    async with owing.db.transaction(SYSTEM) as conn:
        asked = await billing.ask_waiver(conn, paid.id, GIVEN_BACK, "flood", by=None)
    assert asked.returned == GIVEN_BACK
    return asked


async def _approve(conn: Conn, waiver: Waiver) -> None:
    await billing.approve_waiver(conn, waiver.id, ALONE, by=None)


async def _issue(owing: Owing) -> None:
    *_, run = await owing.site.rows("SELECT id FROM bill_run ORDER BY id")
    await billing.issue_run(owing.db, SYSTEM, run["id"], now=noon(MARCH))


async def test_issuing_waits_for_a_fee_that_is_given_back_and_takes_it(owing: Owing) -> None:
    waiver = await _ask(owing)
    async with owing.db.transaction(SYSTEM) as conn:
        await _approve(conn, waiver)
        issued = asyncio.create_task(_issue(owing))
        await someone_waits(owing.site, issued)
    await issued
    _, february = await owing.bills()
    assert (february.paid, february.open) == (GIVEN_BACK, FEE - GIVEN_BACK)
    assert await owing.held() == 0
    assert await owing.site.proof() == []


async def test_a_fee_is_not_given_back_between_the_look_at_a_balance_and_what_it_pays(
    owing: Owing, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiver, given = await _ask(owing), list[asyncio.Task[None]]()

    async def give_back() -> None:
        async with owing.db.transaction(SYSTEM) as conn:
            await _approve(conn, waiver)

    async def while_it_is_given_back(*of: Any) -> Any:
        found = await held.that_pay(*of)
        given.append(asyncio.create_task(give_back()))
        await someone_waits(owing.site, *given)
        assert not given[0].done(), "the balance changed under the eyes of who issues"
        return found

    monkeypatch.setattr(issuing, "that_pay", while_it_is_given_back)
    await _issue(owing)
    await given[0]
    assert await owing.held() == GIVEN_BACK
    assert await owing.site.proof() == []
