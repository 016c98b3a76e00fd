"""Numbers of spaces as people write them."""

import pytest

from cloud.parking.permits.written import numbers_in, without


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("", []),
        (" , ;", []),
        ("B1-001", ["B1-001"]),
        ("B1-001，B1-002、B1-003\nC 4", ["B1-001", "B1-002", "B1-003", "C 4"]),
        ("A1, A1", ["A1"]),
    ],
)
def test_numbers_are_what_stands_between_commas(text: str, numbers: list[str]) -> None:
    assert numbers_in(text) == numbers


@pytest.mark.parametrize(
    ("text", "number", "left"),
    [
        ("B1-001, b1-002; C3", "B1-002", "B1-001, C3"),
        ("B1-001", "b1-001", ""),
        ("near B1-001", "B1-001", "near B1-001"),
        ("A1;A2", "A3", "A1;A2"),
    ],
)
def test_a_number_that_became_a_space_is_struck_out(text: str, number: str, left: str) -> None:
    assert without(text, number) == left
