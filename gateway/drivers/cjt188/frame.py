"""Frames of CJ/T 188: how requests are built and answers are told; pure.

    68 T A0..A6 C L DATA CS 16

T is the kind of meter, the address 14 decimal digits, lowest two first (A5 and A6 name the maker). C has the direction
in bit 7 (1: from the meter), "refused" in bit 6 and the function in bits 5 to 0. DATA begins with the data identifier
(two bytes, in an order that depends on the maker) and a serial number that the answer repeats. CS is the sum of all
bytes before it.

Sources of the facts: the frames of test vectors; https://cnblogs.com/cj94/p/18534595 (layout, control code, serial
number, layout of a refusal, length limits), https://cnblogs.com/flyingcloude/p/8136593.html (functions and
identifiers), https://cnblogs.com/yangykaifa/p/7010777.html (kinds of meters, reading of a water meter).
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Final, Literal, TypeVar

from gateway.drivers.bcd import bytes_of
from gateway.drivers.sum_frame import PREAMBLE, START, Shape, closed, judge, matches, only
from gateway.errors import ExceptionReply, MalformedReply

T = TypeVar("T", bound=Hashable)

EVERY_ADDRESS: Final = "AAAAAAAAAAAAAA"
"""Any meter answers; only sensible when one meter is on the line."""
EVERY_KIND: Final = 0xAA
ANSWERS, REFUSES = 0x80, 0x40
READ_ADDRESS_ID: Final = "810A"
"""What is asked for when a meter is to tell its address."""
_LONGEST: Final = 100
"""Bytes of data in a frame."""
IdOrder = Literal["high-first", "low-first"]
"""Whether identifier 901F is sent as 90 1F or as 1F 90."""


class Function(IntEnum):
    """What a request wants."""

    READ = 0x01
    READ_ADDRESS = 0x03
    WRITE = 0x04


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame without its wrapping."""

    kind: int
    """T: 10 cold water, 11 hot water, 12 drinking water, 13 reclaimed water, 20 heat, 21 cooling, 30 gas (hex)."""
    address: str
    """14 digits, highest first; A is a wildcard."""
    control: int
    data: bytes = b""


def build(frame: Frame, preamble: bytes = PREAMBLE) -> bytes:
    """The bytes of `frame`. Raises ValueError for an address of other than 14 digits, or too much data."""
    address = bytes.fromhex(frame.address)[::-1]
    if len(address) != 7:
        raise ValueError(f"address {frame.address}, expected 14 digits")
    if len(frame.data) > _LONGEST:
        raise ValueError(f"{len(frame.data)} bytes of data, {_LONGEST} allowed")
    return preamble + closed(bytes([START, frame.kind, *address, frame.control, len(frame.data)]) + frame.data)


def parse(received: bytes) -> Frame:
    """The one frame in `received`, behind any preamble. Raises MalformedReply when it is not exactly that."""
    return _open(only(received, _SHAPE))


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked, as far as an answer repeats it."""

    kind: int
    address: str
    function: int
    id: str
    order: IdOrder
    serial: int
    repeats_serial: bool = True
    """Some meters answer with a serial number of their own; then all questions have better the same one."""

    @property
    def request(self) -> Frame:
        """The request without anything behind the serial number."""
        return Frame(self.kind, self.address, self.function, identifier(self.id, self.order) + bytes([self.serial]))

    @property
    def look(self) -> tuple[object, ...]:
        """Where answers repeat the serial number, each question has its own; else all have the same number."""
        return ("cjt188", self.kind, self.address, self.function, self.id, self.serial)


def judge_answer(received: bytes, asked: Asked, take: Callable[[Frame], T | None]) -> T | None:
    """What `take` makes of the answer to `asked`; None while it may still come.

    Raises ExceptionReply when the meter refuses, MalformedReply.
    """

    def ours(raw: bytes) -> T | None:
        frame = _open(raw)
        if frame.control & ~REFUSES != asked.function | ANSWERS or not _from_asked(asked, frame):
            return None
        if frame.control & REFUSES:
            _check_refusal(asked, frame)
            return None
        if frame.data[:2] != identifier(asked.id, asked.order) or not _same_serial(asked, frame.data[2:3]):
            return None
        return take(frame)

    return judge(received, _SHAPE, ours)


def identifier(text: str, order: IdOrder) -> bytes:
    """A data identifier as sent."""
    data = bytes.fromhex(text)
    return data if order == "high-first" else data[::-1]


def time_bytes(moment: datetime) -> bytes:
    """ss mm hh DD MM YY YY: the meter's time, lowest first."""
    parts = (moment.second, moment.minute, moment.hour, moment.day, moment.month, moment.year % 100, moment.year // 100)
    return b"".join(bytes_of(part, 1) for part in parts)


def time_in(data: bytes) -> datetime:
    """The time in seven bytes. Raises MalformedReply when it is none."""
    try:
        digits = data[::-1].hex()
        return datetime.strptime(digits, "%Y%m%d%H%M%S")  # noqa: DTZ007  # a meter's clock knows no zone
    except ValueError:
        raise MalformedReply(f"time {data[::-1].hex()}") from None


def _from_asked(asked: Asked, frame: Frame) -> bool:
    return asked.kind in (EVERY_KIND, frame.kind) and matches(asked.address, frame.address)


def _same_serial(asked: Asked, serial: bytes) -> bool:
    return len(serial) == 1 and (not asked.repeats_serial or serial[0] == asked.serial)


def _check_refusal(asked: Asked, frame: Frame) -> None:
    """A refusal has the serial number and the status word, and no identifier. Raises ExceptionReply when it is ours."""
    if len(frame.data) != 3:
        raise MalformedReply(f"refusal of {len(frame.data)} bytes")
    if _same_serial(asked, frame.data[:1]):
        raise ExceptionReply(frame.data[1], f"refused with status {frame.data[1]:02X} {frame.data[2]:02X}")


def _may_begin(head: bytes) -> bool:
    if len(head) > 1 and not (0x10 <= head[1] <= 0x49 or head[1] == EVERY_KIND):
        return False
    return len(head) < 11 or head[10] <= _LONGEST


_SHAPE: Final = Shape(11, _may_begin)


def _open(frame: bytes) -> Frame:
    return Frame(frame[1], frame[2:9][::-1].hex().upper(), frame[9], frame[11:-2])
