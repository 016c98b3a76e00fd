"""Issues the drafts of an approved run: numbers without holes, dates, journals, and what prepaid balances pay."""

from collections.abc import Sequence
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
from cloud.kit.constraints import passes, refusal
from cloud.kit.db import Asker, Conn, Database
from cloud.kit.errors import Conflict
from cloud.kit.periods import local_day
from cloud.kit.portions import by_halves

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
    today = local_day(now or datetime.now(UTC), project.zone)
    async with db.transaction(asker) as conn:
        await failure_repository.clear_drafted(conn, run.id)
        drafts = await run_repository.drafts_of_run(conn, run.id)
    before = max(run.billed - len(drafts), 0)
    stuck: list[int] = []

    async def issued(bill_ids: Sequence[int]) -> None:
        async with db.transaction(asker) as conn:
            if mine := await run_repository.lock_drafts(conn, bill_ids):
                await _issue(conn, project, mine, today)

    async def taken_back(bill_id: int, error: Exception) -> None:
        async with db.transaction(asker) as conn:
            stuck.extend(await _take_back(conn, run, bill_id, error))

    for start in range(0, len(drafts), CHUNK):
        await by_halves(drafts[start : start + CHUNK], issued, taken_back)
        if progress is not None:
            await progress(before + min(start + CHUNK, len(drafts)), before + len(drafts))
    if stuck:
        raise Conflict("drafts-stuck", f"{len(stuck)} drafts of run {run.id} could neither be issued nor taken back")


async def _take_back(conn: Conn, run: BillRun, bill_id: int, error: Exception) -> list[int]:
    """A draft that cannot be issued is taken back: its account is listed with the reason, and another run may bill it.

    Where another worker has issued it, or taken it back, nothing is left to do. Returns drafts that stay, since they
    cannot be taken back either. Raises what passes.
    """
    stuck = []
    for draft in await run_repository.lock_drafts(conn, [bill_id]):
        try:
            async with conn.transaction():
                await run_repository.delete_draft(conn, run.id, draft.account_id)
                # What is checked at the end of a transaction is checked here, while the reason can still be kept.
                await conn.execute("SET CONSTRAINTS ALL IMMEDIATE")
        except Exception as fault:
            if passes(fault):
                raise
            _log.error("billing.draft_stuck", run=run.id, account=draft.account_id, exc_info=fault)
            stuck.append(bill_id)
        code, detail = refusal(error)
        failure = {"project_id": run.project_id, "run_id": run.id, "account_id": draft.account_id}
        await failure_repository.insert_failures(conn, [failure | {"code": code, "detail": detail}])
    return stuck


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
