"""Which payments settled a bill, and how much of each."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import LiteralString

from cloud.kit.db import Conn

_OF_BILL: LiteralString = """
    SELECT coalesce(p.id, s.id, n.id) AS id, a.paid_on, coalesce(p.method, s.source, 'credit-note') AS method,
           coalesce(p.reference, n.number, '') AS reference, a.principal, a.late_fee
    FROM payment_allocation a LEFT JOIN payment p ON p.id = a.payment_id LEFT JOIN set_off s ON s.id = a.set_off_id
    LEFT JOIN bill n ON n.id = a.credit_note_id
    WHERE a.bill_id = %s AND a.credit_note_id IS DISTINCT FROM a.bill_id ORDER BY a.paid_on, a.id
"""


@dataclass(frozen=True, slots=True)
class PaidPart:
    """The part of a payment that settled principal and late fee of one bill.

    `method` is that of the payment, or what held money paid it: `balance` or `deposit`; or `credit-note`, whose number
    is the reference.
    """

    id: int
    paid_on: date
    method: str
    reference: str
    principal: Decimal
    late_fee: Decimal


async def payments_of_bill(conn: Conn, bill_id: int) -> list[PaidPart]:
    """What paid a bill, payments, held money and credit notes, oldest first."""
    return [PaidPart(**row) for row in await (await conn.execute(_OF_BILL, (bill_id,))).fetchall()]
