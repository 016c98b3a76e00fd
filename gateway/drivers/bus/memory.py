"""Which answers may still be on their way over a bus, and which must not be believed yet; pure, time is handed in.

The one assumption: nothing arrives later than a known time after its question. Until then an answer that did not come,
or a second copy of one that did, may arrive inside the wait of the next question, and when the two questions have the
same look nothing in its bytes tells. So:

- After a question without an answer only the same request may follow, of all with its look, before that time: an answer
  to it is right whichever of the two it belongs to, and by at most that time too old.
- An answer that equals one to *another* request of the same look, asked less than that time ago, may be a copy of it.
  It is doubtful, and that look rests until no copy can be left.
- An answer that equals one to the *same* request may be a copy as well, with the true one still on its way: again only
  the same request may follow.
- A refusal looks alike for all requests to a device. It carries no value, but leaves the same uncertainty.

Hence no answer is ever taken for one to another request, however late, doubled or reordered answers come.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Final

_MANY: Final = 64
"""Answers of one look, and looks, that are kept before those too old to matter are dropped."""


@dataclass(slots=True)
class _Traces:
    """Of one look."""

    free_at: float = 0.0
    """No question before."""
    only: bytes = b""
    """The one request that may be asked before `sure_at`."""
    sure_at: float = 0.0
    known: dict[Hashable, tuple[bytes, float]] = field(default_factory=dict)
    """Answer to (request, when the last copy of it is gone)."""

    @property
    def last(self) -> float:
        """From then on nothing of it matters."""
        return max(self.free_at, self.sure_at, *(gone for _, gone in self.known.values()))


class AnswerMemory:
    """Traces of what was asked on one bus.

    All that had arrived by `clear_at` was thrown away before the question; by `until` the last answer to it is gone.
    """

    def __init__(self) -> None:
        self._traces: dict[Hashable, _Traces] = {}
        self._most = _MANY

    def free_at(self, look: Hashable, request: bytes) -> float:
        """When `request` may be asked; 0 when nothing speaks against it."""
        traces = self._traces.get(look)
        if traces is None:
            return 0.0
        return traces.free_at if request == traces.only else max(traces.free_at, traces.sure_at)

    def unanswered(self, look: Hashable, request: bytes, clear_at: float, until: float) -> None:
        """No answer came, none that could be understood, or a refusal."""
        self._unsure(self._of(look, clear_at), request, until)

    def answered(self, look: Hashable, request: bytes, answer: Hashable, clear_at: float, until: float) -> bool:
        """Whether `answer` can be believed."""
        traces = self._of(look, clear_at)
        if len(traces.known) > _MANY:
            traces.known = {old: (of, gone) for old, (of, gone) in traces.known.items() if gone > clear_at}
        of, gone = traces.known.get(answer, (request, 0.0))
        traces.known[answer] = request, until
        if max(traces.sure_at, gone) > clear_at:
            self._unsure(traces, request, until)
        if gone <= clear_at or of == request:
            return True
        traces.free_at = max(traces.free_at, gone)
        return False

    def changed(self) -> None:
        """Devices were written to: no answer from before may pass for one from after, not even to the same request."""
        for traces in self._traces.values():
            traces.known = {answer: (b"", gone) for answer, (_, gone) in traces.known.items()}
            traces.only = b""

    def _of(self, look: Hashable, clear_at: float) -> _Traces:
        traces = self._traces.get(look)
        if traces is None:
            if len(self._traces) > self._most:
                self._traces = {old: of for old, of in self._traces.items() if of.last > clear_at}
                self._most = _MANY + 2 * len(self._traces)
            traces = self._traces[look] = _Traces()
        return traces

    def _unsure(self, traces: _Traces, request: bytes, until: float) -> None:
        traces.only = request
        traces.sure_at = max(traces.sure_at, until)
