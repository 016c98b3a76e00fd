"""Spaces from tables: good rows, rows that are refused, files that are none."""

import io
from datetime import date

import pytest
from openpyxl import Workbook

from cloud.kit.errors import InvalidInput
from cloud.parking.spaces import table
from cloud.parking.spaces.records import NewSpace


def read(content: bytes) -> list[tuple[int, NewSpace | str]]:
    found = []
    for row in table.read_spaces(content):
        assert (row.space is None) is (row.refusal is not None)
        found.append((row.line, row.space or (row.refusal.code if row.refusal else "")))
    return found


def test_columns_in_both_languages() -> None:
    english = "Number,Floor,Class,State\nA1,B1,large,sold\nA2,,,\n"
    chinese = "车位号,楼层,车型,状态\nA1,B1,large,已售\nA2,,,空闲\n"
    spaces = [(2, NewSpace("A1", "B1", "large", "sold")), (3, NewSpace("A2"))]
    assert read(english.encode()) == spaces
    assert read(chinese.encode("gb18030")) == spaces


def test_owners_and_since_when() -> None:
    rows = "number,owner,owner since\nA1,王芳,2026/01/31\nA2, #7 ,\nA3,,soon\n".encode()
    found = [(row.number, row.owner, row.since, row.refusal and row.refusal.code) for row in table.read_spaces(rows)]
    assert found == [("A1", "王芳", date(2026, 1, 31), None), ("A2", "#7", None, None), ("A3", "", None, "bad-date")]


def test_a_workbook() -> None:
    book = Workbook()
    sheet = book.active
    assert sheet is not None
    for row in (["number", "place"], [17, "B1"], ["A-2", None]):
        sheet.append(row)
    data = io.BytesIO()
    book.save(data)
    assert read(data.getvalue()) == [(2, NewSpace("17", "B1")), (3, NewSpace("A-2"))]


def test_each_bad_row_has_its_own_answer_and_stops_no_other() -> None:
    rows = ["number,place,class,state", "A1,,,", "A1,,,", ",B1,,", "x" * 40 + ",,,", f"A2,{'y' * 101},,", "A3,,4x4,",
            "A4,,,gone", "A5,,,"]  # fmt: skip
    assert read("\n".join(rows).encode()) == [
        (2, NewSpace("A1")),
        (3, "number-twice"),
        (4, "bad-space-number"),
        (5, "bad-space-number"),
        (6, "too-long"),
        (7, "bad-class"),
        (8, "bad-state"),
        (9, NewSpace("A5")),
    ]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "empty-file"),
        (b"place,class\nB1,small\n", "bad-header"),
        (b"number,Number\nB1,small\n", "bad-header"),
        (b"\xff\xfe\xff", "bad-encoding"),
        (b"PK\x03\x04nonsense", "bad-xlsx"),
        (b"number\n" + b"A\n" * (table.MAX_ROWS + 1), "too-many-rows"),
        (b"number\n" + b"A" * table.MAX_BYTES, "file-too-large"),
    ],
)
def test_files_that_are_no_such_table(content: bytes, code: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read(content)
    assert caught.value.code == code
