"""Which reads fetch a set of fields at the least cost; pure.

Two ranges are worth merging while the gap between them costs less than another request. With `t_c` the time of a
character, an RTU request costs `13 t_c + 2 t_3.5 + T_dev` besides its data and a register `2 t_c`; the quotient is
`Cost.request`. On native TCP a register is almost free, so only the device's limits keep ranges apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby


@dataclass(frozen=True, slots=True)
class Field:
    """`count` registers from the zero-based `address`, read by `function` (3 or 4); they are never split."""

    function: int
    address: int
    count: int

    @property
    def end(self) -> int:
        """First address behind the field."""
        return self.address + self.count


@dataclass(frozen=True, slots=True)
class Cost:
    """What a read costs: `request` once plus 1 per register, both in register times."""

    request: int


TCP_COST = Cost(request=1_000)
"""A round trip outweighs any number of registers that fit into it."""


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """What a device bears: registers in one read, and whether it refuses a read across addresses it lacks."""

    max_registers: int = 125
    refuses_holes: bool = False


@dataclass(frozen=True, slots=True)
class Block:
    """One request and the fields that its answer holds."""

    function: int
    address: int
    count: int
    fields: tuple[Field, ...]


def plan(fields: Sequence[Field], cost: Cost, limits: ReadLimits) -> tuple[Block, ...]:
    """The cheapest requests that fetch every field once, in order of function and address.

    Optimal over all cuts of the fields in order of address (dynamic programming, O(n²)).
    Raises ValueError when a field alone is longer than the device allows.
    """
    ordered = sorted(fields, key=lambda one: (one.function, one.address, one.end))
    blocks: list[Block] = []
    for _, same_function in groupby(ordered, key=lambda one: one.function):
        blocks.extend(_plan_function(list(same_function), cost, limits))
    return tuple(blocks)


def block_cost(block: Block, cost: Cost) -> int:
    """Cost of one request under the model."""
    return cost.request + block.count


def _plan_function(fields: list[Field], cost: Cost, limits: ReadLimits) -> list[Block]:
    best: list[tuple[int, int]] = [(0, 0)]
    """best[j] = (least cost of the first j fields, where the last block starts)"""
    for stop in range(1, len(fields) + 1):
        candidates = []
        end = 0
        for start in range(stop - 1, -1, -1):
            end = max(end, fields[start].end)
            if end - fields[start].address > limits.max_registers:
                break
            if limits.refuses_holes and start < stop - 1 and not _touches(fields[start:stop]):
                continue  # an earlier, longer field may still cover the hole
            candidates.append((best[start][0] + cost.request + end - fields[start].address, start))
        if not candidates:
            field = fields[stop - 1]
            raise ValueError(f"{field.count} registers at {field.address} in one value, {limits.max_registers} allowed")
        best.append(min(candidates))
    return _blocks(fields, best)


def _touches(fields: Sequence[Field]) -> bool:
    """Whether the fields, in order of address, leave no hole between them."""
    end = fields[0].end
    for field in fields[1:]:
        if field.address > end:
            return False
        end = max(end, field.end)
    return True


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
