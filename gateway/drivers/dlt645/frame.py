"""Frames of DL/T 645: how requests are built and answers are told; pure.

    68 A0..A5 68 C L DATA CS 16

The address is 12 decimal digits, lowest two first. Every byte of DATA is sent with 33 added. C has the direction in
bit 7 (1: from the meter), "refused" in bit 6, "more data follows" in bit 5 and the function in bits 4 to 0. CS is the
sum of all bytes before it.

Sources of the facts: the frames of test vectors; https://lawinsider.com/zh/contracts/kHYv0S1Gpcd (layout, control
code, wildcard and broadcast addresses, lengths) and https://cnblogs.com/windowsxpxp/p/18467018, which agree;
https://blog.csdn.net/hanhui22/article/details/121776632 (the table of functions). Data of a control order and the
bits of refusals are named where they stand.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Final, TypeVar

from gateway.drivers.bcd import bytes_of
from gateway.drivers.sum_frame import PREAMBLE, START, Shape, closed, judge, matches, only
from gateway.errors import ExceptionReply, MalformedReply

T = TypeVar("T", bound=Hashable)

EVERY_ADDRESS: Final = "AAAAAAAAAAAA"
"""Any meter answers; only sensible when one meter is on the line."""
BROADCAST: Final = "999999999999"
"""Every meter obeys and none answers."""
ANSWERS, REFUSES, MORE = 0x80, 0x40, 0x20
_SHIFT: Final = 0x33
_SHIFTED = bytes((value + _SHIFT) & 0xFF for value in range(256))
_UNSHIFTED = bytes((value - _SHIFT) & 0xFF for value in range(256))
_LONGEST: Final = 200
"""Bytes of data in a frame."""


class Function(IntEnum):
    """What a request wants (2007)."""

    BROADCAST_TIME = 0x08
    READ = 0x11
    READ_ON = 0x12
    """The next frame of a long answer."""
    READ_ADDRESS = 0x13
    WRITE = 0x14
    FREEZE = 0x16
    CONTROL = 0x1C


class Order(IntEnum):
    """What a control request orders: the first byte behind password and operator."""

    TRIP = 0x1A
    PERMIT_CLOSE = 0x1B
    """Somebody must press the meter's button then."""
    CLOSE = 0x1C


@dataclass(frozen=True, slots=True)
class Edition:
    """What differs between the editions."""

    read: int
    id_bytes: int
    refusals: tuple[str, ...]
    """What the bits of a refusal's byte mean, lowest first."""


EDITION_2007: Final = Edition(
    Function.READ, 4,
    ("other error", "no such data", "wrong password or not authorised", "the line's speed cannot be changed",
     "too many seasons", "too many periods of a day", "too many tariffs", "reserved"),
)  # fmt: skip
"""Refusals: public code that names them alike (find_string 70837828970, 1492866276, 6599640875)."""

EDITION_1997: Final = Edition(
    0x01, 2,
    ("illegal data", "wrong data identifier", "wrong password", "reserved", "too many seasons",
     "too many periods of a day", "too many tariffs", "reserved"),
)  # fmt: skip
"""Refusals: public code of a meter (find_string 47953245701)."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame without its wrapping; `data` as meant, not as sent."""

    address: str
    """12 digits, highest first; A is a wildcard."""
    control: int
    data: bytes = b""

    @property
    def refuses(self) -> bool:
        """Whether a meter refuses with it."""
        return bool(self.control & REFUSES)

    @property
    def more_follows(self) -> bool:
        """Whether the answer goes on in another frame."""
        return bool(self.control & MORE)


@dataclass(frozen=True, slots=True)
class Password:
    """What a meter wants to see before it obeys; kept out of texts and logs."""

    level: int
    secret: str
    """6 digits, highest first."""
    operator: str = "00000000"
    """8 hexadecimal digits: who ordered, kept in the meter's log of events."""

    def __repr__(self) -> str:
        return "Password(…)"

    @property
    def data(self) -> bytes:
        """PA P0 P1 P2 C0 C1 C2 C3: the level first, then each lowest byte first (find_string 42871585851)."""
        return bytes([self.level]) + bytes.fromhex(self.secret)[::-1] + bytes.fromhex(self.operator)[::-1]


def build(frame: Frame, preamble: bytes = PREAMBLE) -> bytes:
    """The bytes of `frame`. Raises ValueError for an address of other than 12 digits, or too much data."""
    address = bytes.fromhex(frame.address)[::-1]
    if len(address) != 6:
        raise ValueError(f"address {frame.address}, expected 12 digits")
    if len(frame.data) > _LONGEST:
        raise ValueError(f"{len(frame.data)} bytes of data, {_LONGEST} allowed")
    head = bytes([START, *address, START, frame.control, len(frame.data)])
    return preamble + closed(head + frame.data.translate(_SHIFTED))


def parse(received: bytes) -> Frame:
    """The one frame in `received`, behind any preamble. Raises MalformedReply when it is not exactly that."""
    return _open(only(received, _SHAPE))


def judge_answer(received: bytes, address: str, function: int, refusals: tuple[str, ...],
                 take: Callable[[Frame], T | None]) -> T | None:  # fmt: skip
    """What `take` makes of the answer of `address` to `function`; None while it may still come.

    `take` gives None for a frame about something else. Raises ExceptionReply when the meter refuses, MalformedReply.
    """

    def ours(raw: bytes) -> T | None:
        frame = _open(raw)
        if frame.control & ~(REFUSES | MORE) != function | ANSWERS or not matches(address, frame.address):
            return None
        if frame.refuses:
            raise _refusal(frame, refusals)
        return take(frame)

    return judge(received, _SHAPE, ours)


def identifier(text: str) -> bytes:
    """A data identifier as sent, DI0 first: "00010000" is DI3 to DI0 as documents write it."""
    return bytes.fromhex(text)[::-1]


def control_data(password: Password, order: Order, valid_until: datetime) -> bytes:
    """Data of a control request: password, operator, N1 the order, N2 reserved, N3 to N8 until when it is valid.

    Sources: public code that quotes the layout (find_string 23185455584, 10028777112, 42871585851).
    """
    return password.data + bytes([order, 0]) + time_bytes(valid_until)


def write_data(item: str, password: Password, value: bytes) -> bytes:
    """Data of a write request."""
    return identifier(item) + password.data + value


def time_bytes(moment: datetime) -> bytes:
    """ss mm hh DD MM YY, as the broadcast of the time and the end of an order's validity have it."""
    return b"".join(
        bytes_of(part, 1)
        for part in (moment.second, moment.minute, moment.hour, moment.day, moment.month, moment.year % 100)
    )


def date_bytes(moment: datetime) -> bytes:
    """WW DD MM YY of item 04000101; Sunday is 0."""
    return b"".join(
        bytes_of(part, 1) for part in (moment.isoweekday() % 7, moment.day, moment.month, moment.year % 100)
    )


def broadcast_time(moment: datetime) -> bytes:
    """The request by which every meter on the line sets its clock, if it is off by less than five minutes.

    No meter answers.
    """
    return build(Frame(BROADCAST, Function.BROADCAST_TIME, time_bytes(moment)))


def freeze(address: str = BROADCAST) -> bytes:
    """The request to keep all registers of this moment; without an address every meter does, and none answers."""
    return build(Frame(address, Function.FREEZE, b"\x99\x99\x99\x99"))


def valid_until(now: datetime, seconds: float) -> datetime:
    """The end of an order's validity, whole seconds."""
    return (now + timedelta(seconds=seconds)).replace(microsecond=0)


def _may_begin(head: bytes) -> bool:
    if len(head) > 7 and head[7] != START:
        return False
    return len(head) < 10 or head[9] <= _LONGEST


_SHAPE: Final = Shape(10, _may_begin)


def _open(frame: bytes) -> Frame:
    return Frame(frame[1:7][::-1].hex().upper(), frame[8], frame[10:-2].translate(_UNSHIFTED))


def _refusal(frame: Frame, names: tuple[str, ...]) -> ExceptionReply | MalformedReply:
    """Control orders are refused with one or two bytes, everything else with one."""
    if len(frame.data) not in (1, 2):
        return MalformedReply(f"refusal of {len(frame.data)} bytes")
    word = frame.data[0]
    why = ", ".join(name for bit, name in enumerate(names) if word >> bit & 1) or "no reason given"
    return ExceptionReply(word, f"refused: {why}")
