"""A line in virtual time: what the schedule makes of devices that answer, fall silent and come back."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from gateway.drivers.base import Group, Groups
from gateway.polling.midnight import NextMidnight
from gateway.polling.schedule import LineSchedule, spread

START = 1_700_000_000_000


def no_midnight(time_ms: int) -> int:
    """A day that never ends."""
    return time_ms + 10**12


class Seen(NamedTuple):
    """One visit that was made."""

    at_ms: int
    device: int
    groups: Groups
    answered: bool
    cost_ms: int


@dataclass
class Line:
    """`count` devices; `answers(index, time)` says who is there."""

    count: int
    answers: Callable[[int, int], bool]
    period_ms: int = 15_000
    billing_ms: int = 60_000
    timeout_ms: int = 1_000
    trip_ms: int = 50
    midnight: NextMidnight = no_midnight
    clock_steps: Sequence[tuple[int, int]] = ()
    """(real time, how far the wall clock then leaps; back when negative)."""
    seen: list[Seen] = field(default_factory=list)
    """In real time."""

    def run(self, duration_ms: int) -> "Line":
        """Lives through `duration_ms`."""
        periods = {Group.BILLING: self.billing_ms, Group.INSTANT: self.period_ms}
        beats = [spread(index, self.count, periods) for index in range(self.count)]
        schedule = LineSchedule(beats, START, self.midnight)
        now, idle = START, 0
        while now < START + duration_ms:
            wall = now + sum(leap for at, leap in self.clock_steps if at <= now)
            wait = schedule.wait_ms(wall)
            assert wait is not None
            if wait:
                following = [at for at, _ in self.clock_steps if at > now]
                now, idle = min([now + wait, *following]), 0
                continue
            visit = schedule.take(wall)
            if visit is None:
                idle += 1
                assert idle < 10, "the schedule says that something is due and gives nothing"
                continue
            idle = 0
            there = self.answers(visit.device, now)
            cost = self.trip_ms if there else self.timeout_ms
            self.seen.append(Seen(now, visit.device, visit.groups, there, cost))
            now += cost
            wall += cost
            if there:
                schedule.answered(visit, wall)
            else:
                schedule.failed(visit, wall, cost)
        return self

    def share_failing(self, since_ms: int = START) -> float:
        """Of the time since `since_ms`, what visits without an answer took."""
        end = self.seen[-1].at_ms + self.seen[-1].cost_ms
        return sum(one.cost_ms for one in self.seen if not one.answered and one.at_ms >= since_ms) / (end - since_ms)

    def answered_by(self, index: int, since_ms: int = START) -> list[int]:
        """When a device answered."""
        return [one.at_ms for one in self.seen if one.device == index and one.answered and one.at_ms >= since_ms]
