"""Money against bills: oldest principal first, late fees after all principal, the rest stays as a balance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import LiteralString

from psycopg.types.json import Jsonb

from cloud.billing import repository
from cloud.billing.arrears import plan_repository
from cloud.billing.arrears.accrual import derive, paid_of
from cloud.billing.ledger import journals as ledger
from cloud.billing.ledger.journals import Journal, Posting
from cloud.billing.records import BillRow
from cloud.billing.settlement.claims import Debt, share_of_fees, share_of_principal
from cloud.kit.db import Conn

_INSERT_ALLOCATIONS: LiteralString = """
    INSERT INTO payment_allocation (project_id, payment_id, set_off_id, credit_note_id, bill_id, paid_on, principal,
                                    late_fee)
    SELECT project_id, payment_id, set_off_id, credit_note_id, bill_id, paid_on, principal, late_fee
    FROM jsonb_to_recordset(%s) AS new (project_id bigint, payment_id bigint, set_off_id bigint, credit_note_id bigint,
                                        bill_id bigint, paid_on date, principal numeric, late_fee numeric)
"""
_SETTLE: LiteralString = """
    UPDATE bill SET state = 'paid', settled_on = new.settled_on
    FROM jsonb_to_recordset(%s) AS new (id bigint, settled_on date) WHERE bill.id = new.id
"""
_NONE = Decimal(0)


@dataclass(frozen=True, slots=True)
class Allocation:
    """What money settles of one bill; `settled`: nothing of its principal is open any more."""

    bill_id: int
    principal: Decimal
    late_fee: Decimal
    settled: bool = False


@dataclass(frozen=True, slots=True)
class Settlement:
    """What became of money: parts of bills, and the rest, which of a payment stays as the account's balance."""

    allocations: tuple[Allocation, ...]
    surplus: Decimal

    @property
    def principal(self) -> Decimal:
        """What it pays of principal."""
        return sum((part.principal for part in self.allocations), _NONE)

    @property
    def late_fee(self) -> Decimal:
        """What it pays of late fees."""
        return sum((part.late_fee for part in self.allocations), _NONE)


@dataclass(frozen=True, slots=True)
class Receipt:
    """A payment that has been recorded, as settlement needs to know it."""

    payment_id: int
    project_id: int
    account_id: int
    amount: Decimal
    currency: str
    method: str
    paid_on: date


@dataclass(frozen=True, slots=True)
class Source:
    """Where the money of a settlement comes from: a payment, a set-off or a credit note, and the day it pays."""

    project_id: int
    paid_on: date
    payment_id: int | None = None
    set_off_id: int | None = None
    credit_note_id: int | None = None


async def settle(conn: Conn, receipt: Receipt) -> Settlement:
    """Allocates a payment to the bills of its account, books it, and settles bills whose principal is paid.

    Late fees are computed again before anything is allocated to them: up to the day of payment, or the later day for
    which they were computed already. Nothing is allocated to what is disputed.
    """
    found = await share(conn, {receipt.account_id: receipt.amount}, receipt.paid_on)
    settlement = found[receipt.account_id]
    await write(conn, [(Source(receipt.project_id, receipt.paid_on, receipt.payment_id), settlement)])
    postings = (
        Posting(f"cash:{receipt.method}", receipt.amount),
        *paid_postings(receipt.account_id, settlement),
        Posting(ledger.PREPAID, -settlement.surplus, receipt.account_id),
    )
    journal = Journal(
        receipt.project_id, "payment", receipt.paid_on, "payment", receipt.payment_id, receipt.currency, postings
    )
    await ledger.book(conn, [journal])
    return settlement


async def share(conn: Conn, money: Mapping[int, Decimal], on: date, *, fees: bool = True) -> dict[int, Settlement]:
    """What money of accounts would settle on this day, by account; their bills stay locked until the transaction ends.

    The principal first, by date (instalments instead of the bills of a plan); then, unless `fees` is False, late fees.
    The fees are derived again with these payments. Statements are as many for one account as for thousands.
    """
    accounts = list(money)
    bills = await repository.lock_bills_of(conn, accounts, paid=fees)
    schedules = await plan_repository.schedules(conn, accounts)
    of_account: dict[int, list[BillRow]] = {account_id: [] for account_id in accounts}
    for bill in bills:
        of_account[bill.account_id].append(bill)
    principals: dict[int, Decimal] = {}
    for account_id, owed in of_account.items():
        principals |= share_of_principal(money[account_id], _debts(owed), on, schedules.get(account_id))
    changed = bills if fees else [bill for bill in bills if bill.id in principals]
    paid = await paid_of(conn, [bill.id for bill in changed])
    for bill_id, amount in principals.items():
        paid[bill_id].append((on, amount))
    derived = await derive(conn, changed, paid, on)
    return {
        account_id: _settlement(money[account_id], of_account[account_id], principals, derived, fees)
        for account_id in accounts
    }


async def principal_shares(
    conn: Conn, account_id: int, bills: Sequence[BillRow], money: Decimal, on: date
) -> dict[int, Decimal]:
    """What money of an account would pay of the principal of its bills on this day; nothing is locked or written."""
    schedules = await plan_repository.schedules(conn, [account_id])
    return share_of_principal(money, _debts(bills), on, schedules.get(account_id))


async def write(conn: Conn, found: Sequence[tuple[Source, Settlement]]) -> None:
    """Writes allocations, settles bills, and ends plans that are kept. What is booked is the caller's."""
    rows = [
        {
            "project_id": source.project_id,
            "payment_id": source.payment_id,
            "set_off_id": source.set_off_id,
            "credit_note_id": source.credit_note_id,
            "bill_id": part.bill_id,
            "paid_on": source.paid_on,
            "principal": part.principal,
            "late_fee": part.late_fee,
        }
        for source, settlement in found
        for part in settlement.allocations
    ]
    settled = {
        part.bill_id: source.paid_on for source, settlement in found for part in settlement.allocations if part.settled
    }
    await conn.execute(_INSERT_ALLOCATIONS, (Jsonb(rows),))
    await settle_bills(conn, settled)


async def settle_bills(conn: Conn, settled: Mapping[int, date]) -> None:
    """Nothing of the principal of these bills is open any more, since when; plans that this keeps are ended."""
    await conn.execute(_SETTLE, (Jsonb([{"id": bill_id, "settled_on": day} for bill_id, day in settled.items()]),))
    await plan_repository.end_kept(conn, list(settled))


def paid_postings(account_id: int, settlement: Settlement) -> tuple[Posting, Posting]:
    """The credit side of what was paid: less receivable, and revenue of late fees."""
    return (
        Posting(ledger.RECEIVABLE, -settlement.principal, account_id),
        Posting(ledger.LATE_FEE_REVENUE, -settlement.late_fee),
    )


def _debts(bills: Sequence[BillRow]) -> list[Debt]:
    return [
        Debt(bill.id, bill.due_on, bill.undisputed)
        for bill in bills
        if bill.state in ("issued", "disputed") and bill.due_on is not None
    ]


def _settlement(
    money: Decimal,
    bills: Sequence[BillRow],
    principals: Mapping[int, Decimal],
    derived: Mapping[int, Decimal],
    fees: bool,
) -> Settlement:
    left = money - sum((principals.get(bill.id, _NONE) for bill in bills), _NONE)
    owed = {
        bill.id: derived.get(bill.id, bill.late_fee) - bill.late_fee_paid
        for bill in bills
        if fees and bill.state != "disputed"
    }
    fee_parts = share_of_fees(left, owed)
    left -= sum(fee_parts.values(), _NONE)
    allocations = tuple(
        Allocation(
            bill.id,
            principals.get(bill.id, _NONE),
            fee_parts.get(bill.id, _NONE),
            bill.id in principals and principals[bill.id] == bill.open,
        )
        for bill in bills
        if bill.id in principals or bill.id in fee_parts
    )
    return Settlement(allocations, left)
