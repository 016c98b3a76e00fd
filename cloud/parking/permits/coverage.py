"""Who stands on the spaces of permits, and when: covered times of stays by event time. Pure.

Facts may come in any order and at any time: the same permits and stays always give the same answer. A vehicle that
comes takes a space while one is left. When more come at one moment than there are spaces, the one that entered first
is first; what is free at a moment is given after those who leave at it have left.
"""

import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from cloud.parking.permits.terms import FOREVER, Span, Terms, WhenFreed, intersect, joined, spans_of


@dataclass(frozen=True, slots=True)
class Stay:
    """A vehicle in a lot from `start` up to `end`, None while it is there."""

    plate: str
    lot_id: int
    start: datetime
    end: datetime | None = None
    vehicle_class: str = ""
    """What it was taken for when it came in."""
    lane_id: int | None = None
    """By which it came in, where that is known and matters."""

    @property
    def span(self) -> Span:
        """Its time."""
        return Span(self.start, self.end or FOREVER)


@dataclass(frozen=True, slots=True, order=True)
class _Claim:
    """A vehicle that may stand on a space from `start` to `end`; `entered` is when it came in."""

    start: datetime
    entered: datetime
    plate: str
    end: datetime


def covered_by(permits: Iterable[Terms], stays: Iterable[Stay]) -> Iterator[tuple[int, Stay, list[Span]]]:
    """(permit, stay, what it covers of it, in order and without touching) as far as there is anything.

    A vehicle in two lots of a permit at once (an inner one and the one around it) takes one space.
    """
    known = set(stays)
    by_plate: dict[str, list[Stay]] = defaultdict(list)
    for stay in known:
        by_plate[stay.plate].append(stay)
    for terms in permits:
        for stay, spans in _of_permit(terms, by_plate):
            if spans:
                yield terms.permit_id, stay, joined(spans)


def shares(terms: Terms) -> bool:
    """Whether vehicles can stand in each other's way: there are more plates than spaces."""
    return 0 < terms.spaces < len(terms.plates)


def _of_permit(terms: Terms, by_plate: dict[str, list[Stay]]) -> list[tuple[Stay, list[Span]]]:
    spans = spans_of(terms)
    there = {
        plate: [
            (stay, intersect(intersect([stay.span], times), terms.times_of(stay.vehicle_class)))
            for stay in by_plate.get(plate, ())
            if stay.lot_id in terms.lots and terms.admits(stay.lane_id, stay.start)
        ]
        for plate, times in spans.items()
    }
    if not shares(terms):
        return [one for pieces in there.values() for one in pieces]
    claims = [claim for plate, pieces in there.items() for claim in _claims(plate, pieces)]
    held = _held(claims, terms.spaces, terms.when_freed)
    return [
        (stay, intersect(possible, held.get(plate, ()))) for plate, pieces in there.items() for stay, possible in pieces
    ]


def _claims(plate: str, pieces: Sequence[tuple[Stay, Sequence[Span]]]) -> list[_Claim]:
    """Times of one vehicle, those of nested lots made one."""
    times = joined(span for _, spans in pieces for span in spans)
    entered = [
        min(stay.start for stay, spans in pieces if any(one.start < span.end and span.start < one.end for one in spans))
        for span in times
    ]
    return [_Claim(span.start, came, plate, span.end) for span, came in zip(times, entered, strict=True)]


def _held(claims: Sequence[_Claim], spaces: int, when_freed: WhenFreed) -> dict[str, list[Span]]:
    """By plate when it stands on one of the spaces."""
    held: dict[str, list[Span]] = defaultdict(list)
    coming = sorted(claims)
    standing: list[datetime] = []  # ends, the next one first
    waiting: list[tuple[datetime, str, _Claim]] = []
    at = 0
    while at < len(coming) or waiting:
        now = _next(coming, at, standing, waiting)
        while standing and standing[0] <= now:
            heapq.heappop(standing)
        while at < len(coming) and coming[at].start <= now:
            heapq.heappush(waiting, (coming[at].entered, coming[at].plate, coming[at]))
            at += 1
        while waiting and len(standing) < spaces:
            _, plate, claim = heapq.heappop(waiting)
            if claim.end > now:
                held[plate].append(Span(now, claim.end))
                heapq.heappush(standing, claim.end)
        if when_freed == "never":
            waiting.clear()
    return held


def _next(coming: Sequence[_Claim], at: int, standing: Sequence[datetime], waiting: Sequence[object]) -> datetime:
    """The next moment at which something changes: somebody comes, or leaves a space for which somebody waits."""
    moments = [coming[at].start] if at < len(coming) else []
    if waiting:
        moments.append(standing[0])
    return min(moments)
