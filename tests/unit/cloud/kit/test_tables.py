"""Tables as people keep them: what every reader of files relies on; tests/unit/cloud/metering/imports has the rest."""

import csv
import io
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl import Workbook
from openpyxl.worksheet.formula import ArrayFormula

from cloud.kit.errors import InvalidInput
from cloud.kit.tables import columns_of, header_of, lines_of, row_of, rows_of

cells = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zs", "Zl", "Zp"]), max_size=12)


@given(st.lists(st.lists(cells, min_size=2, max_size=4), min_size=1, max_size=6))
def test_what_was_written_is_read_but_for_empty_lines(written: list[list[str]]) -> None:
    text = io.StringIO()
    csv.writer(text).writerows([["number", "note"], *written])
    lines = lines_of(text.getvalue().encode("utf-8-sig"))
    assert header_of(lines) == ["number", "note"]
    assert [found for _, found in lines] == [row for row in written if any(row)]


def test_columns_are_known_by_any_of_their_names_once() -> None:
    known = {"number": "number", "space number": "number", "车位号": "number", "floor": "place"}
    assert columns_of(["Space_Number", "colour", " FLOOR "], known) == ["number", "", "place"]
    with pytest.raises(InvalidInput, match="found twice: number"):
        columns_of(["number", "车位号"], known)


def test_rows_keep_the_number_of_their_line_and_end_at_the_limit() -> None:
    lines = lines_of(b"number\nA\n\nB\n")
    assert header_of(lines) == ["number"]
    assert [(row.line, row.cells) for row in rows_of(lines, ["number"], 2)] == [
        (2, {"number": "A"}),
        (4, {"number": "B"}),
    ]
    with pytest.raises(InvalidInput) as caught:
        list(rows_of(lines_of(b"A\nB\nC\n"), ["number"], 2))
    assert caught.value.code == "too-many-rows"


def test_a_file_without_a_line_has_no_header() -> None:
    with pytest.raises(InvalidInput) as caught:
        header_of(lines_of(b"\n\n"))
    assert caught.value.code == "empty-file"


def test_numbers_of_a_sheet_lose_no_digit_and_texts_stay_as_they_are() -> None:
    book = Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(["M1.0", "M1", 7.0, 12345678.0, 0.1, "7.0"])
    file = io.BytesIO()
    book.save(file)
    assert header_of(lines_of(file.getvalue()))[:6] == ["M1.0", "M1", "7", "12345678", "0.1", "7.0"]


def test_a_formula_stands_where_a_sheet_stores_no_value_of_it() -> None:
    book = Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(["meter", "value"])
    sheet.append(["=A1", "=B1+1"])
    sheet["B3"] = ArrayFormula("B3:B4", "=B1:B2*2")
    sheet["A5"] = "empty"
    file = io.BytesIO()
    book.save(file)
    # What Excel stores of a formula whose outcome is an empty text, and of one that it calculated.
    stored = {
        b'ref="A1:B5"': b'ref="A1:B7"',
        b"</row></sheetData>": b"""</row><row r="6"><c r="A6" t="str"><f>A1</f><v></v></c></row>
        <row r="7"><c r="A7" t="str"><f>"E"&amp;1</f><v>E1</v></c><c r="B7"><f>1+1</f><v>2</v></c></row></sheetData>""",
    }
    lines = list(lines_of(_rewritten(file.getvalue(), "xl/worksheets/sheet1.xml", stored)))
    assert [(line, cells[:2]) for line, cells in lines] == [
        (1, ["meter", "value"]), (2, ["=A1", "=B1+1"]), (3, ["", "=B1:B2*2"]), (5, ["empty", ""]), (7, ["E1", "2"]),
    ]  # fmt: skip


def _rewritten(content: bytes, part: str, instead: dict[bytes, bytes]) -> bytes:
    """An archive with other text in one of its parts."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(file, "w") as new:
        for entry in old.infolist():
            text = old.read(entry)
            for written, other in instead.items() if entry.filename == part else ():
                assert written in text
                text = text.replace(written, other)
            new.writestr(entry, text)
    return file.getvalue()


def test_what_protects_a_spreadsheet_from_a_formula_is_taken_off() -> None:
    assert row_of(2, ["'=1+1", "'x"], ["number", "place"]).cells == {"number": "=1+1", "place": "'x"}
