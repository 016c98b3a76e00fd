"""Issues the drafts of an approved run: numbers without holes, dates, journals, and what prepaid balances pay."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final

import structlog

from cloud.billing.corrections.crediting import allocate
from cloud.billing.ledger import journals as ledger
from cloud.billing.ledger.journals import Journal, Posting
from cloud.billing.records import BillKind, BillRun
from cloud.billing.runs import failure_repository
from cloud.billing.runs import repository as run_repository
from cloud.billing.runs.drafting import Progress
from cloud.billing.runs.repository import Draft
from cloud.billing.settlement.held import deduct, lock_held, lock_to_settle, that_pay
from cloud.billing.terms.service import policy_on
from cloud.estate.records import Project
from cloud.kit.constraints import passes, refusal, too_much_at_once
from cloud.kit.db import Asker, Conn, Database
from cloud.kit.errors import Conflict
from cloud.kit.periods import local_day
from cloud.kit.portions import past_deadlocks

_log = structlog.get_logger(__name__)

CHUNK = 1000
SERIES: Final[dict[BillKind, str]] = {"bill": "", "credit_note": "C", "debit_note": "D"}
"""What numbers begin with, by kind of document."""


async def issue_drafts(
    db: Database, asker: Asker, run: BillRun, project: Project, progress: Progress | None, now: datetime | None
) -> None:
    """Issues every draft of the run, in chunks that commit by themselves: it may be broken off and gone on with.

    A draft that cannot be issued is taken back, with its reason; the others are issued. Raises Conflict, once they are,
    for drafts that cannot even be taken back: they stay, their accounts are listed, and they are tried again.
    """
    issuer = _Issuer(db, asker, run, project, local_day(now or datetime.now(UTC), project.zone))
    async with db.transaction(asker) as conn:
        await failure_repository.clear_drafted(conn, run.id)
    done = 0
    while issued := await issuer.next(CHUNK):
        done += issued
        if progress is not None:
            await progress(done, max(run.billed, done))
    if issuer.stuck:
        raise Conflict(
            "drafts-stuck", f"{len(issuer.stuck)} drafts of run {run.id} could neither be issued nor taken back"
        )


class _Issuer:
    """Issues the drafts of one run; those of the accounts `stuck` are left aside."""

    def __init__(self, db: Database, asker: Asker, run: BillRun, project: Project, today: date) -> None:
        self._db = db
        self._asker = asker
        self._run = run
        self._project = project
        self._today = today
        self.stuck: list[int] = []

    async def next(self, limit: int) -> int:
        """Issues the next drafts, at most `limit`, and returns how many were seen to; fewer where one is refused."""
        try:
            return await past_deadlocks(lambda: self._at_once(limit))
        except Exception as error:
            if limit == 1 or (passes(error) and not too_much_at_once(error)):
                raise
            return await self.next(limit // 2)

    async def _at_once(self, limit: int) -> int:
        stuck = False
        async with self._db.transaction(self._asker) as conn:
            drafts = await run_repository.lock_drafts(conn, self._run.id, limit, but=self.stuck)
            if len(drafts) == 1:
                stuck = await self._issue_or_take_back(conn, drafts[0])
            elif drafts:
                await _issue(conn, self._project, drafts, self._today)
        if stuck:
            self.stuck.append(drafts[0].account_id)
        return len(drafts)

    async def _issue_or_take_back(self, conn: Conn, one: Draft) -> bool:
        """A draft that cannot be issued is taken back: its account is listed, and another run may bill it.

        True where that cannot be done either. It stays locked in between: whoever works on the same run must not find
        it, nor lose another one in its place.
        """
        run = self._run
        failed = await _failing(conn, lambda: _issue(conn, self._project, [one], self._today))
        if failed is None:
            return False
        _log.warning("billing.draft_taken_back", run=run.id, account=one.account_id, exc_info=failed)
        stuck = await _failing(conn, lambda: run_repository.delete_draft(conn, run.id, one.account_id))
        if stuck is not None:
            _log.error("billing.draft_stuck", run=run.id, account=one.account_id, exc_info=stuck)
        code, detail = refusal(failed)
        failure = {"project_id": run.project_id, "run_id": run.id, "account_id": one.account_id}
        await failure_repository.insert_failures(conn, [failure | {"code": code, "detail": detail}])
        return stuck is not None


async def _failing(conn: Conn, work: Callable[[], Awaitable[object]]) -> Exception | None:
    """What is wrong with the one that `work` is about; nothing is left of the work then. Raises what passes."""
    try:
        async with conn.transaction():
            await work()
            # What is checked at the end of a transaction is checked here, while the reason can still be kept.
            await conn.execute("SET CONSTRAINTS ALL IMMEDIATE")
    except Exception as error:
        if passes(error):
            raise
        return error
    return None


async def _issue(conn: Conn, project: Project, drafts: Sequence[Draft], today: date) -> None:
    """Issues drafts and has the balances of their accounts pay them, also what a credit note has left there.

    All accounts are locked before money is looked for: a payment that comes meanwhile waits, and finds the bill.
    """
    accounts = sorted({one.account_id for one in drafts})
    await lock_held(conn, accounts)
    noted = {one.account_id for one in drafts if one.kind == "credit_note"}
    settled = sorted(noted | set(await that_pay(conn, accounts)))
    await issue_documents(conn, project, drafts, today, settled)
    await deduct(conn, project, settled, today)


async def issue_documents(
    conn: Conn, project: Project, drafts: Sequence[Draft], today: date, settled: Sequence[int] = ()
) -> None:
    """Numbers, dates and journals, in the order of `drafts`; credit notes are allocated at once.

    Bills, credit notes and debit notes have a series each. `settled`: accounts of which the caller settles more in this
    transaction.
    """
    notes = [one for one in drafts if one.kind == "credit_note"]
    accounts = sorted({*settled, *(one.account_id for one in notes)})
    await lock_to_settle(conn, accounts, [one.of_bill for one in notes if one.of_bill is not None])
    policy = await policy_on(conn, project.id, today)
    numbers: dict[int, str] = {}
    for kind, letter in SERIES.items():
        mine = [one for one in drafts if one.kind == kind]
        if mine:
            first = await run_repository.take_numbers(conn, project.id, f"{kind}-{today.year}", len(mine))
            numbers |= {one.bill_id: f"{letter}{today.year}-{first + n:06d}" for n, one in enumerate(mine)}
    await run_repository.issue(conn, numbers, today, today + timedelta(days=policy.due_days))
    await ledger.book(conn, [_journal(project, one, today) for one in drafts])
    await allocate(conn, project, notes, today)


def _journal(project: Project, one: Draft, today: date) -> Journal:
    """What the account owes, against the revenue of each service without taxes, and the taxes."""
    revenue, taxes = dict(one.services), dict.fromkeys((component for _, component, _ in one.taxes), Decimal(0))
    for service, component, amount in one.taxes:
        revenue[service] = revenue.get(service, Decimal(0)) - amount
        taxes[component] += amount
    postings = (
        Posting(ledger.RECEIVABLE, one.total, one.account_id),
        *(Posting(f"revenue:{service}", -amount) for service, amount in revenue.items()),
        *(Posting(f"tax:{component}", -amount) for component, amount in taxes.items()),
    )
    return Journal(project.id, one.kind, today, "bill", one.bill_id, project.currency, postings)
