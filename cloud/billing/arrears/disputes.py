"""Disputes of bills: opened by a resident or staff, decided by staff; what is disputed bears no late fee meanwhile."""

from datetime import date
from decimal import Decimal
from typing import LiteralString

from psycopg.errors import UniqueViolation

from cloud.billing import repository
from cloud.billing.arrears import accrual
from cloud.billing.arrears.rules import Dispute, DisputeState, stated
from cloud.billing.records import BillRow
from cloud.billing.settlement.settling import settle_bills
from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, Forbidden, InvalidInput, NotFound
from cloud.kit.money import minor_digits
from cloud.kit.paging import Page, PageRequest, newest_first

_DISPUTE: LiteralString = """
    SELECT d.id, d.project_id, d.bill_id, b.number AS bill_number, b.account_id, b.currency, d.amount, d.reason,
           d.state, d.opened_on, d.opened_by, d.by_resident, d.closed_on, d.closed_by, d.note, d.upheld, d.credited_on,
           coalesce((SELECT sum(c.amount) FROM dispute_credit c WHERE c.dispute_id = d.id), 0) AS credited,
           d.created_at
    FROM bill_dispute d JOIN bill b ON b.id = d.bill_id
"""
_DISPUTES: LiteralString = (
    _DISPUTE
    + """
    WHERE (%(project_id)s::bigint IS NULL OR d.project_id = %(project_id)s)
      AND (%(bill_id)s::bigint IS NULL OR d.bill_id = %(bill_id)s)
      AND (%(state)s::text IS NULL OR d.state = %(state)s) AND d.id < %(before)s
    ORDER BY d.id DESC LIMIT %(limit)s
"""
)
_OPEN: LiteralString = """
    INSERT INTO bill_dispute (project_id, bill_id, amount, reason, opened_on, opened_by, by_resident)
    VALUES (%(project_id)s, %(bill_id)s, %(amount)s, %(reason)s, %(on)s, %(by)s, %(by_resident)s) RETURNING id
"""
_CLOSE: LiteralString = """
    UPDATE bill_dispute SET state = %(state)s, closed_on = greatest(%(on)s, opened_on), closed_by = %(by)s,
                            note = %(note)s, upheld = %(upheld)s
    WHERE id = %(id)s AND state = 'open'
"""
_UPHELD: LiteralString = """
    SELECT id FROM bill_dispute WHERE bill_id = %s AND state = 'upheld' AND credited_on IS NULL ORDER BY id FOR UPDATE
"""
_CREDIT_PART: LiteralString = """
    INSERT INTO dispute_credit (project_id, dispute_id, credit_note_id, credited_on, amount)
    VALUES (%(project_id)s, %(dispute_id)s, %(note_id)s, %(on)s, %(amount)s)
"""
_CREDIT: LiteralString = """
    UPDATE bill_dispute SET credited_on = greatest(%s, closed_on)
    WHERE id = %s AND state = 'upheld' AND credited_on IS NULL
"""


async def open_dispute(
    conn: Conn,
    bill_id: int,
    reason: str,
    amount: Decimal | None = None,
    *,
    by: int | None,
    by_resident: bool,
    today: date,
) -> Dispute:
    """Disputes an amount of an issued bill, or all of it (None), from today on.

    Raises NotFound; InvalidInput without a reason or for an amount that is not part of the bill; Conflict when the
    bill is in dispute or paid by instalments, or when a resident disputes again what was rejected.
    """
    reason = stated(reason)
    bill = await _issued(conn, bill_id)
    if amount is not None:
        _check_amount(amount, bill.total, bill.currency)
    before = (await list_disputes(conn, PageRequest(), bill_id=bill_id)).items
    if by_resident and any(one.state == "rejected" for one in before):
        raise Conflict("dispute-rejected", "staff have rejected this before: talk to them")
    values = {
        "project_id": bill.project_id,
        "bill_id": bill_id,
        "amount": amount,
        "reason": reason,
        "on": today,
        "by": by,
        "by_resident": by_resident,
    }
    try:
        async with conn.transaction():
            row = await (await conn.execute(_OPEN, values)).fetchone()
    except UniqueViolation as error:
        raise Conflict("already-disputed", f"bill {bill.number} is in dispute already") from error
    assert row is not None
    return await get_dispute(conn, row["id"])


async def reject_dispute(conn: Conn, dispute_id: int, note: str, *, by: int | None, today: date) -> Dispute:
    """The bill is right. Days in dispute stay free of late fees. Raises NotFound, Conflict, InvalidInput."""
    return await _close(conn, dispute_id, "rejected", stated(note), by, today, None)


async def withdraw_dispute(conn: Conn, dispute_id: int, *, by: int | None, by_resident: bool, today: date) -> Dispute:
    """Takes a dispute back; a resident only one that a resident opened. Raises NotFound, Forbidden, Conflict."""
    found = await get_dispute(conn, dispute_id)
    if by_resident and not found.by_resident:
        raise Forbidden("not-yours", "staff opened this dispute and close it")
    return await _close(conn, dispute_id, "withdrawn", "", by, today, None)


async def uphold_dispute(
    conn: Conn, dispute_id: int, note: str, amount: Decimal | None = None, *, by: int | None, today: date
) -> Dispute:
    """The bill was too high by `amount` (None: by all that is disputed), which is not owed and bears no late fee.

    The bill stays in dispute by that amount until a credit note corrects it (`dispute_credited`). Raises NotFound,
    Conflict, InvalidInput for more than is disputed.
    """
    note = stated(note)
    found = await get_dispute(conn, dispute_id)
    bill = await _issued(conn, found.bill_id)
    disputed = bill.total if found.amount is None else found.amount
    upheld = disputed if amount is None else amount
    _check_amount(upheld, disputed, found.currency)
    closed = await _close(conn, dispute_id, "upheld", note, by, today, upheld)
    await accrual.derive_again(conn, [found.bill_id])
    return closed


async def credit_disputes(conn: Conn, bill_id: int, note_id: int, amount: Decimal, on: date) -> None:
    """A credit note of this amount has corrected a bill: what was upheld of it is credited, oldest dispute first.

    A dispute that the note does not cover waits for the rest. To be called in the transaction that issues the note,
    after its allocation.
    """
    left = amount
    for row in await (await conn.execute(_UPHELD, (bill_id,))).fetchall():
        found = await get_dispute(conn, row["id"])
        part = min(left, found.uncredited)
        if part <= 0:
            continue
        values = {"project_id": found.project_id, "dispute_id": found.id, "note_id": note_id, "on": on, "amount": part}
        await conn.execute(_CREDIT_PART, values)
        left -= part
        if part == found.uncredited:
            await dispute_credited(conn, found.id, on)
        else:
            await accrual.derive_again(conn, [bill_id])


async def dispute_credited(conn: Conn, dispute_id: int, on: date) -> None:
    """The principal of the bill is lowered by all that was upheld. Raises Conflict when it was before."""
    if (await conn.execute(_CREDIT, (on, dispute_id))).rowcount == 0:
        raise Conflict("already-decided", f"dispute {dispute_id} waits for no credit note")
    found = await get_dispute(conn, dispute_id)
    await accrual.derive_again(conn, [found.bill_id])
    (bill,) = await repository.lock_bills(conn, [found.bill_id])
    if bill.state == "issued" and bill.open == 0:
        await settle_bills(conn, {bill.id: on})


async def get_dispute(conn: Conn, dispute_id: int) -> Dispute:
    """One dispute. Raises NotFound."""
    row = await (await conn.execute(_DISPUTE + "WHERE d.id = %s", (dispute_id,))).fetchone()
    if row is None:
        raise NotFound("no-such-dispute", f"there is no dispute {dispute_id}", field="dispute_id")
    return Dispute(**row)


async def list_disputes(
    conn: Conn,
    page: PageRequest,
    *,
    project_id: int | None = None,
    bill_id: int | None = None,
    state: DisputeState | None = None,
) -> Page[Dispute]:
    """Disputes, newest first."""
    wanted = {"project_id": project_id, "bill_id": bill_id, "state": state}
    return await newest_first(conn, _DISPUTES, wanted, page, lambda row: Dispute(**row))


async def _issued(conn: Conn, bill_id: int) -> BillRow:
    bill = await repository.bill(conn, bill_id)
    if bill is None:
        raise NotFound("no-such-bill", f"there is no bill {bill_id}", field="bill_id")
    if bill.state in ("draft", "void"):
        raise Conflict("bill-not-issued", f"bill {bill_id} is {bill.state}")
    if bill.in_plan:
        raise Conflict("bill-in-plan", f"bill {bill.number} is paid by instalments")
    return bill


def _check_amount(amount: Decimal, most: Decimal, currency: str) -> None:
    digits = minor_digits(currency)
    if not 0 < amount <= most or amount != round(amount, digits):
        raise InvalidInput("bad-amount", f"expected more than 0 and at most {most}", field="amount")


async def _close(
    conn: Conn, dispute_id: int, state: DisputeState, note: str, by: int | None, today: date, upheld: Decimal | None
) -> Dispute:
    found = await get_dispute(conn, dispute_id)
    values = {"id": dispute_id, "state": state, "on": today, "by": by, "note": note, "upheld": upheld}
    if (await conn.execute(_CLOSE, values)).rowcount == 0:
        raise Conflict("already-decided", f"dispute {dispute_id} is {found.state} already")
    return await get_dispute(conn, dispute_id)
