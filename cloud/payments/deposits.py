"""Deposits of accounts: taken for something, a liability of their own until they are refunded or set off."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import LiteralString

from cloud.billing import service as billing
from cloud.billing.service import Journal, Posting
from cloud.kit.db import Conn
from cloud.kit.errors import InvalidInput, NotFound
from cloud.kit.paging import Page, PageRequest, newest_first
from cloud.payments.receiving import account_of, receive

# What is left of a deposit: approved releases have left it.
_DEPOSIT: LiteralString = """
    SELECT d.id, d.project_id, d.account_id, d.payment_id, p.method, d.subject, d.amount, d.currency, d.taken_on,
           d.amount - coalesce((SELECT sum(r.amount) FROM release r
                                WHERE r.deposit_id = d.id AND r.state = 'approved'), 0) AS held
    FROM deposit d JOIN payment p ON p.id = d.payment_id
"""
_DEPOSITS: LiteralString = (
    _DEPOSIT
    + """
    WHERE (%(project_id)s::bigint IS NULL OR d.project_id = %(project_id)s)
      AND (%(account_id)s::bigint IS NULL OR d.account_id = %(account_id)s) AND d.id < %(before)s
    ORDER BY d.id DESC LIMIT %(limit)s
"""
)
_INSERT: LiteralString = """
    INSERT INTO deposit (project_id, account_id, payment_id, subject, amount, currency, taken_on)
    VALUES (%(project_id)s, %(account_id)s, %(payment_id)s, %(subject)s, %(amount)s, %(currency)s, %(taken_on)s)
    RETURNING id
"""


@dataclass(frozen=True, slots=True)
class Deposit:
    """Money taken as a security for `subject`; `held` is what is left of it."""

    id: int
    project_id: int
    account_id: int
    payment_id: int
    method: str
    subject: str
    amount: Decimal
    currency: str
    taken_on: date
    held: Decimal


async def take_deposit(
    conn: Conn,
    account_id: int,
    amount: Decimal,
    method: str,
    taken_on: date,
    subject: str,
    reference: str = "",
    created_by: int | None = None,
) -> Deposit:
    """Records a deposit and books it as a liability. Raises NotFound for an unknown account, InvalidInput."""
    subject = subject.strip()[:200]
    if not subject:
        raise InvalidInput("no-subject", "expected what the deposit is for", field="subject")
    _, project = await account_of(conn, account_id)
    payment = await receive(conn, project, account_id, "deposit", amount, method, taken_on, reference, created_by)
    values = {
        "project_id": project.id,
        "account_id": account_id,
        "payment_id": payment.id,
        "subject": subject,
        "amount": payment.amount,
        "currency": payment.currency,
        "taken_on": taken_on,
    }
    row = await (await conn.execute(_INSERT, values)).fetchone()
    assert row is not None
    postings = (
        Posting(f"cash:{method}", payment.amount),
        Posting(billing.LEDGER_ACCOUNTS["deposit"], -payment.amount, account_id),
    )
    journal = Journal(project.id, "deposit", taken_on, "payment", payment.id, payment.currency, postings)
    await billing.book(conn, [journal])
    return await get_deposit(conn, row["id"])


async def get_deposit(conn: Conn, deposit_id: int) -> Deposit:
    """One deposit. Raises NotFound."""
    row = await (await conn.execute(_DEPOSIT + "WHERE d.id = %s", (deposit_id,))).fetchone()
    if row is None:
        raise NotFound("no-such-deposit", f"there is no deposit {deposit_id}", field="deposit_id")
    return Deposit(**row)


async def list_deposits(
    conn: Conn, page: PageRequest, *, project_id: int | None = None, account_id: int | None = None
) -> Page[Deposit]:
    """Deposits, newest first."""
    wanted = {"project_id": project_id, "account_id": account_id}
    return await newest_first(conn, _DEPOSITS, wanted, page, lambda row: Deposit(**row))
