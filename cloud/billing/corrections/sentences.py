"""Corrections of earlier bills as people read them: titles of notes, and what each line was and should have been."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any

from cloud.billing import names
from cloud.billing.explanation import sentences
from cloud.billing.records import Bill, BillLine
from cloud.kit.i18n import gettext as _
from cloud.kit.i18n import show_money, show_period, show_plain
from cloud.kit.periods import Period


@dataclass(frozen=True, slots=True)
class Corrected:
    """Lines that correct what one bill charged of a service over a period. `number` is that of the bill."""

    bill_id: int
    number: str
    service: str
    period: Period
    lines: tuple[BillLine, ...]

    @property
    def amount(self) -> Decimal:
        """What its lines come to."""
        return sum((line.amount for line in self.lines), Decimal(0))


def corrected(lines: Sequence[BillLine]) -> list[Corrected]:
    """Correcting lines by the bill, service and period that they correct, in the order of the lines."""
    found: dict[tuple[int, str, str, str], list[BillLine]] = {}
    for line in lines:
        key = (line.detail["bill_id"], line.detail["bill"], line.service, line.detail["period"])
        found.setdefault(key, []).append(line)
    return [
        Corrected(bill_id, number, service, period_of(period), tuple(mine))
        for (bill_id, number, service, period), mine in found.items()
    ]


def period_of(text: str) -> Period:
    """The local days that a correction names as `2026-01-01/2026-02-01`."""
    start, end = text.split("/")
    return Period(date.fromisoformat(start), date.fromisoformat(end))


def as_charged(line: BillLine) -> BillLine:
    """A correcting line as one of the kind that it corrects: it is named and priced alike."""
    return replace(line, kind=line.detail["of"])


def document_title(bill: Bill) -> str:
    """What the document is: a bill of a month, a final bill, a credit or debit note."""
    kind = {"credit_note": _("Credit note"), "debit_note": _("Debit note")}.get(bill.summary.kind)
    if bill.final:
        return " · ".join(part for part in (_("Final bill"), kind) if part)
    return kind or _("Bill for %(month)s") % {"month": show_period(bill.summary.period)}


def correction_title(one: Corrected) -> str:
    """Which bill and service is corrected."""
    return _("%(service)s, correction of bill %(number)s") % {
        "service": names.service_name(one.service),
        "number": one.number,
    }


def correction_sentence(line: BillLine, currency: str) -> str:
    """Which line of the earlier bill it was, what it said and what it should say; or why somebody corrects it."""
    detail = line.detail
    if detail["of"] == "note" and "notes" in detail:
        return _("What %(notes)s gave or took already is counted") % {"notes": ", ".join(detail["notes"])}
    where = (_("%(what)s, a line that was not on it") if detail["line"] is None else _("%(what)s, line %(line)s")) % {
        "what": sentences.line_title(as_charged(line)),
        "line": detail["line"],
    }
    if "was" not in detail:
        return f"{where}: {detail.get('reason', '')}"
    was, now = (_state(detail[name], line, currency) for name in ("was", "now"))
    return f"{where}: " + _("%(was)s until now, %(now)s as it should be") % {"was": was, "now": now}


def _state(state: Mapping[str, Any], line: BillLine, currency: str) -> str:
    amount = show_money(Decimal(state["amount"]), currency)
    if state["quantity"] is None:
        return amount
    unit = names.unit_name(line.unit)
    return f"{show_plain(Decimal(state['quantity']))} {unit} = {amount}"
