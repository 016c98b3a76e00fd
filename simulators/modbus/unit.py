"""A unit that holds several simulated meters: instances of one template, or of several."""

from collections.abc import Sequence

from simulators.modbus.meter import Refused, SimulatedMeter


class SimulatedUnit:
    """Answers for all of its meters; the first one's limits and faults are those of the unit."""

    def __init__(self, meters: Sequence[SimulatedMeter]) -> None:
        self._meters = tuple(meters)
        self.faults = meters[0].faults
        for meter in meters[1:]:
            meters[0].adjoin(meter)

    def read(self, function: int, address: int, count: int) -> list[int]:
        """As `SimulatedMeter.read`."""
        self._meters[0].check(function, address, count)
        words = [0] * count
        for meter in self._meters:
            for at, word in meter.words(function, address, count).items():
                if address <= at < address + count:
                    words[at - address] |= word
        return words

    def write(self, function: int, address: int, values: Sequence[int]) -> None:
        """As `SimulatedMeter.write`, by the first that knows it."""
        for meter in self._meters[:-1]:
            try:
                return meter.write(function, address, values)
            except Refused:
                continue
        return self._meters[-1].write(function, address, values)
