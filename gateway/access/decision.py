"""The decision at a lane. Pure: what is known and the time come in as arguments.

Order of the rules: blacklist, whitelist, permit, temporary vehicles allowed, lot full. A vehicle is never
trapped: what is not opened at an exit waits for the cloud or for an operator.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Literal

Direction = Literal["entry", "exit"]
CloudSilent = Literal["open", "operator"]


class Verdict(StrEnum):
    """What the lane does."""

    OPEN = "open"
    REFUSE = "refuse"
    """Stays closed; an operator may still open."""
    AWAIT_CLOUD = "await-cloud"
    """The cloud prices the stay and sends the command to open."""
    OPERATOR = "operator"
    """Stays closed until a person decides."""


@dataclass(frozen=True, slots=True)
class Permit:
    """Monthly card, owner's space, staff: valid from `valid_from` up to, not including, `valid_to` (Unix ms)."""

    valid_from: int
    valid_to: int

    def valid_at(self, at: int) -> bool:
        """Whether it covers the moment `at` (Unix milliseconds)."""
        return self.valid_from <= at < self.valid_to


@dataclass(frozen=True, slots=True)
class AccessRequest:
    """One recognised vehicle at one lane. `plate` as `normal_plate` gives it, empty when none was read."""

    plate: str
    vehicle_class: str
    direction: Direction
    at: int


@dataclass(frozen=True, slots=True)
class AccessState:
    """What the edge knows. `free_spaces` is None when nobody counts them."""

    blacklist: frozenset[str] = frozenset()
    whitelist: frozenset[str] = frozenset()
    permits: Mapping[str, tuple[Permit, ...]] = field(default_factory=lambda: MappingProxyType({}))
    free_spaces: int | None = None
    cloud_silent: bool = False
    """The cloud did not take note of this vehicle in time."""


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """What the operator of the lane wants."""

    temporary_allowed: bool = True
    when_cloud_silent: CloudSilent = "operator"


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
        return _entry(request, state, policy)
    return _exit(request, state, policy)


def _privilege(request: AccessRequest, state: AccessState) -> Decision | None:
    if not request.plate:
        return None
    if request.plate in state.whitelist:
        return Decision(Verdict.OPEN, "whitelist")
    if any(permit.valid_at(request.at) for permit in state.permits.get(request.plate, ())):
        return Decision(Verdict.OPEN, "permit")
    return None


def _entry(request: AccessRequest, state: AccessState, policy: AccessPolicy) -> Decision:
    if request.plate and request.plate in state.blacklist:
        return Decision(Verdict.REFUSE, "blacklist")
    privilege = _privilege(request, state)
    if privilege is not None:
        return privilege
    if not request.plate:
        return Decision(Verdict.OPERATOR, "no-plate")
    if not policy.temporary_allowed:
        return Decision(Verdict.REFUSE, "no-temporary")
    if state.free_spaces is not None and state.free_spaces <= 0:
        return Decision(Verdict.REFUSE, "lot-full")
    return Decision(Verdict.OPEN, "temporary")


def _exit(request: AccessRequest, state: AccessState, policy: AccessPolicy) -> Decision:
    # A blacklisted vehicle that is inside owes like any other: the blacklist guards entries.
    privilege = _privilege(request, state)
    if privilege is not None:
        return privilege
    if not state.cloud_silent:
        return Decision(Verdict.AWAIT_CLOUD, "await-cloud")
    if policy.when_cloud_silent == "open":
        return Decision(Verdict.OPEN, "cloud-silent")
    return Decision(Verdict.OPERATOR, "cloud-silent")
