"""A bus without wires: questions go straight to simulated meters, and a test may spoil what comes back."""

from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar

from gateway.drivers.bus.question import Question
from gateway.errors import LineDown, NoAnswer

T = TypeVar("T", bound=Hashable)
Answers = Callable[[bytes], bytes | None]
Spoil = Callable[[bytes, bytes], Iterable[bytes]]
"""(request, answer) → the pieces that arrive."""


def untouched(request: bytes, answer: bytes) -> Iterable[bytes]:
    """The answer as it is, in one piece."""
    del request
    yield answer


class DirectBus:
    """Asks whatever `stations` answer; nothing waits for anything."""

    def __init__(self, *stations: Answers) -> None:
        self.stations = stations
        self.spoil: Spoil = untouched
        self.requests: list[bytes] = []
        self.looks: list[object] = []
        self.changes = 0
        """How often the bus was told that answers from before are none."""
        self.down_after: int | None = None
        """Number of questions after which there is no connection."""

    async def ask(self, question: Question[T]) -> T:
        """The answer. Raises as Asks says."""
        if self.down_after is not None and len(self.requests) >= self.down_after:
            raise LineDown("cut by the test")
        self.requests.append(question.request)
        self.looks.append(question.look)
        self.changes += question.changes
        answers = [answer for station in self.stations if (answer := station(question.request)) is not None]
        received = b""
        for piece in self.spoil(question.request, b"".join(answers)):
            received += piece
            found = question.judge(received)
            if found is not None:
                return found
        raise NoAnswer("nothing came")
