"""Tables as CSV, Parquet and XLSX, written batch by batch: numbers stay exact, texts stay texts."""

import csv
import io
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Literal, Protocol
from zoneinfo import ZoneInfo

from cloud.kit.errors import InvalidInput

Format = Literal["csv", "parquet", "xlsx"]
Kind = Literal["text", "whole", "decimal", "time", "truth"]
Cell = str | int | Decimal | datetime | bool | None
Row = Sequence[Cell]

CSV_MEDIA_TYPE: Final = "text/csv; charset=utf-8"
MEDIA_TYPES: Final[Mapping[Format, str]] = {
    "csv": CSV_MEDIA_TYPE,
    "parquet": "application/vnd.apache.parquet",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
XLSX_ROWS: Final = 1_048_575
"""Rows of a sheet below its header."""
_ROW_GROUP: Final = 50_000
"""Rows of a Parquet file that are kept in memory until they are written together."""
_PRECISION: Final = 19
"""Digits of a bigint."""
_EXCEL_DIGITS: Final = 15
"""More than these a cell of a spreadsheet does not keep of a number."""
_WRITTEN: Final = datetime(2000, 1, 1, tzinfo=UTC)
_PART_BYTES: Final = 256 * 1024
_NUMBER: Final = re.compile(r"-?\d+(\.\d+)?")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of one kind; `decimals` is how many a `decimal` always has."""

    name: str
    kind: Kind
    decimals: int = 0


class Writer(Protocol):
    """Takes a table batch by batch. What `add` and `end` give together is the file."""

    def add(self, rows: Iterable[Row]) -> bytes:
        """More rows; gives what can be sent already."""

    def end(self) -> Iterator[bytes]:
        """The rest of the file."""

    def close(self) -> None:
        """Frees what the writer holds, whether it came to its end or not."""


def writer_of(form: Format, columns: Sequence[Column], zone: ZoneInfo) -> Writer:
    """A writer of an empty table; times are shown in `zone`."""
    if form == "csv":
        return _Csv(columns, zone)
    return _Parquet(columns, zone) if form == "parquet" else _Xlsx(columns, zone)


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """Rows as lines of CSV that no spreadsheet calculates."""
    text = io.StringIO()
    csv.writer(text).writerows([_harmless(cell) for cell in row] for row in rows)
    return text.getvalue()


def csv_head(names: Sequence[str]) -> str:
    """The first line, after a byte order mark, without which Excel takes Chinese for another encoding."""
    return "\ufeff" + csv_text([names])


def _harmless(cell: object) -> object:
    """A text that a spreadsheet would calculate is kept a text; numbers are what they are."""
    if isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@", "\t", "\r") and not _NUMBER.fullmatch(cell):
        return f"'{cell}"
    return cell


class _Csv:
    """Lines of UTF-8, sent as they come."""

    def __init__(self, columns: Sequence[Column], zone: ZoneInfo) -> None:
        self._zone = zone
        self._head = csv_head([column.name for column in columns])

    def add(self, rows: Iterable[Row]) -> bytes:
        head, self._head = self._head, ""
        return (head + csv_text([_shown(cell, self._zone) for cell in row] for row in rows)).encode()

    def end(self) -> Iterator[bytes]:
        yield self.add(())

    def close(self) -> None:
        """Holds nothing."""


def _shown(cell: Cell, zone: ZoneInfo) -> object:
    if isinstance(cell, datetime):
        return cell.astimezone(zone).isoformat()
    if isinstance(cell, bool):
        return "true" if cell else "false"
    return format(cell, "f") if isinstance(cell, Decimal) else cell


class _Parquet:
    """Row groups, sent as they are full. The end of the file says where they are: without it there is no table."""

    def __init__(self, columns: Sequence[Column], zone: ZoneInfo) -> None:
        # Here, because it is large, and most processes never write such a file.
        import pyarrow
        from pyarrow import parquet

        self._arrow: Any = pyarrow
        types = {
            "text": pyarrow.string(), "whole": pyarrow.int64(), "truth": pyarrow.bool_(),
            "time": pyarrow.timestamp("us", tz=zone.key),
        }  # fmt: skip
        self._schema: Any = pyarrow.schema([
            (one.name, pyarrow.decimal128(_PRECISION, one.decimals) if one.kind == "decimal" else types[one.kind])
            for one in columns
        ])  # fmt: skip
        self._sink = io.BytesIO()
        self._file: Any = parquet.ParquetWriter(self._sink, self._schema, compression="zstd")
        self._waiting: list[Any] = []

    def add(self, rows: Iterable[Row]) -> bytes:
        columns = list(zip(*rows, strict=True))
        if columns:
            arrays = [
                self._arrow.array(cells, type=field.type) for cells, field in zip(columns, self._schema, strict=True)
            ]
            self._waiting.append(self._arrow.record_batch(arrays, schema=self._schema))
        if sum(batch.num_rows for batch in self._waiting) >= _ROW_GROUP:
            self._write()
        return self._taken()

    def end(self) -> Iterator[bytes]:
        if self._waiting:
            self._write()
        self._file.close()
        yield self._taken()

    def close(self) -> None:
        self._file.close()

    def _write(self) -> None:
        table = self._arrow.Table.from_batches(self._waiting)
        self._file.write_table(table, row_group_size=table.num_rows)
        self._waiting = []

    def _taken(self) -> bytes:
        """What the library has written since. It counts its position itself, so the buffer may be emptied."""
        written = self._sink.getvalue()
        self._sink.seek(0)
        self._sink.truncate()
        return written


class _Xlsx:
    """One sheet, written row by row into a folder of its own: a file of this kind can only be sent when it is whole."""

    def __init__(self, columns: Sequence[Column], zone: ZoneInfo) -> None:
        import xlsxwriter

        self._zone = zone
        self._folder = tempfile.TemporaryDirectory(prefix="gatemeter-export-")
        self._path = Path(self._folder.name) / "table.xlsx"
        self._book: Any = xlsxwriter.Workbook(self._path, {"constant_memory": True, "tmpdir": self._folder.name})
        # The same table is the same file, whenever it is written.
        self._book.set_properties({"created": _WRITTEN})
        self._sheet: Any = self._book.add_worksheet()
        self._sheet.freeze_panes(1, 0)
        self._formats = [
            self._book.add_format({"num_format": "0." + "0" * one.decimals}) if one.decimals else None
            for one in columns
        ]
        for nth, column in enumerate(columns):
            self._sheet.set_column(nth, nth, 26 if column.kind == "time" else 16)
        self._rows = 0
        self._put([column.name for column in columns])

    def add(self, rows: Iterable[Row]) -> bytes:
        for row in rows:
            if self._rows > XLSX_ROWS:
                raise too_many_for_xlsx()
            self._put(row)
        return b""

    def end(self) -> Iterator[bytes]:
        self._book.close()
        with self._path.open("rb") as file:
            while part := file.read(_PART_BYTES):
                yield part

    def close(self) -> None:
        for sheet in self._book.worksheets():
            # What it was writing when the work stopped.
            if sheet.row_data_fh is not None:
                sheet.row_data_fh.close()
        self._folder.cleanup()

    def _put(self, row: Row) -> None:
        for nth, cell in enumerate(row):
            if isinstance(cell, bool):
                self._sheet.write_boolean(self._rows, nth, cell)
            elif isinstance(cell, int | Decimal) and len(Decimal(cell).as_tuple().digits) <= _EXCEL_DIGITS:
                self._sheet.write_number(self._rows, nth, cell, self._formats[nth])
            elif cell is not None:
                self._sheet.write_string(self._rows, nth, str(_shown(cell, self._zone)))
        self._rows += 1


def too_many_for_xlsx() -> InvalidInput:
    """What who asks for more than a sheet holds is told."""
    return InvalidInput(
        "too-many-rows", f"a sheet holds {XLSX_ROWS} rows, and there are more: ask for csv or parquet", field="format"
    )
