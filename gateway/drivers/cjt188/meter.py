"""Meters that speak CJ/T 188 on a bus: reading them, their valve and their clock."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from gateway.contract.messages import CommandState
from gateway.drivers.base import CommandOutcome, Group, Groups, ReadOutcome, Supply
from gateway.drivers.bus.question import Asks, Question, ask_without_doubt
from gateway.drivers.cjt188.decoder import Programs, compile_template
from gateway.drivers.cjt188.frame import Asked, Frame, Function, IdOrder, build, judge_answer, time_bytes, time_in
from gateway.drivers.read_back import order_and_look
from gateway.drivers.visit import Step, Visits
from gateway.errors import DoubtfulReply, MalformedReply
from gateway.templates.cjt188 import Cjt188Template, Controls, ValveControl

_HEAD: Final = 3
"""Bytes of an answer's data before the item: identifier and serial number."""
_AROUND_DATA: Final = 4 + 13 + _HEAD
"""Bytes of an answer besides the item: preamble, frame and head."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """What all meters of a template share."""

    programs: Programs
    kind: int
    id_order: IdOrder
    repeats_serial: bool
    rest_s: float
    lengths: dict[str, int]
    controls: Controls


def compile_meter(template: Cjt188Template) -> Compiled:
    """Everything that a template decides, decided once."""
    return Compiled(
        compile_template(template),
        int(template.kind, 16),
        template.id_order,
        template.repeats_serial,
        template.pause_ms / 1000,
        template.lengths,
        template.controls,
    )


def build_meter(device: str, address: str, bus: Asks, compiled: Compiled) -> "Cjt188Meter":
    """A meter that can do what its template says."""
    valve, clock = compiled.controls.valve is not None, compiled.controls.clock is not None
    kind = {
        (False, False): Cjt188Meter,
        (True, False): ValveMeter,
        (False, True): ClockMeter,
        (True, True): ValveAndClockMeter,
    }[valve, clock]
    return kind(device, address, bus, compiled)


class Station:
    """Questions to one address; each has the next serial number. All methods raise as `Asks.ask` does."""

    def __init__(self, address: str, bus: Asks, compiled: Compiled) -> None:
        self._address, self._bus, self._compiled = address, bus, compiled
        self._serial = 0

    async def item(self, name: str) -> bytes:
        """The data of an item, behind the serial number."""
        question = self._question(Function.READ, name, b"", self._compiled.lengths[name])
        return (await ask_without_doubt(self._bus, question))[_HEAD:]

    async def write(self, name: str, value: bytes) -> None:
        """Writes an item; the answer has nothing but perhaps the status word. Sent once, whatever becomes of it."""
        # Perhaps the answer is a copy of that to an earlier order: this one was sent, and the meter will show it.
        with suppress(DoubtfulReply):
            await self._bus.ask(self._question(Function.WRITE, name, value, 2))

    def _question(self, function: Function, name: str, tail: bytes, answer_data_bytes: int) -> Question[bytes]:
        """Its answer is all data with the serial number, so that answers to different questions differ."""
        compiled = self._compiled
        if compiled.repeats_serial:
            self._serial = (self._serial + 1) & 0xFF
        asked = Asked(
            compiled.kind, self._address, function, name, compiled.id_order, self._serial, compiled.repeats_serial
        )
        bare = asked.request
        return Question(
            request=build(Frame(bare.kind, bare.address, bare.control, bare.data + tail)),
            judge=lambda received: judge_answer(received, asked, lambda frame: frame.data),
            look=asked.look,
            answer_bytes=_AROUND_DATA + answer_data_bytes,
            rest_s=compiled.rest_s,
            changes=function is Function.WRITE,
        )


class Cjt188Meter:
    """Reads one meter."""

    def __init__(self, device: str, address: str, bus: Asks, compiled: Compiled) -> None:
        self.device = device
        self.groups: Groups = frozenset(group for group in Group if compiled.programs[frozenset({group})])
        self._station = Station(address, bus, compiled)
        self._controls, self._lengths = compiled.controls, compiled.lengths
        self._visits = Visits()
        self._steps = {
            groups: tuple(Step(partial(self._station.item, item.id), item.decode) for item in program)
            for groups, program in compiled.programs.items()
        }

    async def read(self, groups: Groups, now_ms: Callable[[], int]) -> ReadOutcome:
        """Asks for the items of `groups`, one by one. Raises LineDown when nothing could be asked."""
        return await self._visits.make(self._steps[groups], now_ms)

    async def _status(self, name: str, offset: int, size: int) -> bytes:
        """A piece of an item's data. Raises also MalformedReply."""
        data = await self._station.item(name)
        if len(data) != self._lengths[name]:
            raise MalformedReply(f"item {name} of {len(data)} bytes")
        return data[offset : offset + size]


class ValveMeter(Cjt188Meter):
    """Opens and closes its valve."""

    @property
    def supplies(self) -> frozenset[Supply]:
        """A valve."""
        return frozenset({Supply.VALVE})

    async def switch(self, supply: Supply, on: bool) -> CommandOutcome:
        """Orders the valve and reads the status until it shows the state: a motor takes its time.

        Raises LineDown when nothing was sent.
        """
        valve = self._controls.valve
        assert valve is not None
        if supply is not Supply.VALVE:
            return CommandOutcome(CommandState.FAILED, f"the meter has no {supply}")
        order = bytes.fromhex(valve.open if on else valve.close)
        return await order_and_look(
            lambda: self._station.write(valve.id, order),
            lambda: self._unlike(valve, on),
            valve.within_s,
            valve.every_s,
        )

    async def _unlike(self, valve: ValveControl, on: bool) -> str:
        """What of the status differs from the order; empty when nothing does."""
        status = (await self._status(valve.status, valve.status_offset, 1))[0] & int(valve.mask, 16)
        if status == int(valve.is_open if on else valve.is_closed, 16):
            return ""
        told = {int(valve.is_open, 16): "the valve open", int(valve.is_closed, 16): "the valve closed"}
        return told.get(status, f"valve state {status:02X}")


class ClockMeter(Cjt188Meter):
    """Has a clock that can be set."""

    async def set_clock(self, local_now: Callable[[], datetime]) -> CommandOutcome:
        """Writes the time and reads it back. Raises LineDown when nothing was sent."""
        clock = self._controls.clock
        assert clock is not None

        async def error() -> str:
            shown = time_in(await self._status(clock.status, clock.status_offset, 7))
            return "" if abs(shown - local_now()) <= timedelta(seconds=clock.tolerance_s) else str(shown)

        return await order_and_look(
            lambda: self._station.write(clock.id, time_bytes(local_now())),
            error,
            clock.within_s,
            clock.every_s,
        )


class ValveAndClockMeter(ValveMeter, ClockMeter):
    """Both."""
