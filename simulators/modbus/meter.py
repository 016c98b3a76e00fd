"""One simulated meter: its template's registers filled from a dwelling, and a log of everything it served."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TextIO

from gateway.drivers.base import Supply
from gateway.templates.modbus import Identifier, Mark, ModbusTemplate
from gateway.templates.modbus_registers import Layout, Register, RegisterType
from simulators.modbus.controls import SimulatedControls, Words
from simulators.modbus.dwelling import Dwelling, is_cumulative
from simulators.modbus.faults import Faults
from simulators.modbus.image import Raw, Raws, raws_of, step_of, text_words, value_of, words_of

ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE, DEVICE_FAILURE = 1, 2, 3, 4
_STATES: Final = {"relay_state": Supply.RELAY, "valve_state": Supply.VALVE}


class Refused(Exception):
    """The meter answers with this exception code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclass(slots=True)
class Served:
    """One JSON line per register that went out: device, function, address, channel, raw, value (base unit), at_ms.

    A value that is made of several numbers has a list of them as its raw.
    """

    stream: TextIO

    def note(self, device: str, register: Register, raws: Raws, at_ms: int) -> None:
        """Writes one line; the stream is line-buffered by its owner."""
        function, address, _ = register.span()
        entry = {
            "device": device, "function": function, "address": address, "channel": register.channel,
            "raw": raws[0] if len(raws) == 1 else raws, "value": value_of(register, raws), "at_ms": at_ms,
        }  # fmt: skip
        self.stream.write(json.dumps(entry) + "\n")


class SimulatedMeter:
    """Answers reads and writes of one unit. With `advance` every cumulative register counts a step per answer."""

    def __init__(
        self,
        device: str,
        template: ModbusTemplate,
        dwelling: Dwelling,
        now_ms: Callable[[], int],
        advance: bool = False,
        served: Served | None = None,
        instance: int = 0,
    ) -> None:
        """`instance` is which of the template's instances this one is."""
        self.device = device
        self.template = template
        self.faults = Faults()
        self.controls = SimulatedControls(template, lambda: self._now_ms())
        self._dwelling = dwelling
        self._now_ms = now_ms
        self._advance = advance
        self._served = served
        self._last: dict[str, int] = {}
        self.registers = template.for_instance(instance)
        self._layouts = {
            register.channel: tuple(template.layout(one, register.function) for one in register.numbers)
            for register in self.registers
        }
        self._fixed = {
            (mark.function, mark.address + index): word
            for mark in _identifiers(template)
            for index, word in enumerate(_identity_words(template, mark))
        }
        self._there = self._addresses()
        self._selected: dict[tuple[int, int, int], list[Register]] = {}
        self.overrides: dict[str, Raw | Raws] = {}
        """Raw values by channel that a test wants to be shown."""

    def read(self, function: int, address: int, count: int) -> list[int]:
        """`count` registers, or coils as 0 and 1, from `address`. Raises Refused."""
        self.check(function, address, count)
        words = self.words(function, address, count)
        return [words.get(at, 0) for at in range(address, address + count)]

    def write(self, function: int, address: int, values: Sequence[int]) -> None:
        """Carries out a write that the template knows. Raises Refused for any other."""
        if function not in (5, 6, 15, 16):
            raise Refused(ILLEGAL_FUNCTION)
        if not self.controls.write(function, address, values):
            raise Refused(ILLEGAL_ADDRESS)

    def adjoin(self, other: "SimulatedMeter") -> None:
        """From now on the addresses of `other` are there too: both are in one unit."""
        functions = {*self._there, *other._there}
        nothing: frozenset[int] = frozenset()
        self._there = {by: self._there.get(by, nothing) | other._there.get(by, nothing) for by in functions}

    def raws(self, register: Register, at_ms: int) -> Raws:
        """What the numbers of `register` are at `at_ms`."""
        forced = self.overrides.get(register.channel)
        if forced is not None:
            return forced if isinstance(forced, tuple) else (forced, *raws_of(register, 0)[1:])
        return raws_of(register, self._value(register, at_ms))

    def words(self, function: int, address: int, count: int) -> Words:
        """Registers by address that answer a read; those that lie elsewhere may be among them."""
        at_ms = self._now_ms()
        words: Words = {at: word for (by, at), word in self._fixed.items() if by == function}
        for shown, state in self.controls.shown():
            _put(words, shown, state, function)
        by, clock = self.controls.clock_words()
        words |= clock if by == function else {}
        for register in self._asked(function, address, count):
            raws = self.raws(register, at_ms)
            for layout, raw in zip(self._layouts[register.channel], raws, strict=True):
                _put(words, layout, raw, function)
            if self._served is not None and _covers(register, function, address, count):
                self._served.note(self.device, register, raws, at_ms)
        return words

    def _asked(self, function: int, address: int, count: int) -> list[Register]:
        """Registers that have a number between these addresses."""
        key = (function, address, count)
        if key not in self._selected:
            self._selected[key] = [
                register
                for register in self.registers
                if any(
                    layout.function == function and layout.address < address + count and address < layout.end
                    for layout in self._layouts[register.channel]
                )
            ]
        return self._selected[key]

    def check(self, function: int, address: int, count: int) -> None:
        """Raises Refused for a read that the device does not bear."""
        if function not in (1, 2, 3, 4):
            raise Refused(ILLEGAL_FUNCTION)
        if not 1 <= count <= self.template.limits.most(function):
            raise Refused(ILLEGAL_VALUE)
        if self.controls.locked:
            raise Refused(DEVICE_FAILURE)
        wanted = set(range(address, address + count))
        there = wanted & self._there.get(function, frozenset())
        limits = self.template.limits
        forbidden = any(
            one.function == function and one.first < address + count and address <= one.last for one in limits.forbidden
        )
        if not there or forbidden or (limits.refuses_holes and there != wanted):
            raise Refused(ILLEGAL_ADDRESS)

    def _value(self, register: Register, at_ms: int) -> int:
        actuator = self.controls.actuators.get(_STATES.get(register.channel, Supply.RELAY))
        if register.channel in _STATES and actuator is not None:
            return 2 if actuator.connected is None else int(actuator.connected)
        value = self._dwelling.value(register.channel, at_ms // 1000)
        if self._advance and is_cumulative(register.channel):
            step = step_of(register)
            value = max(value, self._last.get(register.channel, -step) + step)
            self._last[register.channel] = value
        return value

    def _addresses(self) -> Mapping[int, frozenset[int]]:
        there: dict[int, set[int]] = {}
        for function, address in self._fixed:
            there.setdefault(function, set()).add(address)
        for one in self.template.named():
            there.setdefault(one.function, set()).update(range(one.first, one.last + 1))
        for layout, _ in self.controls.shown():
            there.setdefault(layout.function, set()).update(range(layout.address, layout.end))
        by, clock = self.controls.clock_words()
        there.setdefault(by, set()).update(clock)
        return {function: frozenset(addresses) for function, addresses in there.items()}


def _put(words: Words, layout: Layout, raw: Raw, function: int) -> None:
    """Numbers that take bits out of the same registers are put side by side."""
    if layout.function == function:
        for at, word in enumerate(words_of(layout, raw), start=layout.address):
            words[at] = words.get(at, 0) | word


def _covers(register: Register, function: int, address: int, count: int) -> bool:
    by, first, end = register.span()
    return by == function and address <= first and end <= address + count


def _identifiers(template: ModbusTemplate) -> tuple[Identifier, ...]:
    return template.identity + ((template.serial_number,) if template.serial_number is not None else ())


def _identity_words(template: ModbusTemplate, mark: Identifier) -> list[int]:
    """The first of the expected values; 12345 as the number of a device."""
    expected = mark.equals[0] if isinstance(mark, Mark) else 1_234
    if not isinstance(mark.type, RegisterType):
        return text_words(str(expected), mark.registers)
    return words_of(template.bits_of(mark, mark.type, mark.function, mark.address), int(expected))
