"""Closed months of accounts: nothing is booked into them until somebody opens them again and says why."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import LiteralString

from cloud.billing.ledger import month_balances, proof
from cloud.estate import service as estate
from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, InvalidInput, NotFound
from cloud.kit.paging import MAX_ID, Page, PageRequest, after_id, cut
from cloud.kit.periods import local_day, next_month

_MONTH: LiteralString = """
    SELECT id, project_id, month, closed_by, closed_at, reopened_by, reopened_at, reopening_reason FROM accounting_month
"""
_LIST: LiteralString = _MONTH + "WHERE project_id = %s AND id < %s ORDER BY id DESC LIMIT %s"
_ONE: LiteralString = _MONTH + "WHERE id = %s"
_CLOSED: LiteralString = _MONTH + "WHERE project_id = %s AND reopened_at IS NULL ORDER BY month DESC LIMIT 1"
# Months before the first closing were closed by it.
_CLOSING_OF: LiteralString = (
    _MONTH + "WHERE project_id = %s AND month >= %s AND reopened_at IS NULL ORDER BY month LIMIT 1"
)
_OPEN_FROM: LiteralString = """
    SELECT project_id, (max(month) + interval '1 month')::date AS day FROM accounting_month
    WHERE project_id = ANY (%s) AND reopened_at IS NULL GROUP BY project_id
"""
# Waits for those who are booking; who books next waits for us.
_LOCK: LiteralString = "SELECT pg_advisory_xact_lock(gm.accounting_lock(%s))"
_CLOSE: LiteralString = "INSERT INTO accounting_month (project_id, month, closed_by) VALUES (%s, %s, %s) RETURNING id"
_REOPEN: LiteralString = """
    UPDATE accounting_month SET reopened_by = %s, reopened_at = now(), reopening_reason = %s WHERE id = %s
"""


@dataclass(frozen=True, slots=True)
class AccountingMonth:
    """One closing of a month (its first day), and its reopening where there was one."""

    id: int
    project_id: int
    month: date
    closed_by: int | None
    closed_at: datetime
    reopened_by: int | None
    reopened_at: datetime | None
    reopening_reason: str | None

    @property
    def closed(self) -> bool:
        """Whether it still holds."""
        return self.reopened_at is None


async def open_from(conn: Conn, project_ids: Collection[int]) -> dict[int, date]:
    """First day that can be booked on, of the projects that have closed a month."""
    rows = await (await conn.execute(_OPEN_FROM, (list(project_ids),))).fetchall()
    return {row["project_id"]: row["day"] for row in rows}


async def list_months(conn: Conn, page: PageRequest, project_id: int) -> Page[AccountingMonth]:
    """Closings, newest first."""
    rows = await (await conn.execute(_LIST, (project_id, after_id(page, MAX_ID), page.limit + 1))).fetchall()
    return cut([AccountingMonth(**row) for row in rows], page, lambda month: (month.id,))


async def get_month(conn: Conn, closing_id: int) -> AccountingMonth:
    """One closing. Raises NotFound."""
    row = await (await conn.execute(_ONE, (closing_id,))).fetchone()
    if row is None:
        raise NotFound("no-such-month", f"there is no closed month {closing_id}", field="month_id")
    return AccountingMonth(**row)


async def last_closed(conn: Conn, project_id: int) -> AccountingMonth | None:
    """The latest month that is closed."""
    row = await (await conn.execute(_CLOSED, (project_id,))).fetchone()
    return None if row is None else AccountingMonth(**row)


async def closing_of(conn: Conn, project_id: int, month: date) -> AccountingMonth | None:
    """The closing that holds for a month, if it is closed."""
    row = await (await conn.execute(_CLOSING_OF, (project_id, month))).fetchone()
    return None if row is None else AccountingMonth(**row)


async def close_month(
    conn: Conn, project_id: int, month: date, closed_by: int | None = None, now: datetime | None = None
) -> AccountingMonth:
    """Closes a month, and with it all days before it; afterwards the next month is the first that can be booked on.

    Months are closed one after the other; the first may be any. Raises InvalidInput for a day that is not the first of
    a month or a month that is not over, Conflict for a month that is not next, or while the proof finds discrepancies.
    """
    project = await estate.get_project(conn, project_id)
    if month.day != 1:
        raise InvalidInput("bad-month", f"expected the first day of a month, got {month}", field="month")
    if next_month(month) > local_day(now or datetime.now(UTC), project.zone):
        raise InvalidInput("month-not-over", f"{month:%Y-%m} is not over yet", field="month")
    await conn.execute(_LOCK, (project_id,))
    last = await last_closed(conn, project_id)
    if last is not None and month != next_month(last.month):
        expected = next_month(last.month)
        raise Conflict("not-the-next-month", f"the month to close next is {expected:%Y-%m}", field="month")
    wrong = await proof.discrepancies(conn, project_id)
    if wrong:
        raise Conflict("ledger-disagrees", f"{len(wrong)} sums disagree, first {wrong[0]}: clear them before closing")
    row = await (await conn.execute(_CLOSE, (project_id, month, closed_by))).fetchone()
    assert row is not None
    await month_balances.store(conn, project_id, row["id"], month)
    return await get_month(conn, row["id"])


async def reopen_month(conn: Conn, closing_id: int, reason: str, reopened_by: int | None = None) -> AccountingMonth:
    """Opens the last closed month again. Raises NotFound, InvalidInput without a reason, Conflict for another month."""
    closing = await get_month(conn, closing_id)
    if not reason.strip():
        raise InvalidInput("no-reason", "expected the reason why the month is opened again", field="reason")
    await conn.execute(_LOCK, (closing.project_id,))
    last = await last_closed(conn, closing.project_id)
    if last is None or last.id != closing_id:
        raise Conflict("not-the-last-month", "only the month that was closed last can be opened again")
    await conn.execute(_REOPEN, (reopened_by, reason.strip(), closing_id))
    return await get_month(conn, closing_id)
