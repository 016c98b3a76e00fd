"""What a protocol hands to a bus: a request, how its answer is recognised, and what must not be taken for it."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from gateway.errors import DoubtfulReply

T = TypeVar("T", bound=Hashable)
"""An answer. Two answers that a device could not send differently compare equal and have the same hash."""


@dataclass(frozen=True, slots=True)
class Question(Generic[T]):
    """One request and how its answer is recognised in the bytes that arrive."""

    request: bytes
    judge: Callable[[bytes], T | None]
    """Looks at all bytes since the request: the answer, or None while they may still become one.

    Raises MalformedReply when they never will, ExceptionReply when the device refuses properly. An adapter's echo of
    the request has been taken away before.
    """
    look: Hashable | None
    """Questions whose answers cannot be told apart have equal looks: a late answer to one would pass for the other.

    None when the answer carries the number of its question and can be told from every other.
    """
    answer_bytes: int = 0
    """How long the answer is expected to be; the line allows the time that it takes to arrive on top of the timeout."""
    rest_s: float = 0.0
    """Silence that the asked device needs before a request."""
    timeout_s: float | None = None
    """How long the device may take to begin its answer; the line's timeout when None."""
    changes: bool = False
    """The request changes something: what devices said before is no answer to what is asked afterwards."""


class Asks(Protocol):
    """A bus as a meter sees it. The owner of the line calls; one question is open at a time."""

    async def ask(self, question: "Question[T]") -> T:
        """The answer. Raises ExceptionReply, NoAnswer, MalformedReply, DoubtfulReply; LineDown without a connection."""


async def ask_without_doubt(bus: Asks, question: Question[T]) -> T:
    """The answer to a question that may be asked again while its answer is in doubt. Raises like `Asks.ask`."""
    while True:
        try:
            return await bus.ask(question)
        except DoubtfulReply:
            continue  # the bus rests before the next, each time until less is in doubt
