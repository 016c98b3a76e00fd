"""Bill runs: started, looked at, approved, issued or cancelled. A run may be repeated and charges nothing twice."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

from psycopg.errors import UniqueViolation

from cloud.billing.agreements import repository as agreed_repository
from cloud.billing.corrections import repository as adjustments_repository
from cloud.billing.estimates.estimating import MissingReadings, OpenExceptions
from cloud.billing.mailing.service import mail_on_issue
from cloud.billing.records import BillRun, RunStep
from cloud.billing.runs import failure_repository
from cloud.billing.runs import repository as run_repository
from cloud.billing.runs.drafting import Drafter, Progress
from cloud.billing.runs.issuing import issue_drafts
from cloud.estate import service as estate
from cloud.estate.records import Project
from cloud.kit.db import Asker, Conn, Database
from cloud.kit.errors import Conflict, InvalidInput, NotFound
from cloud.kit.jobs import enqueue, hurry
from cloud.kit.periods import Period, local_day
from cloud.metering import service as metering
from cloud.metering.checks.service import judge_months

RUN_JOB = "billing.run"
ISSUE_JOB = "billing.issue"


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a run goes about it.

    `issue_at_once`: without a preview. `open_exceptions` and `missing_readings`: whether accounts with open findings,
    or without readings, are left out (`ask`) or billed by `estimate`, at most `estimate_limit` bills in a row (None: as
    the terms say). `account_id`: only this account, its final bill; `estimate_reason`: why that is estimated.
    `repeats_id`: only accounts that this issued run could not bill.
    `mail_bills`: whether the bills are sent by e-mail when they are issued; None: as the project has set it.
    """

    issue_at_once: bool = False
    open_exceptions: OpenExceptions = "ask"
    missing_readings: MissingReadings = "ask"
    estimate_limit: int | None = None
    estimate_reason: str = ""
    account_id: int | None = None
    repeats_id: int | None = None
    mail_bills: bool | None = None


CAREFUL = RunOptions()


async def start_run(
    conn: Conn, project_id: int, period: Period, created_by: int | None = None, options: RunOptions = CAREFUL
) -> int:
    """Starts a run over `period` and returns the id of the job that does it.

    Raises Conflict while another run of the project is running, NotFound for an unknown project.
    """
    await estate.get_project(conn, project_id)
    await run_repository.release_abandoned(conn, project_id)
    try:
        async with conn.transaction():
            run_id = await run_repository.insert_run(conn, project_id, period, created_by, asdict(options))
    except UniqueViolation as error:
        raise Conflict("run-in-progress", "another bill run of this project is running") from error
    job_id = await _ask(conn, RUN_JOB, await get_run(conn, run_id), created_by)
    await run_repository.set_job(conn, run_id, job_id)
    return job_id


async def check_run(
    db: Database, asker: Asker, run_id: int, *, progress: Progress | None = None, now: datetime | None = None
) -> None:
    """Judges the months of a run for the meters that it has yet to bill, by what is known now; before its drafts.

    The run is running from the first moment, so that whatever changes usage notes it to be rated again; notes of what
    no charge rests on go in the end, for the drafts are made of it. Accounts of meters that cannot be judged are not
    billed by this run, with the reason; the others are.
    It may be repeated at any point, and looks only at what is left. Raises as `execute_run`.
    """
    async with db.transaction(asker) as conn:
        run = await get_run(conn, run_id)
        if not run.goes_on or not await _resume(conn, run_id, "checking"):
            return
    judged = False
    try:
        # Not where the notes are held: whoever changes usage, persons or prices would wait for it.
        async with db.transaction(asker) as conn:
            project = await estate.get_project(conn, run.project_id)
            only = await _only(conn, run)
            meters = await run_repository.uncharged_meters(conn, project.id, run.period, only)
        found = await judge_months(db, asker, project, run.period, meters, now or datetime.now(UTC), progress)
        async with db.transaction(asker) as conn:
            await _keep_unjudged(conn, run, meters, found.failed)
            await run_repository.forget_uncharged(conn, project.id)
        judged = True
    finally:
        if not judged:
            async with db.transaction(asker) as conn:
                await run_repository.finish(conn, run_id, "failed")


async def _keep_unjudged(
    conn: Conn, run: BillRun, payers: Mapping[int, Sequence[int]], failed: Mapping[int, str]
) -> None:
    """Lists the accounts of meters that cannot be judged now, and no others any more. `payers`: accounts by meter."""
    await failure_repository.clear_unjudged(conn, run.id)
    meters = await metering.meters_by_id(conn, sorted(failed))
    reasons: dict[int, list[str]] = defaultdict(list)
    for meter_id, why in sorted(failed.items()):
        for account_id in payers[meter_id]:
            reasons[account_id].append(f"meter {meters[meter_id].code}: what it counted cannot be worked on: {why}")
    here = {"project_id": run.project_id, "run_id": run.id, "code": failure_repository.NOT_JUDGED}
    rows = [here | {"account_id": one, "detail": "; ".join(whys)} for one, whys in sorted(reasons.items())]
    await failure_repository.insert_failures(conn, rows)


async def execute_run(
    db: Database, asker: Asker, run_id: int, *, progress: Progress | None = None, now: datetime | None = None
) -> BillRun:
    """Makes the drafts of a run, or what is left of them, and issues them where the run says so.

    It may be repeated at any point. Raises NotFound, Conflict while another run of the project is running; any error
    later on leaves the run failed, to be repeated.
    """
    async with db.transaction(asker) as conn:
        run = await get_run(conn, run_id)
        if run.state == "approved":
            return await issue_run(db, asker, run_id, progress=progress, now=now)
        if not run.goes_on or not await _resume(conn, run_id, "billing"):
            return await get_run(conn, run_id)
    state = "failed"
    try:
        project, accounts = await _to_bill(db, asker, run)
        today = local_day(now or datetime.now(UTC), project.zone)
        await Drafter(db, asker, run, project, today).accounts(accounts, progress)
        state = "approved" if run.issue_at_once else "preview"
    finally:
        async with db.transaction(asker) as conn:
            await run_repository.finish(conn, run_id, state)
    if run.issue_at_once:
        return await issue_run(db, asker, run_id, now=now)
    async with db.transaction(asker) as conn:
        return await get_run(conn, run_id)


async def _to_bill(db: Database, asker: Asker, run: BillRun) -> tuple[Project, list[int]]:
    """The accounts that a run has something to bill of, by id; reasons of an earlier attempt are forgotten.

    Those with a meter that could not be judged are none of them, until it can be, nor those that were left out by hand.
    Not where the notes are held: whoever changes usage, persons or prices would wait for it.
    """
    async with db.transaction(asker) as conn:
        await failure_repository.clear_failures(conn, run.id)
        left_out = await failure_repository.failed_accounts(conn, run.id)
        project = await estate.get_project(conn, run.project_id)
        by_tariff = await run_repository.uncharged_accounts(conn, project.id, run.period)
        agreed = await agreed_repository.due_accounts(conn, project.id, run.period.end)
        corrected = await adjustments_repository.accounts_with_open(conn, project.id)
        only = await _only(conn, run)
    accounts = sorted({*by_tariff, *agreed, *corrected} - left_out)
    return project, [one for one in accounts if only is None or one in only]


async def _only(conn: Conn, run: BillRun) -> set[int] | None:
    """The accounts that the run is for; None: all."""
    if run.account_id is not None:
        return {run.account_id}
    return None if run.repeats_id is None else await _could_not_bill(conn, run.repeats_id)


async def _could_not_bill(conn: Conn, run_id: int) -> set[int]:
    """Accounts that failed, without those that somebody left out."""
    return await failure_repository.failed_accounts(conn, run_id, but=failure_repository.LEFT_OUT)


async def approve_run(conn: Conn, run_id: int, approved_by: int | None = None) -> int:
    """Approves what the preview shows and returns the id of the job that issues it.

    Asked again, it names the same job, or another one where that has failed. Raises NotFound; Conflict unless the run
    is in preview or approved.
    """
    run = await _locked(conn, run_id)
    if run.state not in ("preview", "approved"):
        raise Conflict("run-not-in-preview", f"run {run_id} is {run.state}: only a preview can be approved")
    job_id = await _ask(conn, ISSUE_JOB, run, approved_by)
    if run.state == "preview":
        await run_repository.approve(conn, run_id, approved_by)
    await hurry(conn, job_id)
    await run_repository.set_issue_job(conn, run_id, job_id)
    return job_id


async def repeat_run(conn: Conn, run_id: int, by: int | None = None) -> int:
    """Goes on with a run for those whom it has not billed, and returns the id of the job that does it.

    Drafts that are there stay, and who was left out by hand stays out. Of an approved run what is left is issued; an
    issued run is over: another one over its period begins, by the same options, for those alone whom it could not bill.
    Raises NotFound; Conflict for a run that was cancelled or is running, for an issued one that could bill everybody
    (`nobody-failed`), or while another run of the project is.
    """
    await run_repository.release_abandoned(conn, (await get_run(conn, run_id)).project_id)
    run = await _locked(conn, run_id)
    if run.state == "approved":
        return await approve_run(conn, run_id, by)
    if run.state == "issued":
        if not await _could_not_bill(conn, run_id):
            raise Conflict("nobody-failed", f"run {run_id} could bill everybody: start another one over its period")
        return await start_run(conn, run.project_id, run.period, by, replace(_options_of(run), repeats_id=run_id))
    if run.state not in ("preview", "failed"):
        raise Conflict("run-not-over", f"run {run_id} is {run.state}: only one that is over can be gone on with")
    await _begin(conn, run_id, "checking")
    job_id = await _ask(conn, RUN_JOB, run, by)
    if not await hurry(conn, job_id):
        raise Conflict("run-in-progress", f"the job of run {run_id} has not ended yet")
    await run_repository.set_job(conn, run_id, job_id)
    return job_id


async def _ask(conn: Conn, kind: str, run: BillRun, by: int | None) -> int:
    """The job of this kind that works on the run: one at a time."""
    return await enqueue(
        conn, kind, {"run_id": run.id}, project_id=run.project_id, dedupe_key=f"run-{run.id}", created_by=by
    )


def _options_of(run: BillRun) -> RunOptions:
    """As the run was started; what it makes is looked at before it is issued."""
    return RunOptions(
        open_exceptions=run.open_exceptions,
        missing_readings=run.missing_readings,
        estimate_limit=run.estimate_limit,
        estimate_reason=run.estimate_reason,
        account_id=run.account_id,
        mail_bills=run.mail_bills,
    )


async def issue_run(
    db: Database, asker: Asker, run_id: int, *, progress: Progress | None = None, now: datetime | None = None
) -> BillRun:
    """Issues the drafts of an approved run, or what is left of them. Raises NotFound; Conflict unless approved."""
    async with db.transaction(asker) as conn:
        run = await get_run(conn, run_id)
        project = await estate.get_project(conn, run.project_id)
    if run.state == "issued":
        return run
    if run.state != "approved":
        raise Conflict("run-not-approved", f"run {run_id} is {run.state}: it is issued once it is approved")
    await issue_drafts(db, asker, run, project, progress, now)
    async with db.transaction(asker) as conn:
        await run_repository.finish(conn, run_id, "issued")
        await mail_on_issue(conn, run)
        return await get_run(conn, run_id)


async def cancel_run(conn: Conn, run_id: int) -> None:
    """Throws the drafts of a run away: what they charged can be charged again.

    Raises NotFound; Conflict once the run is approved, or while drafts are being made.
    """
    run = await _locked(conn, run_id)
    if run.state == "cancelled":
        return
    if run.state not in ("preview", "failed"):
        raise Conflict("run-not-in-preview", f"run {run_id} is {run.state}: only a preview can be cancelled")
    await run_repository.delete_drafts(conn, run_id)
    await run_repository.finish(conn, run_id, "cancelled")


async def leave_out(conn: Conn, run_id: int, account_id: int, reason: str) -> None:
    """Takes the draft of one account out of a preview and keeps the reason; another run may bill it.

    Raises NotFound without such a draft, InvalidInput without a reason, Conflict unless the run is in preview.
    """
    if not reason.strip():
        raise InvalidInput("no-reason", "expected why the account is left out", field="reason")
    run = await _locked(conn, run_id)
    if run.state != "preview":
        raise Conflict("run-not-in-preview", f"run {run_id} is {run.state}: only a preview can be changed")
    if not await run_repository.delete_draft(conn, run_id, account_id):
        raise NotFound("no-such-draft", f"run {run_id} has no draft for account {account_id}", field="account_id")
    account = {"project_id": run.project_id, "run_id": run_id, "account_id": account_id}
    why = {"code": failure_repository.LEFT_OUT, "detail": reason.strip()}
    await failure_repository.insert_failures(conn, [{**account, **why}])
    await run_repository.finish(conn, run_id, "preview")


async def get_run(conn: Conn, run_id: int) -> BillRun:
    """One run. Raises NotFound."""
    run = await run_repository.run(conn, run_id)
    if run is None:
        raise NotFound("no-such-run", f"there is no bill run {run_id}", field="run_id")
    return run


async def _locked(conn: Conn, run_id: int) -> BillRun:
    await run_repository.lock(conn, run_id)
    return await get_run(conn, run_id)


async def _resume(conn: Conn, run_id: int, step: RunStep) -> bool:
    """The run is running, for everybody who changes usage while drafts are made.

    False where somebody has cancelled it meanwhile. Raises Conflict.
    """
    await run_repository.hold_usage_notes(conn)
    if not (await _locked(conn, run_id)).goes_on:
        return False
    await _begin(conn, run_id, step)
    return True


async def _begin(conn: Conn, run_id: int, step: RunStep) -> None:
    try:
        async with conn.transaction():
            await run_repository.begin(conn, run_id, step)
    except UniqueViolation as error:
        raise Conflict("run-in-progress", "another bill run of this project is running") from error
