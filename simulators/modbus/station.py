"""A Modbus meter on a bus: takes RTU or ASCII frames for its unit id."""

from binascii import Error as NotHex
from binascii import unhexlify
from typing import Final, Literal

from simulators.modbus.answers import Answers, answer_pdu
from simulators.modbus.faults import Fault

_GARBAGE: Final = bytes((7 * index + 91) & 0xFF for index in range(24))
_SHORTEST: Final = 4


class ModbusStation:
    """One unit. Another's frames, and what is no frame, it does not answer."""

    def __init__(self, unit: int, meter: Answers, framing: Literal["rtu", "ascii"] = "rtu") -> None:
        self.unit, self.meter = unit, meter
        self._unwrap, self._wrap = (_unwrap_rtu, _wrap_rtu) if framing == "rtu" else (_unwrap_ascii, _wrap_ascii)

    def answer(self, frame: bytes) -> bytes | None:
        """The frame that answers `frame`."""
        asked = self._unwrap(frame)
        if asked is None or asked[0] != self.unit:
            return None
        fault = self.meter.faults.draw()
        if fault is Fault.SILENT:
            return None
        if fault is Fault.GARBAGE:
            return _GARBAGE
        unit = self.unit ^ 0x21 if fault is Fault.WRONG_UNIT else self.unit
        answer = self._wrap(bytes([unit]) + answer_pdu(self.meter, asked[1:], fault))
        return answer[: len(answer) // 2] if fault is Fault.CUT else answer


def crc(data: bytes) -> bytes:
    """CRC-16 of Modbus, bit by bit as its specification describes it, low byte first."""
    register = 0xFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0xA001 if register & 1 else 0)
    return register.to_bytes(2, "little")


def _unwrap_rtu(frame: bytes) -> bytes | None:
    return frame[:-2] if len(frame) >= _SHORTEST and crc(frame[:-2]) == frame[-2:] else None


def _wrap_rtu(content: bytes) -> bytes:
    return content + crc(content)


def _unwrap_ascii(frame: bytes) -> bytes | None:
    if not frame.startswith(b":") or not frame.endswith(b"\r\n"):
        return None
    try:
        content = unhexlify(frame[1:-2])
    except NotHex:
        return None
    return content[:-1] if len(content) >= _SHORTEST - 1 and sum(content) & 0xFF == 0 else None


def _wrap_ascii(content: bytes) -> bytes:
    summed = content + bytes([-sum(content) & 0xFF])
    return b":" + summed.hex().upper().encode() + b"\r\n"
