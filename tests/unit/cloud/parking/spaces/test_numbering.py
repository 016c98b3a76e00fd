"""Numbers of spaces from the first to the last, against counting by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.kit.errors import InvalidInput
from cloud.parking.spaces.numbering import MOST, numbers_between, valid_number


@pytest.mark.parametrize(
    ("first", "last", "numbers"),
    [
        ("B1-001", "B1-003", ["B1-001", "B1-002", "B1-003"]),
        ("8", "11", ["8", "9", "10", "11"]),
        ("B-098", "B-101", ["B-098", "B-099", "B-100", "B-101"]),
        ("地下2-7甲", "地下2-8甲", ["地下2-7甲", "地下2-8甲"]),
        (" A1 ", "A1", ["A1"]),
    ],
)
def test_ranges(first: str, last: str, numbers: list[str]) -> None:
    assert numbers_between(first, last) == numbers


@pytest.mark.parametrize(
    ("first", "last"),
    [
        ("B1-001", "B2-003"),
        ("B1-003", "B1-001"),
        ("B1-01", "B1-003"),
        ("B1", "C"),
        ("A", "B"),
        ("1", str(MOST + 1)),
        ("A1", "A1x"),
    ],
)
def test_ranges_that_are_none(first: str, last: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        numbers_between(first, last)
    assert caught.value.code == "bad-space-range"


@pytest.mark.parametrize("text", ["", "  ", "x" * 33, "A\n1", "A\x001", "\u200b"])
def test_numbers_that_are_none(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        valid_number(text)
    assert caught.value.code == "bad-space-number"


@given(st.sampled_from(["", "B1-", "地下2层"]), st.integers(0, 10**6), st.integers(0, 50), st.integers(0, 7))
def test_a_range_has_each_number_once_and_in_order(head: str, low: int, more: int, width: int) -> None:
    wanted = [f"{head}{count:0{width}}" for count in range(low, low + more + 1)]
    assert numbers_between(wanted[0], wanted[-1]) == wanted
