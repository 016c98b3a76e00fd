"""Corrections where features meet: concessions by adjustment, contained taxes, notes about corrections, and locks."""

import asyncio
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from cloud.billing import repository
from cloud.billing import service as billing
from cloud.billing.agreements.rents import RentStep
from cloud.billing.concessions import service as conceded
from cloud.billing.concessions.service import NewConcession
from cloud.billing.corrections.notes import Part
from cloud.billing.runs.drafting import lock_charges
from cloud.billing.service import TaxStep
from cloud.kit.db import SYSTEM, Database
from cloud.kit.errors import Conflict
from cloud.payments import service as payments
from tests.integration.billing.shop import VAT, Shop, make_shop
from tests.integration.billing.site import noon

JANUARY, FEBRUARY, MARCH = (date(2026, month, 1) for month in (1, 2, 3))
AID = NewConcession("subsidy", "Aid", "percent", Decimal(20), JANUARY, None, "form 9", services=("rent",))


@pytest.fixture
async def shop(worker_db: Database) -> Shop:
    """A shop with usage of January and February."""
    made = await make_shop(worker_db)
    await made.read("electricity", [(JANUARY, FEBRUARY, 50_000), (FEBRUARY, MARCH, 100_000)])
    await made.read("water", [(JANUARY, FEBRUARY, 3_000_000), (FEBRUARY, MARCH, 3_000_000)])
    async with worker_db.transaction(SYSTEM) as conn:
        await billing.set_policy(conn, made.site.project.id, date(2025, 1, 1), billing.Policy(own_approval=True))
    return made


async def booked(shop: Shop, ledger_account: str) -> Decimal:
    """What is in a ledger account, credit positive."""
    (row,) = await shop.site.rows(
        "SELECT coalesce(-sum(amount), 0) AS amount FROM posting WHERE ledger_account = %s", ledger_account
    )
    return Decimal(row["amount"])


async def test_a_concession_that_an_adjustment_took_off_is_not_ended_before_it(shop: Shop) -> None:
    await shop.rent("1000", in_advance=False)
    await shop.site.run(JANUARY)
    aid = await shop.concede(replace(AID, account_id=shop.account_id))
    assert await shop.work() == 1
    async with shop.site.db.transaction(SYSTEM) as conn:
        with pytest.raises(Conflict) as refused:
            await conceded.end_concession(conn, aid, date(2026, 1, 10))
        assert refused.value.code == "charged-beyond"
        await conceded.end_concession(conn, aid, FEBRUARY)


async def test_a_concession_ends_after_the_drafts_that_are_being_made(shop: Shop) -> None:
    aid = await shop.concede(replace(AID, account_id=shop.account_id))
    async with shop.site.db.transaction(SYSTEM) as drafting:
        await lock_charges(drafting, shop.site.project.id)

        async def end() -> None:
            async with shop.site.db.transaction(SYSTEM) as conn:
                await conceded.end_concession(conn, aid, FEBRUARY)

        ending = asyncio.create_task(end())
        waiting: list[dict[str, object]] = []
        for _ in range(100):
            waiting = await shop.site.rows("SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
            if waiting or ending.done():
                break
            await asyncio.sleep(0.02)
        assert waiting
    await ending


async def test_a_contained_tax_agreed_otherwise_is_booked_with_the_next_bill(shop: Shop) -> None:
    lease = await shop.rent("1090", in_advance=False, taxes=(TaxStep(JANUARY, Decimal(9), inclusive=True),))
    await shop.site.run(JANUARY)
    before = await booked(shop, "tax:vat")
    async with shop.site.db.transaction(SYSTEM) as conn:
        await billing.change_tax(conn, lease, TaxStep(JANUARY, Decimal(0), inclusive=True))
    await shop.site.run(FEBRUARY)
    february = await shop.site.rows(
        "SELECT sum(t.value::numeric) AS tax FROM charge c, jsonb_each_text(taxes) t WHERE lower(c.period) = %s",
        FEBRUARY,
    )
    assert await booked(shop, "tax:vat") == before - 90 + february[0]["tax"]
    assert await shop.site.proof() == []


async def test_a_note_about_a_corrected_tax_is_tax(shop: Shop) -> None:
    lease = await shop.rent("1000", in_advance=False, taxes=VAT)
    await shop.site.run(JANUARY)
    async with shop.site.db.transaction(SYSTEM) as conn:
        await billing.change_tax(conn, lease, TaxStep(JANUARY, Decimal(13), inclusive=False))
    await shop.site.run(FEBRUARY)
    bill = (await shop.bills())[-1]
    line = next(one for one in bill.corrections if one.detail["of"] == "tax" and one.amount > 0)
    before = await booked(shop, "tax:vat")
    async with shop.site.db.transaction(SYSTEM) as conn:
        parts = [Part(line.position, Decimal("10.00"))]
        note = await billing.note_of_bill(conn, bill.summary.id, "credit_note", parts, "goodwill", by=None)
        await billing.approve_note(conn, note.id, by=None, now=noon(MARCH))
    assert await booked(shop, "tax:vat") == before - 10
    assert await shop.site.proof() == []


async def test_a_note_on_a_paid_bill_and_a_payment_do_not_wait_for_each_other(shop: Shop) -> None:
    """Whoever pays holds the oldest bill; the note must not hold a younger one while it waits."""
    await shop.site.run(JANUARY)
    await shop.site.run(FEBRUARY)
    first, second = await shop.bills()
    db = shop.site.db
    async with db.transaction(SYSTEM) as conn:
        await billing.open_dispute(conn, first.summary.id, "too high", by=None, by_resident=False, today=FEBRUARY)
        await payments.record_payment(conn, shop.account_id, second.summary.total, "cash", MARCH)
        line = max(second.lines, key=lambda one: one.amount)
        note = await billing.note_of_bill(
            conn, second.summary.id, "credit_note", [Part(line.position, line.amount)], "goodwill", by=None
        )
    async with db.transaction(SYSTEM) as paying:
        await repository.lock_bills(paying, [first.summary.id])

        async def approve() -> None:
            async with db.transaction(SYSTEM) as conn:
                await billing.approve_note(conn, note.id, by=None, now=noon(MARCH))

        approving = asyncio.create_task(approve())
        for _ in range(20):
            await asyncio.sleep(0.02)
            if approving.done():
                break
        await repository.lock_bills(paying, [second.summary.id])
    await approving
    assert await shop.site.proof() == []


async def test_a_concession_that_had_nothing_to_take_off_bears_on_a_rent_that_rises(shop: Shop) -> None:
    lease = await shop.rent("1000", in_advance=False)
    whole = replace(AID, name="Start", kind="amount", value=Decimal(1000), agreement_id=lease)
    await shop.concede(whole)
    await shop.site.run(JANUARY)
    await shop.concede(replace(AID, value=Decimal(50), account_id=shop.account_id))
    assert await shop.work() == 1
    async with shop.site.db.transaction(SYSTEM) as conn:
        await billing.change_rent(conn, lease, [RentStep(JANUARY, Decimal(2000))])
    rows = await shop.site.rows("SELECT sum(difference) AS more FROM adjustment")
    assert rows == [{"more": Decimal(500)}]
    assert await shop.site.proof() == []
