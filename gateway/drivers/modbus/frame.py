"""What a Modbus TCP answer must look like, byte by byte; pure.

pymodbus accepts a reply whose byte count disagrees with its length, and one that it cannot decode kills the
connection from inside without an answer to the caller. So every reply is judged here first.
"""

from dataclasses import dataclass

_HEADER = 7
"""Transaction, protocol, length, unit."""


@dataclass(frozen=True, slots=True)
class Expected:
    """The question that is open on a connection."""

    unit: int
    function: int
    count: int
    """Registers asked for."""


def judge(data: bytes, transaction: int, expected: Expected) -> str | None:
    """Why `data`, all that was received since the question, is no answer to it; None while it may become one."""
    if len(data) < 6:
        return None
    complaint = _judge_header(data, transaction)
    if complaint is not None or len(data) <= _HEADER:
        return complaint
    length = int.from_bytes(data[4:6], "big")
    if data[6] != expected.unit:
        return f"unit {data[6]}, asked {expected.unit}"
    function = data[7]
    if function == expected.function | 0x80:
        return None if length == 3 else f"exception reply of {length} bytes, expected 3"
    if function != expected.function:
        return f"function {function}, asked {expected.function}"
    wanted = 3 + 2 * expected.count
    if length != wanted:
        return f"length {length}, expected {wanted}"
    if len(data) > _HEADER + 1 and data[8] != 2 * expected.count:
        return f"byte count {data[8]}, expected {2 * expected.count}"
    return f"{len(data) - 6 - length} bytes behind the answer" if len(data) > 6 + length else None


def _judge_header(data: bytes, transaction: int) -> str | None:
    if int.from_bytes(data[0:2], "big") != transaction:
        return f"transaction {int.from_bytes(data[0:2], 'big')}, asked {transaction}"
    if data[2:4] != b"\0\0":
        return f"protocol {int.from_bytes(data[2:4], 'big')}, expected 0"
    length = int.from_bytes(data[4:6], "big")
    return None if 3 <= length <= 254 else f"length {length}, expected 3 to 254"
