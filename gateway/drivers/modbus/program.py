"""A template compiled for one kind of line: which reads a visit makes and what decodes their answers; pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from gateway.contract.quantities import Kind
from gateway.drivers.base import Group, Groups
from gateway.drivers.modbus.decoder import BlockDecoder, compile_block
from gateway.drivers.modbus.numbers import Absent, Raw, Unpacker
from gateway.drivers.modbus.planner import (
    TCP_COST,
    Block,
    Cost,
    Field,
    Range,
    ReadLimits,
    plan,
    with_distinct_looks,
)
from gateway.templates.modbus import ModbusTemplate
from gateway.templates.modbus_registers import Layout, Register

Program = tuple[BlockDecoder, ...]
"""The reads of one visit."""


@dataclass(frozen=True, slots=True)
class ConstantReader:
    """A read of numbers that never change; `places` are theirs among all constants, in the order of `unpack`."""

    block: Block
    unpack: Callable[[Sequence[int]], list[Raw]]
    places: tuple[tuple[int, int], ...]
    """(position in what `unpack` gives, place among the constants)"""


def group_of(register: Register) -> Group:
    """Cumulative registers are billing registers, all others are momentary."""
    return Group.BILLING if register.quantity.kind is Kind.CUMULATIVE else Group.INSTANT


class Programs:
    """All reads of one template on lines of one cost; shared by every device of it."""

    def __init__(
        self,
        template: ModbusTemplate,
        cost: Cost,
        instance: int = 0,
        distinct_looks: bool = False,
        refuses_holes: bool = False,
    ) -> None:
        """`instance` is which of the template's instances is meant. `distinct_looks` is for a bus without transaction
        numbers. `refuses_holes` is for a device that turned out to, though its template does not say it."""
        self.template = template
        self.refuses_holes = refuses_holes or template.limits.refuses_holes
        self._cost, self._instance, self._distinct = cost, instance, distinct_looks
        self._registers = template.for_instance(instance)
        self._limits = _limits(template, self._registers, self.refuses_holes)
        layouts = dict.fromkeys(
            template.layout(one, register.function) for register in self._registers for one in register.constants
        )
        self._constant: dict[Layout, int] = {layout: place for place, layout in enumerate(layouts)}
        self._of = {
            groups: self._compile([one for one in self._registers if group_of(one) in groups])
            for groups in (frozenset({Group.BILLING}), frozenset({Group.INSTANT}), frozenset(Group))
        }

    @property
    def groups(self) -> Groups:
        """The groups that the template has channels in."""
        return frozenset(group for group in Group if self._of[frozenset({group})])

    def of(self, groups: Groups) -> Program:
        """The reads of a visit for the channels of `groups`."""
        return self._of[groups]

    @property
    def constant_count(self) -> int:
        """How many constants there are."""
        return len(self._constant)

    @cached_property
    def constants(self) -> tuple[ConstantReader, ...]:
        """The reads that fetch all constants."""
        fields = {Field(one.function, one.address, one.type.registers) for one in self._constant}
        return tuple(self._constant_reader(block) for block in plan(list(fields), self._cost, self._limits))

    @cached_property
    def without_holes(self) -> "Programs":
        """The same for a device that answers no read across addresses that the template does not name."""
        if self.refuses_holes:
            return self
        return Programs(self.template, self._cost, self._instance, self._distinct, refuses_holes=True)

    def covers_hole(self, block: Block) -> bool:
        """Whether a read covers addresses that the template does not name."""
        strict = _limits(self.template, self._registers, refuses_holes=True)
        return not strict.allow(block.function, block.address, block.address + block.count)

    def again(self, decoder: BlockDecoder) -> Program:
        """Reads for what one read should have given."""
        return self._compile(decoder.registers)

    def _compile(self, registers: Sequence[Register]) -> Program:
        blocks = plan(list({_field_of(one) for one in registers}), self._cost, self._limits)
        if self._distinct:
            blocks = with_distinct_looks(blocks, self._limits)
        nan = Absent(self.template.nan)
        members = [(block, set(block.fields)) for block in blocks]
        return tuple(
            compile_block(
                block, [one for one in registers if _field_of(one) in fields], self.template.layout, self._constant, nan
            )
            for block, fields in members
        )

    def _constant_reader(self, block: Block) -> ConstantReader:
        end = block.address + block.count
        inside = [
            layout
            for layout in self._constant
            if layout.function == block.function and block.address <= layout.address and layout.end <= end
        ]
        unpacker = Unpacker(block.address, block.count, inside)
        places = tuple((unpacker.position[layout], self._constant[layout]) for layout in inside)
        return ConstantReader(block, unpacker, places)


def compile_template(
    template: ModbusTemplate, cost: Cost = TCP_COST, *, instance: int = 0, distinct_looks: bool = False
) -> Programs:
    """All read programs of a template (see `Programs`)."""
    return Programs(template, cost, instance, distinct_looks)


def _field_of(register: Register) -> Field:
    function, first, end = register.span()
    return Field(function, first, end - first)


def _limits(template: ModbusTemplate, registers: Sequence[Register], refuses_holes: bool) -> ReadLimits:
    """A value that lies on both sides of a hole is read as one all the same: it cannot be had otherwise."""
    bears = template.limits
    readable: tuple[Range, ...] | None = None
    if refuses_holes:
        named: list[Range] = [(one.function, one.first, one.last + 1) for one in template.named()]
        readable = tuple(named + [one.span() for one in registers])
    forbidden = tuple((one.function, one.first, one.last + 1) for one in bears.forbidden)
    return ReadLimits(bears.max_registers, bears.most(1), readable, forbidden)
