"""A line without a wire for tests of the worker: transactions that end when the test says so."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

from gateway.contract import WIRE_VERSION
from gateway.contract.messages import Action, Command, CommandState, Point
from gateway.drivers.base import CommandOutcome, Group, Groups, Reading, ReadOutcome, Supply
from gateway.drivers.turns import Turns
from gateway.errors import LineDown
from gateway.polling.clock import Clock
from gateway.polling.midnight import NextMidnight, midnights
from gateway.polling.report import ReportRules
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
    """Reads one channel of each group, unless it is silent."""

    groups: Groups = frozenset(Group)

    def __init__(self, device: str, line: QuietLine) -> None:
        self.device, self.line = device, line
        self.silent = False
        self.partly = False
        """Answers the first question and not the second."""
        self.asked_for: list[Groups] = []

    async def read(self, groups: Groups, now_ms: Callable[[], int]) -> ReadOutcome:
        await self.line.ask(f"read {self.device}")
        self.asked_for.append(groups)
        if self.silent:
            return ReadOutcome(timeouts=1, error="no answer")
        values = {Group.BILLING: Reading("volume_total", 1, 0), Group.INSTANT: Reading("flow", 5, 0)}
        return ReadOutcome([(now_ms(), [values[group] for group in sorted(groups)])], timeouts=int(self.partly))


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


_SHANGHAI = midnights(ZoneInfo("Asia/Shanghai"))


@dataclass
class Told:
    """What a worker is given besides its line and meters, and the points that it recorded."""

    period_ms: int = 3_600_000
    clock: Clock = field(default_factory=Clock)
    next_midnight: NextMidnight = _SHANGHAI
    rules: ReportRules | None = None
    points: list[Point] = field(default_factory=list)

    def worker(self, line: QuietLine, meters: Sequence[QuietMeter]) -> LineWorker:
        """A worker on `line`."""
        periods: Mapping[Group, int] = {Group.BILLING: self.period_ms, Group.INSTANT: self.period_ms}
        count = len(meters)
        return LineWorker(
            "test", line, meters, [periods] * count, self.clock, self._record, self.next_midnight, [self.rules] * count
        )

    async def _record(self, new: Sequence[Point]) -> None:
        self.points.extend(new)


async def until(condition: Callable[[], object]) -> None:
    """Waits for `condition`; fails the test after a minute."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.001)


@asynccontextmanager
async def running(worker: LineWorker) -> AsyncIterator[None]:
    """Runs `worker` until the end of the block."""
    task = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        worker.stop()
        async with asyncio.timeout(60):
            await task


def command(device: str, action: Action) -> Command:
    """As the uplink hands it over."""
    now = 1_700_000_000_000
    return Command(
        WIRE_VERSION, "0" * 8 + "-0000" * 3 + "-" + "0" * 12, "demo", "gw-1", device, action, {}, "staff", now,
        now + 60_000, "n" * 16, "key-1",
    )  # fmt: skip
