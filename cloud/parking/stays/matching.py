"""Passages of one vehicle in lots around one another to stays, in event time. Pure: the order of news is nothing.

Only vehicles that went through (`passed`) change who is inside; the others are noted with the stay they happened in.
What came before an ordinary entry of a vehicle that was nowhere inside counts for nothing after it, save that it comes
back so soon that it is the same stay: a caller who knows the earlier stays need not read them again.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Literal
from uuid import UUID

Direction = Literal["entry", "exit"]
Outcome = Literal["arrived", "passed", "turned-back", "refused"]

REPEATED_WITHIN = timedelta(seconds=30)
"""A camera that sees a vehicle again at the same lane within this time has seen the same passage."""

OTHER_LANE_WITHIN = timedelta(seconds=10)
"""Two lanes that let the same plate through in the same direction within this time have seen one vehicle."""

JUST_LEFT = timedelta(minutes=5)
"""A vehicle that is read at an exit within this time after it left by one still stands behind the barrier."""


class Incident(StrEnum):
    """What was odd about a passage."""

    REPEATED = "repeated"
    """The same vehicle at the same lane, seconds after it passed there: no passage of its own."""
    OTHER_LANE = "other-lane"
    """Seconds after it passed at another lane in the same direction: both saw one vehicle."""
    RE_ENTRY = "re-entry"
    """Came back so soon after it left that its stay goes on."""
    SECOND_ENTRY = "second-entry"
    """Entered while inside: the stay before it was closed as unmatched."""
    EXIT_WITHOUT_ENTRY = "exit-without-entry"
    MISREAD = "misread"
    """At an exit, its plate read with one sign that looks like another: that of the only vehicle that fits."""
    OUTER_ENTRY_UNSEEN = "outer-entry-unseen"
    """Entered an inner lot although nobody saw it enter the lot around it."""
    INNER_EXIT_UNSEEN = "inner-exit-unseen"
    """Left the outer lot while inside an inner one: the inner stay ended there as unmatched."""


BESIDE_ORDINARY = (Incident.OUTER_ENTRY_UNSEEN,)
"""Incidents of an entry that is an ordinary beginning of a stay all the same."""


@dataclass(frozen=True, slots=True)
class Unseen:
    """What follows when a vehicle leaves whose entry nobody saw: a fixed price, its last stay goes on, or a person."""

    fixed_fee: Decimal | None = None
    last_known: bool = False


@dataclass(frozen=True, slots=True)
class LotRules:
    """How passages of one lot are matched. `unseen` by class of vehicle, under "" for all others."""

    parent_id: int | None = None
    gated: bool = True
    """It has lanes of its own: whoever is inside an inner lot must have been seen entering this one."""
    repeated_within: timedelta = REPEATED_WITHIN
    other_lane_within: timedelta = OTHER_LANE_WITHIN
    reentry_within: timedelta = timedelta(0)
    unseen: Mapping[str, Unseen] = field(default_factory=lambda: MappingProxyType({}))
    last_known_within: timedelta = timedelta(hours=24)
    misread_within: timedelta | None = timedelta(hours=72)
    """A misread plate may be that of a vehicle which entered so long ago; None: people decide."""

    def unseen_of(self, vehicle_class: str) -> Unseen:
        """What holds for a class."""
        return self.unseen.get(vehicle_class) or self.unseen.get("") or Unseen()


USUAL = LotRules()


@dataclass(frozen=True, slots=True)
class SeenPassage:
    """What matching needs to know of a passage."""

    id: UUID
    lane_id: int
    direction: Direction
    taken_at: datetime
    outcome: Outcome
    vehicle_class: str = "small"
    lot_id: int = 0
    plate: str = ""


@dataclass(slots=True)
class Stay:
    """A vehicle inside, from `entered_at` (None: nobody saw it enter) to `left_at` (None: still inside).

    A stay is unmatched when one of its two passages was never seen; of a stay that a second entry ended, `left_at`
    is that entry, and nobody knows when the vehicle really left. `passages` are all that belong to it. A vehicle that
    was seen first at an exit is inside since then for all that is known (`entry_seen` False).
    """

    vehicle_class: str
    entered_at: datetime | None
    left_at: datetime | None = None
    matched: bool = True
    opening: UUID | None = None
    closing: UUID | None = None
    passages: list[UUID] = field(default_factory=list)
    lot_id: int = 0
    plate: str = ""
    entry_seen: bool = True
    fixed_fee: Decimal | None = None
    """What leaving costs when no rule can price the stay."""

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
    """Stays in the order in which they began, and what was odd about passages; `others` names the one it is about.

    `orphans`: at exits, with nobody of that plate inside.
    """

    stays: tuple[Stay, ...]
    incidents: dict[UUID, Incident]
    others: dict[UUID, UUID] = field(default_factory=dict)
    orphans: tuple[UUID, ...] = ()


def match_passages(passages: Iterable[SeenPassage], lots: Mapping[int, LotRules] | None = None) -> Matching:
    """Builds the stays of one plate in lots around one another from its passages, each id once, in any order.

    `lots`: the rules of each lot, by id; the usual ones where it is not named.
    """
    vehicle = _Vehicle(lots or {})
    for passage in sorted(passages, key=event_order):
        vehicle.see(passage)
    return Matching(tuple(vehicle.stays), vehicle.incidents, vehicle.others, tuple(vehicle.orphans))


def match_unlicensed(passage: SeenPassage) -> Matching:
    """The stay of one passage without a plate: nothing tells which other passage belongs to it."""
    if passage.outcome != "passed":
        return Matching((), {})
    if passage.direction == "entry":
        stay = _entered(passage)
        stay.passages.append(passage.id)
        return Matching((stay,), {})
    stay = _left_unseen(passage, None)
    stay.passages.append(passage.id)
    return Matching((stay,), {passage.id: Incident.EXIT_WITHOUT_ENTRY})


class _Vehicle:
    """One vehicle on its way through the lots. `last`: its stays that an exit, or leaving the lot around, ended."""

    def __init__(self, lots: Mapping[int, LotRules]) -> None:
        self.stays: list[Stay] = []
        self.incidents: dict[UUID, Incident] = {}
        self.others: dict[UUID, UUID] = {}
        self.orphans: list[UUID] = []
        self._lots = lots
        self._inside: dict[int, Stay] = {}
        self._last: dict[int, Stay] = {}
        self._before: dict[int, tuple[SeenPassage, Stay]] = {}

    def see(self, passage: SeenPassage) -> None:
        if passage.outcome != "passed":
            self._stands(passage)
            return
        stay = self._repeats(passage)
        if stay is None:
            stay = self._enters(passage) if passage.direction == "entry" else self._leaves(passage)
        stay.passages.append(passage.id)
        self._before[passage.lot_id] = passage, stay

    def _rules(self, lot_id: int) -> LotRules:
        return self._lots.get(lot_id, USUAL)

    def _note(self, passage: SeenPassage, incident: Incident, other: UUID | None = None) -> None:
        if passage.id not in self.incidents:
            self.incidents[passage.id] = incident
            if other is not None:
                self.others[passage.id] = other

    def _repeats(self, passage: SeenPassage) -> Stay | None:
        """The stay of the passage that this one repeats."""
        before, stay = self._before.get(passage.lot_id, (None, None))
        if before is None or stay is None or before.direction != passage.direction:
            return None
        rules, same_lane = self._rules(passage.lot_id), before.lane_id == passage.lane_id
        if passage.taken_at - before.taken_at > (rules.repeated_within if same_lane else rules.other_lane_within):
            return None
        self._note(passage, Incident.REPEATED if same_lane else Incident.OTHER_LANE, before.id)
        return stay

    def _stands(self, passage: SeenPassage) -> None:
        """Seen at a barrier, but not beyond it."""
        inside = self._inside.get(passage.lot_id)
        if passage.direction == "exit" and (inside is None or not inside.entry_seen):
            if inside is None and self._just_left(passage):
                return
            self.orphans.append(passage.id)
            inside = inside or self._unseen_inside(passage)
        if inside is not None:
            inside.passages.append(passage.id)

    def _just_left(self, passage: SeenPassage) -> bool:
        last = self._last.get(passage.lot_id)
        return last is not None and last.left_at is not None and passage.taken_at - last.left_at <= JUST_LEFT

    def _unseen_inside(self, passage: SeenPassage) -> Stay | None:
        """A vehicle at an exit that nobody saw enter, where the lot has an answer to that."""
        rule = self._rules(passage.lot_id).unseen_of(passage.vehicle_class)
        stay = self._last_known(passage) if rule.last_known else None
        if stay is not None:
            stay.left_at, stay.matched, stay.closing = None, True, None
        elif rule.fixed_fee is not None:
            stay = Stay(passage.vehicle_class, passage.taken_at, lot_id=passage.lot_id, plate=passage.plate,
                        entry_seen=False, fixed_fee=rule.fixed_fee)  # fmt: skip
            self.stays.append(stay)
        else:
            return None
        self._note(passage, Incident.EXIT_WITHOUT_ENTRY)
        self._inside[passage.lot_id] = stay
        return stay

    def _last_known(self, passage: SeenPassage) -> Stay | None:
        stay = self._last.get(passage.lot_id)
        if stay is None or stay.entered_at is None or not stay.entry_seen:
            return None
        within = self._rules(passage.lot_id).last_known_within
        return stay if passage.taken_at - stay.entered_at <= within else None

    def _enters(self, passage: SeenPassage) -> Stay:
        lot_id = passage.lot_id
        inside, last = self._inside.get(lot_id), self._last.get(lot_id)
        if inside is not None:
            inside.left_at, inside.matched = passage.taken_at, False
            self._note(passage, Incident.SECOND_ENTRY, inside.opening)
        elif last is not None and self._comes_back(passage, last):
            self._note(passage, Incident.RE_ENTRY, last.closing)
            last.left_at, last.closing = None, None
            self._inside[lot_id] = last
            return last
        elif not self._inside:
            self._last.clear()
            self._before.clear()
        outer = self._rules(lot_id).parent_id
        if outer is not None and outer not in self._inside and self._rules(outer).gated:
            self._note(passage, Incident.OUTER_ENTRY_UNSEEN)
        stay = self._inside[lot_id] = _entered(passage)
        self.stays.append(stay)
        return stay

    def _comes_back(self, passage: SeenPassage, last: Stay) -> bool:
        within = self._rules(passage.lot_id).reentry_within
        left_at = last.left_at if last.matched and last.closing is not None else None
        return bool(within) and left_at is not None and passage.taken_at - left_at <= within

    def _leaves(self, passage: SeenPassage) -> Stay:
        lot_id = passage.lot_id
        stay = self._inside.pop(lot_id, None)
        if stay is None or not stay.entry_seen:
            self.orphans.append(passage.id)
        if stay is None:
            stay = self._left_unseen(passage)
        elif not stay.entry_seen:
            stay.matched = False
            self._note(passage, Incident.EXIT_WITHOUT_ENTRY)
        stay.left_at, stay.closing = passage.taken_at, passage.id
        self._last[lot_id] = stay
        for inner_id in [inner for inner in self._inside if lot_id in self._around(inner)]:
            inner = self._last[inner_id] = self._inside.pop(inner_id)
            inner.left_at, inner.matched = passage.taken_at, False
            self._note(passage, Incident.INNER_EXIT_UNSEEN, inner.opening)
        return stay

    def _left_unseen(self, passage: SeenPassage) -> Stay:
        rule = self._rules(passage.lot_id).unseen_of(passage.vehicle_class)
        self._note(passage, Incident.EXIT_WITHOUT_ENTRY)
        stay = self._last_known(passage) if rule.last_known else None
        if stay is not None:
            stay.matched = True
            return stay
        stay = _left_unseen(passage, rule.fixed_fee)
        self.stays.append(stay)
        return stay

    def _around(self, lot_id: int) -> Sequence[int]:
        return lots_around(lot_id, self._lots)


def lots_around(lot_id: int, lots: Mapping[int, LotRules]) -> list[int]:
    """The lots around a lot, the nearest first."""
    found: list[int] = []
    while (parent := lots[lot_id].parent_id if lot_id in lots else None) is not None and parent not in found:
        found.append(parent)
        lot_id = parent
    return found


def event_order(passage: SeenPassage) -> tuple[datetime, bool, UUID]:
    """The order in which passages happened: of the same instant, who came in comes first."""
    return passage.taken_at, passage.direction == "exit", passage.id


def _entered(passage: SeenPassage) -> Stay:
    return Stay(passage.vehicle_class, passage.taken_at, opening=passage.id, lot_id=passage.lot_id, plate=passage.plate)


def _left_unseen(passage: SeenPassage, fixed_fee: Decimal | None) -> Stay:
    return Stay(passage.vehicle_class, None, passage.taken_at, False, None, passage.id,
                lot_id=passage.lot_id, plate=passage.plate, fixed_fee=fixed_fee)  # fmt: skip
