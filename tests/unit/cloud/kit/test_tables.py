"""Tables as people keep them: what every reader of files relies on; tests/unit/cloud/metering/imports has the rest."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl import Workbook

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


def test_what_protects_a_spreadsheet_from_a_formula_is_taken_off() -> None:
    assert row_of(2, ["'=1+1", "'x"], ["number", "place"]).cells == {"number": "=1+1", "place": "'x"}
