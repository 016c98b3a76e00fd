"""Tables as people keep them: CSV in the usual encodings and XLSX, into rows of text. Pure."""

import codecs
import csv
import io
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import repeat, zip_longest
from typing import Any, Final
from xml.etree.ElementTree import ParseError

from openpyxl import load_workbook
from openpyxl.cell.read_only import EMPTY_CELL
from openpyxl.utils.exceptions import InvalidFileException

from cloud.kit.errors import InvalidInput

MAX_BYTES: Final = 32 * 1024 * 1024
MAX_UNPACKED: Final = 512 * 1024 * 1024
"""Of an XLSX file, which is an archive: small files can unpack to very large ones."""
MAX_COLUMNS: Final = 64

_PART: Final = 1024 * 1024
_FORMULA: Final = re.compile(rb"<(\w{1,16}:)?f[\s/>]")
_LONGEST_TAG: Final = 20


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


def lines_of(content: bytes) -> Iterator[tuple[int, list[str]]]:
    """The lines of a CSV or XLSX file that are not empty, with their numbers from 1, the first being the header.

    Which of both it is, its encoding and separator are found from the content. A cell whose formula has no stored value
    says its formula. Raises InvalidInput, also while lines are taken: too large, no text, no table, nothing in it.
    """
    if len(content) > MAX_BYTES:
        raise InvalidInput("file-too-large", f"expected at most {MAX_BYTES} bytes", field="file")
    return _readable(_xlsx_lines(content) if content.startswith(b"PK\x03\x04") else _csv_lines(content))


def header_of(lines: Iterator[tuple[int, list[str]]]) -> list[str]:
    """Takes the first of the lines. Raises InvalidInput when there is none."""
    first = next(lines, None)
    if first is None:
        raise InvalidInput("empty-file", "expected a header and rows, found nothing", field="file")
    return first[1]


def columns_of(header: Sequence[str], known: Mapping[str, str]) -> list[str]:
    """Our name of each column of a header, empty for those that are not `known` by their written name.

    Raises InvalidInput when a column is there twice.
    """
    found = [known.get(re.sub(r"[\s_]+", " ", cell).strip().lower(), "") for cell in header[:MAX_COLUMNS]]
    doubled = sorted({name for name in found if name and found.count(name) > 1})
    if doubled:
        raise InvalidInput("bad-header", f"expected each column once, found twice: {', '.join(doubled)}", field="file")
    return found


def seen_in(header: Sequence[str]) -> str:
    """The columns of a header as a refusal repeats them."""
    return ", ".join(cell[:40] for cell in header[:MAX_COLUMNS] if cell) or "nothing"


def rows_of(lines: Iterator[tuple[int, list[str]]], names: Sequence[str], max_rows: int) -> Iterator[TableRow]:
    """The rows below the header. Raises InvalidInput where there are more than `max_rows`."""
    for nth, (line, cells) in enumerate(lines):
        if nth >= max_rows:
            raise InvalidInput("too-many-rows", f"expected at most {max_rows} rows", field="file")
        yield row_of(line, cells[:MAX_COLUMNS], names)


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
            calculates = any(_holds_formulas(archive, name) for name in archive.namelist())
        # Values and formulas cannot be had together.
        values = _first_sheet(content, values=True)
        written = _first_sheet(content, values=False) if calculates else repeat(())
        for line, (cells, formulas) in enumerate(zip(values, written, strict=False), start=1):
            pairs = zip_longest(cells, formulas, fillvalue=EMPTY_CELL)
            yield line, [_cell(cell.value) or _formula(cell, formula) for cell, formula in pairs]
    except _BROKEN_XLSX as error:
        raise broken from error


def _holds_formulas(archive: zipfile.ZipFile, name: str) -> bool:
    """Whether a part of the file is a sheet that calculates: only then its cells are worth reading twice."""
    if not name.startswith("xl/worksheets/"):
        return False
    with archive.open(name) as part:
        before = b""
        while text := part.read(_PART):
            if _FORMULA.search(before + text):
                return True
            before = text[-_LONGEST_TAG:]
    return False


def _first_sheet(content: bytes, *, values: bool) -> Iterator[Sequence[Any]]:
    book = load_workbook(io.BytesIO(content), read_only=True, data_only=values)
    return book.worksheets[0].iter_rows(max_col=MAX_COLUMNS)


def _formula(cell: Any, written: Any) -> str:
    """The formula of a cell without a stored value, as programs write that do not calculate; else nothing."""
    # A text is stored of it, which is empty.
    if written.data_type != "f" or cell.value is not None or cell.data_type == "str":
        return ""
    formula = getattr(written.value, "text", written.value)
    return formula if isinstance(formula, str) else "="


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
    # 17.0 is how a file keeps 17; a text such as the code M1.0 is not touched.
    text = repr(value).removesuffix(".0") if isinstance(value, int | float) else str(value)
    # XLSX can write a NUL or half a pair of UTF-16 as an escape; no column of text can keep them.
    return text.replace("\0", "").encode("utf-8", "replace").decode().strip()
