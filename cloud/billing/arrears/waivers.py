"""Waivers of late fees: one person asks, another approves; what is waived is not owed, or given back if it is paid."""

from datetime import date
from decimal import Decimal
from typing import LiteralString

from psycopg.errors import UniqueViolation

from cloud.billing import repository
from cloud.billing.arrears.rules import AskedState, Waiver, must_be_another, must_wait, stated
from cloud.billing.ledger import journals as ledger
from cloud.billing.ledger.journals import Journal, Posting
from cloud.billing.records import Policy
from cloud.billing.settlement.held import lock_held
from cloud.billing.terms.service import terms_today
from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, InvalidInput, NotFound
from cloud.kit.money import minor_digits
from cloud.kit.paging import Page, PageRequest, newest_first

_WAIVER: LiteralString = """
    SELECT w.id, w.project_id, w.bill_id, b.number AS bill_number, b.account_id, b.currency, w.amount, w.returned,
           w.reason,
           w.state, w.asked_by, w.asked_at, w.decided_by, w.decided_at, w.note
    FROM late_fee_waiver w JOIN bill b ON b.id = w.bill_id
"""
_WAIVERS: LiteralString = (
    _WAIVER
    + """
    WHERE (%(project_id)s::bigint IS NULL OR w.project_id = %(project_id)s)
      AND (%(bill_id)s::bigint IS NULL OR w.bill_id = %(bill_id)s)
      AND (%(state)s::text IS NULL OR w.state = %(state)s) AND w.id < %(before)s
    ORDER BY w.id DESC LIMIT %(limit)s
"""
)
_ASK: LiteralString = """
    INSERT INTO late_fee_waiver (project_id, bill_id, amount, returned, reason, asked_by)
    VALUES (%(project_id)s, %(bill_id)s, %(amount)s, %(returned)s, %(reason)s, %(by)s) RETURNING id
"""
_DECIDE: LiteralString = """
    UPDATE late_fee_waiver SET state = %(state)s, decided_by = %(by)s, decided_at = now(), note = %(note)s
    WHERE id = %(id)s
"""
_WAIVE: LiteralString = """
    UPDATE late_fee SET waived = waived + %s, returned = returned + %s WHERE bill_id = %s
"""


async def ask_waiver(conn: Conn, bill_id: int, amount: Decimal, reason: str, *, by: int | None) -> Waiver:
    """Asks not to collect an amount of the late fee of a bill.

    Of what is paid already the rest is given back as prepaid balance. Raises NotFound; InvalidInput without a reason or
    for more than the fee; Conflict while another request waits.
    """
    reason = stated(reason)
    bill = await repository.bill(conn, bill_id)
    if bill is None:
        raise NotFound("no-such-bill", f"there is no bill {bill_id}", field="bill_id")
    if not 0 < amount <= bill.late_fee or amount != round(amount, minor_digits(bill.currency)):
        raise InvalidInput("bad-amount", f"expected more than 0 and at most {bill.late_fee}", field="amount")
    values = {
        "project_id": bill.project_id,
        "bill_id": bill_id,
        "amount": amount,
        "returned": max(amount - bill.late_fee_open, Decimal(0)),
        "reason": reason,
        "by": by,
    }
    try:
        async with conn.transaction():
            row = await (await conn.execute(_ASK, values)).fetchone()
    except UniqueViolation as error:
        raise Conflict("already-asked", f"a waiver for bill {bill.number} waits for a decision already") from error
    assert row is not None
    return await get_waiver(conn, row["id"])


async def approve_waiver(conn: Conn, waiver_id: int, policy: Policy, note: str = "", *, by: int | None) -> Waiver:
    """Waives what was asked for.

    Of what is still open nothing is booked: a late fee is revenue when it is paid. What is paid goes from revenue to
    the prepaid balance of the account, which is locked first, as by all who change what it holds. Raises NotFound;
    Conflict when it was decided, when the approver asked for it himself and `policy` wants two, or when less is open
    by now.
    """
    asked = await get_waiver(conn, waiver_id)
    await lock_held(conn, [asked.account_id])
    (bill,) = await repository.lock_bills(conn, [asked.bill_id])
    found = await _waiting(conn, waiver_id)
    must_be_another(found.asked_by, by, policy)
    if bill.late_fee_open < found.amount - found.returned or bill.late_fee_paid < found.returned:
        raise Conflict("amount-changed", f"only {bill.late_fee_open} of the late fee is open by now")
    await conn.execute(_WAIVE, (found.amount, found.returned, found.bill_id))
    await ledger.book(conn, [_returned(found, await _today(conn, found.project_id))])
    return await _decide(conn, waiver_id, "approved", note, by)


def _returned(waiver: Waiver, today: date) -> Journal:
    postings = (
        Posting(ledger.LATE_FEE_REVENUE, waiver.returned),
        Posting(ledger.PREPAID, -waiver.returned, waiver.account_id),
    )
    return Journal(
        waiver.project_id, "late_fee_returned", today, "late_fee_waiver", waiver.id, waiver.currency, postings
    )


async def _today(conn: Conn, project_id: int) -> date:
    today, _ = await terms_today(conn, project_id)
    return today


async def reject_waiver(conn: Conn, waiver_id: int, note: str, *, by: int | None) -> Waiver:
    """The late fee stays owed. Raises NotFound; Conflict when it was decided; InvalidInput without a reason."""
    await _waiting(conn, waiver_id)
    return await _decide(conn, waiver_id, "rejected", stated(note), by)


async def get_waiver(conn: Conn, waiver_id: int) -> Waiver:
    """One waiver. Raises NotFound."""
    row = await (await conn.execute(_WAIVER + "WHERE w.id = %s", (waiver_id,))).fetchone()
    if row is None:
        raise NotFound("no-such-waiver", f"there is no waiver {waiver_id}", field="waiver_id")
    return Waiver(**row)


async def list_waivers(
    conn: Conn,
    page: PageRequest,
    *,
    project_id: int | None = None,
    bill_id: int | None = None,
    state: AskedState | None = None,
) -> Page[Waiver]:
    """Waivers, newest first."""
    wanted = {"project_id": project_id, "bill_id": bill_id, "state": state}
    return await newest_first(conn, _WAIVERS, wanted, page, lambda row: Waiver(**row))


async def _waiting(conn: Conn, waiver_id: int) -> Waiver:
    await conn.execute("SELECT FROM late_fee_waiver WHERE id = %s FOR UPDATE", (waiver_id,))
    found = await get_waiver(conn, waiver_id)
    must_wait(found.state)
    return found


async def _decide(conn: Conn, waiver_id: int, state: AskedState, note: str, by: int | None) -> Waiver:
    await conn.execute(_DECIDE, {"id": waiver_id, "state": state, "by": by, "note": note.strip()[:1000]})
    return await get_waiver(conn, waiver_id)
