"""What can be written to a simulated meter: its lock, its relay or valve with the time it takes to move, its clock."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from gateway.drivers.base import Supply
from gateway.templates.modbus import ModbusTemplate
from gateway.templates.modbus_controls import Clock, ClockField, ClockPart, Switch, Write
from gateway.templates.modbus_registers import Layout
from simulators.modbus.image import raw_in, words_of

_UNLOCKED_MS: Final = 3_000
"""How long a device that is unlocked for a visit stays so."""

Words = dict[int, int]
Sent = tuple[int, int, tuple[int, ...]]
"""A write: function, address, values."""


class Actuator:
    """A relay or a valve. `travel_ms` is how long it moves, `stuck` that it never does."""

    def __init__(self, switch: Switch, now_ms: Callable[[], int]) -> None:
        self.switch = switch
        self.travel_ms = 0
        self.stuck = False
        self.orders = 0
        self._now_ms = now_ms
        self._connected, self._target, self._arrives_ms = True, True, 0

    @property
    def connected(self) -> bool | None:
        """None while it moves."""
        if self._target != self._connected and self._now_ms() >= self._arrives_ms and not self.stuck:
            self._connected = self._target
        moving = self._target != self._connected and not self.stuck
        return None if moving else self._connected

    def order(self, connect: bool) -> None:
        """Begins to move."""
        self.orders += 1
        if self.connected is not connect:
            self._target, self._arrives_ms = connect, self._now_ms() + self.travel_ms

    def raw(self) -> int:
        """What it shows."""
        shown, state = self.switch.shown, self.connected
        if state is None:
            taken = {*shown.connected, *shown.disconnected}
            between = next((code for code in range(3) if code not in taken), None)
            if between is not None and shown.type.bits > 1 and shown.bit is None:
                return between
            state = self._connected
        return (shown.connected if state else shown.disconnected)[0]


class SimulatedControls:
    """Takes the writes that a template knows, refuses all others."""

    def __init__(self, template: ModbusTemplate, now_ms: Callable[[], int]) -> None:
        self._template, self._now_ms = template, now_ms
        self._unlocked_until_ms = 0
        self._latest: deque[Sent] = deque(maxlen=16)
        """Writes since the last order, which must be those that unlock it."""
        controls = template.controls
        self.actuators = {
            supply: Actuator(switch, now_ms)
            for supply, switch in ((Supply.RELAY, controls.relay), (Supply.VALVE, controls.valve))
            if switch is not None
        }
        self.clock_offset = timedelta()
        """How far the device's clock is ahead of the simulation's, taken as UTC."""
        self._clock_words: Words = {}

    @property
    def locked(self) -> bool:
        """Whether reads are refused."""
        return self._template.unlock is not None and self._now_ms() >= self._unlocked_until_ms

    def lock(self) -> None:
        """As a loss of power does."""
        self._unlocked_until_ms = 0

    def write(self, function: int, address: int, values: Sequence[int]) -> bool:
        """Whether the template knows this write."""
        self._latest.append((function, address, tuple(values)))
        known = self._unlock()
        for actuator in self.actuators.values():
            known |= self._order(actuator)
        return self._set_clock(function, address, values) or known or self._is_step()

    def shown(self) -> Iterator[tuple[Layout, int]]:
        """What relay and valve show, and where."""
        for actuator in self.actuators.values():
            shown = actuator.switch.shown
            yield self._template.layout(shown, shown.function), actuator.raw()

    def clock_words(self) -> tuple[int, Words]:
        """The function by which the clock is read and its registers."""
        clock = self._template.controls.clock
        if clock is None:
            return 0, {}
        words: Words = {}
        for field in clock.fields:
            layout = clock_layout(self._template, clock, field)
            for index, word in enumerate(words_of(layout, _number(field, self.clock_now()))):
                words[layout.address + index] = words.get(layout.address + index, 0) | word
        return clock.read_function, words

    def clock_now(self) -> datetime:
        """What the device's clock shows, naive."""
        simulated = datetime.fromtimestamp(self._now_ms() / 1_000, UTC).replace(tzinfo=None)
        return (simulated + self.clock_offset).replace(microsecond=0)

    def _unlock(self) -> bool:
        unlock = self._template.unlock
        if unlock is None or not self._ends_with(unlock.writes):
            return False
        self._unlocked_until_ms = self._now_ms() + (_UNLOCKED_MS if unlock.every == "visit" else 10**12)
        return True

    def _order(self, actuator: Actuator) -> bool:
        for connect, writes in ((True, actuator.switch.connect), (False, actuator.switch.disconnect)):
            if self._ends_with(writes):
                actuator.order(connect)
                self._latest.clear()
                return True
        return False

    def _set_clock(self, function: int, address: int, values: Sequence[int]) -> bool:
        clock = self._template.controls.clock
        if clock is None or function != clock.function:
            return False
        layouts = {field: clock_layout(self._template, clock, field) for field in clock.fields}
        covered = {at for layout in layouts.values() for at in range(layout.address, layout.end)}
        written = dict(enumerate(values, start=address))
        if not covered >= set(written):
            return False
        self._clock_words |= written
        if set(self._clock_words) >= covered:
            numbers = {field: raw_in(layout, self._clock_words) for field, layout in layouts.items()}
            now = self.clock_now() - self.clock_offset
            self.clock_offset = _time({field: int(raw or 0) for field, raw in numbers.items()}) - now
            self._clock_words = {}
        return True

    def _is_step(self) -> bool:
        """Whether the write is one of those that only prepare."""
        controls = self._template.controls
        steps = list(self._template.unlock.writes) if self._template.unlock else []
        for switch in (controls.relay, controls.valve):
            steps += [*switch.connect[:-1], *switch.disconnect[:-1]] if switch is not None else []
        steps += [*controls.clock.before, *controls.clock.after] if controls.clock is not None else []
        return bool(self._latest) and self._latest[-1] in [_sent(step) for step in steps]

    def _ends_with(self, writes: Sequence[Write]) -> bool:
        return list(self._latest)[-len(writes) :] == [_sent(one) for one in writes]


def _sent(write: Write) -> Sent:
    return write.function, write.address, write.values


def clock_layout(template: ModbusTemplate, clock: Clock, field: ClockField) -> Layout:
    """Where one part of the time lies."""
    return template.bits_of(field, field.type, clock.read_function, field.address)


def _number(field: ClockField, time: datetime) -> int:
    if field.part is ClockPart.EPOCH:
        return int((time - datetime(1970, 1, 1)).total_seconds()) - field.minus  # noqa: DTZ001 - a local clock
    if field.part is ClockPart.WEEKDAY:
        return (field.weekdays or range(1, 8))[time.weekday()] - field.minus
    number: int = getattr(time, field.part.value)
    return number - field.minus


def _time(numbers: dict[ClockField, int]) -> datetime:
    parts = {field.part: number + field.minus for field, number in numbers.items()}
    if ClockPart.EPOCH in parts:
        return datetime(1970, 1, 1) + timedelta(seconds=parts[ClockPart.EPOCH])  # noqa: DTZ001 - a local clock
    calendar = (ClockPart.YEAR, ClockPart.MONTH, ClockPart.DAY, ClockPart.HOUR, ClockPart.MINUTE)
    year, month, day, hour, minute = (parts[part] for part in calendar)
    return datetime(year, month, day, hour, minute, parts.get(ClockPart.SECOND, 0))  # noqa: DTZ001 - a local clock
