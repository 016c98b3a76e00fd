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
    """A part of an answer; then the connection closes, where it is the device's own."""
    DOUBLED = "doubled"
    """The answer twice, at once."""
    DOUBLED_LATE = "doubled-late"
    """The answer, and once more after `Faults.late_s`."""
    FLIPPED = "flipped"
    """One wrong bit."""
    STRAY = "stray"
    """Noise on an idle line, `Faults.late_s` after the answer."""
    ECHO = "echo"
    """The request comes back before the answer."""


MALFORMED = frozenset({
    Fault.WRONG_FUNCTION, Fault.WRONG_UNIT, Fault.WRONG_TRANSACTION, Fault.WRONG_PROTOCOL,
    Fault.SHORT, Fault.LONG, Fault.BAD_BYTE_COUNT, Fault.GARBAGE,
})  # fmt: skip
"""Faults that send a frame which is no answer."""

ON_THE_WIRE = frozenset({
    Fault.SILENT, Fault.LATE, Fault.CUT, Fault.DOUBLED, Fault.DOUBLED_LATE, Fault.FLIPPED, Fault.STRAY, Fault.ECHO,
})  # fmt: skip
"""Faults that a bus brings about, whatever protocol its devices speak."""
NOT_ON_A_BUS = frozenset({Fault.WRONG_TRANSACTION, Fault.WRONG_PROTOCOL})
"""Faults of the header that only Modbus TCP has."""


@dataclass(slots=True)
class Faults:
    """Of one meter: `forced` until a test takes it back, else each of `rates` by chance per request."""

    rates: dict[Fault, float] = field(default_factory=dict)
    generator: random.Random = field(default_factory=lambda: random.Random(0))
    late_s: float = 2.0
    earliest_late_s: float | None = None
    """When given, late is by chance between this and `late_s`."""
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

    def lateness(self) -> float:
        """How late the next late answer is."""
        if self.earliest_late_s is None:
            return self.late_s
        return self.generator.uniform(self.earliest_late_s, self.late_s)
