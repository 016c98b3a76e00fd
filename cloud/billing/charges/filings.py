"""How the persons filed for a household, month by month, widen the tiers of a window."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache

from cloud.kit.periods import Period, months
from cloud.tariffs.model.tariff import TariffContent


@dataclass(frozen=True, slots=True)
class Filing:
    """`persons` live in a unit from `start` up to, not including, `end`; without `end`: until another is filed."""

    start: date
    end: date | None
    persons: int


@dataclass(frozen=True, slots=True)
class WindowParts:
    """Of `whole` parts of a tier window the account is there for `covered`; `steps` of the household rule over them."""

    steps: int
    covered: int
    whole: int


def persons_on(filings: Sequence[Filing], day: date) -> int:
    """Persons filed on a day; 0 without a filing."""
    return sum(one.persons for one in filings if one.start <= day and (one.end is None or day < one.end))


def window_parts(
    content: TariffContent, window: Period, stay: Period, piece: Period, filings: Sequence[Filing]
) -> WindowParts:
    """What tiers and household rule give to an account that is there during `stay`, for a bill of `piece`.

    Every month of the window counts with what is filed on its first day, or on the first day of the stay where that is
    later: a change takes effect with the month after it. Months after the piece count with what is filed in its last
    month. So a large household gets a twelfth of the yearly raise for every month it is large.
    """
    kind = content.tiers.window
    covered, whole = kind.parts(window, stay)
    there = window.overlap(stay) or window
    if content.household is None:
        return WindowParts(0, covered, whole)
    touched = _months(window if kind.partial == "full" else there)
    if kind.partial != "by_day":
        # A year from mid-month to mid-month touches thirteen; by days the two ends make one month together.
        touched = touched[:12]
    if kind.partial == "full":
        covered = whole = len(touched)
    last = max(piece.start, (piece.end - timedelta(days=1)).replace(day=1))
    steps = 0
    for month in touched:
        day = min(max(month.start, there.start), last)
        given = content.household.steps(persons_on(filings, day))
        steps += given * _days(month, there) if kind.partial == "by_day" else given
    return WindowParts(steps, covered, whole)


@lru_cache(maxsize=256)
def _months(period: Period) -> tuple[Period, ...]:
    """The months that a window touches: accounts by the thousand share the same windows."""
    return tuple(months(period.start, period.end))


def _days(month: Period, there: Period) -> int:
    inside = month.overlap(there)
    return 0 if inside is None else inside.days
