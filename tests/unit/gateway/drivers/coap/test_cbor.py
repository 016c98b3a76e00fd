"""CBOR is read as it was meant or refused, and whatever comes, nothing else happens."""

import struct
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.drivers.coap.cbor import MAX_NESTING, decode
from gateway.drivers.coap.errors import BadPayload
from tests.unit.gateway.drivers.coap.vectors import NUMBERS


@pytest.mark.parametrize("text", NUMBERS)
def test_numbers_are_exact(text: str) -> None:
    number = decode(bytes.fromhex(text))
    assert type(number) in (int, Decimal)
    assert number == NUMBERS[text]


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("80", []),
        ("9f01ff", [1]),
        ("9fff", []),
        ("a10203", {2: 3}),
        ("bf0203ff", {2: 3}),
        ("a1617820", {"x": -1}),
        ("62c3bc", "ü"),
        ("4200ff", b"\x00\xff"),
        ("84f4f5f6f7", [False, True, None, None]),
        ("c482382718" + "64", Decimal("100E-40")),
    ],
)
def test_items_are_read(text: str, meaning: object) -> None:
    assert decode(bytes.fromhex(text)) == meaning


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "byte 0: expected 1 more bytes"),
        ("0000", "byte 1: expected the end"),
        ("18", "byte 1: expected 1 more bytes"),
        ("1c", "byte 0: expected a definite length"),
        ("1f", "byte 0: expected a definite length"),
        ("5f4100ff", "byte 0: expected a definite length"),
        ("9b7fffffffffffffff", "byte 0: expected all entries"),
        ("bb7fffffffffffffff", "byte 0: expected all entries"),
        ("7b7fffffffffffffff61", "byte 9: expected 9223372036854775807 more bytes"),
        ("61ff", "byte 0: expected text in UTF-8"),
        ("a10000a1", "byte 3: expected the end"),
        ("a201000100", "byte 3: expected each label once"),
        ("a1f400", "byte 1: expected an integer or a text"),
        ("a14000", "byte 1: expected an integer or a text"),
        ("c100", "byte 0: expected tag 4"),
        ("c400", "byte 0: expected tag 4"),
        ("c48101", "byte 0: expected tag 4"),
        ("c4821903e801", "byte 0: expected a whole mantissa"),
        ("c48201f93c00", "byte 0: expected a whole mantissa"),
        ("c24101", "byte 0: expected tag 4"),
        ("f0", "byte 0: expected a number"),
        ("ff", "byte 0: expected a number"),
        ("9f", "byte 1: expected 1 more bytes"),
        ("81" * (MAX_NESTING + 1) + "00", f"nesting of at most {MAX_NESTING}"),
        ("9f" * 5_000, f"nesting of at most {MAX_NESTING}"),
    ],
)
def test_what_is_wrong_is_said(text: str, complaint: str) -> None:
    with pytest.raises(BadPayload, match=complaint):
        decode(bytes.fromhex(text))


@given(st.floats(allow_nan=False))
def test_a_double_is_the_number_that_it_is(number: float) -> None:
    decoded = decode(b"\xfb" + struct.pack(">d", number))
    assert isinstance(decoded, Decimal)
    assert decoded == (Decimal(number) if number == number else decoded)
    assert float(decoded) == number


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(payload: bytes) -> None:
    refused_or_read(payload)


@given(
    st.lists(st.sampled_from([bytes([code]) for code in range(0x80, 0x100)] + [b"\x00", b"a", b"\x1b"]), max_size=60)
)
def test_any_structure_is_read_or_refused(parts: list[bytes]) -> None:
    refused_or_read(b"".join(parts))


def refused_or_read(payload: bytes) -> None:
    try:
        read: Any = decode(payload)
    except BadPayload:
        return
    assert isinstance(read, int | Decimal | str | bytes | bool | list | dict | None)
