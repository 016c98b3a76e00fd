"""What a credit note gives: it lowers what is open of its bill, then of the oldest bills; the rest is held."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import LiteralString

from cloud.billing import repository
from cloud.billing.arrears import disputes
from cloud.billing.ledger import journals as ledger
from cloud.billing.ledger.journals import Journal, Posting
from cloud.billing.records import BillRow
from cloud.billing.runs.repository import Draft
from cloud.billing.settlement.settling import Allocation, Settlement, Source, principal_shares, share, write
from cloud.estate.records import Project
from cloud.kit.db import Conn

# A note has at most one part of each bill, and one of its own that takes them together.
_GIVEN: LiteralString = """
    SELECT b.id AS bill_id, b.number, a.principal AS amount
    FROM payment_allocation a JOIN bill b ON b.id = a.bill_id
    WHERE a.credit_note_id = %(note_id)s AND a.bill_id <> %(note_id)s ORDER BY a.id
"""


@dataclass(frozen=True, slots=True)
class GivenPart:
    """By how much a credit note lowers a bill."""

    bill_id: int
    number: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Given:
    """What becomes of a credit note: parts of bills, and what is kept as balance. Together they are the note."""

    parts: tuple[GivenPart, ...]
    kept: Decimal


async def given(conn: Conn, note: BillRow) -> Given:
    """What became of an issued credit note."""
    rows = await (await conn.execute(_GIVEN, {"note_id": note.id})).fetchall()
    parts = tuple(GivenPart(**row) for row in rows)
    return Given(parts, -note.total - sum((part.amount for part in parts), Decimal(0)))


async def preview_note(conn: Conn, account_id: int, bill_id: int | None, amount: Decimal, today: date) -> Given:
    """What would become of a credit note of `amount` if it were issued now; nothing is locked or written."""
    bills = await repository.unpaid_bills_of(conn, account_id)
    left, parts = amount, []
    for bill in bills:
        if bill.id == bill_id and bill.open > 0:
            own = min(left, bill.open)
            parts.append(GivenPart(bill.id, str(bill.number), own))
            left -= own
    others = [bill for bill in bills if bill.id != bill_id]
    shares = await principal_shares(conn, account_id, others, left, today) if left else {}
    parts += [GivenPart(bill.id, str(bill.number), shares[bill.id]) for bill in others if bill.id in shares]
    return Given(tuple(parts), amount - sum((part.amount for part in parts), Decimal(0)))


async def allocate(conn: Conn, project: Project, notes: Sequence[Draft], today: date) -> None:
    """Allocates credit notes that were issued just now. Only principal is lowered: a late fee is not credited.

    Issuing has booked the whole note against the receivables of the account; what no bill takes goes over to its
    prepaid balance. Whoever issues them has locked their accounts and bills (`held.lock_to_settle`).
    """
    for note in notes:
        left = -note.total
        if note.of_bill is not None:
            left -= await _of_its_bill(conn, project, note, note.of_bill, today)
        rest = Settlement((), Decimal(0))
        if left:
            rest = (await share(conn, {note.account_id: left}, today, fees=False))[note.account_id]
        # The note's own part is negative: what it gives away is not open any more.
        own = Allocation(note.bill_id, note.total, Decimal(0))
        source = Source(project.id, today, credit_note_id=note.bill_id)
        await write(conn, [(source, Settlement((*rest.allocations, own), rest.surplus))])
        await ledger.book(conn, [_kept(project, note, rest.surplus, today)])


async def _of_its_bill(conn: Conn, project: Project, note: Draft, bill_id: int, today: date) -> Decimal:
    """Lowers the bill that the note is about, also where that is disputed, and returns by how much."""
    (bill,) = await repository.lock_bills(conn, [bill_id])
    amount = min(-note.total, bill.open) if bill.state in ("issued", "disputed") else Decimal(0)
    if amount > 0:
        one = Allocation(bill_id, amount, Decimal(0), settled=amount == bill.open)
        source = Source(project.id, today, credit_note_id=note.bill_id)
        await write(conn, [(source, Settlement((one,), Decimal(0)))])
    await disputes.credit_disputes(conn, bill_id, note.bill_id, -note.total, today)
    return amount


def _kept(project: Project, note: Draft, amount: Decimal, today: date) -> Journal:
    postings = (
        Posting(ledger.RECEIVABLE, amount, note.account_id),
        Posting(ledger.PREPAID, -amount, note.account_id),
    )
    return Journal(project.id, "credit_held", today, "bill", note.bill_id, project.currency, postings)
