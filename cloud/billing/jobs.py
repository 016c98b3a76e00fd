"""Scheduled and queued work of billing: runs, late fees, the proof of the ledger."""

from datetime import UTC, date, datetime

import structlog
from prometheus_client import Gauge

from cloud.billing import service
from cloud.billing.corrections.late_usage import RE_RATE_JOB
from cloud.billing.corrections.revising import book_tax_alone
from cloud.billing.mailing.service import MAIL_JOB, mail_run
from cloud.billing.runs.archives import ARCHIVE_JOB, forget_archives, write_archive
from cloud.billing.runs.service import ISSUE_JOB, RUN_JOB
from cloud.estate import service as estate
from cloud.kit.errors import GatemeterError
from cloud.kit.jobs import Handler, JobContext, Scheduled
from cloud.kit.periods import local_day

LATE_FEES_JOB = "billing.late-fees"
PROOF_JOB = "billing.prove-ledger"
FORGET_JOB = "billing.forget-archives"

_log = structlog.get_logger(__name__)
_DISCREPANCIES = Gauge("gatemeter_ledger_discrepancies", "Sums of the ledger that do not agree.", ["project"])
_SHOWN = 10


class LedgerDoesNotBalance(GatemeterError):
    """The ledger and the bills disagree: somebody has to look at it."""

    title = "The ledger does not balance"


async def run(context: JobContext) -> dict[str, object]:
    """Does the bill run of the payload, once the months of its meters are judged by what is known now."""
    run_id = int(context.payload["run_id"])
    await service.check_run(context.db, context.asker, run_id, progress=context.progress)
    done = await service.execute_run(context.db, context.asker, run_id, progress=context.progress)
    return {"run_id": done.id, "billed": done.billed, "failed": done.failed, "total": str(done.total)}


async def issue(context: JobContext) -> dict[str, object]:
    """Issues the approved run of the payload."""
    done = await service.issue_run(context.db, context.asker, int(context.payload["run_id"]), progress=context.progress)
    return {"run_id": done.id, "billed": done.billed, "total": str(done.total)}


async def late_fees(context: JobContext) -> dict[str, object]:
    """Ends instalment plans that are broken and derives the late fees of all overdue bills again, by project."""
    async with context.db.transaction(context.asker) as conn:
        projects = await estate.projects(conn)
    owing = broken = 0
    for project in projects:
        today = local_day(datetime.now(UTC), project.zone)
        async with context.db.transaction(context.asker) as conn:
            broken += await service.end_broken_plans(conn, project.id, today)
        # Bills of plans need not be overdue: both at once would lock younger bills before older ones.
        async with context.db.transaction(context.asker) as conn:
            owing += await service.refresh_late_fees(conn, project.id, today)
    return {"bills": owing, "broken_plans": broken}


async def prove_ledger(context: JobContext) -> dict[str, object]:
    """Proves that journals, bills and payments agree and keeps the results. Raises LedgerDoesNotBalance."""
    async with context.db.transaction(context.asker) as conn:
        projects = await estate.projects(conn)
    found = {}
    for project in projects:
        async with context.db.transaction(context.asker) as conn:
            _, found[project.code] = await service.prove(conn, project.id)
    for code, wrong in found.items():
        _DISCREPANCIES.labels(code).set(len(wrong))
        if wrong:
            _log.error("billing.ledger_does_not_balance", project=code, wrong=[str(one) for one in wrong[:_SHOWN]])
    named = [f"{code}: {one}" for code, ones in found.items() for one in ones]
    if named:
        raise LedgerDoesNotBalance("ledger", f"{len(named)} sums disagree: {'; '.join(named[:_SHOWN])}")
    return {"projects": len(found)}


async def re_rate(context: JobContext) -> dict[str, object]:
    """Re-rates what changed late, of the payload's project or of all; or its account: then the job fails if it cannot.

    Whatever waits keeps its reason and is tried again the next night, and so is the job of an account that has failed.
    """
    account_id = context.payload.get("account_id")
    if account_id is not None:
        async with context.db.transaction(context.asker) as conn:
            done = await service.rerate_account(
                conn,
                int(account_id),
                date.fromisoformat(context.payload["since"]),
                cause=context.payload["cause"],
                open_findings=context.payload["open_findings"],
            )
        return {"adjusted": done.adjusted}
    wanted = context.payload.get("project_id")
    async with context.db.transaction(context.asker) as conn:
        projects = await estate.projects(conn)
    found = service.Outcome()
    for project in projects:
        if wanted not in (None, project.id):
            continue
        found += await service.rerate_late(context.db, context.asker, project.id, context.progress)
        found += await service.rerate_filed(context.db, context.asker, project.id)
        found += await service.rerate_asked_before(context.db, context.asker, project.id)
        async with context.db.transaction(context.asker) as conn:
            # Of drafts that were thrown away since.
            await book_tax_alone(conn, project)
    return {"adjusted": found.adjusted, "waiting": found.waiting}


async def archive(context: JobContext) -> dict[str, object]:
    """Writes the ZIP of the payload's archive."""
    done = await write_archive(context.db, context.asker, int(context.payload["archive_id"]), progress=context.progress)
    return {"archive_id": done.id, "bills": done.bills, "bytes": done.bytes}


async def mail(context: JobContext) -> dict[str, object]:
    """Writes notices of the bills of the payload's run; sending them is the work of notices."""
    async with context.db.transaction(context.asker) as conn:
        found = await service.get_run(conn, int(context.payload["run_id"]))
    return {"run_id": found.id, "notices": await mail_run(context.db, context.asker, found, context.progress)}


async def forget(context: JobContext) -> dict[str, object]:
    """Deletes archives that nobody fetches any more."""
    async with context.db.transaction(context.asker) as conn:
        return {"archives": await forget_archives(conn)}


HANDLERS: dict[str, Handler] = {
    RUN_JOB: run,
    ISSUE_JOB: issue,
    RE_RATE_JOB: re_rate,
    LATE_FEES_JOB: late_fees,
    PROOF_JOB: prove_ledger,
    ARCHIVE_JOB: archive,
    MAIL_JOB: mail,
    FORGET_JOB: forget,
}

# UTC: after midnight in China, and after the nightly jobs of metering.
SCHEDULE = (
    Scheduled(RE_RATE_JOB, "0 17 * * *"),
    Scheduled(LATE_FEES_JOB, "10 17 * * *"),
    Scheduled(PROOF_JOB, "40 17 * * *"),
    Scheduled(FORGET_JOB, "50 17 * * *"),
)
