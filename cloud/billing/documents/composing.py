"""Says a bill in one language: from records to the texts of its document."""

import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from cloud.billing import names
from cloud.billing.corrections import sentences as correction_sentences
from cloud.billing.corrections.crediting import Given
from cloud.billing.corrections.sentences import Corrected, as_charged, corrected
from cloud.billing.documents.model import BillDocument, Block, Cells, Fact, Language, Pay, Sum
from cloud.billing.explanation import sentences
from cloud.billing.explanation.explaining import Explained
from cloud.billing.explanation.explaining_agreed import agreed_sentences, explain_agreed
from cloud.billing.records import Bill, BillLine, Charge
from cloud.estate.records import Account, Project
from cloud.kit import i18n
from cloud.kit.i18n import gettext as _
from cloud.kit.i18n import show_date, show_money, show_period
from cloud.kit.periods import day_start

_HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode categories of characters that steer the text around them instead of being read."""


@dataclass(frozen=True, slots=True)
class Material:
    """Everything the document of one bill is made of. `meters` are codes by id; `pay_at` is where it is paid."""

    bill: Bill
    explained: Mapping[int, Explained]
    project: Project
    account: Account | None
    meters: Mapping[int, str]
    pay_at: str | None
    given: Given | None = None
    """What became of an issued credit note."""


def compose(material: Material, language: Language, translator: i18n.Translator) -> BillDocument:
    """The document in the language of `translator`."""
    with i18n.speaking(translator):
        return _Composing(material).document(language)


class _Composing:
    def __init__(self, material: Material) -> None:
        self._of = material
        self._summary = material.bill.summary
        self._agreed = {one.charge_id: one for one in explain_agreed(material.bill)}

    def document(self, language: Language) -> BillDocument:
        bill, summary, project = self._of.bill, self._summary, self._of.project
        number = summary.number
        return BillDocument(
            language=language,
            file_name=number or f"draft-{summary.id}",
            made_at=self._made_at(),
            title=correction_sentences.document_title(bill),
            watermark={"draft": _("DRAFT"), "void": _("VOID")}.get(summary.state, ""),
            project=_readable(project.name),
            address=_readable(project.address),
            facts=tuple(self._facts()),
            columns=(_("What for"), _("Quantity"), _("Price"), _("Amount")),
            blocks=(
                *map(self._block, bill.charges),
                *map(self._corrected, corrected(bill.corrections)),
            ),
            sums=tuple(self._sums()),
            pay=self._pay(),
            footer=" · ".join(part for part in (_readable(project.name), number or "") if part),
            online=self._of.pay_at if number else None,
        )

    def _made_at(self) -> datetime:
        """The instant of issue: the beginning of its day. A draft has that of the end of its period."""
        day = self._summary.issued_on or self._summary.period.end
        return day_start(day, self._of.project.zone)

    def _money(self, amount: Decimal) -> str:
        return show_money(amount, self._summary.currency)

    def _facts(self) -> Iterator[Fact]:
        summary, account = self._summary, self._of.account
        first, last = summary.period.start, summary.period.end - timedelta(days=1)
        yield Fact(_("Bill number") if summary.kind == "bill" else _("Number"), summary.number or "–")
        if account is not None:
            yield Fact(_("Account"), _readable(account.number))
            yield Fact(_("Payer"), _readable(account.person_name))
            if account.unit_label:
                yield Fact(_("Unit"), _readable(account.unit_label))
        yield Fact(_("Period"), f"{show_date(first)} – {show_date(last)}")
        yield Fact(_("Issued on"), show_date(summary.issued_on) if summary.issued_on else "–")
        if summary.kind != "credit_note":
            yield Fact(_("Due on"), show_date(summary.due_on) if summary.due_on else "–")
        yield Fact(_("State"), names.bill_state_name(summary.state, summary.kind))
        note = self._of.bill.note
        if "number" in note:
            yield Fact(_("Corrects bill"), note["number"])
        if note:
            yield Fact(_("Reason"), _readable(note["reason"]))

    def _block(self, charge: Charge) -> Block:
        currency, explained = self._summary.currency, self._of.explained.get(charge.id)
        notes = [] if explained is None else sentences.sentences(explained, currency)
        taxes = () if explained is None else explained.contained_taxes
        agreed = self._agreed.get(charge.id)
        if agreed is not None:
            notes, taxes = agreed_sentences(agreed, currency), agreed.contained_taxes
        meter = self._of.meters.get(charge.meter_id or 0)
        readings = sentences.readings_sentence(charge, self._of.project.zone)
        if meter and readings:
            readings = _("Meter %(code)s") % {"code": _readable(meter)} + " · " + readings
        return Block(
            title=_readable(names.service_name(charge.service)),
            period=show_period(charge.period),
            readings=readings,
            lines=self._cells(charge.lines),
            subtotal=Sum(_("Subtotal"), self._money(charge.amount)),
            notes=(*notes, *(sentences.tax_sentence(tax, currency) for tax in taxes)),
        )

    def _cells(self, lines: Iterable[BillLine]) -> tuple[Cells, ...]:
        return tuple(
            (
                _readable(sentences.line_title(line)),
                sentences.line_quantity(line),
                sentences.line_price(line),
                self._money(line.amount),
            )
            for line in lines
        )

    def _corrected(self, one: Corrected) -> Block:
        currency = self._summary.currency
        return Block(
            title=_readable(correction_sentences.correction_title(one)),
            period=show_period(one.period),
            readings="",
            lines=self._cells(map(as_charged, one.lines)),
            subtotal=Sum(_("Subtotal"), self._money(one.amount)),
            notes=tuple(_readable(correction_sentences.correction_sentence(line, currency)) for line in one.lines),
        )

    def _given(self) -> Iterator[Sum]:
        """What became of a credit note: its parts add up to it."""
        given = self._of.given
        if given is None:
            return
        for part in given.parts:
            yield Sum(_("Taken off bill %(number)s") % {"number": part.number}, self._money(part.amount))
        if given.kept:
            yield Sum(_("Kept as prepaid balance"), self._money(given.kept))

    def _sums(self) -> Iterator[Sum]:
        summary, late_fee = self._summary, self._of.bill.late_fee
        yield Sum(_("Total"), self._money(summary.total), strong=True)
        if summary.kind == "credit_note":
            yield from self._given()
            return
        if summary.credited:
            yield Sum(_("Taken off by credit notes"), self._money(-summary.credited))
        if summary.paid != summary.credited:
            yield Sum(_("Paid"), self._money(summary.credited - summary.paid))
        if summary.paid:
            yield Sum(_("Unpaid"), self._money(summary.open))
        if late_fee is not None and summary.late_fee:
            yield Sum(_("Late fee until %(day)s") % {"day": show_date(late_fee.through)}, self._money(summary.late_fee))
            if summary.late_fee_paid:
                yield Sum(_("Late fee paid"), self._money(-summary.late_fee_paid))
        disputed = summary.open + summary.late_fee_open - summary.payable
        if disputed:
            yield Sum(_("In dispute, not to be paid now"), self._money(-disputed))
        if summary.paid or summary.late_fee or disputed:
            yield Sum(_("To pay"), self._money(summary.payable), strong=True)

    def _pay(self) -> Pay | None:
        summary = self._summary
        if not summary.owing:
            return None
        told = [_("Scan the code, sign in and pay, or pay at the property office.")]
        if self._of.pay_at is None:
            told = [_("Pay at the property office.")]
        told.append(_("Name bill %(number)s when you pay by bank transfer.") % {"number": summary.number})
        if summary.due_on is not None:
            told.append(_("Please pay by %(day)s.") % {"day": show_date(summary.due_on)})
        return Pay(_("How to pay"), tuple(told), self._of.pay_at)


def _readable(text: str) -> str:
    """Text that people entered, without characters that would turn or hide what stands beside it."""
    return "".join(" " if unicodedata.category(sign) in _HIDDEN else sign for sign in text).strip()
