"""How accounting software wants its vouchers: columns of tables, the text of 用友 U8, and Beancount. Pure.

Where the names of the columns come from, and what nobody has tried yet, is told in docs/ledger.md.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final, Literal

from cloud.billing.ledger.chart import class_of
from cloud.billing.vouchers.making import Line, Voucher
from cloud.kit.money import minor_digits, round_half_up

Layout = Literal["plain", "u8", "k3", "galaxy", "beancount"]
Cell = str | int | Decimal | None

WORD: Final = "记"
"""The kind of all our vouchers: 记账凭证."""


@dataclass(frozen=True, slots=True)
class Context:
    """What all vouchers of a file share: whose accounts, the currency, and who prepares them in the software."""

    project_code: str
    project_name: str
    currency: str
    month: date
    preparer: str = "gatemeter"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a voucher with its place: `nth` counts the lines of the voucher from 0."""

    context: Context
    voucher: Voucher
    line: Line
    nth: int


Value = Callable[[Row], Cell]


@dataclass(frozen=True, slots=True)
class Field:
    """A column of a layout: its name, what it holds, whether it is an amount of money."""

    name: str
    value: Value
    money: bool = False


def _empty(_: Row) -> Cell:
    return ""


def _zero(_: Row) -> Cell:
    return 0


def _day(row: Row) -> Cell:
    return row.voucher.day.isoformat()


def _debit(row: Row) -> Cell:
    return row.line.debit


def _credit(row: Row) -> Cell:
    return row.line.credit


def _amount(row: Row) -> Cell:
    return row.line.debit or row.line.credit


def _only_first(value: Value) -> Value:
    """Of a voucher's head: said on its first line only."""
    return lambda row: value(row) if row.nth == 0 else ""


def _word(_: Row) -> Cell:
    return WORD


def _preparer(row: Row) -> Cell:
    return row.context.preparer


PLAIN: Final = (
    Field("凭证日期", _day),
    Field("凭证字", _word),
    Field("凭证号", lambda row: row.voucher.number),
    Field("附单据数", _zero),
    Field("摘要", lambda row: row.voucher.summary),
    Field("科目编码", lambda row: row.line.account.code),
    Field("科目名称", lambda row: row.line.account.name),
    Field("借方金额", _debit, money=True),
    Field("贷方金额", _credit, money=True),
    Field("币别", lambda row: row.context.currency),
    Field("明细", lambda row: row.line.ledger_account),
)

U8: Final = (
    Field("制单日期", _day),
    Field("凭证类别字", _word),
    Field("业务号", lambda row: row.voucher.number),
    Field("附单据数", _zero),
    Field("摘要", lambda row: row.voucher.summary),
    Field("科目编码", lambda row: row.line.account.code),
    Field("金额借方", _debit, money=True),
    Field("金额贷方", _credit, money=True),
    Field("数量", _empty),
    Field("外币", _empty),
    Field("汇率", _empty),
    Field("制单人", _preparer),
)


def _k3_currency(row: Row) -> Cell:
    return {"CNY": "RMB"}.get(row.context.currency, row.context.currency)


def _k3_currency_name(row: Row) -> Cell:
    return {"CNY": "人民币"}.get(row.context.currency, row.context.currency)


K3: Final = (
    Field("凭证日期", _day),
    Field("会计年度", lambda row: row.voucher.day.year),
    Field("会计期间", lambda row: row.voucher.day.month),
    Field("凭证字", _word),
    Field("凭证号", lambda row: row.voucher.number),
    Field("科目代码", lambda row: row.line.account.code),
    Field("科目名称", lambda row: row.line.account.name),
    Field("币别代码", _k3_currency),
    Field("币别名称", _k3_currency_name),
    Field("原币金额", _amount, money=True),
    Field("借方", _debit, money=True),
    Field("贷方", _credit, money=True),
    Field("制单", _preparer),
    Field("审核", lambda _: "NONE"),
    Field("核准", lambda _: "NONE"),
    Field("出纳", lambda _: "NONE"),
    Field("经办", _empty),
    Field("结算方式", lambda _: "*"),
    Field("结算号", _empty),
    Field("凭证摘要", lambda row: row.voucher.summary),
    Field("数量", _zero),
    Field("数量单位", lambda _: "*"),
    Field("单价", _zero),
    Field("参考信息", _empty),
    Field("业务日期", _day),
    Field("往来业务编号", _empty),
    Field("附件数", _zero),
    Field("序号", lambda row: row.voucher.number),
    Field("系统模块", _empty),
    Field("业务描述", _empty),
    Field("汇率类型", lambda _: "公司汇率"),
    Field("汇率", lambda _: 1),
    Field("分录序号", lambda row: row.nth),
    Field("核算项目", _empty),
    Field("过账", _zero),
    Field("机制凭证", _empty),
    Field("现金流量", _empty),
)

GALAXY: Final = (
    Field("FBillHead(GL_VOUCHER)", _only_first(lambda row: row.voucher.number)),
    Field("FAccountBookID", _only_first(lambda row: row.context.project_code)),
    Field("FAccountBookID#Name", _only_first(lambda row: row.context.project_name)),
    Field("FDate", _only_first(_day)),
    Field("FBUSDATE", _only_first(_day)),
    Field("FYEAR", _only_first(lambda row: row.voucher.day.year)),
    Field("FPERIOD", _only_first(lambda row: row.voucher.day.month)),
    Field("FVOUCHERGROUPID", _only_first(lambda _: "PRE001")),
    Field("FVOUCHERGROUPID#Name", _only_first(_word)),
    Field("FVOUCHERGROUPNO", _only_first(lambda row: row.voucher.number)),
    Field("FATTACHMENTS", _only_first(_zero)),
    Field("*Split*1", _empty),
    Field("FEntity", lambda row: row.nth + 1),
    Field("FEXPLANATION", lambda row: row.voucher.summary),
    Field("FACCOUNTID", lambda row: row.line.account.code),
    Field("FACCOUNTID#Name", lambda row: row.line.account.name),
    Field("FCURRENCYID", lambda row: {"CNY": "PRE001"}.get(row.context.currency, row.context.currency)),
    Field("FCURRENCYID#Name", _k3_currency_name),
    Field("FEXCHANGERATE", lambda _: 1),
    Field("FAMOUNTFOR", _amount, money=True),
    Field("FDEBIT", _debit, money=True),
    Field("FCREDIT", _credit, money=True),
)

TABLES: Final[Mapping[Layout, Sequence[Field]]] = {"plain": PLAIN, "u8": U8, "k3": K3, "galaxy": GALAXY}


def table_rows(layout: Layout, context: Context, vouchers: Sequence[Voucher]) -> Iterator[list[Cell]]:
    """The lines of all vouchers in the columns of a table layout; amounts have the decimals of the currency."""
    digits = minor_digits(context.currency)
    fields = TABLES[layout]
    for row in _rows(context, vouchers):
        cells = [field.value(row) for field in fields]
        yield [round_half_up(cell, digits) if isinstance(cell, Decimal) else cell for cell in cells]


def _rows(context: Context, vouchers: Sequence[Voucher]) -> Iterator[Row]:
    for voucher in vouchers:
        for nth, line in enumerate(voucher.lines):
            yield Row(context, voucher, line, nth)


def u8_text(context: Context, vouchers: Sequence[Voucher]) -> bytes:
    """The text file of U8's 总账工具: its head line, then a line for each line of a voucher, in GB 18030."""
    # The tool knows no quotes: a comma inside a text would shift the columns.
    lines = (
        ",".join(re.sub(r"[,\r\n\"]", " ", _shown(cell)) for cell in cells)
        for cells in table_rows("u8", context, vouchers)
    )
    return "".join(f"{line}\r\n" for line in ("填制凭证,V800", *lines)).encode("gb18030")


def _shown(cell: Cell) -> str:
    return format(cell, "f") if isinstance(cell, Decimal) else "" if cell is None else str(cell)


_ROOTS: Final = {
    "asset": "Assets",
    "liability": "Liabilities",
    "income": "Income",
    "expense": "Expenses",
    "other": "Equity",
}


def beancount_account(line: Line) -> str:
    """Such as Income:6001:Revenue:Electricity: what kind, the number in the software, our own code."""
    parts = [line.account.code, *line.ledger_account.split(":")]
    return ":".join([_ROOTS[class_of(line.ledger_account)], *(_component(part) for part in parts)])


def _component(part: str) -> str:
    """Beancount allows letters, digits and dashes, first a capital or a digit; other scripts are letters."""
    clean = re.sub(r"[^0-9A-Za-z\u0080-\U0010ffff-]", "-", part).strip("-") or "X"
    return clean[0].upper() + clean[1:]


def beancount_text(context: Context, vouchers: Sequence[Voucher]) -> bytes:
    """A Beancount file that stands by itself: it opens its accounts and holds every voucher as a transaction."""
    digits = minor_digits(context.currency)
    accounts = sorted({beancount_account(line) for voucher in vouchers for line in voucher.lines})
    out = [
        f"option {_quoted('title')} {_quoted(f'{context.project_name} {context.month:%Y-%m}')}",
        f"option {_quoted('operating_currency')} {_quoted(context.currency)}",
        "",
        *(f"{context.month.isoformat()} open {account} {context.currency}" for account in accounts),
    ]
    for voucher in vouchers:
        out += ["", f"{voucher.day.isoformat()} * {_quoted(f'{WORD}-{voucher.number}')} {_quoted(voucher.summary)}"]
        for line in voucher.lines:
            amount = round_half_up(line.debit - line.credit, digits)
            out.append(f"  {beancount_account(line)}  {amount:f} {context.currency}")
    return "".join(f"{line}\n" for line in out).encode()


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
    return f'"{escaped}"'
