"""Payments against bills: oldest principal first, late fees after all principal, the rest stays as a balance."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from decimal import Decimal
from typing import LiteralString

from psycopg.types.json import Jsonb

from cloud.billing import ledger, repository
from cloud.billing.late_fees import LateFee, late_fee
from cloud.billing.ledger import Journal, Posting
from cloud.billing.records import BillRow, Policy
from cloud.kit.db import Conn
from cloud.kit.money import minor_digits

_PAID: LiteralString = """
    SELECT bill_id, paid_on, principal FROM payment_allocation
    WHERE bill_id = ANY (%s) AND principal > 0 ORDER BY paid_on, id
"""
_INSERT_ALLOCATIONS: LiteralString = """
    INSERT INTO payment_allocation (project_id, payment_id, bill_id, paid_on, principal, late_fee)
    SELECT project_id, payment_id, bill_id, paid_on, principal, late_fee
    FROM jsonb_to_recordset(%s) AS new (project_id bigint, payment_id bigint, bill_id bigint, paid_on date,
                                        principal numeric, late_fee numeric)
"""
_SETTLE: LiteralString = "UPDATE bill SET state = 'paid', settled_on = %s WHERE id = ANY (%s)"
_UPSERT_LATE_FEES: LiteralString = """
    INSERT INTO late_fee (project_id, bill_id, through, amount, rule, steps)
    SELECT project_id, bill_id, through, amount, rule, steps
    FROM jsonb_to_recordset(%s) AS new (project_id bigint, bill_id bigint, through date, amount numeric, rule jsonb,
                                        steps jsonb)
    ON CONFLICT (bill_id) DO UPDATE
    SET through = excluded.through, amount = greatest(excluded.amount, late_fee.waived), rule = excluded.rule,
        steps = excluded.steps
"""

Paid = dict[int, list[tuple[date, Decimal]]]
"""Payments of principal by bill: day and amount."""


@dataclass(frozen=True, slots=True)
class Allocation:
    """What a payment settles of one bill."""

    bill_id: int
    principal: Decimal
    late_fee: Decimal


@dataclass(frozen=True, slots=True)
class Settlement:
    """What became of a payment: parts of bills, and the rest that stays as the account's balance."""

    allocations: tuple[Allocation, ...]
    surplus: Decimal


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


async def settle(conn: Conn, receipt: Receipt) -> Settlement:
    """Allocates a payment to the bills of its account, books it, and settles bills whose principal is paid.

    Late fees are computed again up to the day of payment before anything is allocated to them.
    """
    bills = await repository.lock_settleable_bills(conn, receipt.account_id)
    left = receipt.amount
    principals: dict[int, Decimal] = {}
    for bill in bills:
        if bill.state == "issued" and left > 0:
            principals[bill.id] = min(left, bill.open)
            left -= principals[bill.id]
    paid = await _paid(conn, [bill.id for bill in bills])
    for bill_id, amount in principals.items():
        paid[bill_id].append((receipt.paid_on, amount))
    fees = await _derive(conn, bills, paid, receipt.paid_on)
    owed = {bill.id: fees.get(bill.id, bill.late_fee) - bill.late_fee_paid for bill in bills}
    fee_parts: dict[int, Decimal] = {}
    for bill in bills:
        if owed[bill.id] > 0 and left > 0:
            fee_parts[bill.id] = min(left, owed[bill.id])
            left -= fee_parts[bill.id]
    none = Decimal(0)
    allocations = tuple(
        Allocation(bill.id, principals.get(bill.id, none), fee_parts.get(bill.id, none))
        for bill in bills
        if bill.id in principals or bill.id in fee_parts
    )
    await _write(conn, receipt, allocations, left)
    settled = [bill.id for bill in bills if bill.state == "issued" and principals.get(bill.id, none) == bill.open]
    await conn.execute(_SETTLE, (receipt.paid_on, settled))
    return Settlement(allocations, left)


async def refresh_late_fees(conn: Conn, project_id: int, today: date) -> int:
    """Derives the late fees of all overdue bills of a project again; returns how many bills owe one."""
    bills = await repository.lock_overdue_bills(conn, project_id, today)
    fees = await _derive(conn, bills, await _paid(conn, [bill.id for bill in bills]), today)
    return sum(1 for amount in fees.values() if amount > 0)


async def _paid(conn: Conn, bill_ids: Sequence[int]) -> Paid:
    found: Paid = defaultdict(list)
    for row in await (await conn.execute(_PAID, (list(bill_ids),))).fetchall():
        found[row["bill_id"]].append((row["paid_on"], row["principal"]))
    return found


async def _derive(conn: Conn, bills: Sequence[BillRow], paid: Paid, through: date) -> dict[int, Decimal]:
    """Writes and returns the late fees of issued bills as of `through`; those of settled bills are final."""
    policies: dict[tuple[int, date], Policy] = {}
    rows: list[dict[str, object]] = []
    for bill in bills:
        if bill.state != "issued" or bill.due_on is None or bill.issued_on is None:
            continue
        if bill.due_on >= through and not bill.late_fee:
            continue
        terms = (bill.project_id, bill.issued_on)
        if terms not in policies:
            policies[terms] = await repository.policy_on(conn, *terms)
        rule = policies[terms].late_fee
        fee = late_fee(bill.total, bill.due_on, paid[bill.id], rule, through, minor_digits(bill.currency))
        rows.append(_late_fee_row(bill, fee, asdict(rule), through))
    if not rows:
        return {}
    await conn.execute(_UPSERT_LATE_FEES, (Jsonb(rows),))
    after = await repository.bills_by_id(conn, [bill.id for bill in bills])
    return {bill.id: bill.late_fee for bill in after}


def _late_fee_row(bill: BillRow, fee: LateFee, rule: Mapping[str, object], through: date) -> dict[str, object]:
    return {
        "project_id": bill.project_id,
        "bill_id": bill.id,
        "through": through,
        "amount": fee.amount,
        "rule": rule,
        "steps": [asdict(step) for step in fee.steps],
    }


async def _write(conn: Conn, receipt: Receipt, allocations: Sequence[Allocation], surplus: Decimal) -> None:
    rows = [
        {
            "project_id": receipt.project_id,
            "payment_id": receipt.payment_id,
            "bill_id": part.bill_id,
            "paid_on": receipt.paid_on,
            "principal": part.principal,
            "late_fee": part.late_fee,
        }
        for part in allocations
    ]
    await conn.execute(_INSERT_ALLOCATIONS, (Jsonb(rows),))
    principal = sum((part.principal for part in allocations), Decimal(0))
    fees = sum((part.late_fee for part in allocations), Decimal(0))
    postings = (
        Posting(f"cash:{receipt.method}", receipt.amount),
        Posting(ledger.RECEIVABLE, -principal, receipt.account_id),
        Posting(ledger.LATE_FEE_REVENUE, -fees),
        Posting(ledger.PREPAID, -surplus, receipt.account_id),
    )
    journal = Journal(
        receipt.project_id, "payment", receipt.paid_on, "payment", receipt.payment_id, receipt.currency, postings
    )
    await ledger.book(conn, [journal])
