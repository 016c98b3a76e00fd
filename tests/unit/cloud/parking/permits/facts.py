"""Made-up permits and stays on whole hours, and the plainest way to tell who stands on a space: hour by hour."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from cloud.parking.permits.coverage import Stay
from cloud.parking.permits.terms import EVER, FOREVER, ClassUntil, LaneTime, PlateTime, Span, Terms

HOURS = 30
PLATES = ("A", "B", "C")
OUTER, INNER, ELSEWHERE = 1, 2, 3
CLASSES = ("small", "large")
LANES = (1, 2)


def hour(count: int) -> datetime:
    """An instant."""
    return datetime(2026, 5, 1, tzinfo=UTC) + timedelta(hours=count)


def span(start: int, end: int | None) -> Span:
    """From hour to hour; None: for ever."""
    return Span(hour(start), FOREVER if end is None else hour(end))


spans = st.tuples(st.integers(0, HOURS - 1), st.integers(1, 12)).map(lambda pair: span(pair[0], pair[0] + pair[1]))


def apart(found: Iterable[Span]) -> tuple[Span, ...]:
    """Only those that overlap no earlier one."""
    kept: list[Span] = []
    for one in sorted(found):
        if not kept or one.start >= kept[-1].end:
            kept.append(one)
    return tuple(kept)


def several(most: int, least: int = 0) -> st.SearchStrategy[tuple[Span, ...]]:
    """Spans without overlaps, in order."""
    return st.lists(spans, min_size=least, max_size=most).map(apart)


def classes() -> st.SearchStrategy[tuple[ClassUntil, ...]]:
    """What a permit was for before, in order of time."""
    untils = st.lists(st.integers(0, HOURS), max_size=2, unique=True).map(sorted)
    named = st.sampled_from(("", *CLASSES))
    return untils.flatmap(lambda hours: st.tuples(*(st.builds(ClassUntil, st.just(hour(one)), named) for one in hours)))


def lanes() -> st.SearchStrategy[tuple[LaneTime, ...]]:
    """Entries that a permit names, some of them for a time."""
    times = spans | st.just(Span(EVER, FOREVER))
    return st.lists(st.builds(LaneTime, st.sampled_from(LANES), times), max_size=2).map(tuple)


@st.composite
def terms(draw: st.DrawFn) -> Terms:
    """A permit of up to three plates."""
    return Terms(
        permit_id=1,
        lots=frozenset(draw(st.sets(st.sampled_from((OUTER, INNER)), min_size=1))),
        spaces=draw(st.integers(0, 3)),
        when_freed=draw(st.sampled_from(("never", "from-then"))),
        grace=timedelta(hours=draw(st.integers(0, 3))),
        ended_at=draw(st.none() | st.integers(0, HOURS).map(hour)),
        periods=draw(several(3, 1)),
        suspended=draw(several(2)),
        plates=tuple(PlateTime(plate, draw(several(2, 1))) for plate in PLATES[: draw(st.integers(1, 3))]),
        vehicle_class=draw(st.sampled_from(("", *CLASSES))),
        classes_before=draw(classes()),
        lanes=draw(lanes()),
    )


@st.composite
def stays(draw: st.DrawFn) -> list[Stay]:
    """Stays of three vehicles, those of a vehicle in a lot one after the other."""
    found: list[Stay] = []
    for plate in PLATES:
        for lot in (OUTER, INNER, ELSEWHERE):
            times = draw(several(3))
            ends = [one.end for one in times[:-1]] + [draw(st.sampled_from((None, one.end))) for one in times[-1:]]
            came_by = st.sampled_from((*LANES, None))
            rests = [(end, draw(st.sampled_from(CLASSES)), draw(came_by)) for end in ends]
            found.extend(Stay(plate, lot, one.start, *rest) for one, rest in zip(times, rests, strict=True))
    return found


def allowed(permit: Terms, plate: str, at: datetime) -> bool:
    """Whether the permit covers the plate at a moment if a space is left."""
    if permit.ended_at is not None and at >= permit.ended_at:
        return False
    if any(one.start <= at < one.end for one in permit.suspended):
        return False
    times = next((one.times for one in permit.plates if one.plate == plate), ())
    held = any(one.start <= at and (at < one.end or at - one.end < permit.grace) for one in permit.periods)
    return held and any(one.start <= at < one.end for one in times)


def meant(permit: Terms, stay: Stay, at: datetime) -> bool:
    """Whether the permit is for this lot, for the lane by which it came, and, at the moment, for this class."""
    later = [one for one in permit.classes_before if one.until > at]
    wanted = min(later, key=lambda one: one.until).vehicle_class if later else permit.vehicle_class
    named = [one.lane_id for one in permit.lanes if one.times.start <= stay.start < one.times.end]
    by_lane = not named or stay.lane_id in (None, *named)
    return by_lane and stay.lot_id in permit.lots and wanted in ("", stay.vehicle_class)


def by_the_hour(permit: Terms, stays: Sequence[Stay]) -> dict[tuple[str, int], bool]:
    """By plate and hour, whether the vehicle stands on a space: every hour looked at by itself, one after the other."""
    standing: dict[str, bool] = {}
    answer: dict[tuple[str, int], bool] = {}
    for count in range(HOURS + 60):
        at = hour(count)
        there = {
            one.plate
            for one in stays
            if meant(permit, one, at) and one.start <= at and (one.end is None or at < one.end)
        }
        there = {plate for plate in there if allowed(permit, plate, at)}
        came = there - standing.keys()
        standing = {plate: standing[plate] for plate in there & standing.keys()} | dict.fromkeys(came, False)
        mine = came if permit.when_freed == "never" else there
        room = len(PLATES) if permit.spaces == 0 else permit.spaces
        for plate in sorted(mine, key=lambda plate: (_entered(permit, stays, plate, count), plate)):
            if sum(standing.values()) < room:
                standing[plate] = True
        answer |= {(plate, count): on for plate, on in standing.items()}
    return answer


def _entered(permit: Terms, stays: Sequence[Stay], plate: str, count: int) -> datetime:
    """When the vehicle came in that may have stood on a space without a break up to this hour."""
    entered = FOREVER
    while count >= 0 and allowed(permit, plate, hour(count)):
        now = [
            one
            for one in stays
            if one.plate == plate
            and meant(permit, one, hour(count))
            and one.start <= hour(count)
            and (one.end is None or hour(count) < one.end)
        ]
        if not now:
            break
        entered = min(entered, *(one.start for one in now))
        count -= 1
    return entered
