"""Whatever people are called, their bill can be written; and what it says of payments and late fees."""

import io
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any

import pypdf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.billing.corrections.crediting import Given, GivenPart
from cloud.billing.documents.composing import Material, compose
from cloud.billing.documents.html import as_html
from cloud.billing.documents.model import BillDocument
from cloud.billing.documents.payment_code import as_png_uri, as_svg, pay_address
from cloud.billing.documents.pdf import typeset
from cloud.billing.records import Bill, BillKind, BillLine, BillRow, Charge, LateFeeRow
from cloud.estate.records import Account, Project, Validity
from cloud.kit.i18n import load_catalogues
from cloud.kit.periods import Period
from tests.unit.cloud.billing.by_hand import add_up_document

_ENGLISH = load_catalogues()["en"]
_PROJECT = Project(1, "demo", "Sun Garden", "Asia/Shanghai", "CNY", "1 Garden Road")
_ACCOUNT = Account(1, 1, "A-1", 1, 1, "Ada", "Tower 1 0101", "Tower 1", Validity(date(2025, 1, 1)))
_PERIOD = Period(date(2026, 1, 1), date(2026, 2, 1))
_LINE = BillLine(
    1, "area", "property", "property_fee", None, None, Decimal("89.50"), "m2", Decimal("2.35"), Decimal("210.33"), {},
    1, None,
)  # fmt: skip
_CHARGE = Charge(1, 1, "property", _PERIOD, 1, None, None, None, None, None, None, None, Decimal("210.33"), (_LINE,))
_NOTHING = Decimal(0)
_SUMMARY = BillRow(
    17, 1, 1, "2026-000017", _PERIOD, "CNY", Decimal("210.33"), _NOTHING, _NOTHING, _NOTHING, date(2026, 2, 1),
    date(2026, 2, 16), "issued", None,
)  # fmt: skip


def _document(
    summary: BillRow = _SUMMARY,
    *,
    late_fee: LateFeeRow | None = None,
    project: Project = _PROJECT,
    account: Account = _ACCOUNT,
    lines: tuple[BillLine, ...] = (_LINE,),
) -> BillDocument:
    bill = Bill(summary, (replace(_CHARGE, lines=lines),), late_fee, "1", {})
    pay_at = pay_address("https://pay.example.com", summary.id)
    return compose(Material(bill, {}, project, account, {}, pay_at), "en", _ENGLISH)


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}


def _tags(html: str) -> _Tags:
    found = _Tags()
    found.feed(html)
    return found


names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=300) | st.text(
    st.sampled_from("#$*_`<>@[]{}()\\/\"'=~^&;%\n\t\u202e\u200d👨‍👩‍👧é́ﷺW欧"), max_size=300
)


@settings(max_examples=25)
@given(project=names, address=names, person=names, unit=names, component=names)
def test_any_text_can_be_written(project: str, address: str, person: str, unit: str, component: str) -> None:
    document = _document(
        project=replace(_PROJECT, name=project, address=address),
        account=replace(_ACCOUNT, person_name=person, unit_label=unit),
        lines=(replace(_LINE, kind=component, component=component),),
    )
    written = typeset(document)
    assert written == typeset(document)
    assert len(pypdf.PdfReader(io.BytesIO(written)).pages) >= 1
    plain, found = _tags(as_html(_document())), _tags(as_html(document))
    assert set(found.tags) <= set(plain.tags)
    assert found.attributes == plain.attributes


def test_payments_and_late_fees_are_told() -> None:
    late = LateFeeRow(date(2026, 3, 1), Decimal("3.50"), Decimal("0.50"), [])
    paid = replace(_SUMMARY, paid=Decimal("100.00"), late_fee=Decimal("3.00"), late_fee_paid=Decimal("1.00"))
    document = _document(paid, late_fee=late)
    assert [(one.name, one.amount) for one in document.sums] == [
        ("Total", "¥210.33"),
        ("Paid", "-¥100.00"),
        ("Unpaid", "¥110.33"),
        ("Late fee until Mar 1, 2026", "¥3.00"),
        ("Late fee paid", "-¥1.00"),
        ("To pay", "¥112.33"),
    ]
    assert document.pay is not None
    add_up_document(document)


def test_what_was_credited_was_not_paid() -> None:
    credited = replace(_SUMMARY, paid=Decimal("110.33"), credited=Decimal("10.33"))
    document = _document(credited)
    assert [(one.name, one.amount) for one in document.sums[1:]] == [
        ("Taken off by credit notes", "-¥10.33"),
        ("Paid", "-¥100.00"),
        ("Unpaid", "¥100.00"),
        ("To pay", "¥100.00"),
    ]
    add_up_document(document)
    whole = _document(replace(credited, credited=Decimal("110.33")))
    assert "Paid" not in [one.name for one in whole.sums]


def test_what_is_in_dispute_is_not_asked_for() -> None:
    late = LateFeeRow(date(2026, 3, 1), Decimal("3.00"), _NOTHING, [])
    owed = replace(_SUMMARY, state="disputed", late_fee=Decimal("3.00"), paid=Decimal("10.00"))
    part = _document(replace(owed, disputed=Decimal("100.33")), late_fee=late)
    assert [(one.name, one.amount) for one in part.sums[-2:]] == [
        ("In dispute, not to be paid now", "-¥103.33"),
        ("To pay", "¥100.00"),
    ]
    whole = _document(replace(owed, disputed=Decimal("210.33")), late_fee=late)
    assert (whole.sums[-1].amount, whole.pay) == ("¥0.00", None)
    for document in (part, whole):
        add_up_document(document)


_KEYS = st.tuples(st.integers(1, 3), st.sampled_from(["water", "electricity"]), st.integers(1, 3))
_CENTS = st.integers(-100_000, 100_000).map(lambda cents: Decimal(cents).scaleb(-2))


@settings(max_examples=50)
@given(st.lists(st.tuples(_KEYS, _CENTS, st.booleans()), min_size=1, max_size=12))
def test_corrections_are_printed_and_add_up(drawn: list[tuple[tuple[int, str, int], Decimal, bool]]) -> None:
    lines = []
    for position, ((bill, service, month), amount, by_hand) in enumerate(drawn, 1):
        period = Period(date(2026, month, 1), date(2026, month + 1, 1))
        detail: dict[str, Any] = {
            "of": "usage", "bill": f"2026-{bill:06}", "bill_id": bill, "line": position, "period": str(period)
        }  # fmt: skip
        if by_hand:
            detail["reason"] = "goodwill"
        else:
            detail |= {"was": {"quantity": "0", "amount": "0"}, "now": {"quantity": "1", "amount": str(amount)}}
        lines.append(
            BillLine(
                position, "adjustment", service, "usage", 1, None, None, "kWh", None, amount, detail, position, None
            )
        )
    total = sum((line.amount for line in lines), _NOTHING)
    kind: BillKind = "credit_note" if total < 0 else "debit_note"
    summary = replace(_SUMMARY, total=total, kind=kind)
    note = Bill(summary, (), None, "1", {"note": {"reason": "misread"}}, tuple(lines))
    given = Given((GivenPart(1, "2026-000001", Decimal(1)),), -total - 1) if total < -1 else None
    document = compose(Material(note, {}, _PROJECT, _ACCOUNT, {}, None, given), "en", _ENGLISH)
    add_up_document(document)
    assert document.title == {"credit_note": "Credit note", "debit_note": "Debit note"}[kind]
    assert sum(len(block.lines) for block in document.blocks) == len(lines)
    named = {(line.detail["bill"], line.service, line.detail["period"]) for line in lines}
    assert len(document.blocks) == len(named)
    notes = [note for block in document.blocks for note in block.notes]
    assert len(notes) == len(lines)
    assert all(f"line {line.position}" in " ".join(notes) for line in lines)
    assert ("Reason", "misread") in [(fact.name, fact.value) for fact in document.facts]


def test_a_final_bill_says_so() -> None:
    for kind, title in (("bill", "Final bill"), ("credit_note", "Final bill · Credit note")):
        summary = replace(_SUMMARY, kind=kind)  # type: ignore[arg-type]  # the loop's plain texts
        bill = Bill(summary, (), None, "1", {"final": "2026-02-01"})
        assert compose(Material(bill, {}, _PROJECT, _ACCOUNT, {}, None), "en", _ENGLISH).title == title


@pytest.mark.parametrize(
    ("state", "watermark", "asks"), [("draft", "DRAFT", False), ("void", "VOID", False), ("disputed", "", True)]
)
def test_states(state: str, watermark: str, asks: bool) -> None:
    summary = replace(_SUMMARY, state=state)  # type: ignore[arg-type]  # parameters are plain texts
    document = _document(summary)
    assert (document.watermark, document.pay is not None) == (watermark, asks)


def test_a_paid_bill_asks_for_nothing_and_is_still_found() -> None:
    paid = _document(replace(_SUMMARY, state="paid", paid=Decimal("210.33")))
    assert paid.pay is None
    assert paid.online is not None
    assert as_html(paid).count(f'href="{paid.online}"') == 1
    assert as_html(_document()).count("href=") == 1
    assert _document(replace(_SUMMARY, state="draft", number=None)).online is None


def test_the_date_of_the_file_is_the_day_of_issue_in_the_project() -> None:
    assert _document().made_at == datetime(2026, 1, 31, 16, tzinfo=UTC)
    information = pypdf.PdfReader(io.BytesIO(typeset(_document()))).metadata
    assert information is not None
    assert information.creation_date == datetime(2026, 1, 31, 16, tzinfo=UTC)


def test_the_code_holds_the_address_of_the_bill() -> None:
    """A code of 29 modules and its quiet zone; another address is another picture."""
    address = pay_address("https://pay.example.com", 17)
    assert address == "https://pay.example.com/my/bills/17"
    assert pay_address(None, 17) is None
    assert 'width="33" height="33"' in as_svg(address)
    assert as_png_uri(address).startswith("data:image/png;base64,")
    assert as_svg(address) != as_svg(f"{address}1")
