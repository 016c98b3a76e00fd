"""Reads one device once or several times and keeps all that was said: values, raw words, times, errors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median_low
from typing import Any, Final

from gateway.drivers.base import Reading, ReadOutcome, ReadsMeter
from gateway.drivers.line_kinds import PolledLineSettings
from gateway.drivers.modbus.identity import matching, read_identifier
from gateway.drivers.settings import DeviceSettings
from gateway.errors import DeviceError, LineDown
from gateway.lines import MeterBuilder, modbus_on
from gateway.onsite.trace import Exchange, TracedBus, TracedModbus, items_in
from gateway.outbox.outbox import wall_clock_ms
from gateway.shown import quality_words, shown_value
from gateway.templates.base import DeviceTemplate, Measured
from gateway.templates.cjt188 import Cjt188Template
from gateway.templates.dlt645 import Dlt645Template
from gateway.templates.library import Library
from gateway.templates.modbus import ModbusTemplate
from gateway.templates.modbus_registers import Register

_FEW_WORDS: Final = 8
"""Longer values show their first words."""


@dataclass(frozen=True, slots=True)
class Row:
    """One register of the device."""

    channel: str
    value: str
    """Decimal text in `unit`; empty without a value."""
    unit: str
    note: str
    """Flags of the value, or why there is none."""
    where: str
    raw: str
    """Its registers or bytes in hex, as the device means them: highest first for items, as they lie for registers."""


@dataclass(slots=True)
class Timings:
    """Of one request, over all repetitions; milliseconds."""

    asked: str
    first_ms: list[float] = field(default_factory=list)
    """From the request to the first byte of the answer."""
    whole_ms: list[float] = field(default_factory=list)
    """From the request to the last byte of the answer."""
    errors: list[str] = field(default_factory=list)
    request: str = ""
    answer: str = ""
    """Bytes of the last repetition in hex."""


@dataclass(slots=True)
class Probed:
    """All that was found out about a device."""

    template: str
    endpoint: str
    rows: list[Row] = field(default_factory=list)
    timings: list[Timings] = field(default_factory=list)
    identity: dict[str, str] = field(default_factory=dict)
    visits: int = 0
    failed_visits: int = 0
    """Visits in which the device said nothing useful."""
    errors: dict[str, int] = field(default_factory=dict)
    """Requests that were not answered with values, by kind."""

    @property
    def fine(self) -> bool:
        """Whether every request of every visit was answered with values."""
        return bool(self.visits) and not self.failed_visits and not any(self.errors.values())


class Prober:
    """Holds the line of one device. `close` it in the end."""

    def __init__(self, line: PolledLineSettings, library: Library) -> None:
        """Nothing is opened yet."""
        modbus = modbus_on(line, TracedBus, TracedModbus)
        assert isinstance(modbus, TracedModbus)
        assert isinstance(modbus.bus, TracedBus)
        self._modbus, self._bus = modbus, modbus.bus
        self._library = library
        self._builder = MeterBuilder(line, modbus, library)
        self._endpoint = line.endpoint[1]

    async def run(
        self, device: DeviceSettings, repeat: int = 1, after_visit: Callable[[int], None] | None = None
    ) -> Probed:
        """Connects, reads everything `repeat` times, and the identity once. Raises LineDown when nothing can be asked.

        `after_visit` hears how many visits are done.
        """
        template = self._library.meter(device.template)
        probed = Probed(device.template, self._endpoint)
        await self._bus.connect()
        (meter,) = self._builder.build([device])
        last = ReadOutcome()
        timings: dict[str, Timings] = {}
        for number in range(repeat):
            self._bus.exchanges.clear()
            last = await self._visit(meter, probed)
            for exchange in self._bus.exchanges:
                _note(timings.setdefault(exchange.asked, Timings(exchange.asked)), exchange)
            if after_visit is not None:
                after_visit(number + 1)
        probed.timings = list(timings.values())
        probed.rows = self._rows(template, device, last, list(self._bus.exchanges))
        if isinstance(template, ModbusTemplate) and last.answered:
            probed.identity = await self._identity(device, template)
        return probed

    def close(self) -> None:
        """Closes the connection."""
        self._bus.close()

    async def _visit(self, meter: ReadsMeter, probed: Probed) -> ReadOutcome:
        probed.visits += 1
        try:
            outcome = await meter.read(meter.groups, wall_clock_ms)
        except LineDown:
            if probed.visits == 1:
                raise
            outcome = ReadOutcome()
        if not outcome.answers:
            probed.failed_visits += 1
        for kind in ("timeouts", "exceptions", "malformed"):
            probed.errors[kind] = probed.errors.get(kind, 0) + getattr(outcome, kind)
        return outcome

    def _rows(
        self, template: DeviceTemplate, device: DeviceSettings, outcome: ReadOutcome, exchanges: Sequence[Exchange]
    ) -> list[Row]:
        readings = {reading.channel: reading for _, answer in outcome.answers for reading in answer}
        items = items_in(exchanges)
        rows = []
        for register in template.registers:
            where, raw = self._place(register, device, items, template)
            rows.append(_row(register, readings.get(register.channel), where, raw))
        return rows

    def _place(
        self, register: Measured, device: DeviceSettings, items: dict[str, bytes], template: DeviceTemplate
    ) -> tuple[str, str]:
        """(where the register lies, what was read there); the latter is empty when nothing was."""
        if isinstance(register, Register):
            return register.where, self._words(register, device.unit_id or 0)
        if isinstance(template, Dlt645Template):
            item = next(one for one in template.registers if one.channel == register.channel)
            data = items.get(item.id, b"")[item.offset : item.offset + item.size]
            return item.where, data[::-1].hex().upper()
        assert isinstance(template, Cjt188Template), template.protocol
        value = next(one for one in template.registers if one.channel == register.channel)
        return value.where, items.get(value.id, b"")[value.offset : value.end].hex(" ").upper()

    def _words(self, register: Register, unit: int) -> str:
        words = []
        for number in register.numbers:
            function, first, end = register.span_of(number)
            found = [self._modbus.words.get((unit, function, address)) for address in range(first, end)]
            if any(word is None for word in found):
                return ""
            words.append(" ".join(f"{word:04X}" for word in found[:_FEW_WORDS]))
        return " | ".join(words)

    async def _identity(self, device: DeviceSettings, template: ModbusTemplate) -> dict[str, str]:
        found: dict[str, str] = {}
        assert device.unit_id is not None
        try:
            if template.identity:
                agrees = await matching(self._modbus, device.unit_id, {device.template: template})
                found["model"] = "as the template says" if agrees else "not the one of the template"
            if template.serial_number is not None:
                number = await read_identifier(self._modbus, device.unit_id, template, template.serial_number)
                found["serial number"] = "not readable" if number is None else str(number)
        except (DeviceError, LineDown) as error:
            found["identity"] = str(error)
        return found


def _note(timings: Timings, exchange: Exchange) -> None:
    timings.request, timings.answer = exchange.request.hex(" "), exchange.answer.hex(" ")
    if exchange.error:
        timings.errors.append(exchange.error)
        return
    if exchange.first_s is not None and exchange.whole_s is not None:
        timings.first_ms.append(exchange.first_s * 1000)
        timings.whole_ms.append(exchange.whole_s * 1000)


def _row(register: Measured, reading: Reading | None, where: str, raw: str) -> Row:
    if reading is not None:
        value, unit = shown_value(register.channel, reading.value)
        return Row(register.channel, value, unit, ", ".join(quality_words(reading.quality)), where, raw)
    note = "no value: the device says that it has none, or what it says is none" if raw else "not read"
    return Row(register.channel, "", register.quantity.display_unit, note, where, raw)


def spread_of(milliseconds: Sequence[float]) -> dict[str, float] | None:
    """min, median, max; None without any."""
    if not milliseconds:
        return None
    found = {"min": min(milliseconds), "median": median_low(milliseconds), "max": max(milliseconds)}
    return {name: round(value, 3) for name, value in found.items()}


def as_json(probed: Probed) -> dict[str, Any]:
    """Plain values."""
    return {
        "ok": probed.fine,
        "template": probed.template,
        "endpoint": probed.endpoint,
        "identity": probed.identity,
        "visits": probed.visits,
        "failed_visits": probed.failed_visits,
        "errors": probed.errors,
        "registers": [
            {name: getattr(row, name) for name in ("channel", "value", "unit", "note", "where", "raw")}
            for row in probed.rows
        ],
        "requests": [
            {
                "asked": one.asked,
                "first_byte_ms": spread_of(one.first_ms),
                "complete_ms": spread_of(one.whole_ms),
                "errors": one.errors,
                "request": one.request,
                "answer": one.answer,
            }
            for one in probed.timings
        ],
    }
