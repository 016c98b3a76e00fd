"""Turns: one at a time, urgent ones first, nobody forgotten, and a connection with each."""

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.drivers.turns import Turns, urgent
from gateway.errors import LineDown


class Wire:
    def __init__(self, reachable: bool = True) -> None:
        self.connected = False
        self.reachable = reachable
        self.opened = 0

    async def connect(self) -> None:
        await asyncio.sleep(0)
        if not self.reachable:
            raise LineDown("nobody there")
        self.opened += 1
        self.connected = True


async def some_loops(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_urgent_ones_go_first_and_the_running_one_is_left_alone() -> None:
    turns = Turns(Wire())
    order: list[str] = []
    gate = asyncio.Event()

    async def transact(name: str, wait: bool = False) -> None:
        async with turns:
            order.append(f"{name} begins")
            if wait:
                await gate.wait()
            order.append(f"{name} ends")

    async def order_of_two(name: str) -> None:
        with urgent():
            await transact(name)
            await transact(name + " again")

    running = asyncio.create_task(transact("poll 1", wait=True))
    await some_loops()
    waiting = asyncio.create_task(transact("poll 2"))
    await some_loops()
    command = asyncio.create_task(order_of_two("valve"))
    await some_loops()
    assert order == ["poll 1 begins"]
    gate.set()
    await asyncio.gather(running, waiting, command)
    assert [one for one in order if "begins" in one] == [
        "poll 1 begins", "valve begins", "valve again begins", "poll 2 begins",
    ]  # fmt: skip


async def test_polls_go_on_while_an_order_waits_for_its_valve() -> None:
    turns = Turns(Wire())
    moved = asyncio.Event()
    done: list[str] = []

    async def order() -> None:
        with urgent():
            async with turns:
                done.append("moves")
            await moved.wait()
            async with turns:
                done.append("shows it")

    command = asyncio.create_task(order())
    await some_loops()
    for _ in range(3):
        async with turns:
            done.append("poll")
    moved.set()
    await command
    assert done == ["moves", "poll", "poll", "poll", "shows it"]


async def test_a_turn_comes_with_a_connection_or_not_at_all() -> None:
    wire = Wire(reachable=False)
    turns = Turns(wire)
    for _ in range(2):
        with pytest.raises(LineDown):
            await turns.__aenter__()
    wire.reachable = True
    async with turns:
        assert wire.connected
    async with turns:
        assert wire.opened == 1
    assert (turns.connects, turns.connect_failures) == (1, 2)


@given(st.integers(0, 2**32))
def test_whoever_is_cancelled_everybody_else_gets_his_turn(seed: int) -> None:
    asyncio.run(_storm(random.Random(seed)))


async def _storm(chance: random.Random) -> None:
    turns = Turns(Wire())
    inside = 0

    async def transact(pauses: int) -> None:
        nonlocal inside
        async with turns:
            inside += 1
            try:
                assert inside == 1
                await some_loops(pauses)
            finally:
                inside -= 1

    async def order(pauses: int) -> None:
        with urgent():
            await transact(pauses)

    async def cancelled(task: "asyncio.Task[None]", pauses: int) -> None:
        await some_loops(pauses)
        task.cancel()

    tasks = []
    helpers = []
    for _ in range(chance.randrange(2, 12)):
        kind = order if chance.random() < 0.5 else transact
        task = asyncio.create_task(kind(chance.randrange(4)))
        if chance.random() < 0.4:
            helpers.append(asyncio.create_task(cancelled(task, chance.randrange(3))))
        tasks.append(task)
        await some_loops(chance.randrange(3))
    async with asyncio.timeout(60):
        done = await asyncio.gather(*tasks, *helpers, return_exceptions=True)
    inside_errors = [one for one in done if isinstance(one, AssertionError)]
    assert not inside_errors
    async with asyncio.timeout(60), turns:
        pass
