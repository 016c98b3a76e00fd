"""A payment that comes while the bill of its account is issued pays that bill, whichever of the two is first."""

import asyncio
from datetime import date
from decimal import Decimal
from typing import Any, Literal

import pytest

from cloud.billing import service as billing
from cloud.billing.runs import issuing
from cloud.billing.settlement import held
from cloud.kit.db import SYSTEM, Database
from cloud.kit.periods import Period
from cloud.payments import service as payments
from tests.integration.billing.site import Site, make_site, noon
from tests.integration.billing.test_lock_order import someone_waits

JANUARY, FEBRUARY = date(2026, 1, 1), date(2026, 2, 1)
FEE = Decimal("210.33")


@pytest.fixture
async def site(worker_db: Database) -> Site:
    """Two flats whose property fee for January is drafted and approved."""
    made = await make_site(worker_db, 2, services=("property",))
    async with made.db.transaction(SYSTEM) as conn:
        run = await billing.run_of_job(conn, await billing.start_run(conn, made.project.id, Period(JANUARY, FEBRUARY)))
    await billing.execute_run(made.db, SYSTEM, run.id, now=noon(FEBRUARY))
    async with made.db.transaction(SYSTEM) as conn:
        await billing.approve_run(conn, run.id)
    return made


async def _issue(site: Site) -> None:
    (run,) = await site.rows("SELECT id FROM bill_run")
    await billing.issue_run(site.db, SYSTEM, run["id"], now=noon(FEBRUARY))


async def _is_settled(site: Site) -> None:
    account_id = site.flats[0].account_id
    assert [bill.state for bill in await site.bills(account_id=account_id)] == ["paid"]
    async with site.db.transaction(SYSTEM) as conn:
        assert await billing.held(conn, account_id, "balance") == 0
    assert await site.proof() == []


@pytest.mark.parametrize("which", ["that_pay", "deduct"])
async def test_a_payment_that_comes_while_its_bill_is_issued_pays_it(
    site: Site, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    """No bill stays open beside money that came for it, however far issuing had come."""
    paid: list[asyncio.Task[None]] = []

    async def pay() -> None:
        async with site.db.transaction(SYSTEM) as conn:
            await payments.record_payment(conn, site.flats[0].account_id, FEE, "wechat", FEBRUARY)

    async def while_somebody_pays(*of: Any) -> Any:
        found = await getattr(held, which)(*of)
        if not paid:
            paid.append(asyncio.create_task(pay()))
            await someone_waits(site, *paid)
        return found

    monkeypatch.setattr(issuing, which, while_somebody_pays)
    await _issue(site)
    await paid[0]
    await _is_settled(site)


@pytest.mark.parametrize("purpose", ["bill", "balance"])
async def test_issuing_waits_for_a_payment_that_is_not_committed_yet(
    site: Site, purpose: Literal["bill", "balance"]
) -> None:
    """Whoever paid first has his bill paid from what he is held for, in the same run."""
    async with site.db.transaction(SYSTEM) as conn:
        await payments.record_payment(conn, site.flats[0].account_id, FEE, "wechat", FEBRUARY, purpose=purpose)
        issued = asyncio.create_task(_issue(site))
        await someone_waits(site, issued)
    await issued
    await _is_settled(site)
