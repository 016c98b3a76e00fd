"""Which reads fetch a set of fields at the least cost; pure.

Two ranges are worth merging while the gap between them costs less than another request. With `t_c` the time of a
character, an RTU request costs `13 t_c + 2 t_3.5 + T_dev` besides its data and a register `2 t_c`; `rtu_cost` counts
both in nanoseconds, so that sums compare exactly. On native TCP a register is almost free, so only the device's
limits keep ranges apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Final

COIL_FUNCTIONS: Final = (1, 2)
"""They read single bits: addresses and counts are coils, eight of them take a byte."""

Range = tuple[int, int, int]
"""Function, first address, address behind the last."""


@dataclass(frozen=True, slots=True)
class Field:
    """`count` registers from the zero-based `address`, read by `function` (1 to 4); they are never split."""

    function: int
    address: int
    count: int

    @property
    def end(self) -> int:
        """First address behind the field."""
        return self.address + self.count


@dataclass(frozen=True, slots=True)
class Cost:
    """What a read costs: `request` once plus `register` for each register, in one unit of time."""

    request: int
    register: int = 1

    def of(self, function: int, count: int) -> int:
        """Cost of one request; sixteen coils cost a register, a started byte counts as one."""
        if function in COIL_FUNCTIONS:
            return self.request + ((count + 7) // 8 * self.register + 1) // 2
        return self.request + count * self.register


TCP_COST: Final = Cost(request=1_000)
"""A round trip outweighs any number of registers that fit into it."""


def rtu_cost(character_s: float, silence_s: float, turnaround_s: float) -> Cost:
    """Cost on a bus whose characters take `character_s`, with `silence_s` between frames, in nanoseconds.

    `turnaround_s` is how long the device takes to begin its answer. Request and answer without data are 13 characters.
    """
    return Cost(round((13 * character_s + 2 * silence_s + turnaround_s) * 1e9), round(2 * character_s * 1e9))


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """What a device bears."""

    max_registers: int = 125
    max_coils: int = 2_000
    readable: tuple[Range, ...] | None = None
    """A read must stay inside one of these, for a device that refuses holes; None when it may cover anything."""
    forbidden: tuple[Range, ...] = ()
    """A read must not touch these."""

    def most(self, function: int) -> int:
        """Registers, or coils, in one read."""
        return self.max_coils if function in COIL_FUNCTIONS else self.max_registers

    def allow(self, function: int, address: int, end: int) -> bool:
        """Whether one read may cover the addresses from `address` up to before `end`."""
        if end - address > self.most(function) or end > 65_536:
            return False
        if any(one[0] == function and one[1] < end and address < one[2] for one in self.forbidden):
            return False
        return self.readable is None or any(
            one[0] == function and one[1] <= address and end <= one[2] for one in self.readable
        )


@dataclass(frozen=True, slots=True)
class Block:
    """One request and the fields that its answer holds."""

    function: int
    address: int
    count: int
    fields: tuple[Field, ...]

    @property
    def look(self) -> tuple[int, int]:
        """What tells its answer from others on a bus: an answer names neither address nor question."""
        return self.function, self.count


def plan(fields: Sequence[Field], cost: Cost, limits: ReadLimits) -> tuple[Block, ...]:
    """The cheapest requests that fetch every field once, in order of function and address.

    Optimal over all ways to share the fields out among requests: it is enough to cut them in order of address, because
    a field that begins inside a later request can move there without making anything longer (dynamic programming,
    O(n²)). Raises ValueError when a field alone is more than the device allows.
    """
    ordered = sorted(fields, key=lambda one: (one.function, one.address, one.end))
    blocks: list[Block] = []
    for _, same_function in groupby(ordered, key=lambda one: one.function):
        blocks.extend(_plan_function(list(same_function), cost, limits))
    return tuple(blocks)


def with_distinct_looks(blocks: Sequence[Block], limits: ReadLimits) -> tuple[Block, ...]:
    """The same requests, some a little longer, so that few of them have the same look.

    On a bus a delayed second answer to one request then cannot pass for the answer to the next. Where the device bears
    no longer read the look stays as it is.
    """
    taken: set[tuple[int, int]] = set()
    changed: list[Block] = []
    for block in sorted(blocks, key=lambda one: one.count, reverse=True):
        changed.append(_unlike(block, taken, len(blocks), limits))
        taken.add(changed[-1].look)
    return tuple(sorted(changed, key=lambda one: (one.function, one.address)))


def block_cost(block: Block, cost: Cost) -> int:
    """Cost of one request under the model."""
    return cost.of(block.function, block.count)


def _unlike(block: Block, taken: set[tuple[int, int]], tries: int, limits: ReadLimits) -> Block:
    for more in range(tries):
        for address in (block.address, block.address - more):
            if (block.function, block.count + more) not in taken and (
                more == 0 or (address >= 0 and limits.allow(block.function, address, address + block.count + more))
            ):
                return replace(block, address=address, count=block.count + more)
    return block


def _plan_function(fields: list[Field], cost: Cost, limits: ReadLimits) -> list[Block]:
    function = fields[0].function
    best: list[tuple[int, int]] = [(0, 0)]
    """best[j] = (least cost of the first j fields, where the last block starts)"""
    for stop in range(1, len(fields) + 1):
        candidates = []
        end = 0
        for start in range(stop - 1, -1, -1):
            address, end = fields[start].address, max(end, fields[start].end)
            if end - address > limits.most(function):
                break
            if limits.allow(function, address, end):
                candidates.append((best[start][0] + cost.of(function, end - address), start))
        if not candidates:
            field = fields[stop - 1]
            raise ValueError(f"{field.count} registers at {field.address} in one value are more than the device allows")
        best.append(min(candidates))
    return _blocks(fields, best)


def _blocks(fields: list[Field], best: list[tuple[int, int]]) -> list[Block]:
    blocks: list[Block] = []
    stop = len(fields)
    while stop:
        start = best[stop][1]
        members = tuple(fields[start:stop])
        address = members[0].address
        count = max(field.end for field in members) - address
        blocks.append(Block(members[0].function, address, count, members))
        stop = start
    blocks.reverse()
    return blocks
