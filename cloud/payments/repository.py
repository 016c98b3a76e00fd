"""SQL of payments."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Literal, LiteralString

from cloud.kit.db import Conn

Purpose = Literal["bill", "parking", "balance", "deposit"]


@dataclass(frozen=True, slots=True)
class Payment:
    """Money received."""

    id: int
    project_id: int
    account_id: int | None
    purpose: Purpose
    method: str
    amount: Decimal
    currency: str
    paid_on: date
    received_at: datetime
    reference: str
    state: str


_INSERT: LiteralString = """
    INSERT INTO payment (project_id, account_id, purpose, method, amount, currency, paid_on, reference, created_by)
    VALUES (%(project_id)s, %(account_id)s, %(purpose)s, %(method)s, %(amount)s, %(currency)s, %(paid_on)s,
            %(reference)s, %(created_by)s)
    RETURNING id, project_id, account_id, purpose, method, amount, currency, paid_on, received_at, reference, state
"""
_LIST: LiteralString = """
    SELECT id, project_id, account_id, purpose, method, amount, currency, paid_on, received_at, reference, state
    FROM payment
    WHERE (%(project_id)s::bigint IS NULL OR project_id = %(project_id)s)
      AND (%(account_id)s::bigint IS NULL OR account_id = %(account_id)s)
      AND (%(before)s::bigint IS NULL OR id < %(before)s)
    ORDER BY id DESC LIMIT %(limit)s
"""


async def insert(
    conn: Conn,
    *,
    project_id: int,
    account_id: int | None,
    purpose: Purpose,
    method: str,
    amount: Decimal,
    currency: str,
    paid_on: date,
    reference: str,
    created_by: int | None,
) -> Payment:
    """A settled payment."""
    values = {
        "project_id": project_id,
        "account_id": account_id,
        "purpose": purpose,
        "method": method,
        "amount": amount,
        "currency": currency,
        "paid_on": paid_on,
        "reference": reference,
        "created_by": created_by,
    }
    row = await (await conn.execute(_INSERT, values)).fetchone()
    assert row is not None
    return Payment(**row)


async def payments(
    conn: Conn, *, project_id: int | None, account_id: int | None, before: int | None, limit: int
) -> list[Payment]:
    """Payments, newest first."""
    values = {"project_id": project_id, "account_id": account_id, "before": before, "limit": limit}
    return [Payment(**row) for row in await (await conn.execute(_LIST, values)).fetchall()]
