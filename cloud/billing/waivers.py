"""Waivers of late fees: one person asks, another approves; what is waived is not owed any more."""

from decimal import Decimal
from typing import LiteralString

from psycopg.errors import UniqueViolation

from cloud.billing import repository
from cloud.billing.arrears import AskedState, Waiver, must_be_another, must_wait, stated
from cloud.billing.records import BillRow, Policy
from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, InvalidInput, NotFound
from cloud.kit.money import minor_digits
from cloud.kit.paging import MAX_ID, Page, PageRequest, after_id, cut

_WAIVER: LiteralString = """
    SELECT w.id, w.project_id, w.bill_id, b.number AS bill_number, b.account_id, b.currency, w.amount, w.reason,
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
    INSERT INTO late_fee_waiver (project_id, bill_id, amount, reason, asked_by)
    VALUES (%(project_id)s, %(bill_id)s, %(amount)s, %(reason)s, %(by)s) RETURNING id
"""
_DECIDE: LiteralString = """
    UPDATE late_fee_waiver SET state = %(state)s, decided_by = %(by)s, decided_at = now(), note = %(note)s
    WHERE id = %(id)s
"""
_WAIVE: LiteralString = "UPDATE late_fee SET waived = waived + %s WHERE bill_id = %s"


async def ask_waiver(conn: Conn, bill_id: int, amount: Decimal, reason: str, *, by: int | None) -> Waiver:
    """Asks not to collect an amount of the late fee of a bill.

    What is paid of a late fee is not waived any more: it is revenue of a closed matter. Raises NotFound; InvalidInput
    without a reason or for more than is open; Conflict where all of it is paid, or while another request waits.
    """
    reason = stated(reason)
    bill = await repository.bill(conn, bill_id)
    if bill is None:
        raise NotFound("no-such-bill", f"there is no bill {bill_id}", field="bill_id")
    _must_be_open(bill)
    if not 0 < amount <= bill.late_fee_open or amount != round(amount, minor_digits(bill.currency)):
        raise InvalidInput("bad-amount", f"expected more than 0 and at most {bill.late_fee_open}", field="amount")
    values = {"project_id": bill.project_id, "bill_id": bill_id, "amount": amount, "reason": reason, "by": by}
    try:
        async with conn.transaction():
            row = await (await conn.execute(_ASK, values)).fetchone()
    except UniqueViolation as error:
        raise Conflict("already-asked", f"a waiver for bill {bill.number} waits for a decision already") from error
    assert row is not None
    return await get_waiver(conn, row["id"])


def _must_be_open(bill: BillRow) -> None:
    if bill.late_fee_open <= 0 < bill.late_fee_paid:
        raise Conflict("late-fee-paid", f"the late fee of bill {bill.number} is paid: what is paid is not waived")


async def approve_waiver(conn: Conn, waiver_id: int, policy: Policy, note: str = "", *, by: int | None) -> Waiver:
    """Waives what was asked for.

    Nothing is booked: a late fee is revenue when it is paid. Raises NotFound; Conflict when it was decided, when the
    approver asked for it himself and `policy` wants two, or when less is open by now.
    """
    found = await _waiting(conn, waiver_id)
    must_be_another(found.asked_by, by, policy)
    (bill,) = await repository.lock_bills(conn, [found.bill_id])
    _must_be_open(bill)
    if bill.late_fee_open < found.amount:
        raise Conflict("amount-changed", f"only {bill.late_fee_open} of the late fee is open by now")
    await conn.execute(_WAIVE, (found.amount, found.bill_id))
    return await _decide(conn, waiver_id, "approved", note, by)


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
    values = {
        "project_id": project_id,
        "bill_id": bill_id,
        "state": state,
        "before": after_id(page, MAX_ID),
        "limit": page.limit + 1,
    }
    rows = await (await conn.execute(_WAIVERS, values)).fetchall()
    return cut([Waiver(**row) for row in rows], page, lambda one: (one.id,))


async def _waiting(conn: Conn, waiver_id: int) -> Waiver:
    await conn.execute("SELECT FROM late_fee_waiver WHERE id = %s FOR UPDATE", (waiver_id,))
    found = await get_waiver(conn, waiver_id)
    must_wait(found.state)
    return found


async def _decide(conn: Conn, waiver_id: int, state: AskedState, note: str, by: int | None) -> Waiver:
    await conn.execute(_DECIDE, {"id": waiver_id, "state": state, "by": by, "note": note.strip()[:1000]})
    return await get_waiver(conn, waiver_id)
