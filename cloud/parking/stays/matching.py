"""Passages of one plate in one lot to stays, in event time. Pure: the order in which passages became known is nothing.

Only vehicles that went through (`passed`) change who is inside; the others are noted with the stay they happened in.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal
from uuid import UUID

Direction = Literal["entry", "exit"]
Outcome = Literal["arrived", "passed", "turned-back", "refused"]

REPEATED_WITHIN = timedelta(seconds=30)
"""A camera that sees a vehicle again at the same lane within this time has seen the same passage."""

_PROGRESS: dict[Outcome, int] = {"arrived": 0, "refused": 1, "turned-back": 2, "passed": 3}


class Incident(StrEnum):
    """What was odd about a passage."""

    REPEATED = "repeated"
    """The same vehicle at the same lane, seconds after it passed there: no passage of its own."""
    SECOND_ENTRY = "second-entry"
    """Entered while inside: the stay before it was closed as unmatched."""
    EXIT_WITHOUT_ENTRY = "exit-without-entry"


@dataclass(frozen=True, slots=True)
class SeenPassage:
    """What matching needs to know of a passage."""

    id: UUID
    lane_id: int
    direction: Direction
    taken_at: datetime
    outcome: Outcome
    vehicle_class: str = "small"


@dataclass(slots=True)
class Stay:
    """A vehicle inside, from `entered_at` (None: nobody saw it enter) to `left_at` (None: still inside).

    A stay is unmatched when one of its two passages was never seen; of a stay that a second entry ended, `left_at`
    is that entry, and nobody knows when the vehicle really left. `passages` are all that belong to it.
    """

    vehicle_class: str
    entered_at: datetime | None
    left_at: datetime | None = None
    matched: bool = True
    opening: UUID | None = None
    closing: UUID | None = None
    passages: list[UUID] = field(default_factory=list)

    @property
    def began_at(self) -> datetime:
        """The entry, or the exit when no entry was seen."""
        began = self.entered_at or self.left_at
        assert began is not None
        return began

    @property
    def state(self) -> Literal["open", "closed", "unmatched"]:
        """`open` while the vehicle is inside; otherwise `closed`, or `unmatched` when a passage is missing."""
        if self.left_at is None:
            return "open"
        return "closed" if self.matched else "unmatched"


@dataclass(frozen=True, slots=True)
class Matching:
    """The stays in order of time, and the incident of each passage that has one."""

    stays: tuple[Stay, ...]
    incidents: dict[UUID, Incident]


def further(one: Outcome, other: Outcome) -> Outcome:
    """The outcome that counts when a passage was reported with both."""
    return max(one, other, key=_PROGRESS.__getitem__)


def match_passages(passages: Iterable[SeenPassage], repeated_within: timedelta = REPEATED_WITHIN) -> Matching:
    """Builds the stays of one plate in one lot from its passages, each id once, in any order.

    The result for the passages from the beginning of a stay onwards does not depend on those before it, unless that
    beginning was a second entry: a caller who knows the earlier stays need not read them again.
    """
    stays: list[Stay] = []
    incidents: dict[UUID, Incident] = {}
    before: SeenPassage | None = None
    for passage in sorted(passages, key=_event_order):
        inside = stays[-1] if stays and stays[-1].left_at is None else None
        if passage.outcome != "passed":
            if inside is not None:
                inside.passages.append(passage.id)
            continue
        if before is not None and _repeats(passage, before, repeated_within):
            incidents[passage.id] = Incident.REPEATED
            stays[-1].passages.append(passage.id)
        elif passage.direction == "entry":
            if inside is not None:
                inside.left_at, inside.matched = passage.taken_at, False
                incidents[passage.id] = Incident.SECOND_ENTRY
            stays.append(_entered(passage))
        elif inside is not None:
            inside.left_at, inside.closing = passage.taken_at, passage.id
            inside.passages.append(passage.id)
        else:
            incidents[passage.id] = Incident.EXIT_WITHOUT_ENTRY
            stays.append(_left_unseen(passage))
        before = passage
    return Matching(tuple(stays), incidents)


def match_unlicensed(passage: SeenPassage) -> Matching:
    """The stay of one passage without a plate: nothing tells which other passage belongs to it."""
    if passage.outcome != "passed":
        return Matching((), {})
    if passage.direction == "entry":
        return Matching((_entered(passage),), {})
    return Matching((_left_unseen(passage),), {passage.id: Incident.EXIT_WITHOUT_ENTRY})


def _event_order(passage: SeenPassage) -> tuple[datetime, bool, UUID]:
    return passage.taken_at, passage.direction == "exit", passage.id


def _repeats(passage: SeenPassage, before: SeenPassage, within: timedelta) -> bool:
    return (
        passage.lane_id == before.lane_id
        and passage.direction == before.direction
        and passage.taken_at - before.taken_at <= within
    )


def _entered(passage: SeenPassage) -> Stay:
    return Stay(passage.vehicle_class, passage.taken_at, opening=passage.id, passages=[passage.id])


def _left_unseen(passage: SeenPassage) -> Stay:
    return Stay(passage.vehicle_class, None, passage.taken_at, matched=False, closing=passage.id, passages=[passage.id])
