"""A line without a wire for tests of the worker: transactions that end when the test says so."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from gateway.contract import WIRE_VERSION
from gateway.contract.messages import Action, Command, CommandState, Point
from gateway.drivers.base import CommandOutcome, Group, Groups, Reading, ReadOutcome, Supply
from gateway.drivers.turns import Turns
from gateway.errors import LineDown
from gateway.polling.clock import Clock
from gateway.polling.worker import LineWorker


class QuietLine:
    """Counts transactions and keeps who asked."""

    def __init__(self) -> None:
        self.turns = Turns(self)
        self.busy_s = 0.0
        self.connected = False
        self.reachable = True
        self.asked: list[str] = []
        self.gates: dict[str, asyncio.Event] = {}
        """A transaction of such a name waits for its gate."""

    async def connect(self) -> None:
        if not self.reachable:
            raise LineDown("nobody there")
        self.connected = True

    def close(self) -> None:
        self.connected = False

    async def ask(self, name: str) -> None:
        """One transaction."""
        async with self.turns:
            self.asked.append(name)
            if name in self.gates:
                await self.gates[name].wait()


class QuietMeter:
    """Reads one channel of each group."""

    groups: Groups = frozenset(Group)

    def __init__(self, device: str, line: QuietLine) -> None:
        self.device, self.line = device, line

    async def read(self, groups: Groups, now_ms: Callable[[], int]) -> ReadOutcome:
        await self.line.ask(f"read {self.device}")
        return ReadOutcome(answers=[(now_ms(), [Reading("volume_total", 1, 0)])])


class ValveMeter(QuietMeter):
    """Also has a valve, which has moved when `moved` is set, and a clock."""

    supplies = frozenset({Supply.VALVE})

    def __init__(self, device: str, line: QuietLine) -> None:
        super().__init__(device, line)
        self.moved = asyncio.Event()

    async def switch(self, supply: Supply, on: bool) -> CommandOutcome:
        await self.line.ask(f"move {self.device}")
        await self.moved.wait()
        await self.line.ask(f"show {self.device}")
        return CommandOutcome(CommandState.DONE, f"{supply} {'open' if on else 'closed'}")

    async def set_clock(self, local_now: Callable[[], datetime]) -> CommandOutcome:
        await self.line.ask(f"set {self.device}")
        return CommandOutcome(CommandState.DONE, local_now().isoformat())


def worker_of(
    line: QuietLine, meters: Sequence[QuietMeter], period_ms: int = 3_600_000, points: list[Point] | None = None
) -> LineWorker:
    """A worker on `line`."""
    kept: list[Point] = [] if points is None else points

    async def record(new: Sequence[Point]) -> None:
        kept.extend(new)

    periods: Mapping[Group, int] = {Group.BILLING: period_ms, Group.INSTANT: period_ms}
    return LineWorker("test", line, meters, [periods] * len(meters), Clock(), record)


def command(device: str, action: Action) -> Command:
    """As the uplink hands it over."""
    now = 1_700_000_000_000
    return Command(
        WIRE_VERSION, "0" * 8 + "-0000" * 3 + "-" + "0" * 12, "demo", "gw-1", device, action, {}, "staff", now,
        now + 60_000, "n" * 16, "key-1",
    )  # fmt: skip
