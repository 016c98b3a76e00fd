"""The time of a stay that is billed, its clock standing still while a permit covers it; instants of local clocks."""

from bisect import bisect_right
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from cloud.kit.periods import local_day

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def second(instant: datetime) -> int:
    """Whole seconds since 1970. Raises ValueError for a naive instant."""
    if instant.tzinfo is None:
        raise ValueError("instants must carry a time zone")
    return (instant - _EPOCH) // timedelta(seconds=1)


def instant(seconds: int) -> datetime:
    """The instant so many seconds after 1970."""
    return datetime.fromtimestamp(seconds, UTC)


class BilledTime:
    """Seconds of a stay from `entry` to `leave` that nothing covers, counted on from 0.

    `covered` are pairs [start, end) of seconds since 1970, in any order, overlapping or not.
    """

    def __init__(self, entry: int, leave: int, covered: Iterable[tuple[int, int]] = ()) -> None:
        self.entry = entry
        self.leave = leave
        self.covered = tuple(sorted(one for one in covered if one[0] < one[1]))
        self.total = 0
        self._starts: list[int] = []
        self._counts: list[int] = []
        at = entry
        for start, end in (*self.covered, (leave, leave)):
            if at < min(start, leave):
                self._starts.append(at)
                self._counts.append(self.total)
                self.total += min(start, leave) - at
            at = max(at, end)

    def at(self, count: int) -> int:
        """The instant at which the billed second of this number begins."""
        if not self._starts:
            return self.leave
        part = bisect_right(self._counts, count) - 1
        return self._starts[part] + count - self._counts[part]

    def end_of(self, count: int) -> int:
        """The instant at which the last of so many billed seconds ends: before covered time that follows."""
        return self.at(count - 1) + 1 if count else self.at(0)

    def count(self, seconds: int) -> int:
        """How many billed seconds lie before an instant."""
        part = bisect_right(self._starts, seconds) - 1
        if part < 0:
            return 0
        end = self._counts[part + 1] if part + 1 < len(self._counts) else self.total
        return min(self._counts[part] + seconds - self._starts[part], end)

    def next_part(self, count: int) -> int | None:
        """The number of the first billed second after the covered time that comes next."""
        part = bisect_right(self._counts, count)
        return self._counts[part] if part < len(self._counts) else None

    def after(self, count: int) -> "BilledTime":
        """The same stay with its first billed seconds covered too."""
        return BilledTime(self.entry, self.leave, (*self.covered, (self.entry, self.at(count))))

    def covered_parts(self) -> list[tuple[int, int]]:
        """What is covered of the stay, without overlaps."""
        found: list[tuple[int, int]] = []
        at = self.entry
        for start, count, following in zip(self._starts, self._counts, [*self._counts[1:], self.total], strict=False):
            if at < start:
                found.append((at, start))
            at = start + following - count
        return [*found, (at, self.leave)] if at < self.leave else found


def clock_instant(day: date, minutes: int, zone: ZoneInfo) -> int:
    """The first instant of the local `day` (seconds since 1970) at which the clock shows at least these minutes.

    Where clocks are put back the earlier of two instants; where they are put forward over it, the end of the jump.
    """
    wall = datetime.combine(day, time(minutes // 60, minutes % 60))
    one, other = (int(wall.replace(tzinfo=zone, fold=fold).timestamp()) for fold in (0, 1))
    if one <= other:
        return one
    low, high = other, one  # put forward: the jump lies between the two readings of a time that does not exist
    while high - low > 1:
        middle = (low + high) // 2
        if datetime.fromtimestamp(middle, zone).replace(tzinfo=None) < wall:
            low = middle
        else:
            high = middle
    return high


def begun_day(seconds: int, zone: ZoneInfo) -> date:
    """The local date; one that has begun does not end where clocks are put back over midnight."""
    following = local_day(instant(seconds), zone) + timedelta(days=1)
    return following if clock_instant(following, 0, zone) <= seconds else following - timedelta(days=1)
