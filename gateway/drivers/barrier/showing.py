"""What a driver who has to pay is shown at his lane. Pure."""

from typing import Final

from gateway.contract.messages import Command
from gateway.drivers.barrier.events import Dialect, Due
from gateway.drivers.barrier.settings import LaneSettings

_SHOWN_MS: Final = 600_000
"""How long it may be shown, should nothing tell the display that the vehicle is gone."""
_TEXTS: Final = ("plate", "ticket", "amount", "currency", "since", "text")


def shows_due(dialect: Dialect, lane: LaneSettings) -> bool:
    """Whether the lane has a display that can be told, and may be."""
    return dialect.shows_due and lane.shows_due and lane.direction == "exit"


def due_of(command: Command, event_id: str, now: int) -> Due:
    """What the cloud says with `show-due` of the vehicle that is recognised as `event_id`.

    `now` is the time by the device's clock, Unix milliseconds.
    """
    told = command.arguments
    said = {name: told[name] for name in _TEXTS if name in told}
    minutes = int(told["minutes"]) if "minutes" in told else None
    return Due(id=event_id, until=now + _SHOWN_MS, minutes=minutes, **said)
