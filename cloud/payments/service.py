"""Recording money received: against the bills of an account, or for something else that names itself."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Literal

from cloud.billing import service as billing
from cloud.billing.service import Journal, Posting, Receipt, Settlement
from cloud.estate import service as estate
from cloud.kit.db import Conn
from cloud.kit.errors import InvalidInput
from cloud.kit.paging import MAX_ID, Page, PageRequest, after_id, cut
from cloud.payments import repository
from cloud.payments.receiving import METHODS, account_of, receive
from cloud.payments.refunds import DUE_BACK
from cloud.payments.repository import Payment, Purpose
from cloud.prepaid import service as prepaid

__all__ = ["METHODS", "Payment", "RecordedPayment", "list_payments", "record", "record_payment"]


@dataclass(frozen=True, slots=True)
class RecordedPayment:
    """A payment and what it settled."""

    payment: Payment
    settlement: Settlement


async def record_payment(
    conn: Conn,
    account_id: int,
    amount: Decimal,
    method: str,
    paid_on: date,
    reference: str = "",
    created_by: int | None = None,
    *,
    purpose: Literal["bill", "balance"] = "bill",
) -> RecordedPayment:
    """Records a payment of an account and allocates it.

    The principal of the bills first, oldest due first; then their late fees, oldest first; what is left stays as the
    account's prepaid balance, and so does all of a payment for the `balance`: it pays bills that are issued later.
    Raises NotFound for an unknown account, InvalidInput for a bad amount or method.
    """
    _, project = await account_of(conn, account_id)
    # While bills of the account are issued it waits: either it sees them, or who issues them sees what it left over.
    await billing.lock_held(conn, [account_id])
    payment = await receive(conn, project, account_id, purpose, amount, method, paid_on, reference, created_by)
    if purpose == "balance":
        await _keep(conn, payment, account_id)
        settlement = Settlement((), payment.amount)
    else:
        receipt = Receipt(payment.id, project.id, account_id, payment.amount, payment.currency, method, paid_on)
        settlement = await billing.settle(conn, receipt)
    # In the same transaction: who has paid is not switched off by an order that is on its way.
    await prepaid.money_came(conn, account_id, datetime.now(UTC))
    return RecordedPayment(payment, settlement)


async def record(
    conn: Conn,
    project_id: int,
    *,
    purpose: Purpose,
    method: str,
    amount: Decimal,
    currency: str,
    paid_on: date,
    reference: str = "",
    created_by: int | None = None,
    tax: Decimal = Decimal(0),
    due_back: Decimal = Decimal(0),
) -> int:
    """Records money that is no payment of bills, such as `parking`, books it as revenue, and returns its id.

    Of the amount `tax` is owed to the state, and `due_back` to the payer: the caller puts it into the refund queue.
    Raises NotFound for an unknown project, InvalidInput for a bad amount, method, currency or purpose.
    """
    if purpose != "parking":
        raise InvalidInput("bad-purpose", f"expected parking, got {purpose}", field="purpose")
    project = await estate.get_project(conn, project_id)
    if currency != project.currency:
        raise InvalidInput("bad-currency", f"expected {project.currency}, got {currency}", field="currency")
    payment = await receive(conn, project, None, purpose, amount, method, paid_on, reference, created_by)
    postings = (
        Posting(f"cash:{method}", payment.amount),
        Posting(f"revenue:{purpose}", tax + due_back - payment.amount),
        Posting("tax:vat", -tax),
        Posting(DUE_BACK, -due_back),
    )
    await billing.book(conn, [Journal(project.id, purpose, paid_on, "payment", payment.id, currency, postings)])
    return payment.id


async def list_payments(
    conn: Conn, page: PageRequest, *, project_id: int | None = None, account_id: int | None = None
) -> Page[Payment]:
    """Payments, newest first."""
    before = after_id(page, MAX_ID)
    found = await repository.payments(
        conn, project_id=project_id, account_id=account_id, before=before, limit=page.limit + 1
    )
    return cut(found, page, lambda payment: (payment.id,))


async def _keep(conn: Conn, payment: Payment, account_id: int) -> None:
    """Books a payment as prepaid balance."""
    postings = (
        Posting(f"cash:{payment.method}", payment.amount),
        Posting(billing.LEDGER_ACCOUNTS["balance"], -payment.amount, account_id),
    )
    journal = Journal(payment.project_id, "payment", payment.paid_on, "payment", payment.id, payment.currency, postings)
    await billing.book(conn, [journal])
