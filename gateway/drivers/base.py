"""What a driver can do, as small protocols; polling and commands know nothing else of a device."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol, runtime_checkable

import msgspec

from gateway.contract.messages import CommandState
from gateway.drivers.turns import Turns


class Group(StrEnum):
    """Channels that are read with the same period."""

    BILLING = "billing"
    """Cumulative registers: what bills are made of."""
    INSTANT = "instant"
    """Everything else: momentary values and states."""


Groups = frozenset[Group]


class Reading(msgspec.Struct, frozen=True, gc=False):
    """One decoded value in the base unit of its quantity; `quality` is a sum of contract Quality flags."""

    channel: str
    value: int
    quality: int


@dataclass(slots=True)
class ReadOutcome:
    """What one visit to a device gave: values of the answers that came, and what went wrong otherwise.

    `taken_at` (ms since 1970) belongs to `readings` of the same position in `answers`.
    """

    answers: list[tuple[int, list[Reading]]] = field(default_factory=list)
    missing: int = 0
    """Channels that the device answered with a sentinel: it says that it has no value."""
    errors: int = 0
    """Channels that it answered with what is no value: not a number, digits that are none, an unknown code."""
    exceptions: int = 0
    malformed: int = 0
    timeouts: int = 0
    round_trips_us: list[int] = field(default_factory=list)
    error: str = ""
    """What went wrong last, for people."""

    @property
    def answered(self) -> bool:
        """Whether the device is alive: it gave values or at least refused properly."""
        return bool(self.answers) or self.exceptions > 0


class ReadsMeter(Protocol):
    """A meter on a line."""

    @property
    def device(self) -> str:
        """Its code, as on the wire to the cloud."""

    @property
    def groups(self) -> Groups:
        """The groups that it has channels in."""

    async def read(self, groups: Groups, now_ms: Callable[[], int]) -> ReadOutcome:
        """Asks for all channels of `groups` and decodes the answers. Never raises for what the device does.

        Raises LineDown when the connection is gone before anything could be asked.
        """


@dataclass(frozen=True, slots=True)
class CommandOutcome:
    """What became of a command: `state` is DONE, FAILED or UNCERTAIN; `detail` is for people."""

    state: CommandState
    detail: str = ""


class Supply(StrEnum):
    """What can be switched on a meter."""

    RELAY = "relay"
    VALVE = "valve"


@runtime_checkable
class SwitchesSupply(Protocol):
    """A meter with a relay or a valve."""

    @property
    def supplies(self) -> frozenset[Supply]:
        """What of it can be switched."""

    async def switch(self, supply: Supply, on: bool) -> CommandOutcome:
        """Gives or cuts the supply and reads the state back: DONE only when the device shows it.

        FAILED when the device refused or shows the old state, UNCERTAIN when the order may have arrived but its effect
        could not be read. Raises LineDown when nothing was sent.
        """


@runtime_checkable
class SetsClock(Protocol):
    """A meter with a clock of its own."""

    async def set_clock(self, local_now: Callable[[], datetime]) -> CommandOutcome:
        """Sets the clock to what `local_now` gives at the moment of sending: naive local time of the property."""


class Line(Protocol):
    """A bus, or a connection to a converter: one transaction at a time, one owner."""

    turns: Turns
    """Every transaction takes one (`async with self.turns`): with it the line is free and connected."""

    @property
    def busy_s(self) -> float:
        """Time spent in transactions since the start: the line's utilisation."""

    @property
    def connected(self) -> bool:
        """Whether a request can be sent now."""

    async def connect(self) -> None:
        """Opens the connection; only called by the turns. Raises LineDown."""

    def close(self) -> None:
        """Closes it; anything unread is thrown away."""
