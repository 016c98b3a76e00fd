"""The one owner of a line: connects, visits devices when they are due, lets commands overtake, ends cleanly."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import monotonic

import structlog

from gateway.contract.messages import Point, Quality
from gateway.drivers.base import Group, Groups, Line, ReadOutcome, ReadsMeter
from gateway.errors import LineDown
from gateway.health.stats import DeviceStats, LineStats
from gateway.polling.clock import Clock
from gateway.polling.schedule import LineSchedule, spread

log = structlog.get_logger(__name__)

Record = Callable[[Sequence[Point]], Awaitable[None]]
_FIRST_RECONNECT_S = 0.25
_LONGEST_RECONNECT_S = 15.0
_REST_AFTER_FAILURE = 3
"""After a failed visit, devices known to fail are left alone for this many times its length: they take at most a
quarter of the line together, however many they are."""


class LineWorker:
    """Runs one line until `stop`. Only this object ever touches the line."""

    def __init__(
        self,
        name: str,
        line: Line,
        meters: Sequence[ReadsMeter],
        periods_ms: Sequence[Mapping[Group, int]],
        clock: Clock,
        record: Record,
    ) -> None:
        """`periods_ms` gives, for the meter at the same position, the period of each of its groups."""
        self.stats = LineStats(name, [DeviceStats(meter.device) for meter in meters])
        self._line, self._meters, self._clock, self._record = line, meters, clock, record
        beats = [
            spread(index, len(meters), {group: periods[group] for group in meter.groups})
            for index, (meter, periods) in enumerate(zip(meters, periods_ms, strict=True))
        ]
        self._shortest_ms = min((beat.period_ms for device in beats for beat in device.values()), default=0)
        self._schedule = LineSchedule(beats, clock.now_ms())
        self._urgent: deque[tuple[int, asyncio.Future[ReadOutcome]]] = deque()
        self._wake = asyncio.Event()
        self._stopping = False
        self._failing_rest_until_ms = 0
        self._reconnect_s = _FIRST_RECONNECT_S

    @property
    def devices(self) -> tuple[str, ...]:
        """Codes of the meters on this line."""
        return tuple(meter.device for meter in self._meters)

    def stop(self) -> None:
        """Lets the running transaction finish, then ends `run`."""
        self._stopping = True
        self._wake.set()

    async def read_now(self, device: str) -> ReadOutcome:
        """Reads all channels of `device` before anything else that is due; the values are recorded as always.

        Raises LineDown when there is no connection or the line is stopping, KeyError for a device of another line.
        """
        index = self.devices.index(device) if device in self.devices else None
        if index is None:
            raise KeyError(device)
        if self._stopping:
            raise LineDown("the gateway is stopping")
        answer: asyncio.Future[ReadOutcome] = asyncio.get_running_loop().create_future()
        self._urgent.append((index, answer))
        self._wake.set()
        return await answer

    async def run(self) -> None:
        """Polls until `stop`; returns with the line closed."""
        try:
            while not self._stopping:
                if not self._line.connected and not await self._connect():
                    continue
                if self._urgent:
                    await self._visit_urgent()
                elif (due := self._schedule.next_due()) is None:
                    await self._sleep(None)
                elif (wait_ms := due - self._clock.now_ms()) > 0:
                    await self._sleep(wait_ms / 1000)
                else:
                    await self._visit_due(due)
        finally:
            self._line.close()
            self._refuse_urgent("the gateway is stopping")

    async def _connect(self) -> bool:
        try:
            await self._line.connect()
        except LineDown as error:
            self.stats.connect_failures += 1
            log.warning("line-down", line=self.stats.name, reason=str(error), retry_in_s=self._reconnect_s)
            self._refuse_urgent(str(error))
            await self._sleep(self._reconnect_s)
            self._reconnect_s = min(2 * self._reconnect_s, _LONGEST_RECONNECT_S)
            return False
        self.stats.connects += 1
        self._reconnect_s = _FIRST_RECONNECT_S
        return True

    async def _visit_due(self, due_ms: int) -> None:
        now = self._clock.now_ms()
        index, groups = self._schedule.take(now)
        device = self.stats.devices[index]
        if device.failures_in_a_row and now < self._failing_rest_until_ms:
            self._schedule.postpone(index, self._failing_rest_until_ms)
            return
        if now - due_ms > self._shortest_ms:
            self.stats.late_visits += 1
        try:
            await self._visit(index, groups)
        except LineDown:
            self.stats.connect_failures += 1
        done = self._clock.now_ms()
        if device.failures_in_a_row:
            self._failing_rest_until_ms = done + _REST_AFTER_FAILURE * (done - now)
        self._schedule.put_back(index, groups, done, device.failures_in_a_row)

    async def _visit_urgent(self) -> None:
        index, answer = self._urgent.popleft()
        try:
            outcome = await self._visit(index, self._meters[index].groups)
        except LineDown as error:
            if not answer.done():
                answer.set_exception(error)
            return
        if not answer.done():
            answer.set_result(outcome)

    async def _visit(self, index: int, groups: Groups) -> ReadOutcome:
        meter, stats = self._meters[index], self.stats.devices[index]
        started = monotonic()
        outcome = await meter.read(groups, self._clock.now_ms)
        self.stats.busy_s += monotonic() - started
        self.stats.visits += 1
        was_failing = stats.failures_in_a_row
        stats.count(outcome, self._clock.now_ms())
        if outcome.answered and was_failing:
            log.info("device-answers-again", device=meter.device, failed_visits=was_failing)
        elif stats.failures_in_a_row == 1:
            log.warning("device-failed", device=meter.device, timeouts=outcome.timeouts, malformed=outcome.malformed)
        clock_flag = Quality.ESTIMATED_CLOCK if self._clock.estimated else 0
        points = [
            Point(meter.device, reading.channel, taken_at, reading.value, reading.quality | clock_flag)
            for taken_at, readings in outcome.answers
            for reading in readings
        ]
        stats.points += len(points)
        await self._record(points)
        return outcome

    async def _sleep(self, seconds: float | None) -> None:
        """Until the time has come, or `stop` or a command wakes the line."""
        if self._stopping or self._urgent:
            return
        self._wake.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass

    def _refuse_urgent(self, why: str) -> None:
        while self._urgent:
            _, answer = self._urgent.popleft()
            if not answer.done():
                answer.set_exception(LineDown(why))
