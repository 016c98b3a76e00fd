"""Templates compiled for one kind of line: which reads a visit makes and what decodes their answers; pure."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from gateway.drivers.base import Group, Groups
from gateway.drivers.grouping import group_of
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
from gateway.templates.modbus_controls import Unlock
from gateway.templates.modbus_registers import Layout, Register


@dataclass(frozen=True, slots=True)
class Member:
    """One meter of a unit: a template, or one of its instances."""

    template: ModbusTemplate
    instance: int = 0


@dataclass(frozen=True, slots=True)
class Read:
    """One read and, for each member of the unit that has something in it, what decodes the answer."""

    block: Block
    decoders: tuple[tuple[int, BlockDecoder], ...]
    """(number of the member, its decoder)"""


Program = tuple[Read, ...]
"""The reads of one visit."""


@dataclass(frozen=True, slots=True)
class ConstantReader:
    """A read of numbers that never change; `places` are theirs among all constants, in the order of `unpack`."""

    block: Block
    unpack: Callable[[Sequence[int]], list[Raw]]
    places: tuple[tuple[int, int], ...]
    """(position in what `unpack` gives, place among the constants)"""


class Programs:
    """All reads of one unit on lines of one cost; shared by every unit with the same members.

    Mostly a unit is one meter. Those of a unit with several are read together: what they have in one block costs one
    request, however many they are.
    """

    def __init__(
        self, members: Sequence[Member], cost: Cost, distinct_looks: bool = False, refuses_holes: bool = False
    ) -> None:
        """`distinct_looks` is for a bus without transaction numbers. `refuses_holes` is for a device that turned out
        to, though its template does not say it."""
        self.members = tuple(members)
        self.refuses_holes = refuses_holes or any(one.template.limits.refuses_holes for one in members)
        self._cost, self._distinct = cost, distinct_looks
        self._registers = [
            (number, register)
            for number, member in enumerate(members)
            for register in member.template.for_instance(member.instance)
        ]
        self._limits = self._limits_with(self.refuses_holes)
        layouts = dict.fromkeys(
            self.members[number].template.layout(one, register.function)
            for number, register in self._registers
            for one in register.constants
        )
        self._constant: dict[Layout, int] = {layout: place for place, layout in enumerate(layouts)}
        self._of = {
            groups: self._compile([(number, one) for number, one in self._registers if group_of(one) in groups])
            for groups in (frozenset({Group.BILLING}), frozenset({Group.INSTANT}), frozenset(Group))
        }

    def groups(self, member: int) -> Groups:
        """The groups that a member has channels in."""
        return frozenset(group_of(one) for number, one in self._registers if number == member)

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
    def unlocks(self) -> tuple[Unlock, ...]:
        """What must be written before a read."""
        unlocks = (member.template.unlock for member in self.members)
        return tuple(dict.fromkeys(one for one in unlocks if one is not None))

    @cached_property
    def without_holes(self) -> "Programs":
        """The same for a device that answers no read across addresses that no template names."""
        if self.refuses_holes:
            return self
        return Programs(self.members, self._cost, self._distinct, refuses_holes=True)

    def covers_hole(self, block: Block) -> bool:
        """Whether a read covers addresses that no template names."""
        return not self._strict_limits.allow(block.function, block.address, block.address + block.count)

    @cached_property
    def _strict_limits(self) -> ReadLimits:
        return self._limits_with(refuses_holes=True)

    def again(self, read: Read) -> Program:
        """Reads for what one read should have given."""
        return self._compile([(number, one) for number, decoder in read.decoders for one in decoder.registers])

    def _compile(self, registers: Sequence[tuple[int, Register]]) -> Program:
        blocks = plan(list({_field_of(one) for _, one in registers}), self._cost, self._limits)
        if self._distinct:
            blocks = with_distinct_looks(blocks, self._limits)
        return tuple(Read(block, tuple(self._decoders(block, registers))) for block in blocks)

    def _decoders(self, block: Block, registers: Sequence[tuple[int, Register]]) -> Iterator[tuple[int, BlockDecoder]]:
        fields = set(block.fields)
        for number, member in enumerate(self.members):
            own = [one for owner, one in registers if owner == number and _field_of(one) in fields]
            if own:
                template = member.template
                yield number, compile_block(block, own, template.layout, self._constant, Absent(template.nan))

    def _limits_with(self, refuses_holes: bool) -> ReadLimits:
        """What all members bear. A value on both sides of a hole is read as one all the same: it cannot be had else."""
        templates = [member.template for member in self.members]
        bears = [template.limits for template in templates]
        readable: tuple[Range, ...] | None = None
        if refuses_holes:
            named = [one for template in templates for one in template.named()]
            readable = tuple((one.function, one.first, one.last + 1) for one in named)
            readable += tuple(register.span() for _, register in self._registers)
        forbidden = tuple((one.function, one.first, one.last + 1) for limits in bears for one in limits.forbidden)
        registers, coils = (min(limits.most(function) for limits in bears) for function in (3, 1))
        return ReadLimits(registers, coils, readable, forbidden)

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
    """All read programs of a unit that is one meter (see `Programs`)."""
    return Programs((Member(template, instance),), cost, distinct_looks)


def _field_of(register: Register) -> Field:
    function, first, end = register.span()
    return Field(function, first, end - first)
