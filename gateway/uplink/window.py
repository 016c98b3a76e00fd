"""Which batches are on their way to the cloud and when each is due again. Pure: time comes in as an argument."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from gateway.outbox import Row

_LONGEST_BACKOFF: Final = 16


@dataclass(slots=True)
class _Flight:
    row: Row
    attempts: int
    due: float


class Window:
    """At most `size` unacknowledged batches. Times are seconds of any steady clock.

    A batch is due again `resend_after_s` after it was sent, then after twice that, up to 16 times as long.
    """

    def __init__(self, size: int, resend_after_s: float) -> None:
        self.size = size
        self._resend_after_s = resend_after_s
        self._flights: dict[int, _Flight] = {}

    def __len__(self) -> int:
        return len(self._flights)

    @property
    def free(self) -> int:
        """How many more batches may be sent."""
        return self.size - len(self._flights)

    def send(self, row: Row, now: float) -> None:
        """Notes a first sending."""
        if not self.free:
            raise ValueError("the window is full")
        self._flights[row.seq] = _Flight(row, 1, now + self._resend_after_s)

    def settle(self, seqs: Iterable[int]) -> int:
        """Takes answered batches out; returns how many of them were under way."""
        return sum(self._flights.pop(seq, None) is not None for seq in seqs)

    def due(self, now: float) -> list[Row]:
        """Batches to send again now, in order; each gets its next, longer wait."""
        rows = []
        for flight in self._flights.values():
            if flight.due <= now:
                flight.due = now + self._resend_after_s * min(2**flight.attempts, _LONGEST_BACKOFF)
                flight.attempts += 1
                rows.append(flight.row)
        return rows

    def next_due(self) -> float | None:
        """When `due` will have something again; None when nothing is under way."""
        return min((flight.due for flight in self._flights.values()), default=None)
