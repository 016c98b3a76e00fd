"""Files of readings as people keep them."""

import io
from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl import Workbook

from cloud.kit.errors import InvalidInput
from cloud.metering.imports.table import instant, number, read_table

SHANGHAI, SYDNEY = ZoneInfo("Asia/Shanghai"), ZoneInfo("Australia/Sydney")
TEXT = "表号,抄表时间,读数,备注\nE1,2026年1月31日 8:00,12.5,好\n\nE2,2026/2/1,7,\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gbk", "gb18030", "utf-16"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_encodings_and_separators(encoding: str, separator: str) -> None:
    table = read_table(TEXT.replace(",", separator).encode(encoding))
    assert table.columns == ("meter", "time", "value")
    assert [(row.line, row.cells["meter"], row.cells["value"]) for row in table.rows] == [
        (2, "E1", "12.5"),
        (4, "E2", "7"),
    ]


def test_workbook() -> None:
    book = Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(["Value", "Meter code", "Date"])
    sheet.append([0.1, 17, datetime(2026, 1, 31, 8, 30)])  # noqa: DTZ001
    sheet.append([1234567.891, "E2", "2026-02-01"])
    data = io.BytesIO()
    book.save(data)
    rows = list(read_table(data.getvalue()).rows)
    assert rows[0].cells == {"value": "0.1", "meter": "17", "time": "2026-01-31 08:30:00"}
    assert rows[1].cells["value"] == "1234567.891"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "empty-file"),
        (b"a,b\n1,2\n", "bad-header"),
        (b"meter,time,value,value\n", "bad-header"),
        (b"\x81\x20\xff", "bad-encoding"),
        (b"PK\x03\x04rubbish", "bad-xlsx"),
    ],
)
def test_refused_whole(content: bytes, code: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_table(content)
    assert caught.value.code == code


def test_header_says_what_was_found() -> None:
    with pytest.raises(InvalidInput, match="meter or serial, value; the first line has: zähler, time"):
        read_table("zähler,time\n".encode())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12", "12"), ("-3.5", "-3.5"), ("1,5", "1.5"), ("1.234,5", "1234.5"), ("1,234.5", "1234.5"),
        ("1.234.567", "1234567"), ("1,234,567", "1234567"), ("1.234", "1.234"), ("1e3", "1000"),
    ],
)  # fmt: skip
def test_numbers(text: str, expected: str) -> None:
    assert number(text) == Decimal(expected)


@pytest.mark.parametrize("text", ["", "x", "NaN", "inf", "1,234", "1,2,3", "1.2.3", "12 kWh", "9" * 50, "１２"])
def test_no_numbers(text: str) -> None:
    with pytest.raises(InvalidInput):
        number(text)


@pytest.mark.parametrize(
    "text",
    ["2026-01-31 08:00", "2026-01-31T08:00:00", "2026/1/31 8:00", "31.01.2026 08:00", "2026年1月31日 8:00",
     "2026-01-31 00:00Z", "2026-01-31T09:00:00+09:00"],
)  # fmt: skip
def test_times(text: str) -> None:
    assert instant(text, SHANGHAI) == datetime(2026, 1, 31, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("2012-04-01 02:30", "ambiguous-time"),
        ("2012-10-07 02:30", "skipped-time"),
        ("2026-13-01", "bad-time"),
        ("01/02/2026", "bad-time"),
        ("1970-01-01", "bad-time"),
        ("yesterday", "bad-time"),
    ],
)
def test_no_times(text: str, code: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        instant(text, SYDNEY)
    assert caught.value.code == code


@given(st.datetimes(datetime(1991, 1, 1), datetime(2099, 1, 1)))  # noqa: DTZ001
def test_any_time_with_offset(at: datetime) -> None:
    whole = at.replace(microsecond=0, tzinfo=UTC)
    assert instant(whole.isoformat(), SYDNEY) == whole


@given(st.binary(max_size=300))
def test_no_bytes_crash_it(content: bytes) -> None:
    try:
        list(read_table(content).rows)
    except InvalidInput:
        return


@given(st.text(max_size=30))
def test_no_text_crashes_it(text: str) -> None:
    for read in (number, lambda one: instant(one, SYDNEY)):
        try:
            read(text)
        except InvalidInput:
            continue
