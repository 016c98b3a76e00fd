"""What a Modbus meter answers to a request, framing aside: right, refused, or wrong on purpose."""

from collections.abc import Sequence
from struct import pack
from typing import Protocol, runtime_checkable

from simulators.modbus.faults import Fault, Faults
from simulators.modbus.meter import ILLEGAL_FUNCTION, ILLEGAL_VALUE, Refused


class Answers(Protocol):
    """A meter that can be read."""

    faults: Faults

    def read(self, function: int, address: int, count: int) -> Sequence[int]:
        """Registers by function 3 or 4, bits as 0 and 1 by function 1 or 2. Raises Refused."""


@runtime_checkable
class Obeys(Protocol):
    """A meter that can be written to."""

    def write(self, function: int, address: int, values: Sequence[int]) -> None:
        """Registers by function 6 or 16, bits by 5 or 15. Raises Refused."""


def answer_pdu(meter: Answers, request: bytes, fault: Fault | None) -> bytes:
    """The PDU that answers `request` (a whole PDU); wrong in what `fault` says, if that is about the PDU."""
    if fault in (Fault.EXCEPTION, Fault.BUSY):
        return _refusal(request, 4 if fault is Fault.EXCEPTION else 6)
    try:
        answer = _right_answer(meter, request)
    except Refused as refused:
        return _refusal(request, refused.code)
    body = answer[2:]
    match fault:
        case Fault.SHORT:
            return bytes([answer[0], len(body) - 2]) + body[:-2]
        case Fault.LONG:
            return bytes([answer[0], len(body) + 1]) + body + b"\x55"
        case Fault.WRONG_FUNCTION:
            return bytes([7 - answer[0]]) + answer[1:]
        case Fault.BAD_BYTE_COUNT:
            return bytes([answer[0], answer[1] ^ 2]) + body
    return answer


def _right_answer(meter: Answers, request: bytes) -> bytes:
    if len(request) < 5:
        raise Refused(ILLEGAL_VALUE)
    function, address, third = request[0], _word(request, 1), _word(request, 3)
    if function in (3, 4):
        registers = meter.read(function, address, third)
        return pack(f">BB{len(registers)}H", function, 2 * len(registers), *registers)
    if function in (1, 2):
        bits = meter.read(function, address, third)
        size = (len(bits) + 7) // 8
        packed = sum(bit << index for index, bit in enumerate(bits))
        return bytes([function, size]) + packed.to_bytes(size, "little")
    if not isinstance(meter, Obeys):
        raise Refused(ILLEGAL_FUNCTION)
    meter.write(function, address, _written(request, third))
    return request[:5]


def _written(request: bytes, third: int) -> list[int]:
    function = request[0]
    if function == 6:
        return [third]
    if function == 5 and third in (0, 0xFF00):
        return [third >> 15]
    data = request[6:]
    if function == 16 and len(data) == 2 * third:
        return [_word(data, 2 * index) for index in range(third)]
    if function == 15 and len(data) == (third + 7) // 8:
        bits = int.from_bytes(data, "little")
        return [bits >> index & 1 for index in range(third)]
    raise Refused(ILLEGAL_VALUE if function in (5, 15, 16) else ILLEGAL_FUNCTION)


def _refusal(request: bytes, code: int) -> bytes:
    return bytes([request[0] | 0x80, code])


def _word(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "big")
