"""Which payments settled a bill, and how much of each."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import LiteralString

from cloud.kit.db import Conn

_OF_BILL: LiteralString = """
    SELECT coalesce(p.id, s.id) AS id, a.paid_on, coalesce(p.method, s.source) AS method,
           coalesce(p.reference, '') AS reference, a.principal, a.late_fee
    FROM payment_allocation a LEFT JOIN payment p ON p.id = a.payment_id LEFT JOIN set_off s ON s.id = a.set_off_id
    WHERE a.bill_id = %s ORDER BY a.paid_on, a.id
"""


@dataclass(frozen=True, slots=True)
class PaidPart:
    """The part of a payment that settled principal and late fee of one bill.

    `method` is that of the payment, or what held money paid it: `balance` or `deposit`.
    """

    id: int
    paid_on: date
    method: str
    reference: str
    principal: Decimal
    late_fee: Decimal


async def payments_of_bill(conn: Conn, bill_id: int) -> list[PaidPart]:
    """What paid a bill, payments and held money, oldest first."""
    return [PaidPart(**row) for row in await (await conn.execute(_OF_BILL, (bill_id,))).fetchall()]
