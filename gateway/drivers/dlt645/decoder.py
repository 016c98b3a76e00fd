"""Data of DL/T 645 items to readings; pure. Which items are read for which groups is decided once, at start."""

from dataclasses import dataclass

from gateway.drivers.base import Groups, Reading
from gateway.drivers.bcd import Decode, compile_register
from gateway.drivers.grouping import READ_TOGETHER, group_of
from gateway.errors import MalformedReply
from gateway.templates.dlt645 import Dlt645Template, Item

Value = tuple[int, int, Decode]
"""First byte, byte behind the last, and what they mean."""


@dataclass(frozen=True, slots=True)
class ItemDecoder:
    """One data item, read by one request (and its continuations), with the values wanted of it."""

    id: str
    stride: int
    is_block: bool
    values: tuple[Value, ...]

    @property
    def expected_bytes(self) -> int:
        """How long the item's data is expected to be: exact for a single value, at least that for a block."""
        return max(self.stride, *(end for _, end, _ in self.values))

    def decode(self, data: bytes) -> tuple[list[Reading], int]:
        """(readings, number of values that the meter does not have). Raises MalformedReply.

        A block has as many values as the meter has tariffs or phases: more than wanted is right, fewer are values
        that the meter lacks, and a part of one is wrong.
        """
        right = data and len(data) % self.stride == 0 if self.is_block else len(data) == self.stride
        if not right:
            raise MalformedReply(f"item {self.id} of {len(data)} bytes")
        readings = [decode(data[start:end]) if end <= len(data) else None for start, end, decode in self.values]
        there = [reading for reading in readings if reading is not None]
        return there, len(readings) - len(there)


Program = tuple[ItemDecoder, ...]
Programs = dict[Groups, Program]
"""What is read for each set of groups that can be due together."""


def compile_template(template: Dlt645Template) -> Programs:
    """All read programs of a template; shared by every meter of it."""
    return {groups: _program(template, groups) for groups in READ_TOGETHER}


def _program(template: Dlt645Template, groups: Groups) -> Program:
    items: dict[str, list[Item]] = {}
    for register in template.registers:
        if group_of(register) in groups:
            items.setdefault(register.id, []).append(register)
    return tuple(
        ItemDecoder(name, members[0].stride, members[0].is_block, tuple(_value(one) for one in members))
        for name, members in items.items()
    )


def _value(item: Item) -> Value:
    return item.offset, item.offset + item.size, compile_register(item)
