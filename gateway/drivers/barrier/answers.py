"""What became of an order to a barrier."""

from enum import Enum
from typing import Final

from gateway.contract.messages import CommandState
from gateway.drivers.base import CommandOutcome


class Answer(Enum):
    """What became of an order to a barrier."""

    DONE = "done"
    REFUSED = "refused"
    LOST = "lost"
    """Sent, but not answered in time: it may have opened."""
    OFFLINE = "offline"
    """Not sent: no connection to the barrier's broker, or the barrier is not heard of."""
    EXPIRED = "expired"
    """Not sent: too late."""


OUTCOMES: Final = {
    Answer.DONE: CommandOutcome(CommandState.DONE),
    Answer.REFUSED: CommandOutcome(CommandState.FAILED, "the barrier refused"),
    Answer.LOST: CommandOutcome(CommandState.UNCERTAIN, "the barrier did not answer in time"),
    Answer.OFFLINE: CommandOutcome(CommandState.FAILED, "no connection to the barrier"),
    Answer.EXPIRED: CommandOutcome(CommandState.EXPIRED),
}
