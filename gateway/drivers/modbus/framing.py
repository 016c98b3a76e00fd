"""How Modbus requests and answers travel: MBAP on networks, RTU and ASCII on buses; pure but for a counter.

Whole frames that answer somebody else are passed over, as the specification wants it: nobody pays for another's being
late.
"""

from binascii import Error as NotHex
from binascii import unhexlify
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from pymodbus.framer import FramerAscii, FramerRTU

from gateway.drivers.bus.question import Question
from gateway.drivers.modbus.pdu import Request, check_head, judge_pdu
from gateway.errors import MalformedReply

Prepared = Callable[[], Question[bytes]]
"""Gives the question anew each time that it is asked; its answer is the PDU of the right answer."""

_MOST_NOISE: Final = 8
"""Bytes of noise that a frame may bring along."""
_NOISE: Final = b"\x00\xff"
"""What a line driver leaves on the wire when it switches on or off. No station answers as 0 or 255."""
_MOST_TEXT: Final = 2 * 255
"""Hexadecimal digits of the longest ASCII frame."""
_MBAP_HEADER: Final = 7
_OLD: Final = 1_000
"""So many transactions back, a number is one of the past and not one that the peer made up."""


@dataclass(frozen=True, slots=True)
class Manners:
    """What one device needs."""

    rest_s: float = 0.0
    """Silence before a request."""
    timeout_s: float | None = None
    """Time to begin an answer, when it is not the line's."""


class Framing(Protocol):
    """Packs requests for one line."""

    def prepare(self, unit: int, request: Request, manners: Manners) -> Prepared:
        """The question that asks `unit` for `request`."""


class Mbap:
    """Modbus TCP: each request has a number, which its answer repeats.

    Numbers go on counting over connections. No answer can be taken for another's, unless 65,536 requests later.
    """

    def __init__(self) -> None:
        self._transaction = 0

    def prepare(self, unit: int, request: Request, manners: Manners) -> Prepared:
        """The question, with a new number each time."""
        tail = b"\0\0" + (len(request.pdu) + 1).to_bytes(2, "big") + bytes([unit]) + request.pdu
        head = b"\0\0" + (request.size + 1).to_bytes(2, "big") + bytes([unit]) + request.head
        size = _MBAP_HEADER + request.size
        rest_s, timeout_s, changes = manners.rest_s, manners.timeout_s, request.changes

        def ask() -> Question[bytes]:
            self._transaction = number = self._transaction + 1 & 0xFFFF
            transaction = number.to_bytes(2, "big")
            start = transaction + head

            def judge(data: bytes) -> bytes | None:
                if len(data) == size and data.startswith(start):
                    return data[_MBAP_HEADER:]
                return _judge_mbap(transaction, unit, request, data)

            return Question(transaction + tail, judge, None, size, rest_s, timeout_s, changes)

        return ask


def _judge_mbap(transaction: bytes, unit: int, request: Request, data: bytes) -> bytes | None:
    while len(data) >= _MBAP_HEADER and _is_old(data, transaction):
        data = data[6 + _number(data[4:6]) :]
    if len(data) < _MBAP_HEADER:
        return None
    if data[:2] != transaction:
        raise MalformedReply(f"transaction {_number(data[:2])}, asked {_number(transaction)}")
    if data[2:4] != b"\0\0":
        raise MalformedReply(f"protocol {_number(data[2:4])}, expected 0")
    length = _number(data[4:6])
    if not 3 <= length <= 254:
        raise MalformedReply(f"length {length}, expected 3 to 254")
    if data[6] != unit:
        raise MalformedReply(f"unit {data[6]}, asked {unit}")
    pdu = data[_MBAP_HEADER : 6 + length]
    if pdu:
        wanted = check_head(request, pdu)
        if length != 1 + wanted:
            raise MalformedReply(f"length {length}, expected {1 + wanted}")
    if len(data) > 6 + length:
        raise MalformedReply(f"{len(data) - 6 - length} bytes behind the answer")
    return judge_pdu(request, pdu) if len(data) == 6 + length else None


def _is_old(data: bytes, transaction: bytes) -> bool:
    """Whether a frame answers a question from before, late or once more: it is passed over, others pay for nothing."""
    age = _number(transaction) - _number(data[:2]) & 0xFFFF
    return 0 < age <= _OLD and data[2:4] == b"\0\0" and 3 <= _number(data[4:6]) <= 254


class Rtu:
    """Binary frames with a CRC, ended by silence. Nothing in an answer says which addresses it holds."""

    def prepare(self, unit: int, request: Request, manners: Manners) -> Prepared:
        """The question, the same each time."""
        asked = bytes([unit]) + request.pdu
        head = bytes([unit]) + request.head
        size = 1 + request.size + 2
        crc = FramerRTU.compute_CRC

        def judge(data: bytes) -> bytes | None:
            if len(data) == size and data.startswith(head) and crc(data[:-2]) == _number(data[-2:]):
                return data[1:-2]
            return _judge_rtu(unit, request, data)

        frame = asked + crc(asked).to_bytes(2, "big")
        look = _look("rtu", unit, request)
        question = Question(frame, judge, look, size, manners.rest_s, manners.timeout_s, request.changes)
        return lambda: question


def _judge_rtu(unit: int, request: Request, data: bytes) -> bytes | None:
    noise = b"" if unit in _NOISE else _NOISE
    data = _past_other_units(_clean(data, noise), unit, noise)
    if len(data) < 2:
        return None
    end = 1 + check_head(request, data[1:])
    if len(data) < end + 2:
        return None
    if not _is_whole(data[: end + 2]):
        raise MalformedReply("the CRC is wrong")
    behind = data[end + 2 :]
    if behind.strip(_NOISE) or len(behind) > _MOST_NOISE:
        raise MalformedReply(f"{len(behind)} bytes behind the answer")
    return judge_pdu(request, data[1:end])


def _clean(data: bytes, noise: bytes) -> bytes:
    clean = data.lstrip(noise) if noise else data
    if len(data) - len(clean) > _MOST_NOISE:
        raise MalformedReply(f"{len(data) - len(clean)} bytes of noise")
    return clean


def _past_other_units(data: bytes, unit: int, noise: bytes) -> bytes:
    """Behind whole frames of other units, which are late answers of theirs; nothing while one is not yet whole."""
    while data and data[0] != unit:
        size = _size_of_frame(data)
        if size is None or len(data) < size:
            return b""
        if not _is_whole(data[:size]):
            raise MalformedReply(f"unit {data[0]}, asked {unit}")
        data = _clean(data[size:], noise)
    return data


def _size_of_frame(data: bytes) -> int | None:
    """Bytes of the answer that begins with `data`, None while that is unknown. Raises MalformedReply for no answer."""
    if len(data) < 3:
        return None
    if data[1] & 0x80:
        return 5
    if data[1] in (1, 2, 3, 4):
        return 5 + data[2]
    if data[1] in (5, 6, 15, 16):
        return 8
    raise MalformedReply(f"unit {data[0]}, function {data[1]}")


def _is_whole(frame: bytes) -> bool:
    return FramerRTU.compute_CRC(frame[:-2]) == _number(frame[-2:])


class Ascii:
    """Hexadecimal text from a colon to the end of the line; its sum finds any one wrong bit and little more."""

    def prepare(self, unit: int, request: Request, manners: Manners) -> Prepared:
        """The question, the same each time."""
        asked = bytes([unit]) + request.pdu
        text = b":" + (asked + bytes([FramerAscii.compute_LRC(asked)])).hex().upper().encode() + b"\r\n"
        size = 1 + 2 * (1 + request.size + 1) + 2

        def judge(data: bytes) -> bytes | None:
            return _judge_ascii(unit, request, data)

        look = _look("ascii", unit, request)
        question = Question(text, judge, look, size, manners.rest_s, manners.timeout_s, request.changes)
        return lambda: question


def _judge_ascii(unit: int, request: Request, data: bytes) -> bytes | None:
    frame, behind = _first_ascii(data)
    while frame is not None and frame[0] != unit:  # late answers of other units
        frame, behind = _first_ascii(behind)
    if frame is None:
        return None
    if len(behind) > _MOST_NOISE or b":" in behind:
        raise MalformedReply(f"{len(behind)} bytes behind the answer")
    return judge_pdu(request, frame[1:-1])


def _first_ascii(data: bytes) -> tuple[bytes | None, bytes]:
    """The first frame, if it is whole, and what is behind it. Raises MalformedReply for one that is broken."""
    text, ended, behind = data.partition(b"\r\n")
    noise, colon, text = text.rpartition(b":")  # a colon begins a frame, whatever came before
    if len(noise) > _MOST_NOISE or (len(text) > _MOST_NOISE and not colon):
        raise MalformedReply(f"{len(noise) or len(text)} bytes that are no frame")
    if len(text) > _MOST_TEXT:
        raise MalformedReply(f"{len(text)} characters, expected at most {_MOST_TEXT}")
    if not ended:
        return None, b""
    try:
        frame = unhexlify(text)
    except NotHex:
        raise MalformedReply("not hexadecimal") from None
    if not colon or len(frame) < 4:
        raise MalformedReply(f"frame of {len(frame)} bytes")
    if FramerAscii.compute_LRC(frame[:-1]) != frame[-1]:
        raise MalformedReply("the LRC is wrong")
    return frame, behind


def _look(framing: str, unit: int, request: Request) -> tuple[object, ...]:
    """What the answers to two requests share when nothing in their bytes tells which is whose."""
    return framing, unit, request.function, request.size


def _number(data: bytes) -> int:
    return int.from_bytes(data, "big")
