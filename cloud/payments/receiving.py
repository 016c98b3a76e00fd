"""Money that comes in: checked and written down, whatever it is for."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Final

from cloud.estate import service as estate
from cloud.estate.records import Account, Project
from cloud.kit.db import Conn
from cloud.kit.errors import InvalidInput
from cloud.kit.money import minor_digits
from cloud.kit.periods import local_day
from cloud.payments import repository
from cloud.payments.repository import Payment, Purpose

METHODS: Final = ("cash", "transfer", "card", "wechat", "alipay")
"""How money can come in and go out; each has a ledger account `cash:<method>` of its own."""


async def account_of(conn: Conn, account_id: int) -> tuple[Account, Project]:
    """An account and its project. Raises NotFound."""
    account = await estate.get_account(conn, account_id)
    return account, await estate.get_project(conn, account.project_id)


def check_money(project: Project, amount: Decimal, method: str) -> None:
    """Whether it can be such an amount, paid like that. Raises InvalidInput."""
    if method not in METHODS:
        raise InvalidInput("bad-method", f"expected one of {', '.join(METHODS)}, got {method}", field="method")
    digits = minor_digits(project.currency)
    if not amount.is_finite() or amount <= 0 or amount >= Decimal(10) ** 12 or amount != round(amount, digits):
        raise InvalidInput("bad-amount", f"expected more than 0 with at most {digits} decimals", field="amount")


async def receive(
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
    """A payment as it is written down; what becomes of it is the caller's. Raises InvalidInput."""
    check_money(project, amount, method)
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
