"""Bill runs: every account of a project charged for a period, in chunks that commit or fail by themselves."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import psycopg
from psycopg.errors import UniqueViolation

from cloud.billing import ledger, repository, run_repository
from cloud.billing.drafts import Drafts, RatedPiece, draft, reading_inputs
from cloud.billing.ledger import Journal, Posting
from cloud.billing.pieces import Unbillable
from cloud.billing.records import BillRun
from cloud.estate import service as estate
from cloud.estate.records import Project
from cloud.kit.db import Asker, Conn, Database
from cloud.kit.errors import Conflict, NotFound
from cloud.kit.jobs import enqueue
from cloud.kit.periods import Period, local_day
from cloud.tariffs.rating import ENGINE_VERSION

RUN_JOB = "billing.run"
CHUNK = 200

Progress = Callable[[int, int], Awaitable[None]]


async def start_run(conn: Conn, project_id: int, period: Period, created_by: int | None = None) -> int:
    """Starts a run over `period` and returns the id of the job that does it.

    Raises Conflict while another run of the project is running, NotFound for an unknown project.
    """
    await estate.get_project(conn, project_id)
    await run_repository.release_abandoned(conn, project_id)
    try:
        async with conn.transaction():
            run_id = await run_repository.insert_run(conn, project_id, period, created_by)
    except UniqueViolation as error:
        raise Conflict("run-in-progress", "another bill run of this project is running") from error
    job_id = await enqueue(
        conn,
        RUN_JOB,
        {"run_id": run_id},
        project_id=project_id,
        dedupe_key=f"run-{run_id}",
        created_by=created_by,
    )
    await run_repository.set_job(conn, run_id, job_id)
    return job_id


async def execute_run(
    db: Database, asker: Asker, run_id: int, *, progress: Progress | None = None, now: datetime | None = None
) -> BillRun:
    """Does a run, or what is left of it: it may be repeated at any point and charges nothing twice.

    Raises NotFound, Conflict while another run of the project is running; any error later on leaves the run failed,
    to be repeated.
    """
    async with db.transaction(asker) as conn:
        run = await _run_of(conn, run_id)
        if run.state not in ("running", "failed"):
            return run
        await _resume(conn, run)
        await run_repository.clear_failures(conn, run_id)
        project = await estate.get_project(conn, run.project_id)
        open_accounts = {one.agreement.account_id for one in await repository.uncharged(conn, project.id, run.period)}
    billing = _Run(db, asker, run, project, local_day(now or datetime.now(UTC), project.zone))
    finished = False
    try:
        await billing.accounts(sorted(open_accounts), progress)
        finished = True
    finally:
        async with db.transaction(asker) as conn:
            await run_repository.finish(conn, run_id, "issued" if finished else "failed")
    async with db.transaction(asker) as conn:
        return await _run_of(conn, run_id)


async def _resume(conn: Conn, run: BillRun) -> None:
    try:
        async with conn.transaction():
            await run_repository.set_state(conn, run.id, "running")
    except UniqueViolation as error:
        raise Conflict("run-in-progress", "another bill run of this project is running") from error


async def _run_of(conn: Conn, run_id: int) -> BillRun:
    run = await run_repository.run(conn, run_id)
    if run is None:
        raise NotFound("no-such-run", f"there is no bill run {run_id}")
    return run


class _Run:
    def __init__(self, db: Database, asker: Asker, run: BillRun, project: Project, today: date) -> None:
        self._db = db
        self._asker = asker
        self._run = run
        self._project = project
        self._today = today

    async def accounts(self, account_ids: Sequence[int], progress: Progress | None) -> None:
        for start in range(0, len(account_ids), CHUNK):
            await self._chunk(account_ids[start : start + CHUNK])
            if progress is not None:
                await progress(min(start + CHUNK, len(account_ids)), len(account_ids))

    async def _chunk(self, account_ids: Sequence[int]) -> None:
        """One transaction for all; when the database refuses one account, each by itself."""
        try:
            async with self._db.transaction(self._asker) as conn:
                await self._bill(conn, account_ids)
        except (psycopg.IntegrityError, psycopg.DataError) as error:
            if len(account_ids) == 1:
                reason = Unbillable("refused", (error.diag.message_primary or str(error))[:300])
                async with self._db.transaction(self._asker) as conn:
                    await self._note_failures(conn, Drafts({}, {account_ids[0]: reason}))
                return
            for account_id in account_ids:
                await self._chunk([account_id])

    async def _bill(self, conn: Conn, account_ids: Sequence[int]) -> None:
        uncharged = await repository.uncharged(conn, self._project.id, self._run.period, account_ids)
        drafts = await draft(conn, self._project, uncharged)
        await self._note_failures(conn, drafts)
        if drafts.rated:
            bills = await self._write(conn, drafts)
            await self._issue(conn, drafts, bills)

    async def _note_failures(self, conn: Conn, drafts: Drafts) -> None:
        rows = [
            {
                "project_id": self._project.id,
                "run_id": self._run.id,
                "account_id": account_id,
                "code": reason.code,
                "detail": reason.detail,
            }
            for account_id, reason in sorted(drafts.failures.items())
        ]
        if rows:
            await run_repository.insert_failures(conn, rows)

    async def _write(self, conn: Conn, drafts: Drafts) -> dict[int, int]:
        """Drafts with charges and lines; ids of the bills by account."""
        project = self._project
        bills = await run_repository.insert_bills(
            conn,
            [
                {
                    "project_id": project.id,
                    "account_id": account_id,
                    "run_id": self._run.id,
                    "period_start": self._run.period.start,
                    "period_end": self._run.period.end,
                    "currency": project.currency,
                    "total": _sum(rated),
                    "engine_version": ENGINE_VERSION,
                    "inputs": {"charges": [_inputs(one) for one in rated]},
                }
                for account_id, rated in drafts.rated.items()
            ],
        )
        everything = [(bills[account_id], one) for account_id, rated in drafts.rated.items() for one in rated]
        rows = [{"project_id": project.id, "bill_id": bill_id, **_charge(one)} for bill_id, one in everything]
        charges = await run_repository.insert_charges(conn, rows)
        lines: list[dict[str, object]] = []
        positions = dict.fromkeys(bills.values(), 0)
        for bill_id, one in everything:
            charge_id = charges[one.piece.agreement.id, one.piece.period.start]
            for line in _lines(one):
                positions[bill_id] += 1
                place = {"bill_id": bill_id, "charge_id": charge_id, "position": positions[bill_id]}
                lines.append({"project_id": project.id, **place, **line})
        await run_repository.insert_lines(conn, lines)
        return bills

    async def _issue(self, conn: Conn, drafts: Drafts, bills: dict[int, int]) -> None:
        """Numbers, dates, and the journal of every bill."""
        policy = await repository.policy_on(conn, self._project.id, self._today)
        series = f"bill-{self._today.year}"
        first = await run_repository.take_numbers(conn, self._project.id, series, len(bills))
        accounts = await estate.accounts_by_id(conn, sorted(bills))
        in_order = sorted(bills, key=lambda account_id: accounts[account_id].number)
        numbers = {bills[account]: f"{self._today.year}-{first + n:06d}" for n, account in enumerate(in_order)}
        await run_repository.issue(conn, numbers, self._today, self._today + timedelta(days=policy.due_days))
        await ledger.book(
            conn, [self._journal(account, bills[account], rated) for account, rated in drafts.rated.items()]
        )

    def _journal(self, account_id: int, bill_id: int, rated: Sequence[RatedPiece]) -> Journal:
        services = dict.fromkeys(one.piece.agreement.service for one in rated)
        revenue = [
            Posting(f"revenue:{service}", -_sum([one for one in rated if one.piece.agreement.service == service]))
            for service in services
        ]
        receivable = Posting(ledger.RECEIVABLE, _sum(rated), account_id)
        return Journal(
            self._project.id, "bill", self._today, "bill", bill_id, self._project.currency, (receivable, *revenue)
        )


def _sum(rated: Sequence[RatedPiece]) -> Decimal:
    return sum((one.amount for one in rated), Decimal(0))


def _inputs(one: RatedPiece) -> dict[str, object]:
    """All that the amount follows from."""
    piece, metered = one.piece, one.metered
    inputs: dict[str, object] = {
        "agreement": piece.agreement.id,
        "period": str(piece.period),
        "tariff_version": piece.version.id,
        "tariff_hash": piece.version.hash,
        "tier_window": str(piece.window),
        "persons": one.persons,
        "area": one.area,
        "carry": one.carry,
    }
    if metered is not None:
        inputs |= {
            "meter": metered.meter.id,
            "channel": metered.meter.main_channel.number,
            "multiplier": metered.meter.multiplier,
            "opening": reading_inputs(metered.opening),
            "closing": reading_inputs(metered.closing),
            "quantity": metered.quantity,
            "used_before": metered.before,
        }
    return inputs


def _charge(one: RatedPiece) -> dict[str, object]:
    piece, metered = one.piece, one.metered
    row: dict[str, object] = {
        "agreement_id": piece.agreement.id,
        "service": piece.agreement.service,
        "period_start": piece.period.start,
        "period_end": piece.period.end,
        "tariff_version_id": piece.version.id,
        "amount": one.amount,
        "exact_amount": one.exact_amount,
    }
    if metered is not None:
        row |= {
            "meter_id": metered.meter.id,
            "channel": metered.meter.main_channel.number,
            "opening_at": metered.opening.taken_at,
            "opening_value": metered.opening.value,
            "closing_at": metered.closing.taken_at,
            "closing_value": metered.closing.value,
            "quantity": metered.quantity,
        }
    return row


def _lines(one: RatedPiece) -> list[dict[str, object]]:
    return [
        {
            "kind": line.kind,
            "service": one.piece.agreement.service,
            "component": line.component,
            "tier": line.tier,
            "time_period": line.time_period,
            "quantity": line.quantity,
            "unit": line.unit,
            "price": line.price,
            "amount": line.amount,
            "season": line.season,
        }
        for line in one.lines
    ]
