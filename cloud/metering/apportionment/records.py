"""What apportionment hands out: rules, previews, runs and shares."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from cloud.estate.records import UnitKind, Validity
from cloud.kit.periods import Period
from cloud.metering.records import MAIN_CHANNEL, Medium
from gateway.contract.quantities import Quantity

SharedThing = Literal["loss", "usage", "fixed"]
"""The loss of a master meter against its sub-meters, all that a meter counts, or a fixed quantity."""
Basis = Literal["area", "household", "usage", "share"]
Participation = Literal["building", "sub-meters", "list"]


@dataclass(frozen=True, slots=True)
class Member:
    """A unit that a rule names: on a list with its share, or left out."""

    unit_id: int
    weight: int = 1
    excluded: bool = False


@dataclass(frozen=True, slots=True)
class NewRule:
    """What is shared (`quantity` in the base unit for a fixed one), by what, and among whom.

    `participants`: the units of a building, of the master's direct sub-meters, or of the list of members.
    """

    name: str
    medium: Medium
    shared: SharedThing
    basis: Basis
    participants: Participation
    valid: Validity
    meter_id: int | None = None
    quantity: int | None = None
    building_id: int | None = None
    excluded_kinds: tuple[UnitKind, ...] = ()
    only_occupied: bool = False
    members: tuple[Member, ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule as it is kept."""

    id: int
    project_id: int
    name: str
    medium: Medium
    shared: SharedThing
    meter_id: int | None
    quantity: int | None
    basis: Basis
    participants: Participation
    building_id: int | None
    excluded_kinds: tuple[UnitKind, ...]
    only_occupied: bool
    valid: Validity

    @property
    def channel(self) -> Quantity:
        """What is shared out, with its unit."""
        return MAIN_CHANNEL[self.medium]


@dataclass(frozen=True, slots=True)
class Share:
    """What a unit gets for a stay of its occupants: `amount * weight / total_weight`, in the base unit.

    `before`: what the last settled version gave it; None where there is none.
    """

    unit_id: int
    from_on: date
    until_on: date
    weight: int
    quantity: int
    before: int | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """A settled version of one period."""

    id: int
    project_id: int
    rule_id: int
    period: Period
    version: int
    amount: int
    found: int
    total_weight: int
    estimated: bool
    actor: str
    settled_at: datetime


@dataclass(frozen=True, slots=True)
class Unshared:
    """A run whose shares do not add up: what was to be shared out and what was, in the base unit."""

    run_id: int
    expected: int
    shared: int


@dataclass(frozen=True, slots=True)
class Preview:
    """What settling now would come to. `open_meters`: those whose usage is not settled; with `estimated` their
    missing part is estimated. `settled`: the newest version of the same period."""

    rule: Rule
    period: Period
    found: int
    amount: int
    total_weight: int
    estimated: bool
    open_meters: tuple[int, ...]
    shares: tuple[Share, ...]
    settled: Run | None
    inputs: dict[str, object]

    @property
    def is_changed(self) -> bool:
        """Whether settling would make a version that differs from the newest one."""
        same = self.settled is not None and (
            (self.settled.found, self.settled.amount, self.settled.total_weight)
            == (self.found, self.amount, self.total_weight)
        )
        return not same or any(share.quantity != share.before for share in self.shares)


@dataclass(frozen=True, slots=True)
class OwnShare:
    """A settled share with what explains it."""

    rule_name: str
    medium: Medium
    basis: Basis
    period: Period
    version: int
    amount: int
    total_weight: int
    share: Share
