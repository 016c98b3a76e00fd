"""Vouchers as files: the same vouchers are the same bytes, whenever they are written."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal
from zoneinfo import ZoneInfo

from cloud.billing.vouchers.layouts import TABLES, Context, Layout, beancount_text, table_rows, u8_text
from cloud.billing.vouchers.making import Voucher
from cloud.kit.errors import InvalidInput
from cloud.kit.money import minor_digits
from cloud.metering.exports.table_files import MEDIA_TYPES, Column, Kind, writer_of

FileType = Literal["csv", "xlsx", "txt", "beancount"]

FILE_TYPES: Final[Mapping[Layout, tuple[FileType, ...]]] = {
    "plain": ("xlsx", "csv"),
    "u8": ("txt", "xlsx", "csv"),
    "k3": ("xlsx", "csv"),
    "galaxy": ("xlsx", "csv"),
    "beancount": ("beancount",),
}
"""The kinds of file that each layout comes in, the usual one first."""
FILE_MEDIA_TYPES: Final[Mapping[FileType, str]] = {
    "csv": MEDIA_TYPES["csv"],
    "xlsx": MEDIA_TYPES["xlsx"],
    "txt": "text/plain; charset=gb18030",
    "beancount": "text/plain; charset=utf-8",
}
_WHOLE: Final = frozenset({"凭证号", "业务号", "附单据数", "附件数", "会计年度", "会计期间", "序号", "分录序号"})


def file_type(layout: Layout, wanted: FileType | None) -> FileType:
    """The kind of file: that which is wanted, else the usual one. Raises InvalidInput."""
    known = FILE_TYPES[layout]
    if wanted is not None and wanted not in known:
        raise InvalidInput(
            "bad-file-type", f"{layout} comes as {' or '.join(known)}, not as {wanted}", field="file_type"
        )
    return wanted or known[0]


def voucher_file(
    layout: Layout, form: FileType, context: Context, vouchers: Sequence[Voucher], zone: ZoneInfo
) -> bytes:
    """The whole file."""
    if layout == "beancount":
        return beancount_text(context, vouchers)
    if form == "xlsx" or form == "csv":
        columns = [_column(field.name, field.money, context.currency) for field in TABLES[layout]]
        writer = writer_of(form, columns, zone)
        try:
            return writer.add(table_rows(layout, context, vouchers)) + b"".join(writer.end())
        finally:
            writer.close()
    return u8_text(context, vouchers)


def _column(name: str, money: bool, currency: str) -> Column:
    kind: Kind = "decimal" if money else "whole" if name in _WHOLE else "text"
    return Column(name, kind, minor_digits(currency) if money else 0)
