"""When each device of a line is due: a grid on the wall clock, devices spread inside the period; pure."""

import heapq
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from gateway.drivers.base import Group, Groups
from gateway.polling.allowance import Allowance
from gateway.polling.midnight import NextMidnight

_LONGEST_RETRY_MS: Final = 3_000
"""A lost frame is asked for again a little later in the same slot: a device that restarts needs a moment, and on some
buses the late answer must be waited out first."""
_SURPRISES_OF_AN_OUTAGE: Final = 3
"""So many devices in a row that answered before and do not now: it is the line, and nobody on it is held up."""
_BILLING: Final = frozenset({Group.BILLING})


@dataclass(frozen=True, slots=True)
class Beat:
    """Due at every `offset_ms + k · period_ms` since 1970: the same slots after every restart."""

    period_ms: int
    offset_ms: int

    def after(self, time_ms: int) -> int:
        """The first slot later than `time_ms`."""
        return time_ms + self.period_ms - (time_ms - self.offset_ms) % self.period_ms


def spread(index: int, count: int, periods_ms: Mapping[Group, int]) -> dict[Group, Beat]:
    """Beats of device `index` of `count` on a line.

    Each group is spread evenly over its period. Where a longer period is a multiple of the shortest, its slots
    fall on slots of the shortest, so that one visit serves both groups.
    """
    shortest = min(periods_ms.values())
    base = index * shortest // count
    beats: dict[Group, Beat] = {}
    for group, period in periods_ms.items():
        multiple = period // shortest if period % shortest == 0 else 1
        offset = base + shortest * (index % multiple) if multiple > 1 else index * period // count
        beats[group] = Beat(period, offset % period)
    return beats


class Visit(NamedTuple):
    """A device to be visited now, and why it is its turn."""

    device: int
    """Its position on the line."""
    groups: Groups
    due_ms: int
    """When it was due."""
    freeze: bool = False
    """The reading of its billing registers at the beginning of the day."""


class _Device:
    """What the schedule knows of one device."""

    __slots__ = (
        "beats",
        "due",
        "failures",
        "groups",
        "heard_ms",
        "key",
        "may_retry",
        "retry",
        "shortest_ms",
        "tried_ms",
    )

    def __init__(self, beats: Mapping[Group, Beat], now_ms: int) -> None:
        self.beats = beats
        self.groups: Groups = frozenset(beats)
        self.shortest_ms = min((beat.period_ms for beat in beats.values()), default=0)
        self.due = {group: beat.after(now_ms) for group, beat in beats.items()}
        self.failures = 0
        """Visits in a row without an answer."""
        self.heard_ms = now_ms
        """When it answered last; the start before it ever did."""
        self.tried_ms = now_ms
        """When it was asked last and did not answer."""
        self.may_retry = False
        """Whether it answered since the last retry."""
        self.retry = False
        self.key: int | None = None
        """Where it stands in the heap; None while it is taken or waits for the allowance."""

    def advance(self, groups: Groups, now_ms: int) -> None:
        """The next slot of each of `groups`."""
        for group in groups:
            self.due[group] = self.beats[group].after(now_ms)


class LineSchedule:
    """What is due next on one line. Slots that pass while the line is busy are skipped, never queued up.

    In this order: at midnight the billing registers of every device; a failing device, when the allowance has room
    for it; whatever is due by its grid. A failing device is tried once in each of its shortest periods as far as the
    allowance goes. Where it does not go round, the next to be tried is the one whose wait is longest in proportion to
    its silence: who fell silent lately does not queue behind those that are gone for good.
    """

    def __init__(self, beats: Sequence[Mapping[Group, Beat]], now_ms: int, next_midnight: NextMidnight) -> None:
        self._devices = [_Device(one, now_ms) for one in beats]
        self._next_midnight = next_midnight
        self._midnight_ms = next_midnight(now_ms)
        self._frozen: deque[int] = deque()
        """Whose billing registers are still to be read for the day that began."""
        self._waiting: dict[int, int] = {}
        """Failing devices whose slot (the value) has come."""
        self._allowance = Allowance(now_ms, min((one.shortest_ms for one in self._devices), default=0))
        self._alive = len(self._devices)
        self._surprises = 0
        """Devices that fell silent since one answered last."""
        self._tried_last = False
        self._now_ms = now_ms
        """The latest time that was heard of."""
        self._heap: list[tuple[int, int]] = []
        for index, device in enumerate(self._devices):
            if device.groups:
                self._stand(index, min(device.due.values()))

    def failures(self, index: int) -> int:
        """Visits of a device in a row without an answer; 0 also for one that is given another chance."""
        return self._devices[index].failures

    def wait_ms(self, now_ms: int) -> int | None:
        """How long nothing is due: 0 when `take` has a visit now; None for a line without devices."""
        if not self._devices:
            return None
        self._pass_to(now_ms)
        if self._frozen:
            return 0
        wait = self._midnight_ms - now_ms
        if (top := self._top()) is not None:
            wait = min(wait, top - now_ms)
        if self._waiting:
            self._allowance.pass_to(now_ms, self._out)
            wait = min(wait, self._allowance.wait_ms())
        return max(wait, 0)

    def take(self, now_ms: int) -> Visit | None:
        """The visit whose turn it is; None when nothing is due.

        The device is out of the schedule until `answered`, `failed`, `missed` or `release`.
        """
        self._pass_to(now_ms)
        if now_ms >= self._midnight_ms:
            self._freeze(now_ms)
        if self._frozen and (visit := self._take_frozen(now_ms)) is not None:
            return visit
        if not self._tried_last and (visit := self._take_failing(now_ms)) is not None:
            return visit
        self._tried_last = False
        return self._take_due(now_ms) or self._take_failing(now_ms)

    def answered(self, visit: Visit, now_ms: int) -> None:
        """After a visit with an answer: the next slot of each group."""
        device = self._devices[visit.device]
        silent_since = device.heard_ms if device.failures or self._out else None
        self._surprises = 0
        self._trust(device)
        device.heard_ms, device.may_retry = now_ms, True
        device.advance(visit.groups, now_ms)
        self._stand(visit.device, min(device.due.values()))
        if silent_since is not None:
            self._try_fellows(silent_since, now_ms)

    def heard(self, index: int, now_ms: int) -> None:
        """A device answered outside its visits: a command. A failing one is visited at its next slot again."""
        device = self._devices[index]
        if device.failures:
            silent_since = device.heard_ms
            device.heard_ms = now_ms
            self._restore(index, now_ms)
            self._try_fellows(silent_since, now_ms)

    def failed(self, visit: Visit, now_ms: int, cost_ms: float) -> None:
        """After a visit without an answer that took `cost_ms` of the line: a retry in the slot, or the next slot."""
        device = self._devices[visit.device]
        device.retry = False
        self._allowance.pass_to(now_ms, self._out)
        device.failures += 1
        device.tried_ms = now_ms
        if device.failures > 1:
            self._allowance.charge(cost_ms)
        else:
            self._alive -= 1
            self._surprises += 1
            if device.may_retry and not self._allowance.wait_ms():
                device.may_retry = False
                device.retry = True
                self._stand_for_retry(visit, now_ms)
                return
        device.advance(device.groups, now_ms)
        self._stand(visit.device, min(device.due.values()))

    def missed(self, visit: Visit, now_ms: int) -> None:
        """Instead of a visit that the line did not allow: the next slot; nothing was learnt of the device."""
        device = self._devices[visit.device]
        device.advance(visit.groups, now_ms)
        self._stand(visit.device, min(device.due.values()))
        if visit.freeze:
            self._frozen.append(visit.device)

    def release(self, visit: Visit) -> None:
        """Instead of a visit: puts the device back as it was; what was due is due still."""
        self._stand(visit.device, min(visit.due_ms, *self._devices[visit.device].due.values()))
        if visit.freeze:
            self._frozen.append(visit.device)

    @property
    def _out(self) -> bool:
        """Whether the whole line seems to be silent."""
        return self._alive == 0 or self._surprises >= _SURPRISES_OF_AN_OUTAGE

    def _pass_to(self, now_ms: int) -> None:
        """When the clock had been wrong and was set back, slots of the time that it showed are not waited for."""
        if now_ms < self._now_ms:
            self._midnight_ms = self._next_midnight(now_ms)
            for index, device in enumerate(self._devices):
                device.heard_ms, device.tried_ms = min(device.heard_ms, now_ms), min(device.tried_ms, now_ms)
                device.advance(device.groups, now_ms)
                if device.key is not None or self._waiting.pop(index, None) is not None:
                    self._stand(index, min(device.due.values()))
        self._now_ms = now_ms

    def _stand_for_retry(self, visit: Visit, now_ms: int) -> None:
        device = self._devices[visit.device]
        key = now_ms + min(device.shortest_ms // 4, _LONGEST_RETRY_MS)
        for group in visit.groups:
            device.due[group] = min(device.due[group], key)
        self._stand(visit.device, key)

    def _stand(self, index: int, key: int) -> None:
        self._devices[index].key = key
        heapq.heappush(self._heap, (key, index))

    def _top(self) -> int | None:
        """The earliest key; entries of devices that moved since are dropped."""
        heap = self._heap
        while heap:
            key, index = heap[0]
            if self._devices[index].key == key:
                return key
            heapq.heappop(heap)
        return None

    def _freeze(self, now_ms: int) -> None:
        """A new day: everybody that answers is read first, failing ones are due within the allowance."""
        self._midnight_ms = self._next_midnight(now_ms)
        self._frozen = deque(
            index
            for index, device in enumerate(self._devices)
            if Group.BILLING in device.groups and not device.failures
        )
        for device in self._devices:
            if Group.BILLING in device.groups and device.failures:
                device.due[Group.BILLING] = now_ms

    def _take_frozen(self, now_ms: int) -> Visit | None:
        while self._frozen:
            index = self._frozen.popleft()
            device = self._devices[index]
            if device.key is not None:
                device.key = None
                return Visit(index, _BILLING, now_ms, freeze=True)
            device.due[Group.BILLING] = now_ms  # it is taken: due when it comes back
        return None

    def _take_due(self, now_ms: int) -> Visit | None:
        while (top := self._top()) is not None and top <= now_ms:
            index = self._heap[0][1]
            heapq.heappop(self._heap)
            device = self._devices[index]
            device.key = None
            if device.failures and not device.retry:
                self._waiting[index] = top
                continue
            groups = frozenset([group for group, due in device.due.items() if due <= now_ms])
            return Visit(index, groups or device.groups, top)
        return None

    def _take_failing(self, now_ms: int) -> Visit | None:
        """Of those whose slot has come, the one whose turn it is; all its groups, for it missed some."""
        if not self._waiting:
            return None
        self._allowance.pass_to(now_ms, self._out)
        if self._allowance.wait_ms():
            return None
        self._tried_last = True
        devices = self._devices
        index = max(
            self._waiting,
            key=lambda one: (now_ms - devices[one].tried_ms) / (now_ms - devices[one].heard_ms + 1),
        )
        return Visit(index, devices[index].groups, self._waiting.pop(index))

    def _try_fellows(self, heard_ms: int, now_ms: int) -> None:
        """One that fell silent at `heard_ms` is back: those that fell silent with it are probably back too.

        Each is visited at its next slot like one that answers. A line that was cut is whole again within a period.
        """
        for index, device in enumerate(self._devices):
            if device.failures and abs(device.heard_ms - heard_ms) <= 2 * device.shortest_ms:
                self._restore(index, now_ms)

    def _restore(self, index: int, now_ms: int) -> None:
        """A failing device is visited by its grid again."""
        device = self._devices[index]
        self._trust(device)
        device.advance(device.groups, now_ms)
        if device.key is not None or self._waiting.pop(index, None) is not None:
            self._stand(index, min(device.due.values()))

    def _trust(self, device: _Device) -> None:
        if device.failures:
            device.failures = 0
            self._alive += 1
        device.retry = False
