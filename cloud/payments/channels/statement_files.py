"""Reads the files in which providers tell what they took and gave back on a day.

WeChat Pay's trade bill of type ALL (pay.weixin.qq.com, "download bill"): UTF-8, every value behind a grave accent, two
lines of totals at the end. Alipay's trade bill (opendocs.alipay.com): a ZIP of CSV files in GB 18030, comments behind
`#`; the one with the trades ends with a comment that says so. Amounts are in yuan, times are of Shanghai.
"""

import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from cloud.payments.channels.base import Move, ProviderUnavailable

_SHANGHAI: Final = ZoneInfo("Asia/Shanghai")
_MOMENT: Final = "%Y-%m-%d %H:%M:%S"
_CURRENCY: Final = "CNY"
_MARK: Final = "`"
LARGEST_FILE: Final = 50 * 1024 * 1024
"""Bytes; more than a hundred thousand trades of a day."""
_LINE_END: Final = re.compile(r"\r\n|\n|\r")
"""What else Unicode holds for the end of a line may stand in a subject."""
_NOT_GIVEN: Final = frozenset({"FAIL", "CHANGE", "ABNORMAL", "CLOSED"})
"""States of a refund at WeChat Pay that did not reach the payer and will not by itself."""
_DAMAGED: Final = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError, NotImplementedError, RuntimeError
)  # fmt: skip
"""What opening an archive and reading from it may come to, all with bytes alone."""
_END: Final = "业务明细列表结束"
_SUBJECT: Final = "商品名称"
_NUMBER: Final = re.compile(r"-?[0-9]{1,14}(\.[0-9]{1,8})?")

Row = Mapping[str, str]


def wechat_moves(content: bytes) -> tuple[Move, ...]:
    """Payments and refunds of a trade bill. Raises ProviderUnavailable where it is not whole or not readable."""
    lines = _lines(content, "utf-8-sig")
    if len(lines) < 3:
        raise _unreadable("expected a header, and totals at the end")
    moves, paid = [], Decimal(0)
    for row in _rows(lines[0].split(","), (_values(line) for line in lines[1:-2])):
        moves.append(_wechat_move(row))
        # A refund may tell what was paid, too; the totals are those of the column.
        paid += _decimal(row, "订单金额") if row.get("订单金额") else Decimal(0)
    (totals,) = _rows(lines[-2].split(","), [_values(lines[-1])])
    trades, total = _decimal(totals, "总交易单数"), _decimal(totals, "订单总金额")
    if (trades, total) != (Decimal(len(moves)), paid):
        raise _unreadable(f"its totals are {trades} trades and {total}, its lines {len(moves)} and {paid}")
    return tuple(moves)


def alipay_moves(archive: bytes) -> tuple[Move, ...]:
    """Payments and refunds of a trade bill. Raises ProviderUnavailable where it is not whole or not readable."""
    for content in _files(archive):
        lines = _lines(content, "gb18030")
        table = [line for line in lines if not line.startswith("#")]
        if table and table[0].startswith("支付宝交易号"):
            if not any(line.startswith("#") and _END in line for line in lines):
                raise _unreadable("its list of trades has no end")
            header = table[0].split(",")
            rows = _rows(header, (_joined(header, line.split(",")) for line in table[1:]))
            return tuple(_alipay_move(row) for row in rows)
    raise _unreadable("it has no list of trades")


def _wechat_move(row: Row) -> Move:
    state = _cell(row, "交易状态")
    if state not in ("SUCCESS", "REFUND", "REVOKED"):
        raise _unreadable(f"a trade in the state {state}")
    refund = state != "SUCCESS"
    return Move(
        kind="refund" if refund else "payment",
        reference=_cell(row, "商户订单号"),
        provider_id=_cell(row, "微信订单号"),
        refund_reference=_first(row, "商户退款单号", "微信退款单号") if refund else "",
        amount=_decimal(row, "申请退款金额" if refund else "订单金额"),
        currency=_cell(row, "货币种类"),
        at=_moment(row, "交易时间"),
        failed=refund and _cell(row, "退款状态") in _NOT_GIVEN,
    )


def _alipay_move(row: Row) -> Move:
    kind = _cell(row, "业务类型")
    if kind not in ("交易", "退款"):
        raise _unreadable(f"business of the type {kind}")
    refund = kind == "退款"
    return Move(
        kind="refund" if refund else "payment",
        reference=_cell(row, "商户订单号"),
        provider_id=_cell(row, "支付宝交易号"),
        refund_reference=_first(row, "退款批次号/请求号", "完成时间") if refund else "",
        # What is given back stands there as a negative amount.
        amount=abs(_decimal(row, "订单金额（元）")),
        currency=_CURRENCY,
        at=_moment(row, "完成时间"),
    )


def _files(archive: bytes) -> Iterator[bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            for one in opened.infolist():
                if one.file_size > LARGEST_FILE:
                    raise _unreadable(f"a file of {one.file_size} bytes")
                yield opened.read(one)
    except _DAMAGED as error:
        raise _unreadable(f"not an archive that can be opened: {type(error).__name__}") from None


def _lines(content: bytes, encoding: str) -> list[str]:
    """All lines with something in them."""
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        raise _unreadable(f"expected {encoding}") from None
    return [line for line in _LINE_END.split(text) if line.strip()]


def _values(line: str) -> list[str]:
    """Values may contain commas; the grave accent before each of them tells them apart."""
    return line.removeprefix(_MARK).split(f",{_MARK}")


def _joined(header: Sequence[str], values: list[str]) -> list[str]:
    """A subject may contain commas, and nothing there tells them apart: what is too much belongs to it."""
    extra, at = len(values) - len(header), header.index(_SUBJECT) if _SUBJECT in header else 0
    return [*values[:at], ",".join(values[at : at + extra + 1]), *values[at + extra + 1 :]] if extra > 0 else values


def _rows(header: Sequence[str], lines: Iterable[list[str]]) -> Iterator[Row]:
    names = [name.strip() for name in header]
    for values in lines:
        if len(values) != len(names):
            raise _unreadable(f"a line of {len(values)} values under {len(names)} columns")
        yield dict(zip(names, (value.strip() for value in values), strict=True))


def _cell(row: Row, name: str) -> str:
    found = row.get(name)
    if not found:
        raise _unreadable(f"a line without {name}")
    return found


def _first(row: Row, ours: str, theirs: str) -> str:
    """What was given back at the provider's own page may have no number of ours."""
    return row[ours] if row.get(ours, "0") not in ("", "0") else _cell(row, theirs)


def _decimal(row: Row, name: str) -> Decimal:
    text = _cell(row, name)
    if not _NUMBER.fullmatch(text):
        raise _unreadable(f"{name}: {text[:20]} is not a number")
    return Decimal(text)


def _moment(row: Row, name: str) -> datetime:
    text = _cell(row, name)
    try:
        return datetime.strptime(text, _MOMENT).replace(tzinfo=_SHANGHAI)
    except ValueError:
        raise _unreadable(f"{name}: {text[:20]} is not a time") from None


def _unreadable(detail: str) -> ProviderUnavailable:
    return ProviderUnavailable("statement-unreadable", detail)
