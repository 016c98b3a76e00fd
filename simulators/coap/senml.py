"""SenML packs to JSON and CBOR: the other direction of the gateway's decoder, on its own and as simple as can be."""

import base64
import json
import struct
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final, TypeAlias

JSON: Final = 110
CBOR: Final = 112

Value: TypeAlias = "Decimal | int | float | str | bool | bytes"
Fields: TypeAlias = "Mapping[str, Value]"
"""One record by its JSON labels. A float goes out as a double, a Decimal as the decimal number that it is."""

_CBOR_LABELS: Final = {
    "bver": -1, "bn": -2, "bt": -3, "bu": -4, "bv": -5, "bs": -6,
    "n": 0, "u": 1, "v": 2, "vs": 3, "vb": 4, "s": 5, "t": 6, "ut": 7, "vd": 8,
}  # fmt: skip


def encode(pack: Sequence[Fields], content_format: int) -> bytes:
    """The payload of a pack in content format 110 or 112."""
    return encode_json(pack) if content_format == JSON else encode_cbor(pack)


def encode_json(pack: Sequence[Fields]) -> bytes:
    """application/senml+json."""
    records = (",".join(f"{json.dumps(label)}:{_json(value)}" for label, value in fields.items()) for fields in pack)
    return ("[" + ",".join("{" + record + "}" for record in records) + "]").encode()


def encode_cbor(pack: Sequence[Fields]) -> bytes:
    """application/senml+cbor, of definite lengths."""
    return _head(4, len(pack)) + b"".join(
        _head(5, len(fields)) + b"".join(_label(label) + _cbor(value) for label, value in fields.items())
        for fields in pack
    )


def _json(value: Value) -> str:
    if isinstance(value, Decimal):
        return f"{value:f}" if -20 < value.adjusted() < 20 else str(value)
    if isinstance(value, bytes):
        return json.dumps(base64.urlsafe_b64encode(value).decode().rstrip("="))
    return json.dumps(value)


def _label(label: str) -> bytes:
    return _integer(_CBOR_LABELS[label]) if label in _CBOR_LABELS else _cbor(label)


def _cbor(value: Value) -> bytes:
    if isinstance(value, bool):
        return b"\xf5" if value else b"\xf4"
    if isinstance(value, int):
        return _integer(value)
    if isinstance(value, float):
        return b"\xfb" + struct.pack(">d", value)
    if isinstance(value, Decimal):
        sign, digits, exponent = value.as_tuple()
        assert isinstance(exponent, int)
        mantissa = int("".join(map(str, digits)))
        return b"\xc4\x82" + _integer(exponent) + _integer(-mantissa if sign else mantissa)
    if isinstance(value, bytes):
        return _head(2, len(value)) + value
    text = value.encode()
    return _head(3, len(text)) + text


def _integer(value: int) -> bytes:
    return _head(1, -1 - value) if value < 0 else _head(0, value)


def _head(major: int, count: int) -> bytes:
    if count < 24:
        return bytes([major << 5 | count])
    size = next(size for size in (1, 2, 4, 8) if count < 1 << (8 * size))
    return bytes([major << 5 | 23 + size.bit_length()]) + count.to_bytes(size, "big")
