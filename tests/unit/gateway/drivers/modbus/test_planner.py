"""The read planner covers every field, respects the device and is never beaten."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.drivers.modbus.planner import Block, Cost, Field, ReadLimits, block_cost, plan

FIELDS = st.lists(
    st.builds(Field, st.sampled_from((3, 4)), st.integers(0, 300), st.sampled_from((1, 2, 4))), max_size=12, unique=True
)
LIMITS = st.builds(ReadLimits, st.integers(4, 125), st.booleans())
COSTS = st.builds(Cost, st.integers(0, 60))


@given(FIELDS, COSTS, LIMITS)
def test_covers_every_field_once_within_the_limits(fields: list[Field], cost: Cost, limits: ReadLimits) -> None:
    blocks = plan(fields, cost, limits)
    assert sorted((one for block in blocks for one in block.fields), key=repr) == sorted(fields, key=repr)
    for block in blocks:
        assert block.count <= limits.max_registers
        assert all(one.function == block.function for one in block.fields)
        assert min(one.address for one in block.fields) == block.address
        assert max(one.end for one in block.fields) == block.address + block.count


@given(FIELDS, COSTS, LIMITS)
def test_never_costs_more_than_one_request_per_field(fields: list[Field], cost: Cost, limits: ReadLimits) -> None:
    blocks = plan(fields, cost, limits)
    assert sum(block_cost(block, cost) for block in blocks) <= sum(cost.request + one.count for one in fields)


@given(FIELDS, COSTS, st.integers(4, 125))
def test_never_reads_a_hole_that_the_device_refuses(fields: list[Field], cost: Cost, most: int) -> None:
    for block in plan(fields, cost, ReadLimits(most, refuses_holes=True)):
        covered = {address for one in block.fields for address in range(one.address, one.end)}
        assert covered == set(range(block.address, block.address + block.count))


@given(
    st.lists(st.tuples(st.integers(1, 30), st.sampled_from((1, 2, 4))), min_size=1, max_size=7),
    COSTS,
    st.integers(4, 60),
)
def test_is_optimal_over_all_cuts(steps: list[tuple[int, int]], cost: Cost, most: int) -> None:
    fields: list[Field] = []
    address = 0
    for gap, count in steps:
        fields.append(Field(3, address + gap, count))
        address = fields[-1].end
    best = None
    for cuts in range(1 << (len(fields) - 1)):
        edges = [0, *(index for index in range(1, len(fields)) if cuts >> (index - 1) & 1), len(fields)]
        spans = [fields[last - 1].end - fields[first].address for first, last in pairwise(edges)]
        if max(spans) <= most:
            total = sum(cost.request + span for span in spans)
            best = total if best is None else min(best, total)
    assert sum(block_cost(block, cost) for block in plan(fields, cost, ReadLimits(most))) == best


def test_merges_below_the_gap_and_not_above() -> None:
    near, far = Field(3, 12, 2), Field(3, 13, 2)
    first = Field(3, 0, 2)
    assert plan([near, first], Cost(11), ReadLimits()) == (Block(3, 0, 14, (first, near)),)
    assert len(plan([far, first], Cost(10), ReadLimits())) == 2


def test_keeps_functions_apart() -> None:
    assert [block.function for block in plan([Field(4, 0, 1), Field(3, 0, 1)], Cost(99), ReadLimits())] == [3, 4]


def test_refuses_a_field_longer_than_a_read_may_be() -> None:
    with pytest.raises(ValueError, match="4 registers at 7"):
        plan([Field(3, 7, 4)], Cost(1), ReadLimits(3))


def test_nothing_to_read_is_no_request() -> None:
    assert plan([], Cost(1), ReadLimits()) == ()


def test_a_longer_field_covers_the_hole_between_shorter_ones() -> None:
    fields = [Field(3, 0, 4), Field(3, 1, 1), Field(3, 3, 1)]
    assert len(plan(fields, Cost(5), ReadLimits(refuses_holes=True))) == 1
