"""Tables of readings as people keep them: CSV in the usual encodings and XLSX, into rows of text. Pure."""

import codecs
import csv
import io
import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Final
from xml.etree.ElementTree import ParseError
from zoneinfo import ZoneInfo

from openpyxl import load_workbook
from openpyxl.utils.exceptions import InvalidFileException

from cloud.kit.errors import InvalidInput

MAX_BYTES: Final = 32 * 1024 * 1024
MAX_ROWS: Final = 2_000_000
MAX_UNPACKED: Final = 512 * 1024 * 1024
"""Of an XLSX file, which is an archive: small files can unpack to very large ones."""

_PART: Final = 1024 * 1024
_MAX_CELL: Final = 200
_MAX_COLUMNS: Final = 64
_MAX_DIGITS: Final = 28
"""Of a number as text: as many as Decimal works with before it rounds."""
_NAMES: Final = {
    "meter": ("meter", "meter code", "code", "表号", "仪表编号", "表计编号", "仪表", "电表", "水表"),
    "serial": ("serial", "serial number", "出厂编号", "表计序列号", "序列号"),
    "time": (
        "time", "date", "datetime", "taken at", "read at", "reading datetime", "timestamp", "时间", "日期", "抄表时间",
        "抄表日期", "读数时间",
    ),
    "end": ("end", "until", "end time", "结束时间", "截止时间"),
    "length": ("length s", "seconds", "interval s", "时长", "时长秒", "间隔秒"),
    "value": (
        "value", "reading", "register", "读数", "示数", "表底", "数值", "energy", "usage", "consumption", "volume",
        "general supply kwh", "用量", "电量", "用电量", "水量", "用水量", "热量",
    ),
    "unit": ("unit", "单位"),
    "channel": ("channel", "通道", "数据项"),
    "quality": ("quality", "质量", "质量标志"),
}  # fmt: skip
_COLUMN_OF: Final = {name: column for column, names in _NAMES.items() for name in names}

_NUMBER: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,2})?", re.ASCII)
_GROUPED: Final = re.compile(r"[+-]?\d{1,3}(?P<sep>[,.])\d{3}((?P=sep)\d{3})*", re.ASCII)
_DAY: Final = (
    re.compile(r"(?P<y>\d{4})-(?P<m>\d{1,2})-(?P<d>\d{1,2})", re.ASCII),
    re.compile(r"(?P<y>\d{4})/(?P<m>\d{1,2})/(?P<d>\d{1,2})", re.ASCII),
    re.compile(r"(?P<d>\d{1,2})\.(?P<m>\d{1,2})\.(?P<y>\d{4})", re.ASCII),
    re.compile(r"(?P<y>\d{4})年(?P<m>\d{1,2})月(?P<d>\d{1,2})日", re.ASCII),
)
_TIME: Final = re.compile(
    r"[T\s]*(?P<h>\d{1,2}):(?P<min>\d{2})(:(?P<s>\d{2})(\.\d{1,6})?)?\s*(?P<zone>Z|[+-]\d{2}:?\d{2})?", re.ASCII
)
_EARLIEST: Final = datetime(1990, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class TableRow:
    """One line of the table: its cells as they are, and those of the columns we know by name.

    `line` counts from 1, the header included.
    """

    line: int
    raw: tuple[str, ...]
    cells: dict[str, str]


@dataclass(frozen=True, slots=True)
class Table:
    """What a file holds: its header, our name of each column (empty: not read), and its rows, read as they are taken.

    Taking rows raises InvalidInput where the file turns out to be broken or too long.
    """

    header: tuple[str, ...]
    names: tuple[str, ...]
    rows: Iterator[TableRow]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read."""
        return tuple(name for name in self.names if name)


def read_table(content: bytes, max_rows: int = MAX_ROWS) -> Table:
    """The table in a CSV or XLSX file. Which of both it is, its encoding and separator are found from the content.

    Raises InvalidInput: too large, no text, a header without meter, time and value (the detail says what was found).
    """
    if len(content) > MAX_BYTES:
        raise InvalidInput("file-too-large", f"expected at most {MAX_BYTES} bytes", field="file")
    lines = _readable(_xlsx_lines(content) if content.startswith(b"PK\x03\x04") else _csv_lines(content))
    first = next(lines, None)
    if first is None:
        raise InvalidInput("empty-file", "expected a header and rows, found nothing", field="file")
    names = names_of(first[1])
    return Table(tuple(first[1]), tuple(names), _rows(lines, names, max_rows))


def row_of(line: int, raw: Sequence[str], names: Sequence[str]) -> TableRow:
    """A row from its cells. What files of ours put before a cell that a spreadsheet would calculate is taken off."""
    cells = {name: cell for name, cell in zip(names, raw, strict=False) if name}
    plain = {name: cell[1:] if cell[:2] in ("'=", "'+", "'@") else cell for name, cell in cells.items()}
    return TableRow(line, tuple(raw), plain)


def _readable(lines: Iterator[tuple[int, list[str]]]) -> Iterator[tuple[int, list[str]]]:
    """The lines that are not empty."""
    try:
        yield from ((line, cells) for line, cells in lines if any(cells))
    except csv.Error as error:
        raise InvalidInput("bad-table", f"expected a table with separators: {error}", field="file") from error


def _rows(lines: Iterator[tuple[int, list[str]]], names: Sequence[str], max_rows: int) -> Iterator[TableRow]:
    for nth, (line, cells) in enumerate(lines):
        if nth >= max_rows:
            raise InvalidInput("too-many-rows", f"expected at most {max_rows} rows", field="file")
        yield row_of(line, cells[:_MAX_COLUMNS], names)


def names_of(cells: Sequence[str]) -> list[str]:
    """Our name of each column of a header, empty for those that are not read. Raises InvalidInput."""
    found = [_COLUMN_OF.get(re.sub(r"[\s_]+", " ", cell).strip().lower(), "") for cell in cells[:_MAX_COLUMNS]]
    known = [name for name in found if name]
    missing = [name for name in ("time", "value") if name not in known]
    if "meter" not in known and "serial" not in known:
        missing.insert(0, "meter or serial")
    if missing:
        seen = ", ".join(cell[:40] for cell in cells[:_MAX_COLUMNS] if cell) or "nothing"
        raise InvalidInput(
            "bad-header", f"expected columns for {', '.join(missing)}; the first line has: {seen}", field="file"
        )
    doubled = sorted({name for name in known if known.count(name) > 1})
    if doubled:
        raise InvalidInput("bad-header", f"expected each column once, found twice: {', '.join(doubled)}", field="file")
    return found


def encoding_of(content: bytes) -> str:
    """The encoding of a text file: UTF-8 (with or without mark), UTF-16 with a mark, or GB18030, which holds GBK.

    Raises InvalidInput.
    """
    marked = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}.get(content[:2])
    for encoding in (marked,) if marked else ("utf-8-sig", "gb18030"):
        if _is_text(content, encoding):
            return encoding
    raise InvalidInput("bad-encoding", "expected text in UTF-8 or GB18030 (GBK)", field="file")


def _is_text(content: bytes, encoding: str) -> bool:
    """Part by part: the text of a whole file takes up to four times its room."""
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        return not any(
            "\0" in decoder.decode(content[start : start + _PART], start + _PART >= len(content))
            for start in range(0, max(len(content), 1), _PART)
        )
    except UnicodeDecodeError:
        return False


def _csv_lines(content: bytes) -> Iterator[tuple[int, list[str]]]:
    text = io.TextIOWrapper(io.BytesIO(content), encoding_of(content), newline="")
    head = next((line for line in text.read(_PART).splitlines() if line.strip()), "")
    text.seek(0)
    reader = csv.reader(text, delimiter=max(",;\t", key=head.count))
    for cells in reader:
        yield reader.line_num, [cell.strip() for cell in cells]


def _xlsx_lines(content: bytes) -> Iterator[tuple[int, list[str]]]:
    broken = InvalidInput("bad-xlsx", "expected a readable XLSX file", field="file")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > MAX_UNPACKED:
            raise InvalidInput("file-too-large", f"expected at most {MAX_UNPACKED} bytes unpacked", field="file")
        book = load_workbook(io.BytesIO(content), read_only=True, data_only=True)
        sheet = book.worksheets[0]
        for line, cells in enumerate(sheet.iter_rows(values_only=True, max_col=_MAX_COLUMNS), start=1):
            yield line, [_cell(cell) for cell in cells]
    except _BROKEN_XLSX as error:
        raise broken from error


_BROKEN_XLSX: Final = (
    zipfile.BadZipFile, InvalidFileException, ParseError, KeyError, ValueError, TypeError, IndexError, AttributeError,
    OSError, EOFError, NotImplementedError, RuntimeError, OverflowError,
)  # fmt: skip
"""openpyxl has no error of its own for most broken files: it fails wherever a part that it trusts is not there."""


def _cell(value: object) -> str:
    """The cell as text. Numbers are doubles in the file: their shortest decimal text is what was typed in."""
    if value is None or isinstance(value, bool):
        return ""
    if isinstance(value, datetime):
        # Times are fractions of a day in the file: off by microseconds.
        return (value + timedelta(milliseconds=500)).replace(microsecond=0, tzinfo=None).isoformat(" ")
    if isinstance(value, date):
        return value.isoformat()
    text = repr(value) if isinstance(value, int | float) else str(value)
    # XLSX can write a NUL or half a pair of UTF-16 as an escape; no column of text can keep them.
    return text.removesuffix(".0").replace("\0", "").encode("utf-8", "replace").decode().strip()


def number(text: str) -> Decimal:
    """A number as people write it. Raises InvalidInput, also for a comma that could mean either thing."""
    if len(text) > _MAX_DIGITS:
        raise InvalidInput("bad-value", f"expected at most {_MAX_DIGITS} characters", field="value")
    plain = _with_point(text.strip().replace("\N{MINUS SIGN}", "-"))
    if not _NUMBER.fullmatch(plain):
        raise InvalidInput("bad-value", f"expected a number, found {text[:40]!r}", field="value")
    try:
        return Decimal(plain)
    except InvalidOperation as error:
        raise InvalidInput("bad-value", f"expected a number, found {text[:40]!r}", field="value") from error


def _with_point(text: str) -> str:
    """`1,5` and `1.234,5` are decimal commas, `1,234.5` is grouped; `1,234` could be either and is refused."""
    if "," not in text:
        if text.count(".") > 1 and _GROUPED.fullmatch(text):
            return text.replace(".", "")
        return text
    whole, last, _ = text.rpartition(max(",.", key=text.rfind))
    other = "." if last == "," else ","
    if other in whole:
        return _ungrouped(text, decimal=last, group=other)
    if text.count(",") > 1 and _GROUPED.fullmatch(text):
        return text.replace(",", "")
    if _GROUPED.fullmatch(text):
        raise InvalidInput("ambiguous-value", f"expected a decimal point: {text} could be two numbers", field="value")
    return text.replace(",", ".")


def _ungrouped(text: str, *, decimal: str, group: str) -> str:
    """Without the separators of thousands when they stand where they should; else the text, which is no number."""
    whole, _, rest = text.rpartition(decimal)
    return f"{whole.replace(group, '')}.{rest}" if _GROUPED.fullmatch(whole) else text


def instant(text: str, zone: ZoneInfo) -> datetime:
    """The instant (UTC) of a local time, date (midnight), or time with offset.

    Raises InvalidInput: no time, before 1990, a local time that the clocks skip or show twice.
    """
    local, offset = _local(text.strip()[:_MAX_CELL])
    if offset is not None:
        return _after_1990(local.replace(tzinfo=UTC) - offset, text)
    first, second = local.replace(tzinfo=zone), local.replace(tzinfo=zone, fold=1)
    if first.utcoffset() != second.utcoffset():
        code, what = (
            ("ambiguous-time", "happens twice")
            if (first.utcoffset() or timedelta()) > (second.utcoffset() or timedelta())
            else ("skipped-time", "does not exist")
        )
        raise InvalidInput(
            code,
            f"expected a time with its offset: {text[:40]} {what} in {zone.key}, where clocks change",
            field="time",
        )
    return _after_1990(first.astimezone(UTC), text)


def _after_1990(at: datetime, text: str) -> datetime:
    if at < _EARLIEST:
        raise InvalidInput("bad-time", f"expected a time after 1990, found {text[:40]!r}", field="time")
    return at


def _local(text: str) -> tuple[datetime, timedelta | None]:
    bad = InvalidInput(
        "bad-time",
        f"expected 2026-01-31 08:00, 2026/1/31, 31.01.2026 or 2026年1月31日, found {text[:40]!r}",
        field="time",
    )
    day = next((match for pattern in _DAY if (match := pattern.match(text))), None)
    if day is None:
        raise bad
    rest = text[day.end() :].strip()
    clock = _TIME.fullmatch(rest) if rest else None
    if rest and clock is None:
        raise bad
    try:
        hour, minute, second = (int(clock[part] or 0) if clock else 0 for part in ("h", "min", "s"))
        # A wall clock: its zone is looked up by the caller.
        local = datetime(int(day["y"]), int(day["m"]), int(day["d"]), hour, minute, second)  # noqa: DTZ001
        # Far from the ends of what Python can hold: an offset may be added.
        if not 1900 <= local.year <= 2199:
            raise bad
        return local, _offset(clock["zone"]) if clock and clock["zone"] else None
    except ValueError as error:
        raise bad from error


def _offset(text: str) -> timedelta:
    if text == "Z":
        return timedelta()
    size = timedelta(hours=int(text[1:3]), minutes=int(text[-2:]))
    return -size if text[0] == "-" else size
