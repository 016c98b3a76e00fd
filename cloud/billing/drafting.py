"""Drafts of a bill run: accounts charged in chunks that commit or fail by themselves."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict

import psycopg

from cloud.billing import adjustments_repository, repository, run_repository
from cloud.billing.adjustments_repository import Adjustment
from cloud.billing.corrections import (
    Corrections,
    correction_inputs,
    correction_lines,
    correction_total,
    open_corrections,
)
from cloud.billing.drafts import Drafts, RatedPiece, draft, reading_inputs
from cloud.billing.pieces import Unbillable
from cloud.billing.records import BillRun
from cloud.estate.records import Project
from cloud.kit.db import Asker, Conn, Database
from cloud.tariffs.rating import ENGINE_VERSION

CHUNK = 500

Progress = Callable[[int, int], Awaitable[None]]


class Drafter:
    """Makes the drafts of one run."""

    def __init__(self, db: Database, asker: Asker, run: BillRun, project: Project) -> None:
        self._db = db
        self._asker = asker
        self._run = run
        self._project = project

    async def accounts(self, account_ids: Sequence[int], progress: Progress | None) -> None:
        """Drafts or failures for all of these accounts, chunk by chunk."""
        for start in range(0, len(account_ids), CHUNK):
            await self._chunk(account_ids[start : start + CHUNK])
            if progress is not None:
                await progress(min(start + CHUNK, len(account_ids)), len(account_ids))

    async def _chunk(self, account_ids: Sequence[int]) -> None:
        """One transaction for all; when the database refuses one account, halves, until it is alone."""
        try:
            async with self._db.transaction(self._asker) as conn:
                await self._draft(conn, account_ids)
        except (psycopg.IntegrityError, psycopg.DataError) as error:
            if len(account_ids) == 1:
                reason = Unbillable("refused", (error.diag.message_primary or str(error))[:300])
                async with self._db.transaction(self._asker) as conn:
                    await self._note_failures(conn, Drafts({}, {account_ids[0]: reason}))
                return
            middle = len(account_ids) // 2
            await self._chunk(account_ids[:middle])
            await self._chunk(account_ids[middle:])

    async def _draft(self, conn: Conn, account_ids: Sequence[int]) -> None:
        uncharged = await repository.uncharged(conn, self._project.id, self._run.period, account_ids)
        drafts = await draft(conn, self._project, uncharged, self._run.open_exceptions)
        await self._note_failures(conn, drafts)
        corrections = await open_corrections(conn, [one for one in account_ids if one not in drafts.failures])
        if drafts.rated or corrections:
            await self._write(conn, drafts, corrections)

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

    async def _write(self, conn: Conn, drafts: Drafts, corrections: Corrections) -> None:
        """Draft bills with their charges and lines, and the lines that correct earlier bills."""
        project = self._project
        billed = {one: drafts.rated.get(one, []) for one in [*drafts.rated, *corrections]}
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
                    "total": sum((one.amount for one in rated), correction_total(corrections.get(account_id, ()))),
                    "engine_version": ENGINE_VERSION,
                    "inputs": _bill_inputs(rated, corrections.get(account_id, ())),
                }
                for account_id, rated in billed.items()
            ],
        )
        everything = [(bills[account_id], one) for account_id, rated in billed.items() for one in rated]
        rows = [{"project_id": project.id, "bill_id": bill_id, **charge_row(one)} for bill_id, one in everything]
        charges = await run_repository.insert_charges(conn, rows)
        lines: list[dict[str, object]] = []
        positions = dict.fromkeys(bills.values(), 0)
        for bill_id, one in everything:
            charge_id = charges[one.piece.agreement.id, one.piece.period.start]
            for line in line_rows(one):
                positions[bill_id] += 1
                place = {"bill_id": bill_id, "charge_id": charge_id, "position": positions[bill_id]}
                lines.append({"project_id": project.id, **place, **line})
        for account_id, adjustments in corrections.items():
            bill_id = bills[account_id]
            for line in correction_lines(adjustments):
                positions[bill_id] += 1
                place = {"bill_id": bill_id, "position": positions[bill_id]}
                lines.append({"project_id": project.id, **place, **line})
        await run_repository.insert_lines(conn, lines)
        taken = {one.id: bills[account_id] for account_id, mine in corrections.items() for one in mine}
        await adjustments_repository.mark_billed(conn, taken, project.id)


def _bill_inputs(rated: Sequence[RatedPiece], corrections: Sequence[Adjustment]) -> dict[str, object]:
    inputs: dict[str, object] = {"charges": [charge_inputs(one) for one in rated]}
    if corrections:
        inputs["adjustments"] = correction_inputs(corrections)
    return inputs


def charge_inputs(one: RatedPiece) -> dict[str, object]:
    """All that the amount of a charge follows from, for JSON."""
    piece, metered = one.piece, one.metered
    inputs: dict[str, object] = {
        "agreement": piece.agreement.id,
        "period": str(piece.period),
        "tariff_version": piece.version.id,
        "tariff_hash": piece.version.hash,
        "tier_window": str(piece.window),
        "agreed": [piece.agreement.valid_from, piece.agreement.valid_until],
        "persons": one.persons,
        "basis": asdict(one.basis),
        "single": piece.agreement.single,
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
        if metered.runs:
            inputs["runs"] = [[code, quantity] for code, quantity in metered.runs]
    if piece.season is not None:
        inputs["season"] = piece.season
    if one.contained_taxes:
        inputs["contained_taxes"] = [asdict(tax) for tax in one.contained_taxes]
    return inputs


def charge_row(one: RatedPiece) -> dict[str, object]:
    """A charge as the database keeps it."""
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


def line_rows(one: RatedPiece) -> list[dict[str, object]]:
    """The lines of a charge as the database keeps them."""
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
