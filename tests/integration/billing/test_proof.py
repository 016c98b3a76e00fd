"""What the nightly proof finds: a planted error of every kind, and nothing where there is none."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, LiteralString

import pytest

from cloud.billing import service as billing
from cloud.billing.corrections.notes import Part
from cloud.billing.ledger import balances, month_balances, proof, proof_sql
from cloud.billing.ledger import months as accounting_months
from cloud.billing.ledger.month_balances import sources
from cloud.billing.ledger.proof import Discrepancy
from cloud.billing.service import Policy
from cloud.kit.db import SYSTEM, Conn, Database
from cloud.kit.periods import Period
from cloud.payments import deposits, releases
from cloud.payments import service as payments
from cloud.payments.releases import Wanted
from cloud.web import words
from tests.integration.billing.site import noon
from tests.integration.payments.owing import FEE, JANUARY, RULE, Owing, make_owing, user

ALONE = Policy(due_days=15, late_fee=RULE, own_approval=True)
PAID, TODAY, APRIL = date(2026, 1, 10), date(2026, 3, 1), date(2026, 4, 1)
MONTHS = [date(2026, month, 1) for month in range(1, 8)]


@pytest.fixture
async def owing(worker_db: Database) -> Owing:
    """An account with everything: prepaid, credited, deposits refunded and set off, late fees; closed up to March."""
    made = await make_owing(worker_db, ALONE, ())
    account_id, neighbour = (flat.account_id for flat in made.site.flats)
    async with made.db.transaction(SYSTEM) as conn:
        await payments.record_payment(conn, account_id, Decimal(500), "wechat", PAID, purpose="balance")
        taken = await deposits.take_deposit(conn, neighbour, Decimal(2000), "cash", PAID, "Decoration works")
    await made.site.run(JANUARY)
    bill = (await made.bills())[0]
    async with made.db.transaction(SYSTEM) as conn:
        note = await billing.note_of_bill(conn, bill.id, "credit_note", [Part(1, Decimal("10.33"))], "wrong", by=None)
        await billing.approve_note(conn, note.id, by=await user(conn, "clerk"), now=noon(TODAY))
        for owner, wanted in (
            (account_id, Wanted(Decimal("100.00"), "moved out", "transfer")),
            (neighbour, Wanted(Decimal("300.00"), "works are done", "transfer", taken.id)),
            (neighbour, Wanted(FEE + Decimal("2.73"), "moved out", None, taken.id)),
        ):
            asked = await releases.ask_release(conn, owner, wanted, by=None)
            await releases.approve_release(conn, asked.id, ALONE, by=None, today=TODAY)
        for month in MONTHS[:3]:
            await accounting_months.close_month(conn, made.site.project.id, month, now=datetime(2026, 6, 1, tzinfo=UTC))
    return made


@pytest.fixture
async def planting(owner_db: Database, owing: Owing) -> AsyncIterator[Conn]:
    """A connection that may do anything, and nothing of it stays."""
    tables: tuple[LiteralString, ...] = (
        "posting", "journal", "payment", "payment_allocation", "set_off", "deposit", "release", "ledger_month_balance",
    )  # fmt: skip
    async with owner_db.transaction(SYSTEM) as conn, conn.transaction(force_rollback=True):
        for table in tables:
            await conn.execute("ALTER TABLE " + table + " DISABLE TRIGGER USER")
        yield conn


# What is done, and what is found: kind, and how much more there is than expected.
PLANTED: list[tuple[LiteralString, set[tuple[str, str]]]] = [
    (  # somebody moves a cent of one account's balance to another
        """UPDATE posting SET account_id = (SELECT max(id) FROM account)
           WHERE ledger_account = 'liability:prepaid' AND amount > 0 AND account_id = (SELECT min(id) FROM account)
             AND amount = 100""",
        {("held-balance", "100.00"), ("held-balance", "-100.00"), ("prepaid", "-100.00")},
    ),
    (
        "UPDATE posting SET ledger_account = 'liability:prepaid' WHERE ledger_account = 'liability:deposit'"
        " AND amount = 300",
        {("held-deposit", "300.00"), ("held-balance", "-300.00"), ("prepaid", "-300.00"), ("month-balance", "300.00"),
         ("month-balance", "-300.00")},
    ),
    ("UPDATE deposit SET amount = amount + 1", {("held-deposit", "-1.00"), ("deposit", "1.00")}),
    (
        "UPDATE posting SET ledger_account = 'receivable' WHERE ledger_account LIKE 'cash:%%' AND amount = 500",
        {("cash", "-500.00"), ("receivable", "500.00"), ("month-balance", "500.00"), ("month-balance", "-500.00")},
    ),
    (
        "UPDATE set_off SET amount = amount + 1 WHERE source = 'balance'",
        {("set-off", "-1.00"), ("set-off-journal", "-1.00"), ("held-balance", "1.00")},
    ),
    (
        "UPDATE set_off SET amount = amount + 1 WHERE source = 'deposit'",
        {("set-off", "-1.00"), ("set-off-journal", "-1.00"), ("held-deposit", "1.00"), ("release", "1.00")},
    ),
    ("DELETE FROM release WHERE method IS NOT NULL AND deposit_id IS NULL", {("held-balance", "-100.00")}),
    (
        "UPDATE release SET amount = amount + 1 WHERE action = 'refund' AND deposit_id IS NOT NULL",
        {("held-deposit", "1.00"), ("refund", "-1.00")},
    ),
    ("UPDATE release SET set_off_id = NULL", {("release", "-213.06")}),
    (
        "UPDATE payment_allocation SET late_fee = late_fee - 1 WHERE late_fee > 0",
        {("late-fees", "1.00"), ("set-off", "-1.00")},
    ),
    (
        "UPDATE payment_allocation SET principal = principal - 1 WHERE credit_note_id IS NOT NULL AND principal < 0",
        {("receivable", "-1.00"), ("held-balance", "-1.00")},
    ),
    (
        "UPDATE ledger_month_balance SET debit = debit + 1 WHERE id = (SELECT min(id) FROM ledger_month_balance)",
        {("month-balance", "1.00")},
    ),
    (
        "DELETE FROM ledger_month_balance WHERE ledger_account = 'cash:cash' AND opening = 0",
        {("month-balance", "-2000.00")},
    ),
    ("UPDATE number_series SET next = next + 1 WHERE series LIKE 'credit_note-%%'", {("series", "-1.00")}),
]  # fmt: skip


async def test_every_planted_error_is_found(planting: Conn, owing: Owing) -> None:
    project_id = owing.site.project.id
    assert await proof.discrepancies(planting, project_id) == []
    seen: set[str] = set()
    for statement, expected in PLANTED:
        async with planting.transaction(force_rollback=True):
            assert (await planting.execute(statement)).rowcount > 0, statement
            found = await proof.discrepancies(planting, project_id)
        assert {(one.what, f"{one.found - one.expected:.2f}") for one in found} == expected, statement
        seen |= {one.what for one in found}
    # Those that test_ledger.py plants, and those that a database without triggers could hold.
    assert seen >= {
        "held-balance", "held-deposit", "cash", "deposit", "set-off", "set-off-journal", "refund", "release",
        "late-fees", "month-balance", "series",
    }  # fmt: skip


def test_every_finding_has_a_name() -> None:
    text = proof_sql.BILLS_AND_PAYMENTS + proof_sql.HELD_MONEY + proof_sql.TAXES + proof_sql.MONTHS
    named = set(re.findall(r"SELECT '([a-z-]+)'(?: AS what)?,", text))
    named |= {"held-balance", "held-deposit", "shares", "tax"}
    assert named == {code for code, _ in words.choices("finding")}
    assert Discrepancy.__doc__ is not None
    assert {one for one in named if one not in Discrepancy.__doc__} == set()


async def _whole(conn: Conn, project_id: int, period: Period) -> list[dict[str, Any]]:
    """The trial balance from nothing but the journals."""
    query: LiteralString = """
        SELECT p.ledger_account, coalesce(sum(p.amount) FILTER (WHERE j.booked_on < %(start)s), 0) AS opening,
               coalesce(sum(p.amount) FILTER (WHERE j.booked_on >= %(start)s AND p.amount > 0), 0) AS debit,
               coalesce(-sum(p.amount) FILTER (WHERE j.booked_on >= %(start)s AND p.amount < 0), 0) AS credit
        FROM posting p JOIN journal j ON j.id = p.journal_id
        WHERE j.project_id = %(project_id)s AND j.booked_on < %(end)s
        GROUP BY p.ledger_account ORDER BY p.ledger_account"""
    values = {"project_id": project_id, "start": period.start, "end": period.end}
    return await (await conn.execute(query, values)).fetchall()


async def test_the_trial_balance_of_any_days_equals_the_journals(owing: Owing) -> None:
    await owing.pay("50", date(2026, 4, 3))
    days = [date(2025, 12, 1), PAID, *MONTHS, date(2026, 2, 14), date(2026, 3, 31), date(2026, 4, 2), date(2026, 4, 20)]
    project_id = owing.site.project.id
    async with owing.db.transaction(SYSTEM) as conn:
        for start in days:
            for end in (day for day in days if day > start):
                found = await balances.trial_balance(conn, project_id, Period(start, end))
                told = [
                    {"ledger_account": one.ledger_account, "opening": one.opening, "debit": one.debit,
                     "credit": one.credit} for one in found.accounts
                ]  # fmt: skip
                assert told == await _whole(conn, project_id, Period(start, end)), (start, end)


async def test_a_month_that_was_opened_again_counts_from_its_journals(owing: Owing) -> None:
    project_id = owing.site.project.id
    async with owing.db.transaction(SYSTEM) as conn:
        last = await accounting_months.last_closed(conn, project_id)
        assert last is not None
        await accounting_months.reopen_month(conn, last.id, "a payment was missing")
        assert [one.month for one in await month_balances.closed_months(conn, project_id)] == MONTHS[:2]
        await payments.record_payment(conn, owing.account_id, Decimal(7), "cash", date(2026, 3, 5))
        march = Period(date(2026, 3, 1), APRIL)
        (cash,) = [
            one
            for one in (await balances.trial_balance(conn, project_id, march)).accounts
            if one.ledger_account == "cash:cash"
        ]
        assert (cash.opening, cash.debit) == (Decimal(2000), Decimal(7))
        await accounting_months.close_month(conn, project_id, MONTHS[2], now=datetime(2026, 6, 1, tzinfo=UTC))
        again = (await balances.trial_balance(conn, project_id, march)).accounts
        assert cash in again
        assert await proof.discrepancies(conn, project_id) == []


def test_days_are_taken_from_months_and_journals_once() -> None:
    closed = [month_balances.ClosedMonth(n, month) for n, month in enumerate(MONTHS[:3])]
    found = sources(Period(date(2026, 1, 20), date(2026, 4, 5)), closed)
    assert (found.before, found.since) == (None, date(1, 1, 1))
    assert (found.whole, found.covered_from, found.covered_to) == ((1, 2), date(2026, 2, 1), APRIL)
    found = sources(Period(date(2026, 5, 20), date(2026, 6, 1)), closed)
    assert (found.before, found.since, found.whole) == (2, APRIL, ())
    assert found.covered_from == found.covered_to == date(2026, 6, 1)
