"""What a protocol hands to a bus: a request, how its answer is recognised, and what must not be taken for it."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Question(Generic[T]):
    """One request and how its answer is recognised in the bytes that arrive."""

    request: bytes
    judge: Callable[[bytes], T | None]
    """Looks at all bytes since the request: the answer, or None while they may still become one.

    Raises MalformedReply when they never will, ExceptionReply when the device refuses properly.
    """
    look: Hashable
    """Questions whose answers cannot be told apart have equal looks: a late answer to one would pass for the other."""
    answer_bytes: int = 0
    """How long the answer is expected to be; the line allows the time that it takes to arrive on top of the timeout."""
    rest_s: float = 0.0
    """Silence that the asked device needs before a request."""


class Asks(Protocol):
    """A bus as a meter sees it. The owner of the line calls; one question is open at a time."""

    async def ask(self, question: "Question[T]") -> T:
        """The answer. Raises ExceptionReply, NoAnswer, MalformedReply; LineDown when there is no connection."""
