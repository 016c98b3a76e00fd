"""Drafts of a bill run: accounts charged in chunks that commit or fail by themselves."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date

from cloud.billing import repository
from cloud.billing.agreements.due import draft_agreed
from cloud.billing.charges.drafts import draft
from cloud.billing.charges.pieces import Unbillable
from cloud.billing.charges.rows import Drafted, charge_inputs, charge_row, line_rows
from cloud.billing.corrections import repository as adjustments_repository
from cloud.billing.corrections.lines import (
    Corrections,
    correction_inputs,
    correction_lines,
    correction_total,
    open_corrections,
)
from cloud.billing.corrections.repository import Adjustment
from cloud.billing.estimates.estimating import EstimatePolicy
from cloud.billing.records import BillRun
from cloud.billing.runs import failure_repository
from cloud.billing.runs import repository as run_repository
from cloud.billing.terms.service import policy_on
from cloud.estate.records import Project
from cloud.kit import locks
from cloud.kit.constraints import refusal
from cloud.kit.db import Asker, Conn, Database
from cloud.kit.portions import by_halves, side_by_side
from cloud.tariffs.rating.engine import ENGINE_VERSION

CHUNK = 500
AT_ONCE = 2
"""Chunks: one is computed here while the database writes another."""

_LOCK_SPACE = 5_402_100_000_000_000_000
_ACCOUNT_SPACE = 5_402_110_000_000_000_000

Progress = Callable[[int, int], Awaitable[None]]


async def lock_charges(conn: Conn, project_id: int) -> None:
    """One at a time revises charges of a project, until its transaction ends, and nobody makes any.

    A draft builds on the charges before it, and a re-rating on the charges there are: side by side, neither would see
    what the other makes. Taken before anything is read or locked, so that nobody waits for a lock while holding it.
    """
    await locks.lock(conn, _LOCK_SPACE, project_id)


async def _lock_to_draft(conn: Conn, project_id: int, account_ids: Sequence[int]) -> None:
    """Nobody revises charges of a project until this transaction ends, or makes any of these accounts.

    Nothing of an account rests on the charges of another one: others may be drafted beside it. A worker that takes up a
    run whose first one was only slow waits for it.
    """
    await locks.share(conn, _LOCK_SPACE, project_id)
    await locks.lock_all(conn, _ACCOUNT_SPACE, account_ids)


class Drafter:
    """Makes the drafts of one run; nothing of `today` or later is estimated."""

    def __init__(self, db: Database, asker: Asker, run: BillRun, project: Project, today: date) -> None:
        self._db = db
        self._asker = asker
        self._run = run
        self._project = project
        self._today = today

    async def accounts(self, account_ids: Sequence[int], progress: Progress | None) -> None:
        """Drafts or failures for all of these accounts, chunk by chunk."""
        if progress is None:
            progress = _tell_nobody
        telling, done = asyncio.Lock(), 0
        await progress(0, len(account_ids))

        async def chunk(start: int) -> None:
            nonlocal done
            accounts = account_ids[start : start + CHUNK]
            await self._chunk(accounts)
            async with telling:
                done += len(accounts)
                await progress(done, len(account_ids))

        await side_by_side(range(0, len(account_ids), CHUNK), chunk, AT_ONCE)

    async def _chunk(self, account_ids: Sequence[int]) -> None:
        """One transaction for all; an account that cannot be worked on fails alone, with the reason."""
        await by_halves(account_ids, self._drafted, self._refused)

    async def _drafted(self, account_ids: Sequence[int]) -> None:
        async with self._db.transaction(self._asker) as conn:
            await self._draft(conn, account_ids)

    async def _refused(self, account_id: int, error: Exception) -> None:
        async with self._db.transaction(self._asker) as conn:
            await self._note_failures(conn, {account_id: Unbillable(*refusal(error))})

    async def _draft(self, conn: Conn, account_ids: Sequence[int]) -> None:
        await _lock_to_draft(conn, self._project.id, account_ids)
        uncharged = await repository.uncharged(conn, self._project.id, self._run.period, account_ids)
        drafts = await draft(conn, self._project, uncharged, await self._policy(conn))
        agreed = await draft_agreed(conn, self._project, self._run.period, account_ids)
        failures = agreed.failures | drafts.failures
        await self._note_failures(conn, failures)
        charged: dict[int, list[Drafted]] = {
            account_id: [*drafts.rated.get(account_id, ()), *agreed.pieces.get(account_id, ())]
            for account_id in sorted({*drafts.rated, *agreed.pieces} - set(failures))
        }
        corrections = await open_corrections(conn, [one for one in account_ids if one not in failures])
        if charged or corrections:
            await self._write(conn, {one: charged.get(one, []) for one in [*charged, *corrections]}, corrections)

    def _final(self) -> dict[str, object]:
        """A run over one account is its end."""
        return {} if self._run.account_id is None else {"final": self._run.period.end.isoformat()}

    async def _policy(self, conn: Conn) -> EstimatePolicy:
        """What may be estimated. For a final bill a person decided it, with a reason: no limit stops that."""
        run, limit = self._run, self._run.estimate_limit
        if run.account_id is not None:
            limit = None
        elif limit is None:
            limit = (await policy_on(conn, self._project.id, self._today)).estimate_bills
        return EstimatePolicy(run.open_exceptions, run.missing_readings, limit, self._today)

    async def _note_failures(self, conn: Conn, failures: Mapping[int, Unbillable]) -> None:
        rows = [
            {
                "project_id": self._project.id,
                "run_id": self._run.id,
                "account_id": account_id,
                "code": reason.code,
                "detail": reason.detail,
            }
            for account_id, reason in sorted(failures.items())
        ]
        if rows:
            await failure_repository.insert_failures(conn, rows)

    async def _write(self, conn: Conn, charged: Mapping[int, Sequence[Drafted]], corrections: Corrections) -> None:
        """Draft bills with their charges and lines, and the lines that correct earlier bills."""
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
                    "total": sum((one.amount for one in pieces), correction_total(corrections.get(account_id, ()))),
                    "engine_version": ENGINE_VERSION,
                    "inputs": _bill_inputs(pieces, corrections.get(account_id, ())) | self._final(),
                }
                for account_id, pieces in charged.items()
            ],
        )
        everything = [(bills[account_id], one) for account_id, pieces in charged.items() for one in pieces]
        rows = [{"project_id": project.id, "bill_id": bill_id, **charge_row(one)} for bill_id, one in everything]
        charges = await run_repository.insert_charges(conn, rows)
        lines: list[dict[str, object]] = []
        positions = dict.fromkeys(bills.values(), 0)
        for bill_id, one in everything:
            charge_id = charges[one.agreement.id, one.period.start]
            for line in line_rows(one, project.currency):
                positions[bill_id] += 1
                place = {"bill_id": bill_id, "charge_id": charge_id, "position": positions[bill_id]}
                lines.append({"project_id": project.id, **place, **line})
        for account_id, adjustments in corrections.items():
            for line in correction_lines(adjustments):
                positions[bills[account_id]] += 1
                place = {"bill_id": bills[account_id], "position": positions[bills[account_id]]}
                lines.append({"project_id": project.id, **place, **line})
        await run_repository.insert_lines(conn, lines)
        taken = {one.id: bills[account_id] for account_id, mine in corrections.items() for one in mine}
        await adjustments_repository.mark_billed(conn, taken, project.id)


async def _tell_nobody(_done: int, _total: int) -> None:
    """Nobody waits for this run."""


def _bill_inputs(charges: Sequence[Drafted], corrections: Sequence[Adjustment]) -> dict[str, object]:
    inputs: dict[str, object] = {"charges": [charge_inputs(one) for one in charges]}
    if corrections:
        inputs["adjustments"] = correction_inputs(corrections)
    return inputs
