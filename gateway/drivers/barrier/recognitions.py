"""Which recognitions of a lane are of one vehicle: told twice, with a picture later, or read better. Pure."""

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final

_KEPT: Final = 64
"""A picture comes behind a few other vehicles at most, and a device that was cut off tells some of them again."""
_SAME_MS: Final = 60_000
"""Devices begin to count anew: a name that was used longer ago is another vehicle's."""
_BEHIND_MS: Final = 10_000
"""A picture comes behind by seconds; no device begins to count anew so soon."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A recognition. `told_at` is its time as the device told it, `at` the one that is believed; Unix milliseconds."""

    event_id: str
    told_at: int
    plate: str
    at: int
    passage: str


class Recognitions:
    """The last ones of a lane."""

    def __init__(self, duplicate_ms: int) -> None:
        """The plate that was read last, within `duplicate_ms` again, is the same vehicle's."""
        self._duplicate_ms = duplicate_ms
        self._seen: deque[Seen] = deque(maxlen=_KEPT)

    def note(self, seen: Seen) -> None:
        """A recognition that is told from now on."""
        self._seen.append(seen)

    def read_at_last(self, known: Seen, plate: str, told_at: int) -> None:
        """The plate of a recognition that had none, and the time that was told with it: it may come once more."""
        read = replace(known, plate=plate)
        both = [read] if told_at == known.told_at else [read, replace(read, told_at=told_at)]
        self._seen = deque((one for seen in self._seen for one in (both if seen is known else [seen])), _KEPT)

    def same(
        self,
        event_id: str,
        told_at: int,
        plate: str,
        at: int,
        standing: Collection[str],
        ended_unread: Collection[str] = (),
    ) -> Seen | None:
        """The one that this tells again; None when it is another vehicle. `standing`: passages that are not over.

        A recognition is named by its id and time together. A device that tells another time with the picture means the
        same vehicle when its plate is the same, or was not read the one time and it stands there still, or was there
        seconds ago (`ended_unread`: passages that are over, without a plate). Of a device that names nothing, what
        comes seconds later is the next vehicle, which must not be held.
        """
        for seen in reversed(self._seen):
            if seen.event_id != event_id:
                continue
            apart = abs(at - seen.at)
            one_unread = seen.passage in standing and not (plate and seen.plate)
            read_behind = bool(event_id) and seen.passage in ended_unread and apart <= _BEHIND_MS
            same_plate = bool(plate) and plate == seen.plate
            if seen.told_at == told_at or (apart <= _SAME_MS and (one_unread or read_behind or same_plate)):
                return seen
        last = self._seen[-1] if self._seen else None
        if last is not None and plate and last.plate == plate and abs(at - last.at) <= self._duplicate_ms:
            return last
        return None
