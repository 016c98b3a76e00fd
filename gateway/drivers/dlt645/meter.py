"""Meters that speak DL/T 645 on a bus: reading them, their relay and their clock."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from gateway.contract.messages import CommandState
from gateway.drivers.base import CommandOutcome, Group, Groups, ReadOutcome, Supply
from gateway.drivers.bus.question import Asks
from gateway.drivers.dlt645.decoder import Programs, compile_template
from gateway.drivers.dlt645.frame import (
    EDITION_1997,
    EDITION_2007,
    Edition,
    Function,
    Order,
    Password,
    control_data,
    date_bytes,
    time_bytes,
    valid_until,
    write_data,
)
from gateway.drivers.dlt645.secret import PasswordMissing
from gateway.drivers.dlt645.station import Station
from gateway.drivers.read_back import order_and_look
from gateway.drivers.visit import Step, Visits
from gateway.errors import LineDown, MalformedReply, NoAnswer
from gateway.templates.dlt645 import ClockControl, Controls, Dlt645Template, RelayControl

LocalNow = Callable[[], datetime]
"""The wall clock of the property, naive."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """What all meters of a template share."""

    programs: Programs
    edition: Edition
    rest_s: float
    controls: Controls


@dataclass(frozen=True, slots=True)
class Authority:
    """What is needed to order something of a meter."""

    password: Callable[[], Password]
    """Reads it anew for every order. Raises PasswordMissing."""
    local_now: LocalNow


def compile_meter(template: Dlt645Template) -> Compiled:
    """Everything that a template decides, decided once."""
    edition = EDITION_2007 if template.edition == "2007" else EDITION_1997
    return Compiled(compile_template(template), edition, template.pause_ms / 1000, template.controls)


def build_meter(
    device: str, address: str, bus: Asks, compiled: Compiled, authority: Authority | None = None
) -> "Dlt645Meter":
    """A meter that can do what its template says; without `authority` it is only read."""
    relay, clock = compiled.controls.relay, compiled.controls.clock
    if authority is None or (relay is None and clock is None):
        return Dlt645Meter(device, address, bus, compiled)
    if clock is None:
        return RelayMeter(device, address, bus, compiled, authority)
    kind = ClockMeter if relay is None else RelayAndClockMeter
    return kind(device, address, bus, compiled, authority)


class Dlt645Meter:
    """Reads one meter."""

    def __init__(self, device: str, address: str, bus: Asks, compiled: Compiled) -> None:
        self.device = device
        self.groups: Groups = frozenset(group for group in Group if compiled.programs[frozenset({group})])
        self._station = Station(address, bus, compiled.edition, compiled.rest_s)
        self._visits = Visits()
        self._steps = {
            groups: tuple(
                Step(partial(self._station.item, item.id, item.expected_bytes), item.decode) for item in program
            )
            for groups, program in compiled.programs.items()
        }

    async def read(self, groups: Groups, now_ms: Callable[[], int]) -> ReadOutcome:
        """Asks for the items of `groups`, one by one. Raises LineDown when nothing could be asked."""
        return await self._visits.make(self._steps[groups], now_ms)


class OrderedMeter(Dlt645Meter):
    """A meter that obeys whoever knows its password."""

    def __init__(self, device: str, address: str, bus: Asks, compiled: Compiled, authority: Authority) -> None:
        super().__init__(device, address, bus, compiled)
        self._controls, self._authority = compiled.controls, authority

    def _password(self) -> Password | CommandOutcome:
        """The password, or what becomes of an order without one."""
        try:
            return self._authority.password()
        except PasswordMissing as missing:
            return CommandOutcome(CommandState.FAILED, f"nothing sent: {missing}")


class RelayMeter(OrderedMeter):
    """Cuts and gives the supply."""

    @property
    def supplies(self) -> frozenset[Supply]:
        """A relay."""
        return frozenset({Supply.RELAY})

    async def switch(self, supply: Supply, on: bool) -> CommandOutcome:
        """Orders the relay and reads the status word until it shows the state. Raises LineDown when nothing was sent.

        A meter that only permits closing is done when its status shows the permission: a person closes it then.
        """
        relay = self._controls.relay
        assert relay is not None
        if supply is not Supply.RELAY:
            return CommandOutcome(CommandState.FAILED, f"the meter has no {supply}")
        password = self._password()
        if isinstance(password, CommandOutcome):
            return password
        close = Order.PERMIT_CLOSE if relay.close == "permit" else Order.CLOSE
        until = valid_until(self._authority.local_now(), relay.valid_s)
        data = control_data(password, close if on else Order.TRIP, until)
        outcome = await order_and_look(
            lambda: self._station.order(Function.CONTROL, data),
            lambda: self._unlike(relay, on),
            relay.within_s,
            relay.every_s,
        )
        if outcome.state is CommandState.DONE and on and relay.close == "permit":
            return CommandOutcome(CommandState.DONE, "the meter permits closing: its button closes the relay")
        return outcome

    async def _unlike(self, relay: RelayControl, on: bool) -> str:
        """What of the status differs from the order; empty when nothing does."""
        data = await self._station.item(relay.status, relay.status_size)
        if len(data) != relay.status_size:
            raise MalformedReply(f"item {relay.status} of {len(data)} bytes")
        mask = relay.ordered_open_mask if on and relay.close == "permit" else relay.open_mask
        is_open = bool(int.from_bytes(data, "little") & int(mask, 16))
        return "" if is_open != on else f"the relay {'open' if is_open else 'closed'}"


class ClockMeter(OrderedMeter):
    """Has a clock that can be set."""

    async def set_clock(self, local_now: LocalNow) -> CommandOutcome:
        """Writes date and time and reads both back. Raises LineDown when nothing was sent."""
        clock = self._controls.clock
        assert clock is not None
        password = self._password()
        if isinstance(password, CommandOutcome):
            return password
        return await order_and_look(
            lambda: self._write_clock(clock, password, local_now),
            lambda: self._clock_error(clock, local_now),
            clock.within_s,
            clock.every_s,
        )

    async def _write_clock(self, clock: ClockControl, password: Password, local_now: LocalNow) -> None:
        """The date once more when it changed before the time was written: the meter would be a day behind."""
        date = local_now()
        await self._station.order(Function.WRITE, write_data(clock.date, password, date_bytes(date)))
        try:
            time = local_now()
            await self._station.order(Function.WRITE, write_data(clock.time, password, time_bytes(time)[:3]))
            if time.date() != date.date():
                await self._station.order(Function.WRITE, write_data(clock.date, password, date_bytes(time)))
        except LineDown as error:  # something was sent already
            raise NoAnswer(str(error)) from error

    async def _clock_error(self, clock: ClockControl, local_now: LocalNow) -> str:
        """What the clock shows when it is wrong; empty when it is right."""
        date = f"{await self._station.number(clock.date, 4):08}"[:6]
        time = f"{await self._station.number(clock.time, 3):06}"
        shown = f"20{date[:2]}-{date[2:4]}-{date[4:]} {time[:2]}:{time[2:4]}:{time[4:]}"
        try:
            off = abs(datetime.fromisoformat(shown) - local_now())
        except ValueError:
            return shown
        return "" if off <= timedelta(seconds=clock.tolerance_s) else shown


class RelayAndClockMeter(RelayMeter, ClockMeter):
    """Both."""
