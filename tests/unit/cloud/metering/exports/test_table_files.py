"""Files of tables: numbers come back exactly, texts stay texts, and half a file is no file."""

import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import openpyxl
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from cloud.kit.errors import InvalidInput
from cloud.metering.exports import table_files
from cloud.metering.exports.table_files import Column, Format, Row, csv_text, writer_of

BERLIN = ZoneInfo("Europe/Berlin")
COLUMNS = [
    Column("name", "text"),
    Column("count", "whole"),
    Column("value", "decimal", 3),
    Column("at", "time"),
    Column("whole", "truth"),
]
NAMES = [column.name for column in COLUMNS]

BIGINT = st.integers(-(2**63) + 1, 2**63 - 1)
TIMES = st.datetimes(datetime(1990, 1, 1), datetime(2199, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
ROWS = st.lists(
    st.tuples(
        st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=20),
        st.none() | BIGINT,
        st.none() | BIGINT.map(lambda value: Decimal(value).scaleb(-3)),
        TIMES,
        st.booleans(),
    ),
    max_size=12,
)


def made(form: Format, batches: Sequence[Sequence[Row]], columns: Sequence[Column] = COLUMNS) -> bytes:
    writer = writer_of(form, columns, BERLIN)
    try:
        return b"".join([writer.add(batch) for batch in batches] + list(writer.end()))
    finally:
        writer.close()


@given(ROWS, st.integers(1, 5))
@settings(max_examples=60)
def test_parquet_gives_back_what_it_was_given(rows: list[Row], size: int) -> None:
    content = made("parquet", [rows[n : n + size] for n in range(0, len(rows), size)])
    table = parquet.read_table(io.BytesIO(content))
    assert table.schema.field("value").type == pyarrow.decimal128(19, 3)
    assert table.schema.field("at").type == pyarrow.timestamp("us", tz="Europe/Berlin")
    assert [tuple(row[name] for name in NAMES) for row in table.to_pylist()] == [tuple(row) for row in rows]


@given(ROWS, st.integers(1, 5))
@settings(max_examples=60)
def test_csv_gives_back_what_it_was_given(rows: list[Row], size: int) -> None:
    content = made("csv", [rows[n : n + size] for n in range(0, len(rows), size)])
    assert content.startswith(b"\xef\xbb\xbf")
    head, *lines = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""))
    assert head == NAMES
    for row, (name, count, value, at, whole) in zip(rows, lines, strict=True):
        assert name.removeprefix("'") == str(row[0]).removeprefix("'")
        assert (int(count) if count else None, Decimal(value) if value else None) == (row[1], row[2])
        assert (datetime.fromisoformat(at), whole == "true") == (row[3], row[4])


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "-"])
def test_a_text_is_never_calculated(text: str, tmp_path: Path) -> None:
    assert next(csv.reader([csv_text([[text]])])) == ["'" + text]
    content = made("xlsx", [[(text, 1, None, None, None)]])
    cell = openpyxl.load_workbook(io.BytesIO(content)).worksheets[0]["A2"]
    assert cell.data_type == "s"


@pytest.mark.parametrize("number", ["-1", "-0.500", "12.345", "0"])
def test_a_number_stays_a_number(number: str) -> None:
    assert csv_text([[number]]) == f"{number}\r\n"


def test_xlsx_keeps_every_digit() -> None:
    """What a cell cannot keep as a number, it keeps as a text."""
    at = datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
    values = ["123456789012.345", "1234567890123.456", "-0.001", "9223372036854775.807"]
    content = made("xlsx", [[("北", 7, Decimal(value), at, True)] for value in values])
    head, *rows = openpyxl.load_workbook(io.BytesIO(content)).worksheets[0].values
    assert list(head) == NAMES
    assert [Decimal(str(row[2])) for row in rows] == [Decimal(value) for value in values]
    assert [type(row[2]) for row in rows] == [float, str, float, str]
    # The second time that the clocks show half past two.
    assert rows[0] == ("北", 7, float("123456789012.345"), "2026-10-25T02:30:00+01:00", True)


@pytest.mark.parametrize("form", ["csv", "parquet", "xlsx"])
def test_an_empty_table_has_its_columns(form: Format) -> None:
    content = made(form, [])
    if form == "csv":
        assert content.decode("utf-8-sig") == ",".join(NAMES) + "\r\n"
    elif form == "parquet":
        table = parquet.read_table(io.BytesIO(content))
        assert (table.column_names, table.num_rows) == (NAMES, 0)
    else:
        assert list(openpyxl.load_workbook(io.BytesIO(content)).worksheets[0].values) == [tuple(NAMES)]


def test_row_groups_are_sent_when_they_are_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_files, "_ROW_GROUP", 10)
    writer = writer_of("parquet", COLUMNS[:2], BERLIN)
    head = writer.add([("a", 1)] * 9)
    first = writer.add([("b", 2)] * 3)
    second = writer.add([("c", 3)] * 9)
    assert (len(head), len(second)) == (4, 0)
    assert len(first) > 20
    content = head + first + second + b"".join(writer.end())
    file = parquet.ParquetFile(io.BytesIO(content))
    assert [file.metadata.row_group(n).num_rows for n in range(file.metadata.num_row_groups)] == [12, 9]
    with pytest.raises(pyarrow.ArrowInvalid):
        parquet.read_table(io.BytesIO(head + first))


def test_more_rows_than_a_sheet_holds_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_files, "XLSX_ROWS", 3)
    rows: list[Row] = [("a", 1, None, None, None)] * 3
    assert made("xlsx", [rows])
    with pytest.raises(InvalidInput) as refused:
        made("xlsx", [rows, rows[:1]])
    assert refused.value.code == "too-many-rows"


@pytest.mark.parametrize("ended", [True, False])
def test_a_sheet_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ended: bool) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    writer = writer_of("xlsx", COLUMNS, BERLIN)
    writer.add([("a", 1, Decimal(1), datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=1), True)])
    assert list(tmp_path.iterdir())
    rest: Any = writer.end()
    if ended:
        list(rest)
    else:
        next(rest)
    writer.close()
    assert list(tmp_path.iterdir()) == []
