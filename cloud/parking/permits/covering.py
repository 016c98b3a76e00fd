"""What permits cover of stays, by what is known of all vehicles that share their spaces."""

from collections.abc import Collection, Sequence
from datetime import datetime

from cloud.kit.db import Conn
from cloud.parking.permits import repository
from cloud.parking.permits.coverage import Stay, covered_by, shares
from cloud.parking.permits.records import Covered
from cloud.parking.permits.terms import Span, Terms, joined, spans_of


async def covered(
    conn: Conn, project_id: int, plates: Sequence[str], since: datetime, until: datetime
) -> dict[str, list[Covered]]:
    """By plate the times in which its stays cost nothing, plates without any are missing.

    Of stays that touch the time from `since` to `until`, as they are stored now; times are those of the whole stay, but
    of one that goes on up to `until` at most. Whoever asks: it follows from all vehicles of the permits, also those
    that he does not see.
    """
    wanted = sorted(set(plates) - {""})
    permits = await repository.terms(conn, project_id, wanted) if wanted else []
    if not permits:
        return {}
    stays = await _stays(conn, project_id, permits, wanted, since, until)
    found: dict[str, list[Covered]] = {}
    by_stay: dict[Stay, list[tuple[int, Span]]] = {}
    for permit_id, stay, spans in covered_by(permits, stays):
        by_stay.setdefault(stay, []).extend((permit_id, one) for one in spans)
    for stay, pieces in by_stay.items():
        if stay.plate not in wanted or stay.span.end < since or stay.start > until:
            continue
        end = until if stay.end is None else stay.end
        times = [
            Covered(stay.lot_id, one.start, min(one.end, end), _permits_of(one, pieces))
            for one in joined(span for _, span in pieces)
            if one.start < end
        ]
        found.setdefault(stay.plate, []).extend(times)
    return {plate: sorted(times, key=_order) for plate, times in found.items() if times}


async def holding(
    conn: Conn, project_id: int, moments: Collection[tuple[str, str, int, datetime]]
) -> dict[tuple[str, str, int, datetime], int]:
    """(plate, class, lot, instant) → the permit that holds then, grace included, as far as there is one.

    Of vehicles that nobody saw come in: on which space they stood, and by which lane they came, is not known, and not
    asked.
    """
    plates = sorted({plate for plate, *_ in moments} - {""})
    found: dict[tuple[str, str, int, datetime], int] = {}
    for terms in await repository.terms(conn, project_id, plates) if plates else []:
        spans = spans_of(terms)
        for plate, vehicle_class, lot_id, at in moments:
            here = lot_id in terms.lots and terms.class_at(at) in ("", vehicle_class)
            if here and any(one.start <= at < one.end for one in spans.get(plate, ())):
                found.setdefault((plate, vehicle_class, lot_id, at), terms.permit_id)
    return found


async def affected_plates(conn: Conn, project_id: int, plates: Sequence[str]) -> set[str]:
    """These plates and all whose stays may be covered otherwise when news of one of these come.

    They may change stays of plates that look like it, and so what those who share a space with these are covered.
    """
    wanted = sorted(set(plates) - {""})
    like = await repository.plates_like(conn, project_id, wanted) if wanted else set()
    return {*plates, *like, *await sharing_plates(conn, project_id, [*wanted, *like])}


async def sharing_plates(conn: Conn, project_id: int, plates: Sequence[str]) -> set[str]:
    """Plates that share the spaces of permits with one of these, which are among them then."""
    wanted = sorted(set(plates) - {""})
    permits = await repository.terms(conn, project_id, wanted) if wanted else []
    return {one.plate for terms in permits if shares(terms) for one in terms.plates}


async def _stays(
    conn: Conn, project_id: int, permits: Sequence[Terms], plates: Sequence[str], since: datetime, until: datetime
) -> list[Stay]:
    """Stays that the answer depends on: who came before, as long as somebody was there without a break."""
    sharing = {one.plate for terms in permits if shares(terms) for one in terms.plates}
    with_lanes = any(terms.lanes for terms in permits)
    if not sharing:
        return await repository.stays(conn, project_id, plates, since, until, with_lanes=with_lanes)
    # Before the first period nobody has a claim.
    first = min(period.start for terms in permits for period in terms.periods)
    reached = max(since, first)
    while True:
        wanted, begin = sorted(sharing | set(plates)), min(since, reached)
        found = await repository.stays(conn, project_id, wanted, begin, until, with_lanes=with_lanes)
        earliest = max(min((stay.start for stay in found if stay.plate in sharing), default=reached), first)
        if earliest >= reached:
            return found
        reached = earliest


def _permits_of(time: Span, pieces: Sequence[tuple[int, Span]]) -> tuple[int, ...]:
    """In order of time, those whose pieces were joined to it."""
    within = sorted((span.start, permit_id) for permit_id, span in pieces if time.start <= span.start < time.end)
    return tuple(dict.fromkeys(permit_id for _, permit_id in within))


def _order(one: Covered) -> tuple[datetime, int, datetime]:
    return one.start, one.lot_id, one.end
