"""Drafts of a bill run: accounts charged in chunks that commit or fail by themselves."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from decimal import Decimal

import psycopg

from cloud.billing import repository, run_repository
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
        if drafts.rated:
            await self._write(conn, drafts)

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

    async def _write(self, conn: Conn, drafts: Drafts) -> None:
        """Draft bills with their charges and lines."""
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
                    "total": sum((one.amount for one in rated), Decimal(0)),
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


def _inputs(one: RatedPiece) -> dict[str, object]:
    """All that the amount follows from."""
    piece, metered = one.piece, one.metered
    inputs: dict[str, object] = {
        "agreement": piece.agreement.id,
        "period": str(piece.period),
        "tariff_version": piece.version.id,
        "tariff_hash": piece.version.hash,
        "tier_window": str(piece.window),
        "window_parts": list(piece.window_parts),
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
