"""Drafts of a bill run: accounts charged in chunks that commit or fail by themselves."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from decimal import Decimal

import psycopg

from cloud.billing import repository, run_repository
from cloud.billing.agreed import AgreedPiece, draft_agreed
from cloud.billing.conceding import concession_inputs, discount_line
from cloud.billing.drafts import RatedPiece, draft, reading_inputs
from cloud.billing.pieces import Unbillable
from cloud.billing.records import BillRun
from cloud.estate.records import Project
from cloud.kit.db import Asker, Conn, Database
from cloud.tariffs.rating import ENGINE_VERSION

CHUNK = 500

Progress = Callable[[int, int], Awaitable[None]]
Drafted = RatedPiece | AgreedPiece


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
                    await self._note_failures(conn, {account_ids[0]: reason})
                return
            middle = len(account_ids) // 2
            await self._chunk(account_ids[:middle])
            await self._chunk(account_ids[middle:])

    async def _draft(self, conn: Conn, account_ids: Sequence[int]) -> None:
        uncharged = await repository.uncharged(conn, self._project.id, self._run.period, account_ids)
        drafts = await draft(conn, self._project, uncharged, self._run.open_exceptions)
        agreed = await draft_agreed(conn, self._project, self._run.period, account_ids)
        failures = agreed.failures | drafts.failures
        await self._note_failures(conn, failures)
        charged: dict[int, list[Drafted]] = {
            account_id: [*drafts.rated.get(account_id, ()), *agreed.pieces.get(account_id, ())]
            for account_id in sorted({*drafts.rated, *agreed.pieces} - set(failures))
        }
        if charged:
            await self._write(conn, charged)

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
            await run_repository.insert_failures(conn, rows)

    async def _write(self, conn: Conn, charged: Mapping[int, Sequence[Drafted]]) -> None:
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
                    "total": sum((one.amount for one in pieces), Decimal(0)),
                    "engine_version": ENGINE_VERSION,
                    "inputs": {"charges": [_inputs(one) for one in pieces]},
                }
                for account_id, pieces in charged.items()
            ],
        )
        everything = [(bills[account_id], one) for account_id, pieces in charged.items() for one in pieces]
        rows = [{"project_id": project.id, "bill_id": bill_id, **_charge(one)} for bill_id, one in everything]
        charges = await run_repository.insert_charges(conn, rows)
        lines: list[dict[str, object]] = []
        positions = dict.fromkeys(bills.values(), 0)
        for bill_id, one in everything:
            charge_id = charges[one.agreement.id, one.period.start]
            for line in _lines(one, project.currency):
                positions[bill_id] += 1
                place = {"bill_id": bill_id, "charge_id": charge_id, "position": positions[bill_id]}
                lines.append({"project_id": project.id, **place, **line})
        await run_repository.insert_lines(conn, lines)


def _inputs(one: Drafted) -> dict[str, object]:
    """All that the amount follows from."""
    inputs: dict[str, object] = {"agreement": one.agreement.id, "period": str(one.period)}
    inputs |= _agreed_inputs(one) if isinstance(one, AgreedPiece) else _rated_inputs(one)
    if one.reductions:
        inputs["concessions"] = [concession_inputs(taken) for taken in one.reductions]
    return inputs


def _agreed_inputs(one: AgreedPiece) -> dict[str, object]:
    return {"amount": one.agreement.amount} if one.rent is None else {"rent": asdict(one.rent)}


def _rated_inputs(one: RatedPiece) -> dict[str, object]:
    piece, metered = one.piece, one.metered
    inputs: dict[str, object] = {
        "tariff_version": piece.version.id,
        "tariff_hash": piece.version.hash,
        "tier_window": str(piece.window),
        "persons": one.persons,
        "window_parts": asdict(one.parts),
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


def _charge(one: Drafted) -> dict[str, object]:
    row: dict[str, object] = {
        "agreement_id": one.agreement.id,
        "service": one.agreement.service,
        "period_start": one.period.start,
        "period_end": one.period.end,
        "amount": one.amount,
    }
    if isinstance(one, AgreedPiece):
        return row | {"exact_amount": one.amount}
    metered = one.metered
    row |= {"tariff_version_id": one.piece.version.id, "exact_amount": one.exact_amount}
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


def _lines(one: Drafted, currency: str) -> list[dict[str, object]]:
    """Its lines, then what concessions take off."""
    note = {"description": one.agreement.description} if one.agreement.kind == "one_off" else {}
    lines: list[dict[str, object]] = [
        {
            "kind": line.kind,
            "component": line.component,
            "tier": line.tier,
            "time_period": line.time_period,
            "quantity": line.quantity,
            "unit": line.unit,
            "price": line.price,
            "amount": line.amount,
            "season": line.season,
            "detail": note,
        }
        for line in one.lines
    ]
    lines += [discount_line(taken, currency) for taken in one.reductions]
    return [{"service": one.agreement.service, **line} for line in lines]
