"""Recording money received: against the bills of an account, or for something else that names itself."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal

from cloud.billing import service as billing
from cloud.billing.service import Journal, Posting, Receipt, Settlement
from cloud.estate import service as estate
from cloud.estate.records import Project
from cloud.kit.db import Conn
from cloud.kit.errors import InvalidInput, NotFound
from cloud.kit.money import minor_digits
from cloud.kit.paging import MAX_ID, Page, PageRequest, after_id, cut
from cloud.kit.periods import local_day
from cloud.payments import repository
from cloud.payments.repository import Payment, Purpose

__all__ = ["METHODS", "Payment", "RecordedPayment", "list_payments", "record", "record_payment"]

METHODS = ("cash", "transfer", "card", "wechat", "alipay")
"""How money can come in; each has a ledger account `cash:<method>` of its own."""


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
) -> RecordedPayment:
    """Records a payment of an account and allocates it.

    The principal of the bills first, oldest due first; then their late fees, oldest first; what is left stays as the
    account's prepaid balance. Raises NotFound for an unknown account, InvalidInput for a bad amount or method.
    """
    account = (await estate.accounts_by_id(conn, [account_id])).get(account_id)
    if account is None:
        raise NotFound("no-such-account", f"there is no account {account_id}", field="account_id")
    project = await estate.get_project(conn, account.project_id)
    payment = await _insert(conn, project, account_id, "bill", amount, method, paid_on, reference, created_by)
    settlement = await billing.settle(
        conn, Receipt(payment.id, project.id, account_id, payment.amount, payment.currency, method, paid_on)
    )
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
) -> int:
    """Records money that is no payment of bills, such as `parking`, books it as revenue, and returns its id.

    Raises NotFound for an unknown project, InvalidInput for a bad amount, method, currency or purpose.
    """
    if purpose != "parking":
        raise InvalidInput("bad-purpose", f"expected parking, got {purpose}", field="purpose")
    project = await estate.get_project(conn, project_id)
    if currency != project.currency:
        raise InvalidInput("bad-currency", f"expected {project.currency}, got {currency}", field="currency")
    payment = await _insert(conn, project, None, purpose, amount, method, paid_on, reference, created_by)
    postings = (Posting(f"cash:{method}", payment.amount), Posting(f"revenue:{purpose}", -payment.amount))
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


async def _insert(
    conn: Conn,
    project: Project,
    account_id: int | None,
    purpose: Purpose,
    amount: Decimal,
    method: str,
    paid_on: date,
    reference: str,
    created_by: int | None,
) -> Payment:
    if method not in METHODS:
        raise InvalidInput("bad-method", f"expected one of {', '.join(METHODS)}, got {method}", field="method")
    digits = minor_digits(project.currency)
    if not amount.is_finite() or amount <= 0 or amount >= Decimal(10) ** 12 or amount != round(amount, digits):
        raise InvalidInput("bad-amount", f"expected more than 0 with at most {digits} decimals", field="amount")
    if paid_on > local_day(datetime.now(UTC), project.zone):
        raise InvalidInput("bad-date", f"expected today or a day before, got {paid_on}", field="paid_on")
    return await repository.insert(
        conn,
        project_id=project.id,
        account_id=account_id,
        purpose=purpose,
        method=method,
        amount=amount,
        currency=project.currency,
        paid_on=paid_on,
        reference=reference,
        created_by=created_by,
    )
