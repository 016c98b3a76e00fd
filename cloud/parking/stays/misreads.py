"""Plates that were read wrong at an exit, found among vehicles whose plates look alike. Pure.

Whether a plate is taken for another one follows from the passages alone, so that it comes out the same in any order:

1. Each plate is matched by itself. What stands at an exit without having entered is an *orphan*.
2. An orphan may be a vehicle of another plate that differs in one sign which looks alike, is of the same class, entered
   the same lot not too long before, and was not seen to leave it. A plate that itself entered in that time is a vehicle
   of its own.
3. Only where an orphan has one such stay, and that stay is claimed by one plate that left once at most, the orphan
   counts for that stay's plate. Everything else is left to people.
4. All are matched again with the plates so found.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from uuid import UUID

from cloud.parking.stays.likeness import confusable
from cloud.parking.stays.matching import (
    USUAL,
    Incident,
    LotRules,
    Matching,
    SeenPassage,
    Stay,
    event_order,
    match_passages,
)

_Known = Mapping[str, Sequence[SeenPassage]]


def match_vehicles(passages: Iterable[SeenPassage], lots: Mapping[int, LotRules]) -> Matching:
    """Stays of the vehicles whose plates have one skeleton, from all their passages in any order."""
    by_plate: dict[str, list[SeenPassage]] = defaultdict(list)
    for passage in passages:
        by_plate[passage.plate].append(passage)
    alone = {plate: match_passages(seen, lots) for plate, seen in by_plate.items()}
    meant = _misread(alone, by_plate, lots) if len(alone) > 1 else {}
    if not meant:
        return _together([alone[plate] for plate in sorted(alone)])
    touched = {stay.plate for stay in meant.values()}
    for plate, seen in list(by_plate.items()):
        misread = [passage for passage in seen if passage.id in meant]
        if misread:
            touched.add(plate)
            by_plate[plate] = [passage for passage in seen if passage.id not in meant]
            for passage in misread:
                by_plate[meant[passage.id].plate].append(replace(passage, plate=meant[passage.id].plate))
    whole = _together([match_passages(by_plate[p], lots) if p in touched else alone[p] for p in sorted(alone)])
    for passage_id, stay in meant.items():
        whole.incidents[passage_id] = Incident.MISREAD
        if stay.opening is not None:
            whole.others[passage_id] = stay.opening
    return whole


def _together(parts: Sequence[Matching]) -> Matching:
    stays = [stay for part in parts for stay in part.stays]
    incidents: dict[UUID, Incident] = {}
    others: dict[UUID, UUID] = {}
    for part in parts:
        incidents |= part.incidents
        others |= part.others
    return Matching(tuple(stays), incidents, others, tuple(orphan for part in parts for orphan in part.orphans))


def _misread(alone: Mapping[str, Matching], seen: _Known, lots: Mapping[int, LotRules]) -> dict[UUID, Stay]:
    """The stay that each misread passage belongs to."""
    claims: dict[int, set[str]] = defaultdict(set)
    left: dict[int, list[SeenPassage]] = defaultdict(list)
    only: list[tuple[SeenPassage, Stay]] = []
    for plate, matching in alone.items():
        orphans = set(matching.orphans)
        for passage in seen[plate]:
            if passage.id not in orphans:
                continue
            fitting = _fitting(passage, alone, seen, lots.get(passage.lot_id, USUAL))
            for stay in fitting:
                claims[id(stay)].add(plate)
                if passage.outcome == "passed":
                    left[id(stay)].append(passage)
            if len(fitting) == 1:
                only.append((passage, fitting[0]))
    return {
        passage.id: stay
        for passage, stay in only
        if len(claims[id(stay)]) == 1 and _was_there(passage, left.get(id(stay), []))
    }


def _was_there(passage: SeenPassage, left: Sequence[SeenPassage]) -> bool:
    """Whether a vehicle that `left` once, or not at all, was still there: one that is seen behind that is another."""
    return not left or (len(left) == 1 and event_order(passage) <= event_order(left[0]))


def _fitting(passage: SeenPassage, alone: Mapping[str, Matching], seen: _Known, rules: LotRules) -> list[Stay]:
    within = rules.misread_within
    if within is None or not passage.plate:
        return []
    since = passage.taken_at - within
    if any(
        own.direction == "entry" and own.outcome == "passed" and since <= own.taken_at <= passage.taken_at
        for own in seen[passage.plate]
    ):
        return []
    return [
        stay
        for plate, matching in alone.items()
        if confusable(plate, passage.plate)
        for stay in matching.stays
        if _inside(stay, passage) and stay.entered_at is not None and stay.entered_at >= since
    ]


def _inside(stay: Stay, passage: SeenPassage) -> bool:
    """Whether the stay goes on, as far as its own plate tells, when the passage happens."""
    if stay.lot_id != passage.lot_id or stay.vehicle_class != passage.vehicle_class or not stay.entry_seen:
        return False
    if stay.entered_at is None or stay.entered_at > passage.taken_at:
        return False
    return stay.left_at is None or (stay.closing is None and stay.left_at > passage.taken_at)
