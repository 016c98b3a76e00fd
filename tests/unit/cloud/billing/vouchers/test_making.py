"""Vouchers: put together, numbered, balanced; and their files, read back by somebody else's parsers."""

import csv
import io
from datetime import date, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import openpyxl
import pytest
from beancount import loader
from beancount.core.data import Transaction
from hypothesis import given
from hypothesis import strategies as st

from cloud.billing.ledger.chart import DEFAULTS, ExternalAccount, beginnings, class_of, external
from cloud.billing.vouchers.files import FILE_TYPES, file_type, voucher_file
from cloud.billing.vouchers.layouts import TABLES, Context, Layout
from cloud.billing.vouchers.making import Booked, Unbalanced, Voucher, vouchers
from cloud.kit.errors import InvalidInput

JANUARY = date(2026, 1, 1)
SHANGHAI = ZoneInfo("Asia/Shanghai")
CONTEXT = Context("sunshine", '阳光 "花园"', "CNY", JANUARY)
CODES = (
    "receivable",
    "revenue:electricity",
    "revenue:物业 fee",
    "revenue:late_fee",
    "cash:wechat",
    "liability:prepaid",
)
AMOUNTS = {"plain": ("借方金额", "贷方金额"), "u8": ("金额借方", "金额贷方"), "k3": ("借方", "贷方"),
           "galaxy": ("FDEBIT", "FCREDIT")}  # fmt: skip
ACCOUNTS = {code: external(code, {}) or ExternalAccount("9", "X") for code in (*CODES, "x")}


def _row(day: int, kind: str, code: str, debit: int, credit: int, journal: int = 0) -> Booked:
    cents = Decimal("0.01")
    return Booked(JANUARY + timedelta(days=day), kind, journal, code, debit * cents, credit * cents, 2, 'a,"b"\\')


@st.composite
def _booked(draw: st.DrawFn) -> list[Booked]:
    """Days with balanced groups; the last ledger account takes what is missing."""
    rows = []
    for day, kind, journal in draw(
        st.sets(st.tuples(st.integers(0, 30), st.sampled_from(["bill", "payment"]), st.integers(0, 3)), max_size=6)
    ):
        sides = draw(
            st.dictionaries(st.sampled_from(CODES), st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)), min_size=1)
        )
        rows += [_row(day, kind, code, debit, credit, journal) for code, (debit, credit) in sides.items()]
        open_ = sum(debit - credit for debit, credit in sides.values())
        rows.append(_row(day, kind, "x", max(-open_, 0), max(open_, 0), journal))
    return draw(st.permutations(rows))


@given(_booked())
def test_vouchers_balance_are_numbered_in_order_and_hold_all_that_is_booked(booked: list[Booked]) -> None:
    made = vouchers(booked, ACCOUNTS)
    assert [voucher.number for voucher in made] == list(range(1, len(made) + 1))
    assert [voucher.day for voucher in made] == sorted(voucher.day for voucher in made)
    for voucher in made:
        assert voucher.total == sum(line.credit for line in voucher.lines)
        assert all((line.debit > 0) != (line.credit > 0) for line in voucher.lines)
    for code in {row.ledger_account for row in booked}:
        lines = [line for voucher in made for line in voucher.lines if line.ledger_account == code]
        assert sum(line.debit for line in lines) == sum(row.debit for row in booked if row.ledger_account == code)
        assert sum(line.credit for line in lines) == sum(row.credit for row in booked if row.ledger_account == code)
    assert vouchers(sorted(booked, key=repr), ACCOUNTS) == made


def test_what_does_not_balance_is_no_voucher() -> None:
    with pytest.raises(Unbalanced, match="voucher 1 of 2026-01-01"):
        vouchers([_row(0, "bill", "receivable", 2, 1)], ACCOUNTS)


@given(_booked())
def test_beancount_reads_every_voucher_and_its_balances_are_ours(booked: list[Booked]) -> None:
    made = vouchers(booked, ACCOUNTS)
    text = voucher_file("beancount", "beancount", CONTEXT, made, SHANGHAI).decode()
    entries, errors, options = loader.load_string(text)
    assert errors == []
    assert options["operating_currency"] == ["CNY"]
    transactions = [entry for entry in entries if isinstance(entry, Transaction)]
    assert [entry.payee for entry in transactions] == [f"记-{voucher.number}" for voucher in made]
    assert [entry.narration for entry in transactions] == [voucher.summary for voucher in made]
    ours = sum(row.debit - row.credit for row in booked if row.ledger_account == "receivable")
    theirs = [
        posting.units
        for entry in transactions
        for posting in entry.postings
        if posting.account == "Assets:1122:Receivable"
    ]
    assert sum(units.number for units in theirs if units is not None and units.number is not None) == ours


def _table(layout: Layout, form: str, content: bytes) -> list[dict[str, str]]:
    if form == "csv":
        return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))
    if form == "txt":
        head, *lines = content.decode("gb18030").splitlines()
        assert head == "填制凭证,V800"
        names = [field.name for field in TABLES[layout]]
        return [dict(zip(names, line.split(","), strict=True)) for line in lines]
    rows = list(openpyxl.load_workbook(io.BytesIO(content)).active.iter_rows(values_only=True))  # type: ignore[union-attr]
    names = [str(name) for name in rows[0]]
    return [
        {name: "" if cell is None else str(cell) for name, cell in zip(names, row, strict=True)} for row in rows[1:]
    ]


def _example() -> list[Voucher]:
    return vouchers(
        [
            _row(0, "bill", "receivable", 31916, 0),
            _row(0, "bill", "revenue:electricity", 0, 31816),
            _row(0, "bill", "revenue:物业 fee", 0, 100),
            _row(30, "payment", "cash:wechat", 123, 0, 7),
            _row(30, "payment", "receivable", 0, 123, 7),
        ],
        ACCOUNTS,
    )


@pytest.mark.parametrize(("layout", "form"), [(layout, form) for layout in TABLES for form in FILE_TYPES[layout]])
def test_every_table_holds_the_vouchers_balanced_and_is_the_same_again(layout: Layout, form: str) -> None:
    kind = file_type(layout, form)  # type: ignore[arg-type]
    content = voucher_file(layout, kind, CONTEXT, _example(), SHANGHAI)
    assert voucher_file(layout, kind, CONTEXT, _example(), SHANGHAI) == content
    rows = _table(layout, form, content)
    assert list(rows[0]) == [field.name for field in TABLES[layout]]
    debit, credit = AMOUNTS[layout]
    assert [Decimal(row[debit]) for row in rows] == [Decimal(amount) for amount in ("319.16", "0", "0", "1.23", "0")]
    assert sum(Decimal(row[debit]) - Decimal(row[credit]) for row in rows) == 0
    codes = {"plain": "科目编码", "u8": "科目编码", "k3": "科目代码", "galaxy": "FACCOUNTID"}[layout]
    assert [row[codes] for row in rows] == ["1122", "6001", "6001", "1012", "1122"]


def test_the_head_of_a_voucher_is_said_once_where_the_software_wants_that() -> None:
    rows = _table("galaxy", "csv", voucher_file("galaxy", "csv", CONTEXT, _example(), SHANGHAI))
    assert [row["FVOUCHERGROUPNO"] for row in rows] == ["1", "", "", "2", ""]
    assert [row["FEntity"] for row in rows] == ["1", "2", "3", "1", "2"]


def test_a_comma_in_a_text_shifts_no_column_of_u8() -> None:
    rows = _table("u8", "txt", voucher_file("u8", "txt", CONTEXT, _example(), SHANGHAI))
    assert rows[0]["摘要"] == "应收费用 a  b \\(2笔)"
    assert rows[0]["制单日期"] == "2026-01-01"


def test_a_kind_of_file_that_the_layout_has_not() -> None:
    assert file_type("u8", None) == "txt"
    with pytest.raises(InvalidInput, match="beancount comes as beancount, not as csv"):
        file_type("beancount", "csv")


def test_the_longest_beginning_wins_and_the_projects_before_the_usual() -> None:
    assert beginnings("revenue:water:sewage") == ["revenue:water:sewage", "revenue:water", "revenue"]
    assert external("revenue:late_fee", {}) == DEFAULTS["revenue:late_fee"]
    assert external("revenue:late_fee:x", {}) == DEFAULTS["revenue:late_fee"]
    own = {"revenue": ExternalAccount("600199", "收入")}
    assert external("revenue:late_fee", own) == own["revenue"]
    assert external("strange", own) is None
    assert (class_of("cash:wechat"), class_of("tax:vat"), class_of("strange")) == ("asset", "liability", "other")
