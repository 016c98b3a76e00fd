"""One visit to a meter on a bus: question after question, and what became of each."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from time import monotonic

from gateway.drivers.base import Reading, ReadOutcome
from gateway.drivers.instants import next_instant
from gateway.errors import ExceptionReply, LineDown, MalformedReply, NoAnswer


@dataclass(frozen=True, slots=True)
class Step:
    """A question and how its answer becomes readings."""

    fetch: Callable[[], Awaitable[bytes]]
    """Asks and gives the answer's data. Raises as `Asks.ask` does."""
    decode: Callable[[bytes], tuple[list[Reading], int]]
    """(readings, number of channels without a value). Raises MalformedReply."""


class Visits:
    """All visits to one meter; keeps that no two answers have the same time, which would make two values one."""

    def __init__(self) -> None:
        self._last_taken = 0

    async def make(self, steps: Sequence[Step], now_ms: Callable[[], int]) -> ReadOutcome:
        """Runs `steps` until one finds no answer; what a meter refuses or says wrongly does not stop the others.

        Values that came before a failure are kept. Raises LineDown when nothing could be asked at all.
        """
        outcome = ReadOutcome()
        for number, step in enumerate(steps):
            try:
                await self._take(step, now_ms, outcome)
            except ExceptionReply as error:
                outcome.exceptions += 1
                outcome.error = str(error)
            except MalformedReply as error:
                outcome.malformed += 1
                outcome.error = str(error)
            except NoAnswer as error:
                outcome.timeouts += 1
                outcome.error = str(error)
                break
            except LineDown as error:
                if not number:
                    raise
                outcome.error = str(error)
                break
        return outcome

    async def _take(self, step: Step, now_ms: Callable[[], int], outcome: ReadOutcome) -> None:
        asked = monotonic()
        data = await step.fetch()
        outcome.round_trips_us.append(round((monotonic() - asked) * 1_000_000))
        taken = self._last_taken = next_instant(now_ms(), self._last_taken)
        readings, missing = step.decode(data)
        outcome.missing += missing
        outcome.answers.append((taken, readings))
