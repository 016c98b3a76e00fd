"""The one owner of a line: connects, visits devices when they are due, lets commands overtake, ends cleanly."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from datetime import datetime
from math import inf
from time import monotonic
from typing import Final, TypeVar
from zoneinfo import ZoneInfo

import structlog

from gateway.contract.messages import Action, Command, CommandState, Point, Quality
from gateway.drivers.base import CommandOutcome, Group, Groups, Line, ReadOutcome, ReadsMeter
from gateway.drivers.turns import urgent
from gateway.errors import GatewayError, LineDown
from gateway.health.stats import HANGS_AFTER_S, DeviceStats, LineStats
from gateway.polling.clock import Clock
from gateway.polling.midnight import NextMidnight, midnights
from gateway.polling.orders import actions_of, carry_out, read_outcome
from gateway.polling.report import Reporter, ReportRules
from gateway.polling.schedule import LineSchedule, Visit, spread
from gateway.tasks import end

T = TypeVar("T")

log = structlog.get_logger(__name__)

Record = Callable[[Sequence[Point]], Awaitable[None]]
_FIRST_RECONNECT_S: Final = 0.25
_LONGEST_RECONNECT_S: Final = 15.0
_ORDERS_END_S: Final = 10.0
"""How long orders that are being carried out may go on after `stop`."""
_WAIT_FOR_TIME_S: Final = 1.0
_ESTIMATED: Final = int(Quality.ESTIMATED_CLOCK)
_UTC: Final = midnights(ZoneInfo("UTC"))


class Interrupted(GatewayError):
    """The gateway stopped while an order was carried out: what became of it is not known."""


class LineWorker:
    """Runs one line until `stop`. Only this object ever touches the line.

    Polls are visits of its own loop; each order is a task of its own. Their transactions take turns on the line, those
    of orders first, so that an order waits for one running transaction at most, and a valve that takes half a minute
    to move holds up nobody. Only visits to the device that is under orders wait until they are carried out.
    """

    def __init__(
        self,
        name: str,
        line: Line,
        meters: Sequence[ReadsMeter],
        periods_ms: Sequence[Mapping[Group, int]],
        clock: Clock,
        record: Record,
        next_midnight: NextMidnight = _UTC,
        rules: Sequence[ReportRules | None] = (),
        places: Sequence[int] = (),
    ) -> None:
        """`periods_ms` gives, for the meter at the same position, the period of each of its groups.

        `rules` does so for report by exception; a meter without reports everything. `places` says where in the period
        each is: meters in one place, which share a unit, are due together. Each has its own when it is empty.
        """
        self.stats = LineStats(name, [DeviceStats(meter.device, actions_of(meter)) for meter in meters])
        self._line, self._meters, self._clock, self._record = line, meters, clock, record
        beats = [
            spread(place, len(meters), {group: periods[group] for group in meter.groups})
            for place, meter, periods in zip(places or range(len(meters)), meters, periods_ms, strict=True)
        ]
        self._shortest_ms = min((beat.period_ms for device in beats for beat in device.values()), default=0)
        self._schedule = LineSchedule(beats, clock.now_ms(), next_midnight)
        self._reporters = [Reporter(rule) if rule is not None else None for rule in rules or [None] * len(meters)]
        self._index = {meter.device: index for index, meter in enumerate(meters)}
        self._one_at_a_time = [asyncio.Lock() for _ in meters]
        self._orders: set[asyncio.Task[object]] = set()
        self._ordered: dict[int, int] = {}
        """Orders of each device that has some; meanwhile its visits are held."""
        self._held: dict[int, Visit] = {}
        self._wake = asyncio.Event()
        self._stopping = False
        self._reconnect_s = _FIRST_RECONNECT_S

    @property
    def devices(self) -> tuple[str, ...]:
        """Codes of the meters on this line."""
        return tuple(self._index)

    def stop(self) -> None:
        """Lets the running transaction finish, then ends `run`."""
        self._stopping = True
        self._wake.set()

    async def perform(self, command: Command, local_now: Callable[[], datetime]) -> CommandOutcome:
        """Carries out a verified command for a meter of this line, before anything that is due.

        `local_now` gives the local time of the property, for a meter's clock. FAILED means that nothing was changed:
        also for a device that is not here or cannot do it, and for a line without a connection.
        """
        index = self._index.get(command.device)
        if index is None:
            return CommandOutcome(CommandState.FAILED, f"no meter {command.device} here")
        try:
            if command.action is Action.READ_NOW:
                return read_outcome(await self.read_now(command.device))
            meter = self._meters[index]
            return await self._overtake(index, lambda: carry_out(command, meter, local_now))
        except LineDown as error:
            return CommandOutcome(CommandState.FAILED, str(error))
        except Interrupted as error:
            return CommandOutcome(CommandState.UNCERTAIN, str(error))

    async def read_now(self, device: str) -> ReadOutcome:
        """Reads all channels of `device` before anything else that is due; the values are recorded as always.

        Raises LineDown when there is no connection or the line is stopping, Interrupted when it stopped meanwhile,
        KeyError for a device of another line.
        """
        index = self._index[device]
        return await self._overtake(index, lambda: self._read_all(index))

    async def run(self) -> None:
        """Polls until `stop`; returns with the line closed."""
        try:
            while not self._stopping:
                self.stats.moves_by = monotonic() + HANGS_AFTER_S
                now = self._clock.now_ms()
                if not self._clock.knows:
                    await self._sleep(_WAIT_FOR_TIME_S)
                elif not self._line.connected:
                    await self._connect()
                elif (wait_ms := self._schedule.wait_ms(now)) is None:
                    await self._sleep(None)
                elif wait_ms > 0:
                    await self._sleep(wait_ms / 1000)
                elif (visit := self._schedule.take(now)) is not None:
                    await self._make(visit, now)
            await self._finish_orders()
        finally:
            self._stopping = True
            await end(*self._orders)
            self._line.close()
            self.stats.connected, self.stats.moves_by = False, inf

    async def _overtake(self, index: int, order: Callable[[], Coroutine[None, None, T]]) -> T:
        """Runs `order` as a task of this line: whoever waits for it may go away, its transactions are not cancelled."""
        if self._stopping:
            raise LineDown("the gateway is stopping")
        task = asyncio.create_task(self._urgently(index, order))
        self._orders.add(task)
        task.add_done_callback(self._orders.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise Interrupted("the gateway stopped before it was carried out") from None
            raise

    async def _urgently(self, index: int, order: Callable[[], Coroutine[None, None, T]]) -> T:
        self._ordered[index] = self._ordered.get(index, 0) + 1
        try:
            with urgent():
                async with self._one_at_a_time[index]:
                    return await order()
        finally:
            self._ordered[index] -= 1
            if not self._ordered[index]:
                del self._ordered[index]
                if (visit := self._held.pop(index, None)) is not None:
                    self._schedule.release(visit)
            self._wake.set()  # for the visit that was held, and for a line that is connected again

    async def _finish_orders(self) -> None:
        if self._orders:
            await asyncio.wait(self._orders, timeout=_ORDERS_END_S)

    async def _connect(self) -> None:
        try:
            async with self._line.turns:
                self._reconnect_s = _FIRST_RECONNECT_S
        except LineDown as error:
            log.warning("line-down", line=self.stats.name, reason=str(error), retry_in_s=self._reconnect_s)
            await self._sleep(self._reconnect_s)
            self._reconnect_s = min(2 * self._reconnect_s, _LONGEST_RECONNECT_S)
        finally:
            self._count_line()

    def _count_line(self) -> None:
        turns = self._line.turns
        self.stats.connects, self.stats.connect_failures = turns.connects, turns.connect_failures
        self.stats.connected = self._line.connected
        self.stats.count_time(self._line.busy_s, monotonic())

    async def _make(self, visit: Visit, now: int) -> None:
        """A visit, unless the device is under orders; the schedule hears how it went."""
        index = visit.device
        if index in self._ordered:
            self._held[index] = visit
            return
        if now - visit.due_ms > self._shortest_ms and not self._schedule.failures(index):
            self.stats.late_visits += 1
        started = monotonic()
        try:
            async with self._one_at_a_time[index]:
                outcome = await self._visit(index, visit.groups, everything=False)
        except LineDown as error:
            log.info("line-lost", line=self.stats.name, reason=str(error))
            self._schedule.missed(visit, self._clock.now_ms())
            return
        if outcome.answered and not outcome.timeouts and not outcome.malformed:
            self._schedule.answered(visit, self._clock.now_ms())
        else:  # also when a part came: what is missing is asked for again, and costs the line as much
            self._schedule.failed(visit, self._clock.now_ms(), (monotonic() - started) * 1000)

    async def _read_all(self, index: int) -> ReadOutcome:
        """On demand: everything is read and reported."""
        outcome = await self._visit(index, self._meters[index].groups, everything=True)
        if outcome.answered:
            self._schedule.heard(index, self._clock.now_ms())
        return outcome

    async def _visit(self, index: int, groups: Groups, everything: bool) -> ReadOutcome:
        meter, stats = self._meters[index], self.stats.devices[index]
        outcome = await meter.read(groups, self._clock.now_ms)
        self._count_line()
        self.stats.visits += 1
        was_failing = stats.failures_in_a_row
        stats.count(outcome, self._clock.now_ms())
        if was_failing and outcome.answered:
            log.info("device-answers-again", device=meter.device, failed_visits=was_failing)
        elif stats.failures_in_a_row == 1:
            log.warning("device-failed", device=meter.device, reason=stats.last_error)
        if outcome.answers:
            points = self._points(index, outcome, everything or was_failing > 0)
            stats.points += len(points)
            await self._record(points)
        return outcome

    def _points(self, index: int, outcome: ReadOutcome, everything: bool) -> list[Point]:
        """What is told of the answers."""
        device, reporter = self._meters[index].device, self._reporters[index]
        flags = _ESTIMATED if self._clock.estimated else 0
        points: list[Point] = []
        for taken_at, readings in outcome.answers:
            if reporter is not None:
                readings = reporter.choose(readings, flags, taken_at, everything)
            points += [Point(device, one.channel, taken_at, one.value, one.quality | flags) for one in readings]
        return points

    async def _sleep(self, seconds: float | None) -> None:
        """Until the time has come, or `stop` or a device that is free again wakes the line."""
        if self._stopping:
            return
        self._wake.clear()
        self.stats.moves_by = inf if seconds is None else monotonic() + seconds + HANGS_AFTER_S
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass
