"""Which payments settled a bill, and how much of each."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import LiteralString

from cloud.kit.db import Conn

_OF_BILL: LiteralString = """
    SELECT p.id, p.paid_on, p.method, p.reference, a.principal, a.late_fee
    FROM payment_allocation a JOIN payment p ON p.id = a.payment_id
    WHERE a.bill_id = %s ORDER BY p.paid_on, p.id
"""


@dataclass(frozen=True, slots=True)
class PaidPart:
    """The part of a payment that settled principal and late fee of one bill."""

    id: int
    paid_on: date
    method: str
    reference: str
    principal: Decimal
    late_fee: Decimal


async def payments_of_bill(conn: Conn, bill_id: int) -> list[PaidPart]:
    """Payments of a bill, oldest first."""
    return [PaidPart(**row) for row in await (await conn.execute(_OF_BILL, (bill_id,))).fetchall()]
