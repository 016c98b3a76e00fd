"""Stored sums of closed months: which of them answer for some days, and which days are left to add up."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import LiteralString

from cloud.kit.db import Conn
from cloud.kit.periods import Period, next_month

_CLOSED: LiteralString = """
    SELECT id, month FROM accounting_month WHERE project_id = %s AND reopened_at IS NULL ORDER BY month
"""
# From the sums of the month before, where there are some: only the month itself is read.
_STORE: LiteralString = """
    INSERT INTO ledger_month_balance (project_id, closing_id, ledger_account, opening, debit, credit)
    SELECT %(project_id)s, %(closing_id)s, ledger_account, sum(opening), sum(debit), sum(credit)
    FROM (
        SELECT ledger_account, opening + debit - credit AS opening, 0 AS debit, 0 AS credit
        FROM ledger_month_balance WHERE closing_id = %(before)s
        UNION ALL
        SELECT p.ledger_account, coalesce(sum(p.amount) FILTER (WHERE j.booked_on < %(start)s), 0),
               coalesce(sum(p.amount) FILTER (WHERE j.booked_on >= %(start)s AND p.amount > 0), 0),
               coalesce(-sum(p.amount) FILTER (WHERE j.booked_on >= %(start)s AND p.amount < 0), 0)
        FROM journal j JOIN posting p ON p.journal_id = j.id
        WHERE j.project_id = %(project_id)s AND j.booked_on < %(end)s
          AND (%(before)s::bigint IS NULL OR j.booked_on >= %(start)s)
        GROUP BY p.ledger_account) AS part
    GROUP BY ledger_account
"""
_BEGINNING = date(1, 1, 1)


@dataclass(frozen=True, slots=True)
class ClosedMonth:
    """A month (its first day) and the closing that holds for it."""

    id: int
    month: date


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the sums of some days come from.

    `before`: the closing whose closing balance is that of the day `since`; what was booked from there up to the first
    day is added. `whole`: closings of months that lie within the days; [`covered_from`, `covered_to`) are their days,
    and what was booked on the others is added up.
    """

    before: int | None
    since: date
    whole: tuple[int, ...]
    covered_from: date
    covered_to: date


def sources(period: Period, closed: Sequence[ClosedMonth]) -> Sources:
    """Which stored months answer for `period`; closed months follow each other without holes, oldest first."""
    earlier = [one for one in closed if next_month(one.month) <= period.start]
    within = [one for one in closed if one.month >= period.start and next_month(one.month) <= period.end]
    return Sources(
        before=earlier[-1].id if earlier else None,
        since=next_month(earlier[-1].month) if earlier else _BEGINNING,
        whole=tuple(one.id for one in within),
        covered_from=within[0].month if within else period.end,
        covered_to=next_month(within[-1].month) if within else period.end,
    )


async def closed_months(conn: Conn, project_id: int) -> list[ClosedMonth]:
    """The months whose sums are stored, oldest first."""
    return [ClosedMonth(**row) for row in await (await conn.execute(_CLOSED, (project_id,))).fetchall()]


async def store(conn: Conn, project_id: int, closing_id: int, month: date) -> None:
    """Stores the sums of a month that was closed just now; nobody can book into it any more."""
    before = [one.id for one in await closed_months(conn, project_id) if next_month(one.month) == month]
    values = {
        "project_id": project_id,
        "closing_id": closing_id,
        "before": before[0] if before else None,
        "start": month,
        "end": next_month(month),
    }
    await conn.execute(_STORE, values)
