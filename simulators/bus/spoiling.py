"""What a bus does to an answer on its way; pure but for the seeded generator."""

import random
from dataclasses import dataclass

from simulators.modbus.faults import Fault

_STRAY = b"\x9d\x00\x41\xfe\x07"


@dataclass(frozen=True, slots=True)
class Sending:
    """Bytes that one device puts on the bus `after_s` later than it would by itself."""

    after_s: float
    data: bytes


def spoil(fault: Fault | None, request: bytes, answer: bytes, late_s: float, generator: random.Random) -> list[Sending]:
    """What is sent instead of `answer`. Faults of the device itself, which are in `answer` already, change nothing."""
    match fault:
        case Fault.SILENT:
            return []
        case Fault.LATE:
            return [Sending(late_s, answer)]
        case Fault.CUT:
            return [Sending(0, answer[: generator.randrange(1, len(answer))])]
        case Fault.DOUBLED:
            return [Sending(0, answer + answer)]
        case Fault.DOUBLED_LATE:
            return [Sending(0, answer), Sending(late_s, answer)]
        case Fault.FLIPPED:
            return [Sending(0, _flipped(answer, generator))]
        case Fault.STRAY:
            return [Sending(0, answer), Sending(late_s, _STRAY[: generator.randrange(1, len(_STRAY) + 1)])]
        case Fault.ECHO:
            return [Sending(0, request + answer)]
    return [Sending(0, answer)]


def _flipped(answer: bytes, generator: random.Random) -> bytes:
    bit = generator.randrange(8 * len(answer))
    flipped = int.from_bytes(answer, "big") ^ 1 << bit
    return flipped.to_bytes(len(answer), "big")
