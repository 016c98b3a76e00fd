"""Commands at the desk: never twice, wherever the gateway dies; never without a clock, a memory or known arguments."""

import asyncio
import contextlib
import tempfile
import uuid
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.contract import WIRE_VERSION, codec
from gateway.contract.messages import Action, Command, CommandResult, CommandState
from gateway.contract.signing import signed
from gateway.contract.topics import Up
from gateway.drivers.base import CommandOutcome
from gateway.outbox import Outbox, OutboxError
from gateway.uplink.commands import CommandDesk
from gateway.uplink.journal import Journal
from tests.newer_cloud import other_words
from tests.signing import public_key, signer

NOW = 1_764_000_000_000
KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
KEYS = public_key(KEY)
FINAL = {CommandState.DONE, CommandState.FAILED, CommandState.EXPIRED, CommandState.UNCERTAIN}


def command(number: int = 1, action: Action = Action.CLOSE_VALVE, **fields: Any) -> Command:
    bare = Command(
        WIRE_VERSION, str(uuid.UUID(int=number)), "demo", "gw-1", "w-1", action, {}, "staff", NOW, NOW + 60_000,
        "n" * 16, "k1",
    )  # fmt: skip
    bare = msgspec.structs.replace(bare, **fields)
    return signed(bare, signer(KEY))


class Died(BaseException):
    """The process is gone; nothing of it runs any further."""


@dataclass
class World:
    """What outlives the process: the file, and what was done to the device."""

    file: Path
    done: Counter[str] = field(default_factory=Counter)
    now: int = NOW
    sure: bool = True
    dies_at: int | None = None
    steps: int = 0

    def step(self) -> None:
        """One instant at which the process may die."""
        if self.dies_at == self.steps:
            raise Died
        self.steps += 1


class Mortal:
    """An outbox before and after each of whose commits the process may die."""

    def __init__(self, outbox: Outbox, world: World) -> None:
        self._outbox, self._world = outbox, world

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._outbox, name)
        if not callable(method):
            return method

        async def around(*arguments: Any, **named: Any) -> Any:
            self._world.step()
            answer = await method(*arguments, **named)
            self._world.step()
            return answer

        return around


async def life(world: World, payloads: list[bytes]) -> None:
    """One life of the gateway: it starts, takes these messages, and is gone."""
    outbox = Outbox.open(world.file, 1 << 24, lambda: world.now)

    async def execute(order: Command) -> CommandOutcome:
        world.step()
        world.done[order.id] += 1
        world.step()
        return CommandOutcome(CommandState.DONE)

    mortal: Any = Mortal(outbox, world)
    journal = Journal(mortal)
    desk = CommandDesk("demo", "gw-1", KEYS, journal, execute, lambda: world.now, lambda: world.sure)
    try:
        await journal.open(world.now, world.now)
        for payload in payloads:
            await desk.handle(payload)
    except Died:
        world.dies_at = None
    finally:
        outbox.close()


async def reports(file: Path) -> list[CommandResult]:
    outbox = Outbox.open(file, 1 << 24)
    rows = await outbox.waiting(0, 10_000, (Up.RESULTS,))
    outbox.close()
    return [result for row in rows for result in codec.decode_results(row.body)]


LIVES = st.lists(
    st.tuples(st.lists(st.integers(1, 3), max_size=4), st.none() | st.integers(0, 24), st.integers(-5_000, 70_000)),
    min_size=1,
    max_size=5,
)


@settings(max_examples=60, deadline=None)
@given(LIVES)
def test_no_command_is_carried_out_twice_wherever_the_gateway_dies(
    lives: list[tuple[list[int], int | None, int]],
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        world = World(Path(directory) / "outbox.sqlite")
        for numbers, dies_at, clock_shift in lives:
            world.steps, world.dies_at, world.now = 0, dies_at, NOW + clock_shift
            asyncio.run(life(world, [codec.encode_command(command(number)) for number in numbers]))
        world.dies_at = None
        asyncio.run(life(world, []))
        told = asyncio.run(reports(world.file))
    assert all(times == 1 for times in world.done.values())
    for command_id, times in world.done.items():
        states = [result.state for result in told if result.command_id == command_id]
        assert states[:2] == [CommandState.DELIVERED, CommandState.EXECUTING], "told before it was done"
        last = [state for state in states if state in FINAL]
        assert last
        assert len(set(last)) == 1
        assert times == 0 or last[0] in (CommandState.DONE, CommandState.UNCERTAIN)


@pytest.mark.parametrize("dies_at", range(14))
def test_a_death_at_any_instant_leaves_it_done_uncertain_or_untouched(tmp_path: Path, dies_at: int) -> None:
    world = World(tmp_path / "outbox.sqlite", dies_at=dies_at)
    asyncio.run(life(world, [codec.encode_command(command())]))
    asyncio.run(life(world, []))
    told = [result.state for result in asyncio.run(reports(world.file))]
    if world.done:
        assert told[-1] in (CommandState.DONE, CommandState.UNCERTAIN)
    else:
        assert told in ([], [CommandState.DELIVERED, CommandState.EXECUTING, CommandState.UNCERTAIN])
    asyncio.run(life(world, [codec.encode_command(command())]))
    assert world.done == {command().id: 1} or (not world.done and told[-1] is CommandState.UNCERTAIN)


@pytest.mark.parametrize(
    ("order", "detail"),
    [
        (command(issued_at=NOW + 60_001, expires_at=NOW + 90_000), "clock: it was issued 60001 ms from now"),
        (command(arguments={"fast": "yes"}), "arguments: close-valve knows no argument fast"),
        (command(action=Action.OPEN_BARRIER, arguments={"passage": "p"}), "arguments: open-barrier: the argument"),
    ],
)
async def test_what_cannot_be_judged_is_turned_down(tmp_path: Path, order: Command, detail: str) -> None:
    world = World(tmp_path / "outbox.sqlite")
    await life(world, [codec.encode_command(order)])
    (told,) = await reports(world.file)
    assert (told.state, told.detail[: len(detail)]) == (CommandState.FAILED, detail)
    assert not world.done


@pytest.mark.parametrize(("error", "ends"), [(KeyError("nobody thought of it"), False), (OutboxError("damage"), True)])
async def test_a_command_on_which_the_software_fails_is_uncertain_and_ends_nothing_else(
    tmp_path: Path, error: Exception, ends: bool
) -> None:
    """The process of all lanes would end otherwise; only of a damaged file it is to begin anew."""
    file = tmp_path / "outbox.sqlite"
    outbox = Outbox.open(file, 1 << 24, lambda: NOW)

    async def execute(_: Command) -> CommandOutcome:
        raise error

    journal = Journal(outbox)
    desk = CommandDesk("demo", "gw-1", KEYS, journal, execute, lambda: NOW)
    await journal.open(NOW, NOW)
    with pytest.raises(OutboxError) if ends else contextlib.nullcontext():
        await desk.handle(codec.encode_command(command()))
    outbox.close()
    assert [one.state for one in await reports(file)][2:] == ([] if ends else [CommandState.UNCERTAIN])


async def test_without_a_sure_clock_only_reading_goes_on(tmp_path: Path) -> None:
    world = World(tmp_path / "outbox.sqlite", sure=False)
    order, reading = command(1), command(2, Action.READ_NOW)
    await life(world, [codec.encode_command(order), codec.encode_command(reading)])
    assert world.done == {reading.id: 1}
    world.sure = True
    await life(world, [codec.encode_command(order)])
    assert world.done == {reading.id: 1}, "what was turned down stays so"
    told = [result for result in await reports(world.file) if result.command_id == order.id]
    assert {result.state for result in told} == {CommandState.FAILED}
    assert told[0].detail.startswith("clock: ")


async def test_a_lost_memory_takes_no_order_from_before_the_loss(tmp_path: Path) -> None:
    file = tmp_path / "outbox.sqlite"
    world = World(file)
    await life(world, [codec.encode_command(command(1))])
    file.write_bytes(b"this was a database" * 1_000)
    world.now += 1_000
    after = command(2, issued_at=world.now + 1, expires_at=world.now + 60_000)
    await life(world, [codec.encode_command(command(1)), codec.encode_command(after)])
    assert world.done == {command(1).id: 1, after.id: 1}
    told = {result.command_id: result for result in await reports(file)}
    assert told[command(1).id].detail.startswith("memory: ")
    # The loss is remembered, although the file is whole now.
    await life(world, [codec.encode_command(command(3))])
    assert command(3).id not in world.done


async def test_a_memory_lost_while_the_clock_was_ahead_takes_no_order_from_before_the_loss(tmp_path: Path) -> None:
    file = tmp_path / "outbox.sqlite"
    world = World(file)
    await life(world, [codec.encode_command(command(1))])
    file.write_bytes(b"this was a database" * 1_000)
    world.now = NOW + 1_500 * 86_400_000
    await life(world, [])
    world.now = NOW + 2_000
    after = command(2, issued_at=world.now + 1, expires_at=world.now + 60_000)
    await life(world, [codec.encode_command(command(1)), codec.encode_command(after)])
    assert world.done == {command(1).id: 1, after.id: 1}


async def test_a_key_that_is_no_longer_trusted_commands_nothing(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path / "outbox.sqlite", 1 << 24)
    journal = Journal(outbox)
    executed: list[str] = []

    async def execute(order: Command) -> CommandOutcome:
        executed.append(order.id)
        return CommandOutcome(CommandState.DONE)

    desk = CommandDesk("demo", "gw-1", {}, journal, execute, lambda: NOW)
    await journal.open(NOW, NOW)
    await desk.handle(codec.encode_command(command(1)))
    desk.trust(KEYS)
    await desk.handle(codec.encode_command(command(2)))
    desk.trust({"k2": KEYS["k1"]})
    await desk.handle(codec.encode_command(command(3)))
    outbox.close()
    assert executed == [command(2).id]
    assert [result.detail for result in await reports(tmp_path / "outbox.sqlite") if result.detail] == [
        "signature: unknown key k1"
    ] * 2


async def test_a_field_that_is_not_known_is_passed_over_and_is_signed_all_the_same(tmp_path: Path) -> None:
    world = World(tmp_path / "outbox.sqlite")
    more = other_words(command(1), signer(KEY), more=[{"why": "a guest"}, 7])
    await life(world, [more.replace(b"guest", b"thief"), more[:-3] + b"]"])
    assert not world.done
    await life(world, [more, more])
    assert world.done == {command(1).id: 1}
    assert [told.detail for told in await reports(world.file)][:2] == ["signature: does not match"] * 2


@pytest.mark.parametrize(
    ("changed", "detail"),
    [
        ({"action": "open-for-the-guard"}, "not understood: bad-schema: Invalid enum value 'open-for-the-guard'"),
        ({"version": 2}, "not understood: unknown-version: version 2, this software speaks 1"),
        ({"arguments": {"passage": 7}}, "not understood: bad-schema: Expected `str`, got `int`"),
        ({"arguments": {"only-if": "empty"}}, "arguments: close-valve knows no argument only-if"),
    ],
)
async def test_an_order_that_is_not_understood_is_told_and_never_carried_out(
    tmp_path: Path, changed: dict[str, object], detail: str
) -> None:
    world = World(tmp_path / "outbox.sqlite")
    strange = other_words(command(1), signer(KEY), changed=changed)
    await life(world, [strange])
    (told,) = await reports(world.file)
    assert (told.state, told.detail[: len(detail)]) == (CommandState.FAILED, detail)
    # The software that comes next understands it: the cloud has heard that nothing happened, and so it stays.
    await life(world, [codec.encode_command(command(1)), strange])
    assert not world.done
    assert {told.state for told in await reports(world.file)} == {CommandState.FAILED}


async def test_who_is_not_the_cloud_makes_no_order_known_as_turned_down(tmp_path: Path) -> None:
    """Otherwise whoever owns the broker could spend the ids of orders that are still to come."""
    world = World(tmp_path / "outbox.sqlite")
    stranger = signer(Ed25519PrivateKey.generate())
    await life(world, [other_words(command(1), stranger, changed={"action": "open-for-the-guard"})])
    await life(world, [codec.encode_command(command(1))])
    assert world.done == {command(1).id: 1}
