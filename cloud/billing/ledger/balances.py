"""What the ledger says: trial balance, statement of an account, receivables by age."""

from dataclasses import dataclass, fields
from datetime import date
from decimal import Decimal
from typing import LiteralString

from cloud.billing.ledger.month_balances import closed_months, sources
from cloud.kit.db import Conn
from cloud.kit.errors import InvalidInput
from cloud.kit.paging import MAX_ID, Page, PageRequest, after_id, cut
from cloud.kit.periods import Period

# Closed months from their stored sums; from the journals only the days that no stored month covers.
_TRIAL: LiteralString = """
    SELECT ledger_account, sum(opening) AS opening, sum(debit) AS debit, sum(credit) AS credit
    FROM (
        SELECT ledger_account, opening + debit - credit AS opening, 0 AS debit, 0 AS credit
        FROM ledger_month_balance WHERE closing_id = %(before)s
        UNION ALL
        SELECT ledger_account, 0, debit, credit FROM ledger_month_balance WHERE closing_id = ANY (%(whole)s)
        UNION ALL
        SELECT p.ledger_account, sum(p.amount), 0, 0
        FROM journal j JOIN posting p ON p.journal_id = j.id
        WHERE j.project_id = %(project_id)s AND j.booked_on >= %(since)s AND j.booked_on < %(start)s
        GROUP BY p.ledger_account
        UNION ALL
        SELECT p.ledger_account, 0, coalesce(sum(p.amount) FILTER (WHERE p.amount > 0), 0),
               coalesce(-sum(p.amount) FILTER (WHERE p.amount < 0), 0)
        FROM (SELECT id FROM journal WHERE project_id = %(project_id)s
                AND booked_on >= %(start)s AND booked_on < %(covered_from)s
              UNION ALL
              SELECT id FROM journal WHERE project_id = %(project_id)s
                AND booked_on >= %(covered_to)s AND booked_on < %(end)s) AS j
        JOIN posting p ON p.journal_id = j.id
        GROUP BY p.ledger_account) AS part
    GROUP BY ledger_account ORDER BY ledger_account
"""
# The balance runs over everything that was posted before, also before the days and the page that are shown.
_STATEMENT: LiteralString = """
    SELECT * FROM (
        SELECT p.id, p.journal_id, j.booked_on, coalesce(j.occurred_on, j.booked_on) AS occurred_on, j.kind, j.source,
               j.source_id, p.ledger_account, p.amount, b.number,
               sum(p.amount) OVER (ORDER BY j.booked_on, p.id) AS balance
        FROM posting p JOIN journal j ON j.id = p.journal_id
        LEFT JOIN bill b ON j.source = 'bill' AND b.id = j.source_id
        WHERE p.account_id = %(account_id)s
          AND (%(ledger_account)s::text IS NULL OR p.ledger_account = %(ledger_account)s)) AS entry
    WHERE (%(start)s::date IS NULL OR booked_on >= %(start)s) AND (%(end)s::date IS NULL OR booked_on < %(end)s)
"""
_OLDEST_FIRST: LiteralString = (
    _STATEMENT
    + """
      AND (booked_on, id) > (%(after_day)s::date, %(after_id)s::bigint)
    ORDER BY booked_on, id LIMIT %(limit)s
"""
)
_NEWEST_FIRST: LiteralString = (
    _STATEMENT
    + """
      AND (booked_on, id) < (%(after_day)s::date, %(after_id)s::bigint)
    ORDER BY booked_on DESC, id DESC LIMIT %(limit)s
"""
)
_OPEN: LiteralString = """
    SELECT b.account_id, %(as_of)s::date - b.due_on AS days,
           b.total - coalesce((SELECT sum(a.principal) FROM payment_allocation a
                               WHERE a.bill_id = b.id AND a.paid_on <= %(as_of)s), 0) AS amount
    FROM bill b
    WHERE b.project_id = %(project_id)s AND b.state NOT IN ('draft', 'void') AND b.issued_on <= %(as_of)s
"""
_BUCKETS: LiteralString = """
    coalesce(sum(amount), 0) AS total,
    coalesce(sum(amount) FILTER (WHERE days <= 0), 0) AS not_due,
    coalesce(sum(amount) FILTER (WHERE days BETWEEN 1 AND 30), 0) AS to_30,
    coalesce(sum(amount) FILTER (WHERE days BETWEEN 31 AND 60), 0) AS to_60,
    coalesce(sum(amount) FILTER (WHERE days BETWEEN 61 AND 90), 0) AS to_90,
    coalesce(sum(amount) FILTER (WHERE days > 90), 0) AS over_90
"""
_AGED: LiteralString = (
    "SELECT account_id,"
    + _BUCKETS
    + "FROM ("
    + _OPEN
    + """) AS open WHERE amount <> 0 AND account_id > %(after)s
    GROUP BY account_id ORDER BY account_id LIMIT %(limit)s"""
)
_AGED_TOTAL: LiteralString = "SELECT 0 AS account_id," + _BUCKETS + "FROM (" + _OPEN + ") AS open"
_BEGINNING, _END = (date(1, 1, 1), 0), (date(9999, 12, 31), MAX_ID)


@dataclass(frozen=True, slots=True)
class AccountBalance:
    """One ledger account over some days: what it stood at before, what went on it, debit and credit each at least 0."""

    ledger_account: str
    opening: Decimal
    debit: Decimal
    credit: Decimal

    @property
    def closing(self) -> Decimal:
        """What it stands at after the last day; positive is debit."""
        return self.opening + self.debit - self.credit


@dataclass(frozen=True, slots=True)
class TrialBalance:
    """All ledger accounts of a project over the days of `period`, and their sums."""

    period: Period
    accounts: tuple[AccountBalance, ...]

    @property
    def total(self) -> AccountBalance:
        """Opening and closing are 0, debit equals credit: the ledger is double-entry."""
        sums = (
            sum((getattr(one, name) for one in self.accounts), Decimal(0)) for name in ("opening", "debit", "credit")
        )
        return AccountBalance("", *sums)


@dataclass(frozen=True, slots=True)
class Entry:
    """One posting of a customer's account, what it was for, and what the account stands at after it.

    `occurred_on` is the day of the event where its month was closed already when it was booked. `number`: of the bill.
    """

    id: int
    journal_id: int
    booked_on: date
    occurred_on: date
    kind: str
    source: str
    source_id: int
    ledger_account: str
    amount: Decimal
    number: str | None
    balance: Decimal


@dataclass(frozen=True, slots=True)
class Aged:
    """Open principal of an account by the days since it was due: not yet, up to 30, 60, 90, and longer."""

    account_id: int
    total: Decimal
    not_due: Decimal
    to_30: Decimal
    to_60: Decimal
    to_90: Decimal
    over_90: Decimal


AGES = tuple(field.name for field in fields(Aged))[1:]
"""The amounts of Aged, in their order."""


async def trial_balance(conn: Conn, project_id: int, period: Period) -> TrialBalance:
    """Every ledger account that was posted to until the end of `period`.

    Reads the stored sums of closed months and the postings of the other days.
    """
    found = sources(period, await closed_months(conn, project_id))
    values = {
        "project_id": project_id,
        "start": period.start,
        "end": period.end,
        "before": found.before,
        "since": found.since,
        "whole": list(found.whole),
        "covered_from": found.covered_from,
        "covered_to": found.covered_to,
    }
    rows = await (await conn.execute(_TRIAL, values)).fetchall()
    return TrialBalance(period, tuple(AccountBalance(**row) for row in rows))


async def statement(
    conn: Conn,
    page: PageRequest,
    account_id: int,
    *,
    ledger_account: str | None = None,
    start: date | None = None,
    end: date | None = None,
    newest_first: bool = False,
) -> Page[Entry]:
    """Postings of a customer's account from `start` up to, not including, `end`, in order, with running balance.

    Of one ledger account, or of all: then the balance is what the customer owes less what he has paid in advance.
    """
    after_day, after = _place(page, _END if newest_first else _BEGINNING)
    values = {
        "account_id": account_id,
        "ledger_account": ledger_account,
        "start": start,
        "end": end,
        "after_day": after_day,
        "after_id": after,
        "limit": page.limit + 1,
    }
    query = _NEWEST_FIRST if newest_first else _OLDEST_FIRST
    rows = await (await conn.execute(query, values)).fetchall()
    return cut([Entry(**row) for row in rows], page, lambda entry: (entry.booked_on.isoformat(), entry.id))


def _place(page: PageRequest, first: tuple[date, int]) -> tuple[date, int]:
    if page.after is None:
        return first
    try:
        day = date.fromisoformat(str(page.after[0]))
    except ValueError as error:
        raise InvalidInput("bad-cursor", "expected the next_cursor of an earlier answer", field="cursor") from error
    after = page.after[1]
    if not isinstance(after, int) or not 0 <= after <= MAX_ID:
        raise InvalidInput("bad-cursor", "expected the next_cursor of an earlier answer", field="cursor")
    return day, after


async def receivables_by_age(conn: Conn, page: PageRequest, project_id: int, as_of: date) -> Page[Aged]:
    """What accounts owed at the end of a day, by account; those that owed nothing are left out."""
    values = {"project_id": project_id, "as_of": as_of, "after": after_id(page), "limit": page.limit + 1}
    rows = await (await conn.execute(_AGED, values)).fetchall()
    return cut([Aged(**row) for row in rows], page, lambda one: (one.account_id,))


async def receivables_total(conn: Conn, project_id: int, as_of: date) -> Aged:
    """What all accounts together owed at the end of a day."""
    row = await (await conn.execute(_AGED_TOTAL, {"project_id": project_id, "as_of": as_of})).fetchone()
    assert row is not None
    return Aged(**row)
