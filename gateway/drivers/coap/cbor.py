"""CBOR (RFC 8949), as much of it as SenML needs; pure and strict, numbers stay exact, bounds hold before allocation.

cbor2 was looked at: it turns decimal fractions into Decimal, but it also knows shared references, regular
expressions, dates and numbers of any size, and takes lengths as the sender claims them.
"""

import struct
from decimal import Decimal
from typing import Final, TypeAlias

from gateway.drivers.coap.errors import BadPayload

Item: TypeAlias = "int | Decimal | str | bytes | bool | list[Item] | dict[int | str, Item] | None"

MAX_NESTING: Final = 8
"""Deepest array, map or tag; SenML itself needs four."""

MAX_EXPONENT: Final = 400
"""Largest power of ten of a decimal fraction, either way: beyond every IEEE 754 double, and cheap to compute with."""

_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = range(8)
_INDEFINITE: Final = 31
_BREAK: Final = 0xFF
_DECIMAL_FRACTION: Final = 4
_FLOATS: Final = {25: struct.Struct(">e"), 26: struct.Struct(">f"), 27: struct.Struct(">d")}
_CONSTANTS: Final[dict[int, bool | None]] = {20: False, 21: True, 22: None, 23: None}


def decode(payload: bytes) -> Item:
    """The one data item that `payload` is: integers as int, floats and decimal fractions as Decimal.

    A float becomes the decimal number that it exactly is; NaN and infinities stay what they are. Raises BadPayload.
    """
    reader = _Reader(payload)
    item = reader.item(0)
    if reader.at != len(payload):
        raise BadPayload(f"byte {reader.at}", "the end of the payload")
    return item


class _Reader:
    """A place in the payload that moves on."""

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self.at = 0

    def item(self, depth: int) -> Item:
        start = self.at
        if depth > MAX_NESTING:
            raise BadPayload(f"byte {start}", f"nesting of at most {MAX_NESTING}")
        major, detail = divmod(self._take(1)[0], 32)
        if major == _SIMPLE:
            return self._simple(detail, start)
        if major in (_ARRAY, _MAP):
            count = None if detail == _INDEFINITE else self._count(detail, start, 1 if major == _ARRAY else 2)
            return self._array(count, depth) if major == _ARRAY else self._map(count, depth)
        number = self._number(detail, start)
        if major == _UNSIGNED:
            return number
        if major == _NEGATIVE:
            return -1 - number
        if major == _TAG:
            return self._decimal_fraction(number, start, depth)
        return self._string(major, number, start)

    def _simple(self, detail: int, start: int) -> Item:
        if detail in _FLOATS:
            layout = _FLOATS[detail]
            return Decimal(layout.unpack(self._take(layout.size))[0])
        if detail not in _CONSTANTS:
            raise BadPayload(f"byte {start}", "a number, a string, true, false or null")
        return _CONSTANTS[detail]

    def _string(self, major: int, length: int, start: int) -> str | bytes:
        data = self._take(length)
        if major == _BYTES:
            return data
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            raise BadPayload(f"byte {start}", "text in UTF-8") from None

    def _array(self, count: int | None, depth: int) -> list[Item]:
        items: list[Item] = []
        while self._goes_on(count, len(items)):
            items.append(self.item(depth + 1))
        return items

    def _map(self, count: int | None, depth: int) -> dict[int | str, Item]:
        entries: dict[int | str, Item] = {}
        while self._goes_on(count, len(entries)):
            start = self.at
            key = self.item(depth + 1)
            if isinstance(key, bool) or not isinstance(key, int | str):
                raise BadPayload(f"byte {start}", "an integer or a text as label")
            if key in entries:
                raise BadPayload(f"byte {start}", f"each label once, {key!r:.40} is repeated")
            entries[key] = self.item(depth + 1)
        return entries

    def _goes_on(self, count: int | None, done: int) -> bool:
        if count is not None:
            return done < count
        if self.at < len(self._payload) and self._payload[self.at] == _BREAK:
            self.at += 1
            return False
        return True

    def _decimal_fraction(self, tag: int, start: int, depth: int) -> Decimal:
        parts = self.item(depth + 1) if tag == _DECIMAL_FRACTION else None
        if not isinstance(parts, list) or len(parts) != 2:
            raise BadPayload(f"byte {start}", "tag 4 of an exponent and a mantissa, and no other tag")
        exponent, mantissa = parts
        if type(exponent) is not int or type(mantissa) is not int or abs(exponent) > MAX_EXPONENT:
            raise BadPayload(f"byte {start}", f"a whole mantissa and an exponent within ±{MAX_EXPONENT}")
        return Decimal((int(mantissa < 0), tuple(map(int, str(abs(mantissa)))), exponent))

    def _count(self, detail: int, start: int, least_bytes: int) -> int:
        """How many entries follow; never more than the rest of the payload can hold."""
        count = self._number(detail, start)
        if count * least_bytes > len(self._payload) - self.at:
            raise BadPayload(f"byte {start}", "all entries that the length claims")
        return count

    def _number(self, detail: int, start: int) -> int:
        if detail < 24:
            return detail
        if detail > 27:
            raise BadPayload(f"byte {start}", "a definite length or a number of 1, 2, 4 or 8 bytes")
        return int.from_bytes(self._take(1 << (detail - 24)), "big")

    def _take(self, count: int) -> bytes:
        end = self.at + count
        if end > len(self._payload):
            raise BadPayload(f"byte {self.at}", f"{count} more bytes")
        taken = self._payload[self.at : end]
        self.at = end
        return taken
