"""Late fees of bills as they stand: derived from payments, disputes and plans each time, kept with their steps."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date
from decimal import Decimal
from typing import LiteralString

from psycopg.types.json import Jsonb

from cloud.billing import repository
from cloud.billing.arrears.late_fees import LateFee, Pause, late_fee
from cloud.billing.records import BillRow, Policy
from cloud.billing.terms.service import policy_on
from cloud.kit.db import Conn
from cloud.kit.money import minor_digits

_PAID: LiteralString = """
    SELECT bill_id, paid_on, principal FROM payment_allocation
    WHERE bill_id = ANY (%s) AND principal > 0 ORDER BY paid_on, id
"""
# What was upheld was never owed: it bears nothing from the first day until a credit note takes it off the principal.
# A plan bears nothing while it is kept; broken, its days count after all where the terms say so.
_PAUSES: LiteralString = """
    SELECT bill_id, opened_on AS first, closed_on AS last, amount - coalesce(upheld, 0) AS amount
    FROM bill_dispute WHERE bill_id = ANY (%(bill_ids)s)
    UNION ALL
    SELECT d.bill_id, b.issued_on, d.credited_on,
           d.upheld - coalesce((SELECT sum(c.amount) FROM dispute_credit c WHERE c.dispute_id = d.id), 0)
    FROM bill_dispute d JOIN bill b ON b.id = d.bill_id
    WHERE d.bill_id = ANY (%(bill_ids)s) AND d.state = 'upheld'
    UNION ALL
    SELECT d.bill_id, b.issued_on, c.credited_on, c.amount
    FROM dispute_credit c JOIN bill_dispute d ON d.id = c.dispute_id JOIN bill b ON b.id = d.bill_id
    WHERE d.bill_id = ANY (%(bill_ids)s)
    UNION ALL
    SELECT i.bill_id, p.starts_on, CASE WHEN p.state IN ('broken', 'cancelled') THEN p.ended_on - 1 ELSE p.ended_on END,
           NULL
    FROM instalment_plan_bill i JOIN instalment_plan p ON p.id = i.plan_id
    WHERE i.bill_id = ANY (%(bill_ids)s) AND p.starts_on IS NOT NULL
      AND NOT (p.state = 'broken' AND p.on_break = 'due-date')
"""
# Never below what was waived or paid already: that is settled between the two sides.
_UPSERT: LiteralString = """
    INSERT INTO late_fee (project_id, bill_id, through, amount, rule, steps)
    SELECT project_id, bill_id, through, amount, rule, steps
    FROM jsonb_to_recordset(%s) AS new (project_id bigint, bill_id bigint, through date, amount numeric, rule jsonb,
                                        steps jsonb)
    ON CONFLICT (bill_id) DO UPDATE
    SET through = excluded.through, rule = excluded.rule, steps = excluded.steps,
        amount = greatest(excluded.amount, late_fee.waived - late_fee.returned + coalesce(
            (SELECT sum(a.late_fee) FROM payment_allocation a WHERE a.bill_id = excluded.bill_id), 0))
"""

Paid = dict[int, list[tuple[date, Decimal]]]
"""Payments of principal by bill: day and amount."""


async def refresh_late_fees(conn: Conn, project_id: int, today: date) -> int:
    """Derives the late fees of all overdue bills of a project again; returns how many bills owe one."""
    bills = await repository.lock_overdue_bills(conn, project_id, today)
    fees = await derive(conn, bills, await paid_of(conn, [bill.id for bill in bills]), today)
    return sum(1 for amount in fees.values() if amount > 0)


async def derive_again(conn: Conn, bill_ids: Sequence[int]) -> None:
    """Derives the late fees of these bills as of the day they were derived for: something about it has changed."""
    bills = [bill for bill in await repository.lock_bills(conn, bill_ids) if bill.late_fee_through is not None]
    await derive(conn, bills, await paid_of(conn, [bill.id for bill in bills]), date.min)


async def paid_of(conn: Conn, bill_ids: Sequence[int]) -> Paid:
    """Payments of principal of these bills."""
    found: Paid = defaultdict(list)
    for row in await (await conn.execute(_PAID, (list(bill_ids),))).fetchall():
        found[row["bill_id"]].append((row["paid_on"], row["principal"]))
    return found


async def derive(conn: Conn, bills: Sequence[BillRow], paid: Paid, on: date) -> dict[int, Decimal]:
    """Writes and returns the late fees of unpaid bills; those of settled bills are final.

    As of `on`, or the later day for which a fee was derived already: a payment that is entered late lowers what it
    should have been lowered by, and takes no day back.
    """
    unpaid = [bill for bill in bills if bill.state in ("issued", "disputed")]
    late = [
        bill for bill in unpaid if bill.due_on is not None and (bill.due_on < on or bill.late_fee_through is not None)
    ]
    if not late:
        return {}
    pauses = await _pauses(conn, [bill.id for bill in late])
    policies: dict[tuple[int, date], Policy] = {}
    rows = []
    for bill in late:
        assert bill.issued_on is not None
        terms = (bill.project_id, bill.issued_on)
        if terms not in policies:
            policies[terms] = await policy_on(conn, *terms)
        rows.append(_row(bill, policies[terms], paid[bill.id], max(on, bill.late_fee_through or on), pauses[bill.id]))
    await conn.execute(_UPSERT, (Jsonb(rows),))
    after = await repository.bills_by_id(conn, [bill.id for bill in late])
    return {bill.id: bill.late_fee for bill in after}


async def _pauses(conn: Conn, bill_ids: Sequence[int]) -> Mapping[int, list[Pause]]:
    found: dict[int, list[Pause]] = defaultdict(list)
    for row in await (await conn.execute(_PAUSES, {"bill_ids": list(bill_ids)})).fetchall():
        found[row.pop("bill_id")].append(Pause(**row))
    return found


def _row(
    bill: BillRow, policy: Policy, paid: Sequence[tuple[date, Decimal]], through: date, pauses: Sequence[Pause]
) -> dict[str, object]:
    assert bill.due_on is not None
    rule, digits = policy.late_fee, minor_digits(bill.currency)
    fee: LateFee = late_fee(bill.total, bill.due_on, paid, rule, through, digits, pauses)
    return {
        "project_id": bill.project_id,
        "bill_id": bill.id,
        "through": through,
        "amount": fee.amount,
        "rule": asdict(rule),
        "steps": [asdict(step) for step in fee.steps],
    }
