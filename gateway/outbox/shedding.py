"""What is given up first when there is no room: classes of batches, levels, how values are thinned. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from gateway.contract.messages import Point
from gateway.contract.quantities import BY_CODE, Kind
from gateway.contract.topics import Up


class Shed(IntEnum):
    """Classes in the order in which they are given up. The numbers are stored in the outbox file."""

    HEALTH = 0
    """Stale at once."""
    DIAGNOSTICS = 1
    """Momentary values and states: each has a successor."""
    CONFIGURATIONS = 2
    """What became of configurations: told again at every start."""
    RESULTS = 3
    """What became of commands."""
    BILLING = 4
    """Cumulative registers: what bills are made of."""
    PASSAGES = 5
    GAPS = 6
    """What was lost: small, and the last to be lost itself."""


_USUAL: Final = {
    Up.HEALTH: Shed.HEALTH,
    Up.READINGS: Shed.BILLING,
    Up.RESULTS: Shed.RESULTS,
    Up.CONFIGURATIONS: Shed.CONFIGURATIONS,
    Up.PASSAGES: Shed.PASSAGES,
    Up.GAPS: Shed.GAPS,
}
SHEDS_OF: Final = {
    **{kind: (shed,) for kind, shed in _USUAL.items()},
    Up.READINGS: (Shed.DIAGNOSTICS, Shed.BILLING),
}
"""The classes that batches of a kind may be in."""

DIAGNOSTIC_CHANNELS: Final = frozenset(code for code, row in BY_CODE.items() if row.kind is not Kind.CUMULATIVE)
"""Channels that are shed first; one that this software does not know is kept like a register."""

THIN_WIDTHS_MS: Final = (300_000, 1_800_000, 7_200_000)
"""Of each channel one value is kept in this time, wider in every round over the stored diagnostics."""

_SHED_ABOVE, _RECORD_BELOW, _THIN_ABOVE = 0.80, 0.70, 0.90
_DISK_REST_S: Final = 10.0


def usual_shed(kind: Up) -> Shed:
    """The class of a batch of which nothing else is said."""
    return _USUAL[kind]


@dataclass(slots=True)
class Pressure:
    """How full the outbox is, with hysteresis: nothing begins and ends again with every batch."""

    max_bytes: int
    shedding: bool = False
    """Whether diagnostics are not recorded at present."""
    thinning: bool = False
    """Whether stored diagnostics are to be thinned."""
    refused_until: float = 0.0

    def see(self, used: int, now: float) -> None:
        """Takes the bytes in use and the time, in seconds of any steady clock."""
        if used > _SHED_ABOVE * self.max_bytes or now < self.refused_until:
            self.shedding = True
        elif used < _RECORD_BELOW * self.max_bytes:
            self.shedding = False
        self.thinning = used > _THIN_ABOVE * self.max_bytes

    def disk_refused(self, now: float) -> None:
        """The disk took nothing: for a while that counts like a full outbox."""
        self.refused_until = now + _DISK_REST_S
        self.shedding = True


class Thinning:
    """One walk after the other over the stored diagnostics, oldest first, each with a wider step.

    `after` is the row up to which this walk has come. The same rows give the same values, in whatever portions.
    """

    def __init__(self) -> None:
        self.after = 0
        self._round = 0
        self._kept: dict[tuple[str, str], int] = {}

    @property
    def done(self) -> bool:
        """Whether every round was walked."""
        return self._round >= len(THIN_WIDTHS_MS)

    def next_round(self) -> None:
        """The end of the rows was reached."""
        self._round += 1
        self.after = 0
        self._kept.clear()

    def thin(self, points: Iterable[Point]) -> list[Point]:
        """Keeps of each channel the first value of each step of time."""
        width = THIN_WIDTHS_MS[self._round]
        kept = []
        for point in points:
            step = point.taken_at // width
            key = (point.device, point.channel)
            if self._kept.get(key) != step:
                self._kept[key] = step
                kept.append(point)
        return kept
