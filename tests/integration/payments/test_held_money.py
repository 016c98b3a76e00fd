"""Prepaid balances and deposits: liabilities that pay bills, are refunded, and are never spent twice."""

import asyncio
from datetime import date
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from cloud.billing import service as billing
from cloud.billing.service import Policy
from cloud.kit.db import SYSTEM, Database
from cloud.kit.errors import Conflict, GatemeterError
from cloud.kit.paging import PageRequest, page_request
from cloud.payments import deposits, releases
from cloud.payments import service as payments
from cloud.payments.deposits import Deposit
from cloud.payments.releases import Wanted
from tests.integration.payments.owing import FEE, JANUARY, RULE, Owing, make_owing

ALONE = Policy(due_days=15, late_fee=RULE, own_approval=True)
TODAY = date(2026, 3, 1)


@pytest.fixture
async def nothing_owed(worker_db: Database) -> Owing:
    """No bill yet."""
    return await make_owing(worker_db, ALONE, ())


async def _prepay(owing: Owing, amount: str, flat: int = 0) -> None:
    async with owing.db.transaction(SYSTEM) as conn:
        account_id = owing.site.flats[flat].account_id
        day = date(2026, 1, 10)
        await payments.record_payment(conn, account_id, Decimal(amount), "wechat", day, purpose="balance")


async def _deposit(owing: Owing, amount: str) -> Deposit:
    async with owing.db.transaction(SYSTEM) as conn:
        day = date(2026, 1, 10)
        return await deposits.take_deposit(conn, owing.account_id, Decimal(amount), "cash", day, "Decoration works")


async def _release(owing: Owing, wanted: Wanted) -> releases.Release:
    async with owing.db.transaction(SYSTEM) as conn:
        asked = await releases.ask_release(conn, owing.account_id, wanted, by=None)
        return await releases.approve_release(conn, asked.id, ALONE, by=None, today=TODAY)


async def _postings(owing: Owing, kind: str) -> list[tuple[str, Decimal]]:
    rows = await owing.site.rows(
        """SELECT ledger_account, sum(amount) AS amount FROM posting JOIN journal ON journal.id = journal_id
           WHERE kind = %s GROUP BY ledger_account ORDER BY ledger_account""",
        kind,
    )
    return [(row["ledger_account"], row["amount"]) for row in rows]


async def test_a_balance_pays_new_bills_as_they_are_issued(nothing_owed: Owing) -> None:
    owing = nothing_owed
    await _prepay(owing, "300.00")
    await owing.site.run(JANUARY)
    (bill,) = await owing.bills()
    assert (bill.state, bill.settled_on, await owing.held()) == ("paid", date(2026, 2, 1), Decimal("89.67"))
    await owing.site.run(date(2026, 2, 1))
    bill = (await owing.bills())[1]
    assert (bill.state, bill.open, await owing.held()) == ("issued", Decimal("120.66"), Decimal(0))
    assert await _postings(owing, "set-off") == [("liability:prepaid", Decimal(300)), ("receivable", Decimal(-300))]
    neighbour = await owing.site.bills(account_id=owing.site.flats[1].account_id)
    assert [one.open for one in neighbour] == [FEE, FEE]
    async with owing.db.transaction(SYSTEM) as conn:
        page = await billing.statement(
            conn, PageRequest(2), owing.account_id, ledger_account="liability:prepaid", newest_first=True
        )
        rest = await billing.statement(
            conn,
            page_request(2, page.next_cursor, key_length=2),
            owing.account_id,
            ledger_account="liability:prepaid",
            newest_first=True,
        )
    # The ledger's own signs: a liability grows by credit.
    assert [(one.kind, one.amount, one.balance) for one in (*page.items, *rest.items)] == [
        ("set-off", Decimal("89.67"), Decimal(0)),
        ("set-off", FEE, Decimal("-89.67")),
        ("payment", Decimal(-300), Decimal(-300)),
    ]
    assert rest.next_cursor is None
    assert await owing.site.proof() == []


async def test_an_account_may_keep_its_balance(nothing_owed: Owing) -> None:
    owing = nothing_owed
    await _prepay(owing, "300.00")
    async with owing.db.transaction(SYSTEM) as conn:
        await billing.set_auto_deduct(conn, owing.site.project.id, owing.account_id, False)
    await owing.site.run(JANUARY)
    assert ((await owing.bills())[0].open, await owing.held()) == (FEE, Decimal(300))
    await owing.night(date(2026, 2, 26))
    async with owing.db.transaction(SYSTEM) as conn:
        made = await billing.apply_balance(conn, owing.site.project, owing.account_id, date(2026, 2, 26))
        assert made is not None
        assert (made.settlement.principal, made.settlement.late_fee) == (FEE, Decimal("2.10"))
        await billing.apply_balance(conn, owing.site.project, owing.account_id, date(2026, 2, 26))
    assert await owing.held() == Decimal("87.57")
    assert await owing.site.proof() == []


async def test_many_accounts_take_as_many_statements_as_one(
    worker_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run over 100,000 accounts makes no round trip for each."""
    execute, sent = psycopg.AsyncConnection.execute, 0

    async def counting(*args: Any, **kwargs: Any) -> Any:
        nonlocal sent
        sent += 1
        return await execute(*args, **kwargs)

    counts = []
    for flats in (1, 12):
        owing = await make_owing(worker_db, ALONE, (JANUARY,), flats=flats, code=f"p{flats}")
        for flat in range(flats):
            await _prepay(owing, "300.00", flat)
        accounts = [flat.account_id for flat in owing.site.flats]
        async with worker_db.transaction(SYSTEM) as conn:
            with monkeypatch.context() as patched:
                patched.setattr(psycopg.AsyncConnection, "execute", counting)
                assert len(await billing.deduct(conn, owing.site.project, accounts, TODAY)) == flats
        assert [bill.state for bill in await owing.site.bills()] == ["paid"] * flats
        counts.append(sent)
        sent = 0
    assert counts[0] == counts[1] > 0


async def test_a_deposit_is_a_liability_of_its_own_until_it_is_refunded(nothing_owed: Owing) -> None:
    owing = nothing_owed
    taken = await _deposit(owing, "2000.00")
    await owing.site.run(JANUARY)
    assert ((await owing.bills())[0].open, await owing.held("deposit"), await owing.held()) == (
        FEE,
        Decimal(2000),
        Decimal(0),
    )
    await _release(owing, Wanted(Decimal("500.00"), "works are done", "transfer", taken.id))
    async with owing.db.transaction(SYSTEM) as conn:
        assert (await deposits.get_deposit(conn, taken.id)).held == Decimal(1500)
    assert await _postings(owing, "refund") == [
        ("cash:transfer", Decimal(-500)),
        ("liability:deposit", Decimal(500)),
    ]
    assert await owing.held("deposit") == Decimal(1500)
    assert await owing.site.proof() == []


async def test_a_deposit_may_pay_what_is_owed_and_no_more(nothing_owed: Owing) -> None:
    owing = nothing_owed
    taken = await _deposit(owing, "2000.00")
    await owing.site.run(JANUARY)
    with pytest.raises(GatemeterError) as more:
        await _release(owing, Wanted(Decimal("2000.00"), "moved out", None, taken.id))
    assert more.value.code == "more-than-owed"
    # Twelve or thirteen days late on 1 March: the fee is derived before it is paid.
    done = await _release(owing, Wanted(FEE + Decimal("2.73"), "moved out", None, taken.id))
    assert done.set_off_id is not None
    (bill,) = await owing.bills()
    assert (bill.state, bill.late_fee, bill.late_fee_open) == ("paid", Decimal("2.73"), Decimal(0))
    assert await _postings(owing, "set-off") == [
        ("liability:deposit", FEE + Decimal("2.73")),
        ("receivable", -FEE),
        ("revenue:late_fee", Decimal("-2.73")),
    ]
    assert await owing.site.proof() == []


async def test_a_balance_is_refunded_once(nothing_owed: Owing) -> None:
    owing = nothing_owed
    await _prepay(owing, "300.00")
    refund = Wanted(Decimal("300.00"), "moved out", "transfer")
    results = await asyncio.gather(_release(owing, refund), _release(owing, refund), return_exceptions=True)
    assert sorted(type(one).__name__ for one in results) in (["Conflict", "Release"], ["InvalidInput", "Release"])
    assert await owing.held() == 0
    assert await owing.site.proof() == []


async def test_releases_that_cannot_be(nothing_owed: Owing) -> None:
    owing = nothing_owed
    await _prepay(owing, "300.00")
    taken = await _deposit(owing, "100.00")
    other = owing.site.flats[1].account_id
    for account_id, wanted, code in (
        (owing.account_id, Wanted(Decimal("300.01"), "x", "cash"), "more-than-held"),
        (owing.account_id, Wanted(Decimal("100.01"), "x", "cash", taken.id), "more-than-held"),
        (owing.account_id, Wanted(Decimal("1.00"), "x"), "bad-method"),
        (owing.account_id, Wanted(Decimal("1.00"), "x", "shells"), "bad-method"),
        (owing.account_id, Wanted(Decimal("1.00"), " ", "cash"), "no-reason"),
        (owing.account_id, Wanted(Decimal("-1.00"), "x", "cash"), "bad-amount"),
        (other, Wanted(Decimal("1.00"), "x", "cash", taken.id), "no-such-deposit"),
        (999_999, Wanted(Decimal("1.00"), "x", "cash"), "no-such-account"),
    ):
        async with owing.db.transaction(SYSTEM) as conn:
            with pytest.raises(GatemeterError) as error:
                await releases.ask_release(conn, account_id, wanted, by=None)
        assert error.value.code == code
    async with owing.db.transaction(SYSTEM) as conn:
        asked = await releases.ask_release(conn, owing.account_id, Wanted(Decimal(1), "x", "cash"), by=None)
        with pytest.raises(Conflict, match="somebody else"):
            await releases.approve_release(conn, asked.id, Policy(), by=None, today=TODAY)
        await releases.reject_release(conn, asked.id, "no", by=None)
        with pytest.raises(Conflict, match="rejected already"):
            await releases.approve_release(conn, asked.id, ALONE, by=None, today=TODAY)
    assert await owing.held() == Decimal(300)
