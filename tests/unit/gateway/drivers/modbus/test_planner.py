"""The read planner covers every field, respects the device and is never beaten."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.drivers.modbus.planner import (
    TCP_COST,
    Block,
    Cost,
    Field,
    ReadLimits,
    block_cost,
    plan,
    rtu_cost,
    with_distinct_looks,
)

FIELDS = st.lists(
    st.builds(Field, st.sampled_from((1, 3, 4)), st.integers(0, 300), st.sampled_from((1, 2, 4))),
    max_size=12,
    unique=True,
)
COSTS = st.builds(Cost, st.integers(0, 60), st.integers(1, 3))
RANGES = st.lists(
    st.builds(
        lambda function, first, length: (function, first, first + length),
        st.sampled_from((1, 3, 4)),
        st.integers(0, 300),
        st.integers(1, 20),
    ),
    max_size=3,
)


@st.composite
def questions(draw: st.DrawFn, most_fields: int = 12, reach: int = 300) -> tuple[list[Field], ReadLimits]:
    """Fields that a device with these limits bears one by one."""
    fields = draw(
        st.lists(
            st.builds(Field, st.sampled_from((1, 3, 4)), st.integers(0, reach), st.integers(1, 5)),
            max_size=most_fields,
            unique=True,
        )
    )
    readable = None
    if draw(st.booleans()):
        others = [(one.function, one.address, one.end) for one in fields] + draw(RANGES)
        readable = tuple(touching(others))
    limits = ReadLimits(draw(st.integers(5, 125)), draw(st.integers(5, 400)), readable, tuple(draw(RANGES)))
    return [one for one in fields if limits.allow(one.function, one.address, one.end)], limits


def touching(ranges: list[tuple[int, int, int]]) -> Iterator[tuple[int, int, int]]:
    """The ranges merged where they touch."""
    addresses = sorted({(function, at) for function, first, end in ranges for at in range(first, end)})
    run: list[tuple[int, int]] = []
    for one in [*addresses, (0, 0)]:
        if run and one != (run[-1][0], run[-1][1] + 1):
            yield run[0][0], run[0][1], run[-1][1] + 1
            run = []
        run.append(one)


def partitions(fields: list[Field]) -> Iterator[list[list[Field]]]:
    """Every way to share fields out among requests."""
    if not fields:
        yield []
        return
    for rest in partitions(fields[1:]):
        yield [[fields[0]], *rest]
        for index in range(len(rest)):
            yield [*rest[:index], [fields[0], *rest[index]], *rest[index + 1 :]]


def cheapest(fields: list[Field], cost: Cost, limits: ReadLimits) -> int:
    """By looking at all partitions."""
    totals = []
    for groups in partitions(fields):
        spans = [
            (group[0].function, min(one.address for one in group), max(one.end for one in group)) for group in groups
        ]
        if all(len({one.function for one in group}) == 1 for group in groups) and all(
            limits.allow(*span) for span in spans
        ):
            totals.append(sum(cost.of(function, end - first) for function, first, end in spans))
    return min(totals)


@given(questions(), COSTS)
def test_covers_every_field_once_within_the_limits(question: tuple[list[Field], ReadLimits], cost: Cost) -> None:
    fields, limits = question
    blocks = plan(fields, cost, limits)
    assert sorted((one for block in blocks for one in block.fields), key=repr) == sorted(fields, key=repr)
    for block in blocks:
        assert limits.allow(block.function, block.address, block.address + block.count)
        assert all(one.function == block.function for one in block.fields)
        assert min(one.address for one in block.fields) == block.address
        assert max(one.end for one in block.fields) == block.address + block.count


@given(questions(), COSTS)
def test_never_costs_more_than_one_request_per_field(question: tuple[list[Field], ReadLimits], cost: Cost) -> None:
    fields, limits = question
    blocks = plan(fields, cost, limits)
    assert sum(block_cost(block, cost) for block in blocks) <= sum(cost.of(one.function, one.count) for one in fields)


@given(questions(6, 40), COSTS)
def test_no_other_way_is_cheaper(question: tuple[list[Field], ReadLimits], cost: Cost) -> None:
    fields, limits = question
    planned = sum(block_cost(block, cost) for block in plan(fields, cost, limits))
    assert planned == (cheapest(fields, cost, limits) if fields else 0)


@given(questions(), COSTS)
def test_distinct_looks_only_lengthen(question: tuple[list[Field], ReadLimits], cost: Cost) -> None:
    fields, limits = question
    blocks = plan(fields, cost, limits)
    changed = with_distinct_looks(blocks, limits)
    assert sorted((one.fields for one in changed), key=repr) == sorted((one.fields for one in blocks), key=repr)
    for block in changed:
        assert limits.allow(block.function, block.address, block.address + block.count)
        assert all(block.address <= one.address and one.end <= block.address + block.count for one in block.fields)
    assert sum(block.count for block in changed) <= sum(block.count + len(blocks) - 1 for block in blocks)
    if limits.readable is None and not limits.forbidden and max((one.count for one in blocks), default=0) <= 100:
        roomy = with_distinct_looks(blocks, ReadLimits())
        assert len({block.look for block in roomy}) == len(blocks)


def test_a_look_that_cannot_be_changed_stays() -> None:
    blocks = plan([Field(3, 0, 2), Field(3, 10, 2)], Cost(1), ReadLimits(2))
    assert with_distinct_looks(blocks, ReadLimits(2)) == blocks
    assert [one.count for one in with_distinct_looks(blocks, ReadLimits(3))] == [2, 3]


def test_lengthens_to_the_front_where_the_end_is_closed() -> None:
    limits = ReadLimits(readable=((3, 0, 2), (3, 9, 12)))
    blocks = plan([Field(3, 0, 2), Field(3, 10, 2)], Cost(1), limits)
    assert [(one.address, one.count) for one in with_distinct_looks(blocks, limits)] == [(0, 2), (9, 3)]


def test_merges_below_the_gap_and_not_above() -> None:
    near, far = Field(3, 12, 2), Field(3, 13, 2)
    first = Field(3, 0, 2)
    assert plan([near, first], Cost(11), ReadLimits()) == (Block(3, 0, 14, (first, near)),)
    assert len(plan([far, first], Cost(10), ReadLimits())) == 2


@pytest.mark.parametrize(("baud", "turnaround_s"), [(9_600, 0.02), (9_600, 0.0), (2_400, 0.1), (115_200, 0.005)])
def test_the_gap_worth_reading_follows_the_bus(baud: int, turnaround_s: float) -> None:
    character = 11 / baud
    silence = 3.5 * character if baud <= 19_200 else 0.00175
    gap = (13 * character + 2 * silence + turnaround_s) / (2 * character)
    cost = rtu_cost(character, silence, turnaround_s)
    for registers, requests in ((int(gap) - 1, 1), (int(gap) + 1, 2)):
        if registers < 120:
            assert len(plan([Field(3, 0, 1), Field(3, 1 + registers, 1)], cost, ReadLimits())) == requests


def test_on_tcp_only_the_limits_keep_ranges_apart() -> None:
    fields = [Field(3, 0, 2), Field(3, 100, 2)]
    assert len(plan(fields, TCP_COST, ReadLimits())) == 1
    assert len(plan(fields, TCP_COST, ReadLimits(101))) == 2
    assert len(plan(fields, TCP_COST, ReadLimits(forbidden=((3, 50, 51),)))) == 2
    assert len(plan(fields, TCP_COST, ReadLimits(forbidden=((4, 50, 51),)))) == 1


def test_keeps_functions_apart() -> None:
    assert [block.function for block in plan([Field(4, 0, 1), Field(3, 0, 1)], Cost(99), ReadLimits())] == [3, 4]


def test_refuses_a_field_longer_than_a_read_may_be() -> None:
    with pytest.raises(ValueError, match="4 registers at 7"):
        plan([Field(3, 0, 1), Field(3, 7, 4)], Cost(1), ReadLimits(3))


def test_nothing_to_read_is_no_request() -> None:
    assert plan([], Cost(1), ReadLimits()) == ()
