"""The decision at a lane. Pure: what is known of the vehicle and the time come in as arguments.

Order of the rules at an entry: blacklist, whitelist, lot closed, permit, permit that has expired, reservation,
temporary vehicles allowed, lot full. At an exit: whitelist, permit, then the stay that was found: paid, free; whatever
is not certain is left to the cloud. A vehicle is never trapped: what is not opened waits for the cloud or for an
operator. What the cloud said in words that are not known here neither opens nor refuses.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import msgspec

Direction = Literal["entry", "exit"]
OnFailure = Literal["open", "operator"]
CloudSilent = OnFailure
Expired = Literal["temporary", "operator"]
Inside = Literal["open", "operator"]


class Verdict(StrEnum):
    """What the lane does."""

    OPEN = "open"
    REFUSE = "refuse"
    """Stays closed; an operator may still open."""
    AWAIT_CLOUD = "await-cloud"
    """The cloud prices the stay and sends the command to open."""
    OPERATOR = "operator"
    """Stays closed until a person decides."""


class Permit(msgspec.Struct, frozen=True, gc=False):
    """Monthly card, owner's space, staff: valid from `valid_from` up to, not including, `valid_to` (Unix ms).

    It is honoured for `grace_ms` more. 100,000 of them are kept: a struct that the garbage collector passes over.
    """

    valid_from: int
    valid_to: int
    grace_ms: int = 0
    space_free: bool = True
    """One of the spaces that its plates share is left for this vehicle, or it stands on one already."""
    shared: bool = False
    """It has more plates than spaces: that a space is left now does not say that one was left all the time."""
    vehicle_class: str = ""
    """It holds for vehicles of this class alone; empty: for any."""
    lanes: tuple[str, ...] | None = None
    """It holds for who comes in by one of these entries alone; None: by any."""

    def valid_at(self, at: int) -> bool:
        """Whether it covers the moment `at` (Unix milliseconds)."""
        return self.valid_from <= at < self.valid_to

    def honoured_at(self, at: int) -> bool:
        """Whether it covers `at`, or expired so shortly before that it still counts."""
        return self.valid_from <= at < self.valid_to + self.grace_ms


@dataclass(frozen=True, slots=True)
class Stay:
    """A vehicle inside, as the edge knows it. Times are Unix milliseconds; `paid_until` 0 when nothing is known."""

    entered_at: int
    paid_until: int = 0
    covered: bool = False
    """It came in on one of the spaces of its permit."""
    free_ms: int = 0
    """A stay up to this long costs nothing, for certain."""
    vehicle_class: str = ""
    """What it was taken for when it came in, which the cloud goes by too; empty: as it is seen now."""


@dataclass(frozen=True, slots=True)
class AccessRequest:
    """One recognised vehicle at one lane. `plate` as `normal_plate` gives it, empty when none was read."""

    plate: str
    vehicle_class: str
    direction: Direction
    at: int
    lane: str = ""
    """The device of the lane."""


@dataclass(frozen=True, slots=True)
class AccessState:
    """What the edge knows of the vehicle and of the lot."""

    blacklisted: bool = False
    whitelisted: bool = False
    owing: bool = False
    """Something from an earlier stay is unpaid: no exit is certain to be free."""
    permits: Sequence[Permit] = ()
    reserved: bool = False
    stay: Stay | None = None
    full: bool = False
    """No room for another vehicle of this class."""
    ever_told: bool = True
    """The cloud has told at least once what there is. Without, nobody can say that a vehicle has no permit."""
    cloud_silent: bool = False
    """The cloud did not take note of this vehicle in time."""
    closed: bool = False
    """The lot takes nobody in now."""
    not_understood: bool = False
    """The cloud said something of this plate that this software cannot read."""


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """What the operator of the lane wants."""

    temporary_allowed: bool = True
    when_cloud_silent: CloudSilent = "operator"
    permit_expired: Expired = "temporary"
    """An entry with a permit that ended: as a temporary vehicle, or a person decides."""
    already_inside: Inside = "open"
    """A second entry without an exit: open (the cloud closes the old stay), or a person decides."""
    without_plate: OnFailure = "operator"
    on_failure: OnFailure = "operator"
    """When a refusal would rest on knowledge that the edge does not have or cannot read, or the software failed."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict and the rule that gave it, as it is written into the passage."""

    verdict: Verdict
    rule: str


def normal_plate(text: str) -> str:
    """A plate without separators and in capitals: `京a·12345` and `京A 12345` are one vehicle."""
    return "".join(character for character in text.upper() if character.isalnum())


def decide(request: AccessRequest, state: AccessState, policy: AccessPolicy) -> Decision:
    """Judges one vehicle by what the edge knows at `request.at`."""
    if request.direction == "entry":
        decision = _entry(request, state, policy)
        rests_on_it = decision.verdict is Verdict.REFUSE and not state.blacklisted
        return _on_failure(policy, "not-understood") if rests_on_it and state.not_understood else decision
    return _exit(request, state, policy)


def undecided(request: AccessRequest, policy: AccessPolicy, *, cloud_silent: bool = False) -> Decision:
    """When nothing could be judged because the software failed: no vehicle is held by that."""
    if request.direction == "entry":
        return _on_failure(policy, "software-error")
    return decide(request, AccessState(cloud_silent=cloud_silent), policy)


def covered(permits: Sequence[Permit], since: int, until: int) -> bool:
    """Whether permits cover every moment from `since` to `until`, one after the other and with their grace. Pure."""
    reached = since
    for permit in sorted(permits, key=lambda permit: permit.valid_from):
        if permit.valid_from > reached:
            return False
        reached = max(reached, permit.valid_to + permit.grace_ms)
        if reached > until:
            return True
    return False


def _entry(request: AccessRequest, state: AccessState, policy: AccessPolicy) -> Decision:
    if not request.plate:  # lists, permits and reservations name plates
        return Decision(Verdict.OPEN if policy.without_plate == "open" else Verdict.OPERATOR, "no-plate")
    if state.blacklisted:
        return Decision(Verdict.REFUSE, "blacklist")
    if state.whitelisted:
        return Decision(Verdict.OPEN, "whitelist")
    if state.closed:
        return Decision(Verdict.REFUSE, "lot-closed")
    if state.stay is not None and policy.already_inside == "operator":
        return Decision(Verdict.OPERATOR, "already-inside")
    return _by_permit(request, state, policy) or _as_temporary(state, policy)


def _of_class(permits: Sequence[Permit], vehicle_class: str) -> list[Permit]:
    """Those that hold for a vehicle of this class; the others are as if there were none."""
    return [permit for permit in permits if permit.vehicle_class in ("", vehicle_class)]


def _by_lane(permits: Sequence[Permit], lane: str) -> list[Permit]:
    """Those that hold for who comes in by this lane."""
    return [permit for permit in permits if permit.lanes is None or lane in permit.lanes]


def _by_permit(request: AccessRequest, state: AccessState, policy: AccessPolicy) -> Decision | None:
    """None when the vehicle is to be treated like one without a permit."""
    permits = _by_lane(_of_class(state.permits, request.vehicle_class), request.lane)
    usable = [permit for permit in permits if permit.space_free]
    if any(permit.valid_at(request.at) for permit in usable):
        return Decision(Verdict.OPEN, "permit")
    if any(permit.honoured_at(request.at) for permit in usable):
        return Decision(Verdict.OPEN, "permit-grace")
    expired = any(permit.valid_to <= request.at for permit in permits)
    if expired and policy.permit_expired == "operator" and not state.reserved:
        return Decision(Verdict.OPERATOR, "permit-expired")
    return None


def _as_temporary(state: AccessState, policy: AccessPolicy) -> Decision:
    if state.reserved:
        return Decision(Verdict.OPEN, "reservation")
    if not policy.temporary_allowed:
        if not state.ever_told:
            return _on_failure(policy, "nothing-known")
        return Decision(Verdict.REFUSE, "no-temporary")
    if state.full:
        return Decision(Verdict.REFUSE, "lot-full")
    return Decision(Verdict.OPEN, "temporary")


def _on_failure(policy: AccessPolicy, rule: str) -> Decision:
    return Decision(Verdict.OPEN if policy.on_failure == "open" else Verdict.OPERATOR, rule)


def _exit(request: AccessRequest, state: AccessState, policy: AccessPolicy) -> Decision:
    # A blacklisted vehicle that is inside owes like any other: the blacklist guards entries.
    rule = _certain_exit(request, state) if request.plate else None
    if rule is not None:
        return Decision(Verdict.OPEN, rule)
    if not state.cloud_silent:
        return Decision(Verdict.AWAIT_CLOUD, "await-cloud")
    if policy.when_cloud_silent == "open":
        return Decision(Verdict.OPEN, "cloud-silent")
    return Decision(Verdict.OPERATOR, "cloud-silent")


def _covers_whoever_came(permit: Permit) -> bool:
    """Also who is not known to have come in by it.

    Who came in beyond the spaces owes for that, also when a space was freed since; so does who came by another lane.
    """
    return permit.space_free and not permit.shared and permit.lanes is None


def _certain_exit(request: AccessRequest, state: AccessState) -> str | None:
    """The rule by which nothing is due, when that is certain."""
    if state.whitelisted:
        return "whitelist"
    if state.owing or state.not_understood:
        return None
    at, stay = request.at, state.stay
    vehicle_class = request.vehicle_class if stay is None else stay.vehicle_class or request.vehicle_class
    permits = _of_class(state.permits, vehicle_class)
    if stay is None:
        # Nobody saw it come in. Whoever has a valid permit leaves as it came.
        return "permit" if any(permit.valid_at(at) and permit.space_free for permit in permits) else None
    if stay.entered_at > at:  # a clock was set back: no length of this stay is certain
        return None
    usable = [permit for permit in permits if stay.covered or _covers_whoever_came(permit)]
    if covered(usable, stay.entered_at, at):
        return "permit" if any(permit.valid_at(at) for permit in usable) else "permit-grace"
    if stay.paid_until:  # what was paid once has no second free allowance
        return "paid" if at < stay.paid_until else None
    return "free" if at - stay.entered_at <= stay.free_ms and stay.free_ms else None
