"""When a permit holds for each of its plates: periods, days of grace, suspensions and ends put together. Pure."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

WhenFreed = Literal["never", "from-then"]
FOREVER: Final = datetime.max.replace(tzinfo=UTC)
"""The end of what has none."""
EVER: Final = datetime.min.replace(tzinfo=UTC)
"""The beginning of what has none."""


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Instants from `start` up to, not including, `end`."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class PlateTime:
    """A plate and when it is one of its permit."""

    plate: str
    times: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class ClassUntil:
    """The class that a permit was for before a moment; empty: any."""

    until: datetime
    vehicle_class: str


@dataclass(frozen=True, slots=True)
class LaneTime:
    """An entry by which vehicles of a permit have to come in, and when that is so."""

    lane_id: int
    times: Span


@dataclass(frozen=True, slots=True)
class Terms:
    """A permit as it was agreed.

    `spaces` 0: each vehicle has one of its own. `periods` without overlaps, in order of time. From `ended_at` on it
    holds no longer, and has no days of grace.
    """

    permit_id: int
    lots: frozenset[int]
    spaces: int
    when_freed: WhenFreed
    grace: timedelta
    ended_at: datetime | None
    periods: tuple[Span, ...]
    suspended: tuple[Span, ...]
    plates: tuple[PlateTime, ...]
    vehicle_class: str = ""
    """Vehicles of this class alone; empty: of any. That is so since the last of `classes_before`."""
    classes_before: tuple[ClassUntil, ...] = ()
    """In order of time."""
    lanes: tuple[LaneTime, ...] = ()

    def lanes_at(self, at: datetime) -> frozenset[int]:
        """Entries by one of which a vehicle has to come in at a moment; none: by any."""
        return frozenset(one.lane_id for one in self.lanes if _in(at, one.times))

    def admits(self, lane_id: int | None, at: datetime) -> bool:
        """Whether it holds for who came in by this lane then; where nobody knows which it was (None), it does."""
        lanes = self.lanes_at(at)
        return not lanes or lane_id is None or lane_id in lanes

    def class_at(self, at: datetime) -> str:
        """The class that it is for at a moment; empty: any."""
        return next((one.vehicle_class for one in self.classes_before if at < one.until), self.vehicle_class)

    def times_of(self, vehicle_class: str) -> list[Span]:
        """When it is for vehicles of this class, in order and without touching."""
        since, found = EVER, []
        for one in (*self.classes_before, ClassUntil(FOREVER, self.vehicle_class)):
            if one.vehicle_class in ("", vehicle_class):
                found.append(Span(since, one.until))
            since = one.until
        return joined(found)


@dataclass(frozen=True, slots=True)
class Segment:
    """A time in which the same plates are covered, as vehicles of one class.

    Valid from `start` up to `valid_to`, honoured up to `end`: what lies between are days of grace.
    """

    start: datetime
    valid_to: datetime
    end: datetime
    plates: tuple[str, ...]
    vehicle_class: str


def spans_of(terms: Terms) -> dict[str, tuple[Span, ...]]:
    """By plate when the permit covers it if a space is left, days of grace included. In order, without touching."""
    held = _held(terms)
    return {one.plate: tuple(intersect(held, joined(one.times))) for one in terms.plates}


def segments(terms: Terms) -> list[Segment]:
    """The same as times in which the same plates of one class are covered, in order, for gateways."""
    spans = spans_of(terms)
    valid = _without(joined(_until(terms.periods, terms.ended_at)), terms.suspended)
    ends = {instant for plate in spans.values() for span in plate for instant in (span.start, span.end)}
    cuts = sorted(ends | {one.until for one in terms.classes_before})
    found: list[Segment] = []
    for start, end in itertools.pairwise(cuts):
        plates = tuple(sorted(plate for plate, times in spans.items() if any(_in(start, one) for one in times)))
        if not plates:
            continue
        within = next((span.end for span in valid if _in(start, span)), start)
        found.extend(_cut(Segment(start, min(within, end), end, plates, terms.class_at(start)), valid))
    return found


def joined(spans: Iterable[Span]) -> list[Span]:
    """Spans in order, those that overlap or touch made one."""
    found: list[Span] = []
    for span in sorted(spans):
        if span.start >= span.end:
            continue
        if found and span.start <= found[-1].end:
            found[-1] = Span(found[-1].start, max(found[-1].end, span.end))
        else:
            found.append(span)
    return found


def intersect(some: Sequence[Span], others: Sequence[Span]) -> list[Span]:
    """What lies in both; each in order and without overlaps."""
    found: list[Span] = []
    left = right = 0
    while left < len(some) and right < len(others):
        start, end = max(some[left].start, others[right].start), min(some[left].end, others[right].end)
        if start < end:
            found.append(Span(start, end))
        if some[left].end <= others[right].end:
            left += 1
        else:
            right += 1
    return found


def _held(terms: Terms) -> list[Span]:
    gracious = [Span(one.start, _later(one.end, terms.grace)) for one in terms.periods]
    return _without(joined(_until(gracious, terms.ended_at)), terms.suspended)


def _cut(segment: Segment, valid: Sequence[Span]) -> list[Segment]:
    """A segment whose days of grace run into the next period is two: a permit is valid up to one moment."""
    again = next((span for span in valid if segment.valid_to < span.start < segment.end), None)
    if again is None:
        return [segment]
    first = replace(segment, end=again.start)
    return [first, *_cut(replace(segment, start=again.start, valid_to=min(again.end, segment.end)), valid)]


def _until(spans: Iterable[Span], end: datetime | None) -> list[Span]:
    if end is None:
        return list(spans)
    return [Span(one.start, min(one.end, end)) for one in spans if one.start < end]


def _without(spans: Sequence[Span], others: Sequence[Span]) -> list[Span]:
    """`spans` without what lies in `others`."""
    if not others:
        return list(spans)
    gaps, since = [], EVER
    for one in joined(others):
        gaps.append(Span(since, one.start))
        since = one.end
    return intersect(spans, [*gaps, Span(since, FOREVER)] if since < FOREVER else gaps)


def _later(instant: datetime, by: timedelta) -> datetime:
    return FOREVER if FOREVER - instant <= by else instant + by


def _in(instant: datetime, span: Span) -> bool:
    return span.start <= instant < span.end
