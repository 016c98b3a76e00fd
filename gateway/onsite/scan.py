"""Scans a line: who answers, by which protocol, and which template fits."""

import asyncio
from collections.abc import Collection, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Final, TypeVar

from gateway.drivers.line_kinds import PolledLineSettings
from gateway.drivers.settings import BusLineSettings, DeviceSettings
from gateway.lines import MeterBuilder, modbus_on
from gateway.onsite.found import Found, Scanned
from gateway.onsite.guess import Guess, Trial, judge, ranked
from gateway.onsite.scan_items import cjt188_meters, dlt645_meters
from gateway.onsite.scan_modbus import ModbusScan, RememberingModbus, answers_for_all, ping_all
from gateway.onsite.screen import Progress
from gateway.outbox.outbox import wall_clock_ms
from gateway.tasks import end
from gateway.templates.base import DeviceTemplate
from gateway.templates.cjt188 import Cjt188Template
from gateway.templates.library import Library

T = TypeVar("T")

PROTOCOLS: Final = ("modbus", "dlt645", "cjt188")


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be scanned."""

    units: Sequence[int]
    protocols: Collection[str]
    candidates: Sequence[str]
    """Ids of the templates that may be guessed."""
    guesses: int
    """How many of them are told for each device."""
    each_s: float
    """How long one device is looked at, at most."""
    thorough: bool = False
    """Units that are silent are asked a second time, by another function."""


class Scanner:
    """Holds the line while it is scanned. `close` it in the end."""

    def __init__(self, line: PolledLineSettings, library: Library, order: Order) -> None:
        """Nothing is opened yet."""
        modbus = modbus_on(line, speaking=RememberingModbus)
        assert isinstance(modbus, RememberingModbus)
        self._line, self._modbus, self._bus = line, modbus, modbus.bus
        self._library, self._order = library, order
        self._units = ModbusScan(line, modbus, library, order.candidates, order.each_s)
        self.scanned = Scanned(line.endpoint[1])

    async def run(self, stop: asyncio.Event) -> Scanned:
        """Scans until all is known or `stop` is set, whatever was found until then. Raises LineDown."""
        started = monotonic()
        try:
            await self._bus.connect()
            if isinstance(self._line, BusLineSettings):
                await self._scan_items(stop)
            if "modbus" in self._order.protocols:
                await self._scan_units(stop)
            self.scanned.complete = not stop.is_set()
        finally:
            self.scanned.seconds = monotonic() - started
        return self.scanned

    def close(self) -> None:
        """Closes the connection."""
        self._bus.close()

    async def _scan_units(self, stop: asyncio.Event) -> None:
        order = self._order
        with Progress("asking unit ids", len(order.units)) as progress:
            found = await ping_all(self._units, order.units, order.thorough, stop, progress.reach)
        if answers_for_all(found, len(order.units)):
            self.scanned.notes.append("every unit id answers: one device that does not look at it, or a converter")
            found = found[:1]
        for one in found:
            self._add(one)
        with Progress("guessing templates", len(found)) as progress:
            for number, one in enumerate(found, start=1):
                if stop.is_set():
                    return
                assert one.unit_id is not None
                one.guesses = await _unless(stop, self._units.guesses(one.unit_id, order.guesses)) or []
                progress.reach(number)

    async def _scan_items(self, stop: asyncio.Event) -> None:
        found: list[Found] = []
        with Progress("asking for meters by number", 2) as progress:
            if "dlt645" in self._order.protocols:
                async for one in dlt645_meters(self._bus, stop, progress.title):
                    self._take(one, found)
            progress.reach(1)
            if "cjt188" in self._order.protocols and not stop.is_set():
                async for one in cjt188_meters(self._bus, progress.title):
                    self._take(one, found)
        for one in found:
            if not stop.is_set():
                one.guesses = await _unless(stop, self._item_guesses(one)) or []

    def _take(self, one: Found | str, found: list[Found]) -> None:
        if isinstance(one, str):
            self.scanned.notes.append(one)
        else:
            found.append(one)
            self._add(one)

    def _add(self, one: Found) -> None:
        for device, _ in self._line.all_devices():
            if (one.unit_id is not None and device.unit_id == one.unit_id) or (
                one.address is not None and device.address == one.address
            ):
                one.known_as = device.id
        self.scanned.found.append(one)

    async def _item_guesses(self, one: Found) -> list[Guess]:
        builder = MeterBuilder(self._line, self._modbus, self._library)
        guesses: list[Guess | None] = []
        candidates = [name for name in self._order.candidates if _may_be(self._library.meter(name), one)]
        with suppress(TimeoutError):  # then the best of those that could be tried
            async with asyncio.timeout(self._order.each_s):
                for name in candidates:
                    guess = await _tried(builder, name, one)
                    guesses.append(guess)
        return ranked(guesses, self._order.guesses)


async def _unless(stop: asyncio.Event, work: Coroutine[None, None, T]) -> T | None:
    """What `work` gives; None when `stop` is set first."""
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        await end(working, stopping)


def _may_be(template: DeviceTemplate, one: Found) -> bool:
    if template.protocol != one.protocol:
        return False
    return not isinstance(template, Cjt188Template) or int(template.kind, 16) == one.kind


async def _tried(builder: MeterBuilder, template_id: str, one: Found) -> Guess | None:
    (meter,) = builder.build([DeviceSettings(id="scanned", template=template_id, address=one.address)])
    outcome = await meter.read(meter.groups, wall_clock_ms)
    readings = [reading for _, answer in outcome.answers for reading in answer]
    failed = outcome.exceptions + outcome.malformed + outcome.timeouts
    asked = len(outcome.answers) + failed
    return judge(Trial(template_id, max(1, asked), len(outcome.answers), readings, outcome.missing, outcome.errors))
