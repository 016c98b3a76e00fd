"""What the parking feature hands out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal, cast
from uuid import UUID

from psycopg.types.range import Range

from cloud.parking.fees.models import ParkingRule
from cloud.parking.fees.pricing import FeeStep
from cloud.parking.stays.matching import Direction, Outcome


@dataclass(frozen=True, slots=True)
class Lot:
    """A place with a capacity and a fee rule; `parent_id` is the lot around it.

    One that is not `open` takes nobody in.
    """

    id: int
    project_id: int
    code: str
    name: str
    parent_id: int | None
    capacity: int
    open: bool = True


@dataclass(frozen=True, slots=True)
class LotClass:
    """What a lot has for one class of vehicles: spaces `kept` for it alone, and room for no more than `at_most`."""

    vehicle_class: str
    kept: int = 0
    at_most: int | None = None


@dataclass(frozen=True, slots=True)
class LotOccupancy:
    """How full a lot is, counted from the sessions: `standing` are those inside that are in no lot inside it."""

    lot: Lot
    inside: int
    standing: int
    free: int
    capacity: int


@dataclass(frozen=True, slots=True)
class Lane:
    """One barrier with its camera. From `retired_at` on the barrier may be another lane's.

    `replaces_id`: the lane whose place it took.
    """

    id: int
    project_id: int
    lot_id: int
    code: str
    name: str
    direction: Direction
    device_id: int
    retired_at: datetime | None = None
    replaces_id: int | None = None


@dataclass(frozen=True, slots=True)
class RuleVersion:
    """A published fee rule; in force for vehicles that enter from `valid_from` to before `valid_until` (local)."""

    id: int
    lot_id: int
    version: int
    valid_from: date
    valid_until: date | None
    rule: ParkingRule

    def covers(self, day: date) -> bool:
        """Whether it is in force on the local date."""
        return self.valid_from <= day and (self.valid_until is None or day < self.valid_until)


@dataclass(frozen=True, slots=True)
class Vehicle:
    """A plate and the person whose it is, from when to when."""

    id: int
    project_id: int
    plate: str
    vehicle_class: str
    person_id: int
    valid_from: datetime
    valid_until: datetime | None


@dataclass(frozen=True, slots=True)
class Session:
    """A stay. `fee` is its price once it is closed, None before and when nobody knows; `paid` what was paid for it."""

    id: int
    project_id: int
    lot_id: int
    lot_name: str
    plate: str
    vehicle_class: str
    entered_at: datetime | None
    left_at: datetime | None
    state: str
    fee: Decimal | None
    fee_until: datetime | None
    fee_steps: list[dict[str, Any]]
    rule_version_id: int | None
    currency: str
    paid: Decimal
    entry_seen: bool = True
    """False when the vehicle was first seen at an exit; `entered_at` is then the time at which it was."""
    fixed_fee: Decimal | None = None
    """What leaving costs when no rule can price the stay, by the policy of the lot."""
    covered: Sequence[Range[datetime]] = ()
    """Time that a stay in a lot around or inside this one prices; the end is None while that goes on."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A recognised vehicle at a lane. `lane_name` is None for residents."""

    id: UUID
    lane_id: int
    lane_name: str | None
    plate: str
    plate_read: str
    direction: Direction
    taken_at: datetime
    outcome: Outcome
    offline: bool
    decision: str
    image: str
    incident: str | None


@dataclass(frozen=True, slots=True)
class SessionPayment:
    """What was paid for a stay, which was priced until `paid_until`."""

    payment_id: int
    amount: Decimal
    paid_until: datetime


@dataclass(frozen=True, slots=True)
class SessionDetail:
    """A stay with its passages and payments in order of time."""

    session: Session
    passages: list[Passage]
    payments: list[SessionPayment]


@dataclass(frozen=True, slots=True)
class SessionFilter:
    """Which stays are wanted; None means any. `began_from` and `began_before` bound the entry."""

    project_id: int | None = None
    lot_id: int | None = None
    state: str | None = None
    plate: str | None = None
    began_from: datetime | None = None
    began_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """A vehicle that stands at an exit barrier; `command_id` is the last one that was to let it out there.

    `device_id` is None for residents, who do not see the lane.
    """

    passage_id: UUID
    device_id: int | None
    taken_at: datetime
    command_id: UUID | None
    decision: str = ""
    """The rule by which the lane decided at the edge."""
    offline: bool = False
    """Told afterwards: who it is of stands there no more."""
    shown: Mapping[str, str] | None = None
    """Arguments of the order that tells its driver what is due; None when none does, or when it is to be told again."""


@dataclass(frozen=True, slots=True)
class Debt:
    """A stay that is over and was not paid: `due` is what is still to be paid of its `fee`.

    `entered_at` is None where nobody saw it enter: it left at the fixed price of the lot.
    """

    session_id: int
    project_id: int
    lot_id: int
    lot_name: str
    plate: str
    entered_at: datetime | None
    left_at: datetime
    fee: Decimal
    paid: Decimal
    waived: Decimal
    due: Decimal
    currency: str


CoverKind = Literal["permit", "pass", "list", "other-lot"]


@dataclass(frozen=True, slots=True)
class Cover:
    """What covers time of a stay: a permit, a visitor pass, an entry of the white list, by their numbers.

    `other-lot`: a stay in a lot around or inside this one prices it; there is no number.
    """

    kind: CoverKind
    id: int | None = None

    @property
    def name(self) -> str:
        """As steps of a fee name it."""
        return self.kind if self.id is None else f"{self.kind}-{self.id}"

    @classmethod
    def of(cls, name: str) -> "Cover":
        """From its name."""
        if name == "other-lot":
            return cls("other-lot")
        kind, _, id_ = name.partition("-")
        return cls(cast(CoverKind, kind), int(id_))


@dataclass(frozen=True, slots=True)
class Quote:
    """What a stay costs when it ends at `until`; `due` is what is still to be paid of it.

    `leave_by`: leaving until then costs nothing more; None when nothing was paid. `surplus`: paid beyond the fee.
    `debts`: earlier stays of the plate that are unpaid, oldest first; `collected`: they are to be paid at the exit.
    """

    session_id: int
    until: datetime
    fee: Decimal
    paid: Decimal
    due: Decimal
    surplus: Decimal
    currency: str
    steps: tuple[FeeStep, ...]
    leave_by: datetime | None
    rule_version_id: int | None
    waived: Decimal = Decimal(0)
    debts: tuple[Debt, ...] = ()
    collected: bool = False

    @property
    def total(self) -> Decimal:
        """What is due for this stay and the earlier ones."""
        return self.due + sum((debt.due for debt in self.debts), Decimal(0))

    @property
    def before_leaving(self) -> Decimal:
        """What is to be paid before the vehicle is let out."""
        return self.total if self.collected else self.due

    @property
    def covered_by(self) -> tuple[Cover, ...]:
        """What covers time of the stay, in order of time; nothing where the stay is no cheaper for it."""
        names = [name for step in self.steps if step.kind == "covered" for name in step.label.split()]
        return tuple(Cover.of(name) for name in dict.fromkeys(names))

    @property
    def settled(self) -> bool:
        """Whether the vehicle may leave."""
        return self.due == 0 and not (self.collected and self.debts)


@dataclass(frozen=True, slots=True)
class Paid:
    """A payment for a stay; `command_id` names the command that lets the waiting vehicle out, if one waits."""

    payment_id: int
    session_id: int
    amount: Decimal
    currency: str
    paid_until: datetime
    command_id: UUID | None


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of passages: stored now (new or further than before), set aside, and vehicles let out."""

    stored: int
    unclaimed: int
    opened: int
