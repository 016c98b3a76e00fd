"""Bills of closed months, issued and mostly paid on the days on which that would have happened."""

import random
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Final

from cloud.billing import service as billing
from cloud.billing.arrears.late_fees import LateFeeRule
from cloud.kit.db import Asker, Conn, Database
from cloud.kit.paging import MAX_LIMIT, PageRequest, page_request
from cloud.kit.periods import Period
from cloud.payments import service as payments
from simulators.demo.options import ZONE, DemoError

POLICY: Final = billing.Policy(
    due_days=15, late_fee=LateFeeRule(daily_rate=Decimal("0.0005"), grace_days=5, cap_share=Decimal("0.2"))
)
"""Terms of payment of the demo project."""

_AT_ONCE: Final = billing.RunOptions(issue_at_once=True, open_exceptions="bill")
_ISSUED_AFTER: Final = timedelta(days=2)
_NEVER_PAY: Final = 0.04
_PAY_LATER: Final = 0.16
"""Shares of the accounts: those who pay nothing, and those who have not paid the last month yet."""


def closed_months(since: date, today: date, count: int) -> list[Period]:
    """The last `count` closed months, oldest first, none that begins before `since`."""
    months: list[Period] = []
    end = today.replace(day=1)
    while len(months) < count and end > since:
        start = (end - timedelta(days=1)).replace(day=1)
        if start < since:
            break
        months.insert(0, Period(start, end))
        end = start
    return months


async def bill_months(db: Database, asker: Asker, project_id: int, months: list[Period], seed: int) -> None:
    """Bills and payments of `months`; may be repeated, and bills and pays nothing twice.

    No worker may run meanwhile: it would issue the bills of the queued runs today.
    """
    today = datetime.now(UTC).astimezone(ZONE).date()
    for month in months:
        issued_on = min(month.end + _ISSUED_AFTER, today)
        run_id = await _run_of(db, asker, project_id, month)
        done = await billing.execute_run(db, asker, run_id, now=datetime.combine(issued_on, time(12), ZONE))
        if done.state != "issued" or done.failed:
            async with db.transaction(asker) as conn:
                reasons = await billing.run_failures(conn, PageRequest(3), run_id)
            raise DemoError(f"bill run of {month}: {done.state}, {done.failed} accounts failed: {reasons.items}")
        async with db.transaction(asker) as conn:
            await _pay(conn, run_id, random.Random(f"{seed}/{month}"), seed, month is months[-1], issued_on, today)
    async with db.transaction(asker) as conn:
        await billing.refresh_late_fees(conn, project_id, today)


async def _run_of(db: Database, asker: Asker, project_id: int, month: Period) -> int:
    """The run of a month: that of an earlier start that was cut off, or a new one."""
    async with db.transaction(asker) as conn:
        for attempt in range(2):
            runs = (await billing.list_runs(conn, PageRequest(MAX_LIMIT), project_id)).items
            found = [run.id for run in runs if run.period == month]
            if found:
                return found[0]
            if attempt == 0:
                await billing.start_run(conn, project_id, month, options=_AT_ONCE)
    raise DemoError(f"the bill run of {month} is not to be found")


async def _pay(
    conn: Conn, run_id: int, chance: random.Random, seed: int, newest: bool, issued_on: date, today: date
) -> None:
    async for bill in _bills(conn, run_id):
        habit = random.Random(f"{seed}/payer/{bill.account_id}").random()
        paid_on = min(issued_on + timedelta(days=chance.randrange(1, 18)), today)
        method = chance.choice(payments.METHODS)
        late = habit < _NEVER_PAY or (newest and habit < _NEVER_PAY + _PAY_LATER)
        if bill.state == "issued" and bill.open > 0 and not late:
            await payments.record_payment(conn, bill.account_id, bill.open, method, paid_on, f"demo-{bill.number}")


async def _bills(conn: Conn, run_id: int) -> AsyncIterator[billing.BillRow]:
    request: PageRequest | None = PageRequest(MAX_LIMIT)
    while request is not None:
        page = await billing.list_bills(conn, request, billing.BillFilter(run_id=run_id))
        for bill in page.items:
            yield bill
        request = None if page.next_cursor is None else page_request(MAX_LIMIT, page.next_cursor)
