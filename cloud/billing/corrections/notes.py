"""Credit and debit notes: made by one person with a reason, approved by another, immutable once issued."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal, LiteralString

from cloud.billing import repository
from cloud.billing.arrears.rules import must_be_another, stated
from cloud.billing.corrections import refusals
from cloud.billing.corrections import repository as adjustments_repository
from cloud.billing.corrections.counting import NoteCause, Standing, tax_of_part
from cloud.billing.corrections.lines import correction_inputs, correction_lines, correction_total, open_corrections
from cloud.billing.corrections.standings import Charged, charged_now, standings
from cloud.billing.records import BillLine, BillRow
from cloud.billing.runs import repository as run_repository
from cloud.billing.runs.drafting import lock_charges
from cloud.billing.runs.issuing import issue_documents
from cloud.billing.runs.repository import Draft
from cloud.billing.terms.service import policy_on
from cloud.estate import service as estate
from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, InvalidInput, NotFound
from cloud.kit.money import minor_digits
from cloud.kit.periods import Period, local_day
from cloud.tariffs.rating.engine import ENGINE_VERSION

NoteKind = Literal["credit_note", "debit_note"]

# What notes, also those that wait for approval, have taken off the lines of a bill, by position.
_CREDITED: LiteralString = """
    SELECT (l.detail ->> 'line')::int AS position, sum(l.amount) AS amount
    FROM bill_line l JOIN bill b ON b.id = l.bill_id
    WHERE b.kind = 'credit_note' AND b.state <> 'void' AND (b.inputs -> 'note' ->> 'bill')::bigint = %s
    GROUP BY 1
"""
_WAITING: LiteralString = """
    SELECT id FROM bill
    WHERE state = 'draft' AND kind <> 'bill' AND (inputs -> 'note' ->> 'bill')::bigint = %s ORDER BY id
"""
_ASKED_BY: LiteralString = "SELECT (inputs -> 'note' ->> 'asked_by')::bigint AS by FROM bill WHERE id = %s"
_APPROVED: LiteralString = """
    UPDATE bill SET inputs = jsonb_set(inputs, '{note,approved_by}', coalesce(to_jsonb(%s::bigint), 'null'))
    WHERE id = %s
"""
_DELETE: LiteralString = "DELETE FROM bill WHERE id = %s AND state = 'draft'"


@dataclass(frozen=True, slots=True)
class Part:
    """What a note takes off, or puts on, the line at this position of a bill; more than 0."""

    position: int
    amount: Decimal


async def note_of_adjustments(conn: Conn, account_id: int, reason: str, *, by: int | None) -> BillRow:
    """A draft that takes up all open adjustments of an account: a credit note below 0, else a debit note.

    Raises NotFound; InvalidInput without a reason; Conflict when nothing is open or it comes to nothing.
    """
    account = (await estate.accounts_by_id(conn, [account_id])).get(account_id)
    if account is None:
        raise NotFound("no-such-account", f"there is no account {account_id}", field="account_id")
    adjustments = (await open_corrections(conn, [account_id])).get(account_id, [])
    total = correction_total(adjustments)
    if not total:
        raise Conflict("nothing-to-adjust", "no adjustment of this account is open, or they come to nothing")
    note: dict[str, object] = {"reason": stated(reason), "asked_by": by}
    inputs: dict[str, object] = {"note": note, "charges": [], "adjustments": correction_inputs(adjustments)}
    period = Period(min(one.period.start for one in adjustments), max(one.period.end for one in adjustments))
    lines = correction_lines(adjustments)
    made = await _draft(conn, account.project_id, account_id, period, total, inputs, lines)
    await adjustments_repository.mark_billed(conn, {one.id: made.id for one in adjustments}, account.project_id)
    return made


@dataclass(frozen=True, slots=True)
class Creditable:
    """A line of a bill and what may be taken off it still: no more than is left of it and of its charge.

    Credit notes count that wait for approval too, and of the charge all corrections.
    """

    line: BillLine
    left: Decimal


async def creditable(conn: Conn, bill_id: int) -> list[Creditable]:
    """The lines of a bill, and what may be taken off each of them still."""
    lines = _Lines(await repository.lines(conn, bill_id), await _taken(conn, bill_id))
    await lines.load(conn)
    return [Creditable(line, max(lines.left(line), Decimal(0))) for line in lines.by_position.values()]


async def waiting_notes(conn: Conn, bill_id: int) -> list[int]:
    """Notes of a bill that wait for approval, by id."""
    return [row["id"] for row in await (await conn.execute(_WAITING, (bill_id,))).fetchall()]


async def note_of_bill(
    conn: Conn,
    bill_id: int,
    kind: NoteKind,
    parts: Sequence[Part],
    reason: str,
    cause: NoteCause = "error",
    *,
    by: int | None,
) -> BillRow:
    """A draft that takes amounts off lines of an issued bill, or puts them on.

    `cause`: an `error` is put right by the next re-rating of the charge, `goodwill` stays a gift beside it. Raises
    NotFound; InvalidInput without a reason, for an amount that a line or its charge does not have left, and for
    goodwill that puts something on; Conflict for a draft.
    """
    if kind == "debit_note" and cause != "error":
        raise InvalidInput("bad-cause", "goodwill takes off, it puts nothing on", field="cause")
    bill = await _to_correct(conn, bill_id)
    lines = _Lines(await repository.lines(conn, bill_id), await _taken(conn, bill_id))
    await lines.load(conn)
    sign = -1 if kind == "credit_note" else 1
    rows: list[dict[str, object]] = []
    for part in parts:
        line = lines.by_position.get(part.position)
        if line is None:
            raise InvalidInput("no-such-line", f"the bill has no line {part.position}", field="position")
        _check(part, lines.left(line) if kind == "credit_note" else None, bill.currency)
        taxes = lines.change(line, sign * part.amount, minor_digits(bill.currency))
        rows.append(_row(bill, line, sign * part.amount, reason, taxes))
    total = sign * sum((part.amount for part in parts), Decimal(0))
    note = {"reason": stated(reason), "cause": cause, "asked_by": by, "bill": bill_id, "number": bill.number}
    inputs: dict[str, object] = {"note": note, "charges": []}
    return await _draft(conn, bill.project_id, bill.account_id, bill.period, total, inputs, rows, kind)


async def _to_correct(conn: Conn, bill_id: int) -> BillRow:
    """An issued bill, locked, and nobody revises its charges meanwhile. Raises NotFound, Conflict for a draft."""
    found = await repository.bill(conn, bill_id)
    if found is None:
        raise NotFound("no-such-bill", f"there is no bill {bill_id}", field="bill_id")
    await lock_charges(conn, found.project_id)
    (bill,) = await repository.lock_bills(conn, [bill_id]) or [found]
    if bill.state in ("draft", "void"):
        raise Conflict("bill-not-issued", f"bill {bill_id} is {bill.state}: only an issued bill is corrected")
    return bill


async def _taken(conn: Conn, bill_id: int) -> dict[int, Decimal]:
    """What credit notes have taken off the lines of a bill, by position."""
    rows = await (await conn.execute(_CREDITED, (bill_id,))).fetchall()
    return {row["position"]: row["amount"] for row in rows}


class _Lines:
    """Lines of a bill while a note is made about them: what is left of each, and of the charge behind it."""

    def __init__(self, lines: Sequence[BillLine], taken: Mapping[int, Decimal]) -> None:
        self.by_position = {line.position: line for line in lines}
        self._taken = dict(taken)
        self._charges: dict[int, Standing] = {}
        self._billed: dict[int, Charged] = {}

    async def load(self, conn: Conn) -> None:
        """How the charges stand: with revisions, and with notes that wait for approval."""
        ids = sorted({line.charge_id for line in self.by_position.values()})
        self._charges = await standings(conn, ids, waiting=True)
        self._billed = await charged_now(conn, ids)

    def left(self, line: BillLine) -> Decimal:
        """What may be taken off a line."""
        of_line = line.amount + self._taken.get(line.position, Decimal(0))
        return min(of_line, self._charges[line.charge_id].net)

    def change(self, line: BillLine, amount: Decimal, digits: int) -> dict[str, Decimal]:
        """Takes `amount` off a line (below 0) or puts it on; what of it is tax."""
        charge, billed = self._charges[line.charge_id], self._billed[line.charge_id]
        taxes = {line.component: amount}
        if line.detail.get("of", line.kind) != "tax":
            taxes = tax_of_part(amount, (billed.amount, billed.taxes), charge, billed.on_top, digits)
        self._charges[line.charge_id] = charge.after(amount, taxes)
        self._taken[line.position] = self._taken.get(line.position, Decimal(0)) + amount
        return taxes


def _check(part: Part, left: Decimal | None, currency: str) -> None:
    digits = minor_digits(currency)
    if not part.amount.is_finite() or part.amount <= 0 or part.amount != round(part.amount, digits):
        raise InvalidInput("bad-amount", f"expected more than 0 with at most {digits} decimals", field="amount")
    if left is not None and part.amount > left:
        raise InvalidInput(
            "amount-too-large", f"line {part.position} has {max(left, 0)} left to credit", field="amount"
        )


def _row(
    bill: BillRow, line: BillLine, amount: Decimal, reason: str, taxes: Mapping[str, Decimal]
) -> dict[str, object]:
    of_line: dict[str, object] = {
        # A line that corrects another is about what that one was: a tax stays a tax.
        "of": line.detail.get("of", line.kind),
        "bill": bill.number,
        "bill_id": bill.id,
        "line": line.position,
        "period": str(bill.period),
        "reason": reason.strip(),
        "taxes": taxes,
    }
    return {
        "kind": "adjustment",
        "service": line.service,
        "charge_id": line.charge_id,
        "component": line.component,
        "tier": line.tier,
        "time_period": line.time_period,
        "season": line.season,
        "amount": amount,
        "detail": of_line,
    }


async def _draft(
    conn: Conn,
    project_id: int,
    account_id: int,
    period: Period,
    total: Decimal,
    inputs: dict[str, object],
    lines: Sequence[dict[str, object]],
    kind: NoteKind = "debit_note",
) -> BillRow:
    project = await estate.get_project(conn, project_id)
    row = {
        "project_id": project_id,
        "account_id": account_id,
        "period_start": period.start,
        "period_end": period.end,
        "currency": project.currency,
        "total": total,
        "engine_version": ENGINE_VERSION,
        "inputs": inputs,
        "kind": kind,
    }
    bill_id = (await run_repository.insert_bills(conn, [row]))[account_id]
    places = [{"project_id": project_id, "bill_id": bill_id, "position": n} for n in range(1, len(lines) + 1)]
    await run_repository.insert_lines(conn, [place | line for place, line in zip(places, lines, strict=True)])
    return await _found(conn, bill_id)


async def approve_note(conn: Conn, bill_id: int, *, by: int | None, now: datetime | None = None) -> BillRow:
    """Issues a note under a number of its series; a credit note is allocated at once. Asked again it does nothing.

    Raises NotFound; Conflict when whoever asked for it approves it and the terms of the project want two, and when
    less is left of a charge by now than it would give back.
    """
    await lock_charges(conn, (await _found(conn, bill_id)).project_id)
    draft = next(iter(await run_repository.lock_drafts(conn, [bill_id])), None)
    note = await _found(conn, bill_id)
    if draft is None:
        return note
    project = await estate.get_project(conn, note.project_id)
    today = local_day(now or datetime.now(UTC), project.zone)
    row = await (await conn.execute(_ASKED_BY, (bill_id,))).fetchone()
    assert row is not None
    must_be_another(row["by"], by, await policy_on(conn, project.id, today))
    await _check_left(conn, draft)
    await conn.execute(_APPROVED, (by, bill_id))
    await issue_documents(conn, project, [draft], today)
    return await _found(conn, bill_id)


async def _check_left(conn: Conn, draft: Draft) -> None:
    """Since it was asked for, a re-rating may have given back what the note would."""
    if draft.of_bill is None or draft.kind != "credit_note":
        return
    charges = sorted({line.charge_id for line in await repository.lines(conn, draft.bill_id)})
    for one in (await standings(conn, charges, note_id=draft.bill_id)).values():
        if one.net < 0:
            raise Conflict("amount-changed", f"a charge was corrected since: the note would give {-one.net} too much")


async def cancel_note(conn: Conn, bill_id: int, reason: str, *, by: int | None) -> None:
    """Throws a draft away and keeps why: its adjustments are open again.

    Raises NotFound; InvalidInput without a reason; Conflict once it is issued.
    """
    note = await _found(conn, bill_id)
    if note.state != "draft":
        raise Conflict("note-issued", f"{note.number} is issued: correct it by another note")
    await refusals.keep(conn, bill_id, stated(reason), by=by)
    await conn.execute(_DELETE, (bill_id,))


async def _found(conn: Conn, bill_id: int) -> BillRow:
    """The note. A bill of a run is none, and is not approved by itself."""
    found = await repository.bill(conn, bill_id)
    if found is None or await repository.run_of(conn, bill_id) is not None:
        raise NotFound("no-such-note", f"there is no credit or debit note {bill_id}", field="note_id")
    return found
