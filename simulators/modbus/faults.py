"""What can go wrong with a meter: by command of a test, or by chance of a seeded generator."""

import random
from dataclasses import dataclass, field
from enum import Enum


class Fault(Enum):
    """How a meter misbehaves."""

    SILENT = "silent"
    EXCEPTION = "exception"
    """Refuses with exception 4, server device failure."""
    BUSY = "busy"
    """Refuses with exception 6, server device busy."""
    LATE = "late"
    """Answers after `Faults.late_s`."""
    WRONG_FUNCTION = "wrong-function"
    WRONG_UNIT = "wrong-unit"
    WRONG_TRANSACTION = "wrong-transaction"
    WRONG_PROTOCOL = "wrong-protocol"
    SHORT = "short"
    """One register too few, consistently framed."""
    LONG = "long"
    """One byte too many, the byte count says so."""
    BAD_BYTE_COUNT = "bad-byte-count"
    GARBAGE = "garbage"
    CUT = "cut"
    """Half an answer, then the connection closes."""


MALFORMED = frozenset({
    Fault.WRONG_FUNCTION, Fault.WRONG_UNIT, Fault.WRONG_TRANSACTION, Fault.WRONG_PROTOCOL,
    Fault.SHORT, Fault.LONG, Fault.BAD_BYTE_COUNT, Fault.GARBAGE,
})  # fmt: skip
"""Faults that send a frame which is no answer."""


@dataclass(slots=True)
class Faults:
    """Of one meter: `forced` until a test takes it back, else each of `rates` by chance per request."""

    rates: dict[Fault, float] = field(default_factory=dict)
    generator: random.Random = field(default_factory=lambda: random.Random(0))
    late_s: float = 2.0
    forced: Fault | None = None

    def draw(self) -> Fault | None:
        """The fault of the next answer."""
        if self.forced is not None or not self.rates:
            return self.forced
        chance = self.generator.random()
        for fault, rate in self.rates.items():
            if chance < rate:
                return fault
            chance -= rate
        return None
