"""Data of CJ/T 188 items to readings; pure. Which items are read for which groups is decided once, at start."""

from dataclasses import dataclass

from gateway.drivers.base import Groups, Reading
from gateway.drivers.bcd import Decode, compile_register
from gateway.drivers.grouping import READ_TOGETHER, group_of
from gateway.errors import MalformedReply
from gateway.templates.cjt188 import Cjt188Template, Value188


@dataclass(frozen=True, slots=True)
class ValueDecoder:
    """One value of an item: its bytes, the code of its unit behind them if there is one, and what it means."""

    start: int
    end: int
    unit_code: int | None
    decode: Decode

    def reading(self, data: bytes) -> Reading | None:
        """The value, None when the meter has none. Raises MalformedReply."""
        if self.unit_code is not None and data[self.end] != self.unit_code:
            raise MalformedReply(f"unit {data[self.end]:02X}, expected {self.unit_code:02X}")
        return self.decode(data[self.start : self.end])


@dataclass(frozen=True, slots=True)
class ItemDecoder:
    """One data item, read by one request, with the values wanted of it."""

    id: str
    length: int
    """Bytes of its data behind the serial number."""
    values: tuple[ValueDecoder, ...]

    def decode(self, data: bytes) -> tuple[list[Reading], int]:
        """(readings, number of values that the meter does not have). Raises MalformedReply."""
        if len(data) != self.length:
            raise MalformedReply(f"item {self.id} of {len(data)} bytes, expected {self.length}")
        readings = [value.reading(data) for value in self.values]
        there = [reading for reading in readings if reading is not None]
        return there, len(readings) - len(there)


Program = tuple[ItemDecoder, ...]
Programs = dict[Groups, Program]
"""What is read for each set of groups that can be due together."""


def compile_template(template: Cjt188Template) -> Programs:
    """All read programs of a template; shared by every meter of it."""
    return {groups: _program(template, groups) for groups in READ_TOGETHER}


def _program(template: Cjt188Template, groups: Groups) -> Program:
    items: dict[str, list[ValueDecoder]] = {}
    for register in template.registers:
        if group_of(register) in groups:
            items.setdefault(register.id, []).append(_value(register))
    return tuple(ItemDecoder(name, template.lengths[name], tuple(values)) for name, values in items.items())


def _value(register: Value188) -> ValueDecoder:
    code = None if register.unit_code is None else int(register.unit_code, 16)
    return ValueDecoder(register.offset, register.offset + register.size, code, compile_register(register))
