"""Providers' statements: read whole or refused; the peers that write them share no code with what reads them."""

import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.payments.channels.base import Move, ProviderUnavailable
from cloud.payments.channels.statement_files import alipay_moves, wechat_moves
from simulators.payments.statements import alipay_statement, wechat_statement

DAY = date(2026, 11, 25)
NOON = datetime(2026, 11, 25, 4, tzinfo=UTC)


@dataclass
class _Wechat:
    reference: str
    total: int
    description: str
    refunds: dict[str, int]
    failed: set[str] = field(default_factory=set)
    currency: str = "CNY"
    paid_at: datetime | None = NOON
    refunded_at: dict[str, datetime] = field(default_factory=dict)
    transaction_id: str | None = None

    def __post_init__(self) -> None:
        self.transaction_id = f"42{self.reference}"


@dataclass
class _Alipay:
    reference: str
    amount: Decimal
    subject: str
    refunds: dict[str, Decimal]
    paid_at: datetime | None = NOON
    refunded_at: dict[str, datetime] = field(default_factory=dict)
    trade_no: str = ""

    def __post_init__(self) -> None:
        self.trade_no = f"2026{self.reference}"


_FEN = st.integers(1, 10**9)
# What WeChat and Alipay let a merchant write as the subject: no line ends, none of their own marks.
# Ends of lines that are none in these files may be pasted along; GBK has one of them.
_SUBJECTS = st.text(st.sampled_from('物业费,"，0a. #\x0b'), max_size=12).map(lambda text: f"x{text}")
_TRADES = st.lists(st.tuples(_FEN, _SUBJECTS, st.lists(_FEN, max_size=2)), min_size=1, max_size=6)
_PASTED = st.sampled_from(("", "\x85", "\u2028"))


@given(_TRADES, _PASTED)
def test_what_wechat_writes_is_read_to_the_cent(made: list[tuple[int, str, list[int]]], pasted: str) -> None:
    trades = [
        _Wechat(f"gm{n}", total, subject + pasted, {f"r{n}-{k}": part for k, part in enumerate(parts)})
        for n, (total, subject, parts) in enumerate(made)
    ]
    for one in trades:
        one.refunded_at = dict.fromkeys(one.refunds, NOON + timedelta(hours=1))
        one.failed = set(list(one.refunds)[:1])
    content = wechat_statement(trades, DAY, "wx1", "1900000109")
    assert content is not None
    wanted = []
    for one in trades:
        paid = Decimal(one.total) / 100
        wanted.append(Move("payment", one.reference, one.transaction_id or "", "", paid, "CNY", NOON))
        wanted += [
            Move(
                "refund", one.reference, one.transaction_id or "", number, Decimal(part) / 100, "CNY",
                one.refunded_at[number], number in one.failed,
            )
            for number, part in one.refunds.items()
        ]  # fmt: skip
    assert list(wechat_moves(content)) == wanted


@given(_TRADES)
def test_what_alipay_writes_is_read_to_the_cent(made: list[tuple[int, str, list[int]]]) -> None:
    trades = [
        _Alipay(
            f"gm{n}", Decimal(total) / 100, subject, {f"r{n}-{k}": Decimal(part) / 100 for k, part in enumerate(parts)},
        )
        for n, (total, subject, parts) in enumerate(made)
    ]  # fmt: skip
    for one in trades:
        one.refunded_at = dict.fromkeys(one.refunds, NOON)
    archive = alipay_statement(trades, DAY)
    assert archive is not None
    wanted = []
    for one in trades:
        wanted.append(Move("payment", one.reference, one.trade_no, "", one.amount, "CNY", NOON))
        wanted += [
            Move("refund", one.reference, one.trade_no, number, part, "CNY", NOON)
            for number, part in one.refunds.items()
        ]
    assert list(alipay_moves(archive)) == wanted


def _wechat() -> bytes:
    content = wechat_statement([_Wechat("gm1", 1234, "水费", {})], DAY, "wx1", "1900000109")
    assert content is not None
    return content


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "",
        lambda text: text[: len(text) // 2],
        lambda text: "\r\n".join(line for n, line in enumerate(text.splitlines()) if n != 1),
        lambda text: text.replace("`SUCCESS", "`PENDING"),
        lambda text: text.replace("`12.34", "`12.35", 1).replace("`12.34", "`12.35", 1),
        lambda text: text.replace("`12.34", "`NaN"),
        lambda text: text.replace("`2026-11-25 12:00:00", "`25/11/2026"),
        lambda text: text.replace("`gm1", "`"),
        lambda text: text.replace(",订单金额", ",金额", 1),
    ],
)
def test_a_statement_of_wechat_that_is_not_whole_is_refused(change: Callable[[str], str]) -> None:
    text = _wechat().decode("utf-8-sig")
    assert len(wechat_moves(text.encode())) == 1
    with pytest.raises(ProviderUnavailable):
        wechat_moves(change(text).encode())
    with pytest.raises(ProviderUnavailable):
        wechat_moves(text.encode("gbk"))


def _zipped(change: Callable[[str], str]) -> bytes:
    archive = alipay_statement([_Alipay("gm1", Decimal("12.34"), "水费", {})], DAY)
    assert archive is not None
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as opened, zipfile.ZipFile(made, "w") as changed:
        for name in opened.namelist():
            changed.writestr(name, change(opened.read(name).decode("gbk")).encode("gbk"))
    return made.getvalue()


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[: text.index("列表")],
        lambda text: text.replace("业务明细列表结束", ""),
        lambda text: text.replace("\t,交易\t", "\t,转账\t"),
        lambda text: text.replace("12.34", "12,34"),
        lambda text: text.replace("\t,gm1", ""),
        lambda text: text.replace("支付宝交易号", "交易号"),
    ],
)
def test_a_statement_of_alipay_that_is_not_whole_is_refused(change: Callable[[str], str]) -> None:
    assert len(alipay_moves(_zipped(str))) == 1
    with pytest.raises(ProviderUnavailable):
        alipay_moves(_zipped(change))
    with pytest.raises(ProviderUnavailable):
        alipay_moves(_zipped(str)[:200])


def test_a_refund_without_a_number_of_ours_has_the_providers() -> None:
    trade = _Wechat("gm1", 100, "水费", {"0": 40}, refunded_at={"0": NOON})
    content = wechat_statement([trade], DAY, "wx1", "1900000109")
    assert content is not None
    _, refund = wechat_moves(content)
    assert (refund.kind, refund.refund_reference, refund.amount) == ("refund", "500", Decimal("0.40"))


def test_blank_lines_at_the_end_of_a_statement_are_no_lines() -> None:
    assert len(wechat_moves(_wechat() + b"\r\n \r\n")) == 1
    assert len(alipay_moves(_zipped(lambda text: text + "\r\n \r\n"))) == 1


def test_a_refund_that_tells_what_was_paid_counts_in_the_totals_of_wechat() -> None:
    lines = _wechat().decode("utf-8-sig").splitlines()
    refund = lines[1].replace("`SUCCESS", "`REFUND").split(",")
    columns = lines[0].split(",")
    refund[columns.index("商户退款单号")], refund[columns.index("申请退款金额")] = "`R1", "`5.00"
    totals = lines[3].replace("`1,", "`2,").replace("12.34", "24.68")
    told = "\r\n".join([*lines[:2], ",".join(refund), lines[2], totals])
    assert [one.amount for one in wechat_moves(told.encode())] == [Decimal("12.34"), Decimal("5.00")]
