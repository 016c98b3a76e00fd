"""A meter whose registers tell which unit, function and address they are, and which answer they belong to."""

import random
from collections.abc import Callable, Sequence
from hashlib import blake2b

from simulators.modbus.faults import Faults


class EncodedMeter:
    """No two reads show the same registers, except that with `steady` an answer may repeat the one before.

    `served` keeps, for each answer, what was asked for and when.
    """

    def __init__(self, unit: int, time: Callable[[], float], seed: int = 0, steady: float = 0.0) -> None:
        self.unit, self._time, self._steady = unit, time, steady
        self.faults = Faults(generator=random.Random(f"{seed}/{unit}"))
        self.generation = 0
        self.served: dict[tuple[int, ...], tuple[int, int, int, float]] = {}
        self.written: list[tuple[int, int, tuple[int, ...]]] = []

    def read(self, function: int, address: int, count: int) -> Sequence[int]:
        """Registers, or bits."""
        if self.faults.generator.random() >= self._steady:
            self.generation += 1
        registers = tuple(self._word(function, at) for at in range(address, address + count))
        if function in (1, 2):
            registers = tuple(word & 1 for word in registers)
        self.served[registers] = function, address, count, self._time()
        return registers

    def write(self, function: int, address: int, values: Sequence[int]) -> None:
        """Remembers what was written."""
        self.written.append((function, address, tuple(values)))

    def _word(self, function: int, address: int) -> int:
        place = f"{self.unit}/{function}/{address}/{self.generation}"
        return int.from_bytes(blake2b(place.encode(), digest_size=2).digest(), "big")
