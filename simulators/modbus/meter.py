"""One simulated meter: its template's registers filled from a dwelling, and a log of everything it served."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO

from gateway.templates.modbus import ModbusTemplate, Register
from simulators.modbus.dwelling import Dwelling, is_cumulative
from simulators.modbus.faults import Faults
from simulators.modbus.image import raw_of, value_of, words_of

ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE = 1, 2, 3


class Refused(Exception):
    """The meter answers with this exception code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclass(slots=True)
class Served:
    """One JSON line per register that went out: device, function, address, channel, raw, value (base unit), at_ms."""

    stream: TextIO

    def note(self, device: str, register: Register, raw: int | float, at_ms: int) -> None:
        """Writes one line; the stream is line-buffered by its owner."""
        entry = {
            "device": device, "function": register.function, "address": register.address,
            "channel": register.channel, "raw": raw, "value": value_of(register, raw), "at_ms": at_ms,
        }  # fmt: skip
        self.stream.write(json.dumps(entry) + "\n")


class SimulatedMeter:
    """Answers reads of one unit. With `advance` every cumulative register counts at least one step per answer."""

    def __init__(
        self,
        device: str,
        template: ModbusTemplate,
        dwelling: Dwelling,
        now_ms: Callable[[], int],
        advance: bool = False,
        served: Served | None = None,
    ) -> None:
        self.device = device
        self.template = template
        self.faults = Faults()
        self._dwelling = dwelling
        self._now_ms = now_ms
        self._advance = advance
        self._served = served
        self._last: dict[str, int] = {}
        self._there = {function: _addresses(template, function) for function in (3, 4)}
        self.overrides: dict[str, int | float] = {}
        """Raw values by channel that a test wants to be shown."""

    def read(self, function: int, address: int, count: int) -> list[int]:
        """`count` registers from `address`. Raises Refused."""
        self._check(function, address, count)
        at_ms = self._now_ms()
        end = address + count
        words: dict[int, int] = {}
        for register in self.template.registers:
            behind = register.address + register.type.registers
            if register.function != function or register.address >= end or behind <= address:
                continue
            raw = self._raw(register, at_ms)
            for index, word in enumerate(words_of(register, self.template, raw)):
                words[register.address + index] = word
            if self._served is not None and register.address >= address and behind <= end:
                self._served.note(self.device, register, raw, at_ms)
        return [words.get(at, 0) for at in range(address, end)]

    def _check(self, function: int, address: int, count: int) -> None:
        if function not in (3, 4):
            raise Refused(ILLEGAL_FUNCTION)
        if not 1 <= count <= self.template.limits.max_registers:
            raise Refused(ILLEGAL_VALUE)
        wanted = set(range(address, address + count))
        there = wanted & self._there[function]
        if not there or (self.template.limits.refuses_holes and there != wanted):
            raise Refused(ILLEGAL_ADDRESS)

    def _raw(self, register: Register, at_ms: int) -> int | float:
        forced = self.overrides.get(register.channel)
        if forced is not None:
            return forced
        value = self._dwelling.value(register.channel, at_ms // 1000)
        if self._advance and is_cumulative(register.channel):
            step = max(1, int(register.factor))
            value = max(value, self._last.get(register.channel, -step) + step)
            self._last[register.channel] = value
        return raw_of(register, value)


def _addresses(template: ModbusTemplate, function: int) -> frozenset[int]:
    registers = [register for register in template.registers if register.function == function]
    return frozenset(address for one in registers for address in range(one.address, one.address + one.type.registers))
