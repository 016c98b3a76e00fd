"""What is known of vehicles, in memory and by plate: a lane must not wait for a disk. No I/O, no clock.

100,000 permits take about 30 MB. Lots and plates are those of the gateway's own lanes.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Final, TypeVar

import msgspec

from gateway.access.decision import AccessState, Permit, Stay
from gateway.contract.access import (
    NEEDS_LANES,
    AccessEntry,
    GoneEntry,
    ListEntry,
    Listing,
    LotEntry,
    PermitEntry,
    ReservationEntry,
    StayEntry,
    UnreadEntry,
)
from gateway.contract.room import ALL_CLASSES, room_for

T = TypeVar("T")

_DAY_MS: Final = 86_400_000
AHEAD_MS: Final = _DAY_MS
"""What lies further ahead was told by a clock that was wrong: the gateway's own clock believes so, too."""


class _Held(msgspec.Struct, frozen=True, gc=False):
    """A permit as it is kept under each of its plates. `sharing` are its plates when they are more than its spaces."""

    valid_from: int
    valid_to: int
    grace_ms: int
    lots: tuple[str, ...]
    spaces: int
    sharing: tuple[str, ...]
    vehicle_class: str
    lanes: tuple[str, ...] | None


class AccessIndex:
    """Answers for one plate at a time, in a few microseconds."""

    def __init__(self, entries: Iterable[AccessEntry | UnreadEntry] = ()) -> None:
        self.ever_told = False
        self.not_understood = 0
        """Entries in words that this software does not know."""
        self._unread: Counter[str] = Counter()
        """How many of them name a plate."""
        self._unread_lots: Counter[str] = Counter()
        """How many of them are of kind `lot` and name a lot."""
        self._permits: dict[str, tuple[_Held, ...]] = {}
        self._lists: dict[str, tuple[ListEntry, ...]] = {}
        self._reservations: dict[str, tuple[ReservationEntry, ...]] = {}
        self._lots: defaultdict[str, dict[str, LotEntry]] = defaultdict(dict)
        """What holds in a lot, by class."""
        self._stays: dict[str, StayEntry] = {}
        self._inside: dict[tuple[str, str], str] = {}
        """Key of the stay of a plate in a lot."""
        self._counts: Counter[tuple[str, str]] = Counter()
        """Vehicles inside by lot and class; under no class all of them."""
        self._left: dict[tuple[str, str], int] = {}
        """When a plate was last seen leaving a lot."""
        self._own: set[str] = set()
        """Stays that lanes here opened and of which the cloud has said nothing yet."""
        self.latest = 0
        """The latest time that lanes here told; 0 when they told none."""
        self._named_together: dict[tuple[str, ...], tuple[str, ...]] = {}
        """Permits name the same few lots and lanes: each combination is kept once."""
        for entry in entries:
            self.put(entry)

    def replace(self, before: AccessEntry | UnreadEntry | None, after: AccessEntry | UnreadEntry | None) -> None:
        """One entry takes the place of another; None stands for none."""
        if before is not None:
            self.drop(before)
        if after is not None:
            self.put(after)

    def put(self, entry: AccessEntry | UnreadEntry) -> None:
        """Adds an entry that is not there yet; of stays and lots also one that replaces another of its key."""
        match entry:
            case PermitEntry():
                held = self._held(entry)
                for plate in entry.plates:
                    self._permits[plate] = (*self._permits.get(plate, ()), held)
            case ListEntry():
                self._lists[entry.plate] = (*self._lists.get(entry.plate, ()), entry)
            case ReservationEntry():
                self._reservations[entry.plate] = (*self._reservations.get(entry.plate, ()), entry)
            case LotEntry():
                self._lots[entry.lot][entry.vehicle_class] = entry
            case StayEntry():
                if not self._left_since(entry):
                    self._enter(entry)
            case UnreadEntry():
                self._note_unread(entry, 1)
            case GoneEntry():
                raise AssertionError("who removes an entry knows it")

    def drop(self, entry: AccessEntry | UnreadEntry) -> None:
        """Removes an entry that was put."""
        match entry:
            case PermitEntry():
                held = self._held(entry)
                for plate in entry.plates:
                    _without(self._permits, plate, held)
            case ListEntry():
                _without(self._lists, entry.plate, entry)
            case ReservationEntry():
                _without(self._reservations, entry.plate, entry)
            case LotEntry():
                self._lots[entry.lot].pop(entry.vehicle_class, None)
            case StayEntry():
                self._forget(entry.key)
            case UnreadEntry():
                self._note_unread(entry, -1)
            case GoneEntry():
                raise AssertionError("nothing is kept of what is gone")

    def entered(self, stay: StayEntry) -> bool:
        """A vehicle came in by a lane here, or is named that did so without a plate. False when nothing of it is new,
        or when it was seen leaving since.
        """
        known = self._stays.get(stay.key)
        if known is not None:
            if known.plate or not stay.plate:
                return False
            return self._name(known, stay.plate)
        if self._left_since(stay) or not self._enter(stay):
            return False
        self._own.add(stay.key)
        self.latest = max(self.latest, stay.entered_at)
        return True

    def _name(self, stay: StayEntry, plate: str) -> bool:
        named = as_named(stay, plate)
        is_own = stay.key in self._own
        if self._left_since(named) or not self._enter(named):
            return False
        if is_own:
            self._own.add(stay.key)
        return True

    def left(self, lot: str, plate: str, at: int) -> StayEntry | None:
        """A vehicle went out by a lane here at `at`; gives its stay when there was one that had begun by then."""
        if not plate:
            return None
        self.remember_left(lot, plate, at)
        stay = self.stay_of(lot, plate)
        if stay is None or stay.entered_at > at:
            return None
        self._forget(stay.key)
        return stay

    def end(self, key: str) -> None:
        """A stay is over by the word of the cloud, if it is known."""
        self._forget(key)

    def remember_left(self, lot: str, plate: str, at: int) -> None:
        """What was kept of `left` over a restart."""
        self._left[lot, plate] = max(at, self._left.get((lot, plate), 0))
        self.latest = max(self.latest, at)

    def forget_left(self, before: int) -> None:
        """Departures of long ago: no stay that they could end is told any more."""
        self._left = {place: at for place, at in self._left.items() if at >= before}

    def bring_back(self, at: int) -> None:
        """What lanes told before the clock was mended happened by `at`, though nobody knows when (see `as_mended`)."""
        limit = at + AHEAD_MS
        for place, told in self._left.items():
            self._left[place] = told if told <= limit else at - 1
        for key in self._own:
            stay = self._stays[key]
            self._stays[key] = stay if stay.entered_at <= limit else as_mended(stay, at)
        times = (self._stays[key].entered_at for key in self._own)
        self.latest = max((*self._left.values(), *times), default=0)

    def stay_of(self, lot: str, plate: str) -> StayEntry | None:
        """The stay of a plate in a lot; of vehicles without a plate nobody can say which it is."""
        key = self._inside.get((lot, plate)) if plate else None
        return None if key is None else self._stays[key]

    def inside(self, lot: str, vehicle_class: str = ALL_CLASSES) -> int:
        """Vehicles inside, of one class or of all: the stays, counted."""
        return self._counts[lot, vehicle_class]

    def state(self, plate: str, vehicle_class: str, lot: str, at: int) -> AccessState:
        """All that is known of one vehicle at one lot at `at` (Unix milliseconds)."""
        stay = self.stay_of(lot, plate)
        listings = {one.listing for one in self._lists.get(plate, ()) if _applies(one, lot, at)}
        return AccessState(
            blacklisted=Listing.BLACK in listings,
            whitelisted=Listing.WHITE in listings,
            owing=Listing.OWING in listings,
            permits=tuple(
                self._permit(held, plate, lot)
                for held in self._permits.get(plate, ())
                if not held.lots or lot in held.lots
            ),
            reserved=any(one.lot == lot and one.since <= at < one.until for one in self._reservations.get(plate, ())),
            stay=None if stay is None else self._certain(stay),
            full=self._full(lot, vehicle_class),
            ever_told=self.ever_told,
            closed=lot in self._lots and any(entry.closed for entry in self._lots[lot].values()),
            not_understood=self._unread[plate] > 0,
        )

    def _note_unread(self, entry: UnreadEntry, by: int) -> None:
        self.not_understood += by
        for named, counts in ((True, self._unread), (entry.kind == "lot", self._unread_lots)):
            for name in entry.names if named else ():
                counts[name] += by
                if not counts[name]:
                    del counts[name]

    def _held(self, entry: PermitEntry) -> _Held:
        lots = self._named_together.setdefault(entry.lots, entry.lots)
        sharing = entry.plates if entry.spaces and len(entry.plates) > entry.spaces else ()
        lanes = self._named_together.setdefault(entry.lanes, entry.lanes) if NEEDS_LANES in entry.needs else None
        times = entry.valid_from, entry.valid_to, entry.grace_ms
        return _Held(*times, lots, entry.spaces, sharing, entry.vehicle_class, lanes)

    def _certain(self, stay: StayEntry) -> Stay:
        free_ms = self._free_ms(stay)
        left = self._left.get((stay.lot, stay.plate), 0)
        if left and stay.entered_at - left < _DAY_MS:
            free_ms = 0  # it was here today: whether it has another free allowance, the cloud knows
        return Stay(stay.entered_at, stay.paid_until, stay.covered, free_ms, stay.vehicle_class)

    def _free_ms(self, stay: StayEntry) -> int:
        if self._unread_lots[stay.lot]:
            return 0  # another entry would stand for the one that cannot be read
        entries = self._lots.get(stay.lot, {})
        own = entries.get(stay.vehicle_class) or entries.get(ALL_CLASSES)
        return 0 if own is None else own.free_ms

    def _permit(self, held: _Held, plate: str, lot: str) -> Permit:
        free, times = self._space_free(held, plate, lot), (held.valid_from, held.valid_to, held.grace_ms)
        return Permit(*times, free, bool(held.sharing), held.vehicle_class, held.lanes)

    def _space_free(self, held: _Held, plate: str, lot: str) -> bool:
        lots = held.lots or (lot,)  # its spaces lie in all of its lots together
        others = (other for other in held.sharing if other != plate)
        return not held.sharing or sum(1 for other in others if self._stands(other, lots)) < held.spaces

    def _stands(self, plate: str, lots: tuple[str, ...]) -> bool:
        """Whether a vehicle takes a space of its permit in one of these lots."""
        return any(stay is not None and stay.covered for stay in (self.stay_of(lot, plate) for lot in lots))

    def _full(self, lot: str, vehicle_class: str) -> bool:
        room = room_for(vehicle_class, self._lots.get(lot, {}), lambda name: self._counts[lot, name])
        return room is not None and room <= 0

    def _left_since(self, stay: StayEntry) -> bool:
        """Seen leaving by a lane here, which the cloud may not know yet."""
        return self._left.get((stay.lot, stay.plate), -1) >= stay.entered_at

    def _enter(self, stay: StayEntry) -> bool:
        before = self.stay_of(stay.lot, stay.plate)
        if before is not None and before.key != stay.key and before.entered_at > stay.entered_at:
            return False  # an older one of the same vehicle: it has been in again since
        if before is not None:
            self._forget(before.key)
        self._forget(stay.key)
        self._stays[stay.key] = stay
        if stay.plate:
            self._inside[stay.lot, stay.plate] = stay.key
        self._count(stay, 1)
        return True

    def _forget(self, key: str) -> None:
        stay = self._stays.pop(key, None)
        self._own.discard(key)
        if stay is None:
            return
        if stay.plate:
            del self._inside[stay.lot, stay.plate]
        self._count(stay, -1)

    def _count(self, stay: StayEntry, by: int) -> None:
        self._counts[stay.lot, ALL_CLASSES] += by
        self._counts[stay.lot, stay.vehicle_class] += by


def as_mended(stay: StayEntry, at: int) -> StayEntry:
    """A stay that began by a clock that was ahead, once that is mended at `at`: it goes on, and has no free minutes,
    because nobody here knows when it began.
    """
    return msgspec.structs.replace(stay, entered_at=at, paid_until=1)


def as_named(stay: StayEntry, plate: str) -> StayEntry:
    """A stay that began without a plate, once that is read."""
    return msgspec.structs.replace(stay, plate=plate)


def _applies(entry: ListEntry, lot: str, at: int) -> bool:
    return entry.lot in ("", lot) and entry.since <= at and (not entry.until or at < entry.until)


def _without(table: dict[str, tuple[T, ...]], plate: str, entry: T) -> None:
    left = list(table.get(plate, ()))
    if entry in left:
        left.remove(entry)
    if left:
        table[plate] = tuple(left)
    else:
        table.pop(plate, None)
