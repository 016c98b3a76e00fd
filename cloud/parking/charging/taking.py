"""Money that came for parking: to which stays it goes, how it is booked, and what is too much."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from cloud.kit.db import Conn
from cloud.parking.charging import repository
from cloud.parking.charging.debts import tell_owing
from cloud.parking.charging.policy import money_policy, tax_in
from cloud.parking.records import Session
from cloud.parking.stays.service import find_session
from cloud.payments import refunds
from cloud.payments import service as payments
from cloud.payments.refunds import RefundReason


@dataclass(frozen=True, slots=True)
class Money:
    """Money as it came in: how much, by which method, on which local day, with which number at the provider."""

    amount: Decimal
    currency: str
    method: str
    paid_on: date
    reference: str = ""
    created_by: int | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """How much of it is for a stay, which is paid up to `paid_until`."""

    session: Session
    amount: Decimal
    paid_until: datetime


async def take(
    conn: Conn, project_id: int, money: Money, parts: Sequence[Part], reason: RefundReason, plate: str
) -> int:
    """Writes down and books one payment, and returns its id; what no stay takes goes to the refund queue for `reason`.

    The plates are locked by the caller. Raises InvalidInput for what `payments.record` refuses.
    """
    policy = await money_policy(conn, project_id)
    taxes = [tax_in(part.amount, policy.tax_percent, money.currency) for part in parts]
    surplus = money.amount - sum((part.amount for part in parts), Decimal(0))
    payment_id = await payments.record(
        conn,
        project_id,
        purpose="parking",
        method=money.method,
        amount=money.amount,
        currency=money.currency,
        paid_on=money.paid_on,
        reference=money.reference,
        created_by=money.created_by,
        tax=sum(taxes, Decimal(0)),
        due_back=surplus,
    )
    for part, tax in zip(parts, taxes, strict=True):
        amounts = part.amount, tax, policy.tax_percent
        await repository.insert_payment(conn, part.session, payment_id, amounts, part.paid_until)
    if surplus:
        await refunds.owe_back(conn, payment_id, surplus, reason, plate)
    over = {part.session.plate for part in parts if part.session.state != "open" and part.session.plate}
    if over:
        await tell_owing(conn, project_id, sorted(over))
    return payment_id


async def found_again(
    conn: Conn, project_id: int, session_id: int | None, lot_id: int, plate: str, at: datetime
) -> Session | None:
    """The stay that was paid for, or the one of the plate that it turned out to be part of."""
    wanted = session_id or await repository.stay_at(conn, project_id, lot_id, plate, at)
    return None if wanted is None else await find_session(conn, wanted)
