"""Which Modbus unit ids answer on a line, and what they read by each template."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from gateway.drivers.bus.bus import Bus
from gateway.drivers.line_kinds import PolledLineSettings
from gateway.drivers.modbus.framing import Framing
from gateway.drivers.modbus.identity import matching
from gateway.drivers.modbus.line import ModbusLine
from gateway.drivers.modbus.pdu import Values
from gateway.drivers.settings import DeviceSettings
from gateway.errors import DeviceError, ExceptionReply, MalformedReply, NoAnswer
from gateway.lines import MeterBuilder
from gateway.onsite.found import Found
from gateway.onsite.guess import SURE, Guess, Trial, judge, ranked
from gateway.outbox.outbox import wall_clock_ms
from gateway.templates.library import Library
from gateway.templates.modbus import ModbusTemplate
from gateway.templates.modbus_registers import Register

_NOBODY_BEHIND: Final = (10, 11)
"""Exception codes by which a converter says that nobody answers it."""
_TELLING: Final = ("frequency", "voltage_l1", "temperature_supply", "volume_total", "energy_import_total")
"""Registers by which a wrong template shows first."""
_MANY: Final = 8


class RememberingModbus(ModbusLine):
    """Asks each question once while a unit is looked at: many templates read the same registers."""

    def __init__(self, bus: Bus, framing: Framing) -> None:
        super().__init__(bus, framing)
        self._known: dict[tuple[int, int, int, int], Values | ExceptionReply | MalformedReply] = {}
        self.asked = self.answered = 0

    def forget(self) -> None:
        """Everything is asked anew."""
        self._known.clear()

    async def read(self, unit: int, function: int, address: int, count: int) -> Values:
        """As a line does; what a longer read gave, or what was refused, is not asked again."""
        self.asked += 1
        known = self._known.get((unit, function, address, count)) or self._inside(unit, function, address, count)
        if known is None:
            try:
                known = await super().read(unit, function, address, count)
            except (ExceptionReply, MalformedReply) as refusal:
                known = refusal
            self._known[unit, function, address, count] = known
        if not isinstance(known, tuple):
            raise known
        self.answered += 1
        return known

    def _inside(self, unit: int, function: int, address: int, count: int) -> Values | None:
        for (by_unit, by_function, first, size), values in self._known.items():
            inside = first <= address and address + count <= first + size
            if (by_unit, by_function) == (unit, function) and inside and isinstance(values, tuple):
                return values[address - first : address - first + count]
        return None


class ModbusScan:
    """Looks for units on a line and guesses what they are."""

    def __init__(
        self,
        line: PolledLineSettings,
        modbus: RememberingModbus,
        library: Library,
        candidates: Sequence[str],
        each_s: float,
    ) -> None:
        """`candidates` are ids of templates; `each_s` bounds how long one unit is looked at."""
        self._modbus = modbus
        self._builder = MeterBuilder(line, modbus, library)
        self._templates = _templates(library, candidates)
        self._each_s = each_s
        self._seen: list[str] = []
        """Templates that fitted other units: they are tried first, before the time is up."""

    async def answers(self, unit: int, thorough: bool) -> bool:
        """Whether anybody answers for `unit`, be it by a refusal. Raises LineDown."""
        for function in (3, 4) if thorough else (3,):
            try:
                await self._modbus.read(unit, function, 0, 1)
            except ExceptionReply as refusal:
                if refusal.code not in _NOBODY_BEHIND:
                    return True
            except NoAnswer:
                continue
            except MalformedReply:
                return True  # noise, or two devices at once: somebody is there
            else:
                return True
        return False

    async def guesses(self, unit: int, most: int) -> list[Guess]:
        """The templates that fit a unit best. Raises LineDown."""
        self._modbus.forget()
        found: list[Guess] = []
        try:
            async with asyncio.timeout(self._each_s):
                await self._try_all(unit, found)
        except TimeoutError:
            pass  # the best of those that could be tried
        best = ranked(found, most)
        if best and best[0].template not in self._seen:
            self._seen.insert(0, best[0].template)
        return best

    async def _try_all(self, unit: int, found: list[Guess]) -> None:
        """First those whose identity agrees; unless one of them is sure, all without one, those found before first."""
        matched = await self._matched(unit, self._templates)
        others = [one for one, template in self._templates.items() if not template.identity]
        for template_id in (*matched, *sorted(others, key=lambda one: one not in self._seen)):
            identified = template_id in matched
            if not identified and any(guess.template in matched and guess.score >= SURE for guess in found):
                return
            guess = await self._tried(unit, template_id, identified)
            if guess is not None:
                found.append(guess)

    async def _matched(self, unit: int, templates: Mapping[str, ModbusTemplate]) -> tuple[str, ...]:
        try:
            return await matching(self._modbus, unit, templates)
        except (NoAnswer, MalformedReply):
            return ()

    async def _tried(self, unit: int, template_id: str, matched: bool) -> Guess | None:
        template = self._templates[template_id]
        if not matched and not await self._first_look(unit, template):
            return None
        (meter,) = self._builder.build([DeviceSettings(id="scanned", template=template_id, unit_id=unit)])
        self._modbus.asked = self._modbus.answered = 0
        outcome = await meter.read(meter.groups, wall_clock_ms)
        readings = [reading for _, answer in outcome.answers for reading in answer]
        asked, answered = max(1, self._modbus.asked), self._modbus.answered
        identity = True if matched else None
        return judge(Trial(template_id, asked, answered, readings, outcome.missing, outcome.errors, identity))

    async def _first_look(self, unit: int, template: ModbusTemplate) -> bool:
        """Whether the device has the register that tells most, before the others are asked for."""
        register = _telling(template.registers)
        try:
            function, first, end = register.span()
            await self._modbus.read(unit, function, first, end - first)
        except DeviceError:
            return False
        return True


async def ping_all(
    scan: ModbusScan, units: Iterable[int], thorough: bool, stop: asyncio.Event, after: Callable[[int], None]
) -> list[Found]:
    """Asks one unit after the other until all are asked or `stop` is set; `after` hears how many were."""
    found: list[Found] = []
    for number, unit in enumerate(units, start=1):
        if stop.is_set():
            break
        if await scan.answers(unit, thorough):
            found.append(Found("modbus", unit_id=unit))
        after(number)
    return found


def answers_for_all(found: Sequence[Found], asked: int) -> bool:
    """Whether so many units answer that it is rather one device that does not look at the unit id."""
    return asked >= _MANY and len(found) == asked


def _templates(library: Library, candidates: Sequence[str]) -> dict[str, ModbusTemplate]:
    """Those that speak Modbus and write nothing: a stranger must not be written to."""
    found = {one: library.meter(one) for one in candidates}
    return {
        one: template
        for one, template in found.items()
        if isinstance(template, ModbusTemplate) and template.unlock is None
    }


def _telling(registers: Sequence[Register]) -> Register:
    by_channel = {register.channel: register for register in registers}
    return next((by_channel[one] for one in _TELLING if one in by_channel), registers[0])
