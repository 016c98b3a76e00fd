"""Modbus requests as protocol data units, and what the answer to each must look like; pure.

The requests are encoded by pymodbus, once for each: a gateway asks the same few for years. The answers are compared
with what they must be, byte by byte, because pymodbus accepts a byte count that disagrees with the length.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from struct import Struct
from typing import Final

from pymodbus.pdu import ModbusPDU
from pymodbus.pdu.bit_message import (
    ReadCoilsRequest,
    ReadDiscreteInputsRequest,
    WriteMultipleCoilsRequest,
    WriteSingleCoilRequest,
)
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersRequest,
    ReadInputRegistersRequest,
    WriteMultipleRegistersRequest,
    WriteSingleRegisterRequest,
)

from gateway.errors import ExceptionReply, MalformedReply

Values = tuple[int, ...]
"""Registers, or bits as 0 and 1."""
Decode = Callable[[bytes], Values]
"""PDU of the right answer → its values."""

_READS: Final[dict[int, type[ModbusPDU]]] = {
    1: ReadCoilsRequest,
    2: ReadDiscreteInputsRequest,
    3: ReadHoldingRegistersRequest,
    4: ReadInputRegistersRequest,
}
_MOST_WRITTEN: Final = {5: 1, 6: 1, 15: 1_968, 16: 123}
_REFUSED: Final = 0x80
"""Added to the function in an exception reply."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request and its one right answer, as far as that is known before."""

    pdu: bytes
    head: bytes
    """How the PDU of the answer begins."""
    size: int
    """Bytes of the whole PDU of the answer."""
    decode: Decode

    @property
    def function(self) -> int:
        """Function code."""
        return self.pdu[0]

    @property
    def changes(self) -> bool:
        """Whether it writes."""
        return self.function in _MOST_WRITTEN


@lru_cache(maxsize=4_096)
def read_request(function: int, address: int, count: int) -> Request:
    """Reads `count` registers by function 3 or 4, or as many bits by 1 or 2, from the zero-based `address`.

    Raises ValueError for what no device could answer.
    """
    if function not in _READS:
        raise ValueError(f"function {function} reads nothing")
    if address + count > 65_536:
        raise ValueError(f"{count} from {address} go beyond 65535")
    pdu = bytes([function]) + _READS[function](address=address, count=count).encode()
    if function in (1, 2):
        body = (count + 7) // 8
        return Request(pdu, bytes([function, body]), 2 + body, _bits(count))
    return Request(pdu, bytes([function, 2 * count]), 2 + 2 * count, _registers(count))


def write_request(function: int, address: int, values: Sequence[int]) -> Request:
    """Writes registers by function 6 or 16, or bits by 5 or 15; its answer has no values.

    Raises ValueError for what no device could take.
    """
    count = len(values)
    if function not in _MOST_WRITTEN or not 1 <= count <= _MOST_WRITTEN[function]:
        raise ValueError(f"function {function} does not write {count} values")
    if address < 0 or address + count > 65_536:
        raise ValueError(f"{count} from {address} go beyond 65535")
    most = 1 if function in (5, 15) else 0xFFFF
    if not all(0 <= value <= most for value in values):
        raise ValueError(f"function {function} writes values from 0 to {most}")
    pdu = bytes([function]) + _written(function, address, values).encode()
    # Single writes are echoed whole, of others the address and the count.
    return Request(pdu, pdu[:5], 5, lambda _: ())


def judge_pdu(request: Request, pdu: bytes) -> bytes:
    """`pdu` if it is the right answer. Raises ExceptionReply, and MalformedReply with what is wrong."""
    if pdu.startswith(request.head) and len(pdu) == request.size:
        return pdu
    if len(pdu) == 2 and pdu[0] == request.function | _REFUSED:
        raise ExceptionReply(pdu[1])
    check_head(request, pdu)
    raise MalformedReply(f"answer of {len(pdu)} bytes, expected {request.size}")


def check_head(request: Request, start: bytes) -> int:
    """How long the PDU that begins with `start` (at least its function) is to be. Raises MalformedReply."""
    if start[0] == request.function | _REFUSED:
        return 2
    if start[0] != request.function:
        raise MalformedReply(f"function {start[0]}, asked {request.function}")
    head = start[: len(request.head)]
    if head != request.head[: len(head)]:
        wanted = request.head
        if len(wanted) == 2:
            raise MalformedReply(f"byte count {head[1]}, expected {wanted[1]}")
        raise MalformedReply(f"the answer confirms {head[1:].hex()}, asked {wanted[1:].hex()}")
    return request.size


def _written(function: int, address: int, values: Sequence[int]) -> ModbusPDU:
    if function == 5:
        return WriteSingleCoilRequest(address=address, bits=[bool(values[0])])
    if function == 15:
        return WriteMultipleCoilsRequest(address=address, bits=[bool(value) for value in values])
    if function == 6:
        return WriteSingleRegisterRequest(address=address, registers=values)
    return WriteMultipleRegistersRequest(address=address, registers=values)


def _registers(count: int) -> Decode:
    unpack = Struct(f">{count}H").unpack_from
    return lambda pdu: unpack(pdu, 2)


def _bits(count: int) -> Decode:
    def decode(pdu: bytes) -> Values:
        bits = int.from_bytes(pdu[2:], "little")
        return tuple(bits >> index & 1 for index in range(count))

    return decode
