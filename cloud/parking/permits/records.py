"""What permits are as they are handed out."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Final, Literal, get_args

from cloud.parking.permits.months import MonthsFrom
from cloud.parking.permits.terms import ClassUntil, WhenFreed
from cloud.parking.spaces.records import Space

PermitKind = Literal["monthly-card", "owner-space", "staff", "vip", "visitor"]
KINDS: Final[tuple[PermitKind, ...]] = get_args(PermitKind)
PermitState = Literal["active", "suspended", "ended", "expired", "future"]
STATES: Final[tuple[PermitState, ...]] = get_args(PermitState)
"""expired: its last period is over, days of grace or not; ended: somebody ended it; future: it has not begun."""
PaidBy = Literal["nothing", "payment", "bill"]


@dataclass(frozen=True, slots=True)
class Covered:
    """A time in which a stay in a lot costs nothing by these permits, by event time; `end` is not in it."""

    lot_id: int
    start: datetime
    end: datetime
    permits: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Permit:
    """A permit as it stands now. `plates` are those of now, or of its beginning while that lies ahead.

    `valid_until` is the end of the last period, None without. `space_numbers` are those of its numbered spaces; `space`
    is what is only written of them.
    """

    id: int
    project_id: int
    kind: PermitKind
    product_id: int | None
    spaces: int
    when_freed: WhenFreed
    grace_days: int
    vehicle_class: str
    space: str
    person_id: int | None
    unit_id: int | None
    account_id: int | None
    note: str
    renews: bool
    ended_at: datetime | None
    ended_reason: str | None
    valid_from: datetime
    valid_until: datetime | None
    state: PermitState
    suspended_reason: str | None
    lot_ids: list[int]
    lane_ids: list[int]
    """Entries by one of which vehicles have to come in now; empty: by any of its lots."""
    plates: list[str]
    space_numbers: list[str]


@dataclass(frozen=True, slots=True)
class PlatePeriod:
    """A plate of a permit, from when to when."""

    plate: str
    valid_from: datetime
    valid_until: datetime | None


@dataclass(frozen=True, slots=True)
class LanePeriod:
    """An entry by which vehicles of a permit have to come in, from when to when; None: ever since, without end."""

    lane_id: int
    valid_from: datetime | None
    valid_until: datetime | None


@dataclass(frozen=True, slots=True)
class Period:
    """A time in which a permit holds, what it cost, and how it was paid."""

    id: int
    valid_from: datetime
    valid_until: datetime | None
    paid_by: PaidBy
    amount: Decimal
    payment_id: int | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class SoldMonth:
    """A month of a period, or the rest of one: local dates, `end` not in it.

    `agreement_id`: the charge that bills it; `payment_method`: how it was paid where it was sold.
    """

    id: int
    period_id: int
    start: date
    end: date
    amount: Decimal
    agreement_id: int | None
    given_back: bool
    payment_method: str | None


@dataclass(frozen=True, slots=True)
class PermitDetail:
    """A permit with its history."""

    permit: Permit
    plates: list[PlatePeriod]
    lanes: list[LanePeriod]
    classes_before: list[ClassUntil]
    periods: list[Period]
    months: list[SoldMonth]
    numbered: list[Space]


@dataclass(frozen=True, slots=True)
class PermitFilter:
    """Which permits are wanted; None: any. `ends_before`: whose last period ends before then.

    `written`: of whose spaces something is only written.
    """

    project_id: int | None = None
    kind: PermitKind | None = None
    state: PermitState | None = None
    plate: str | None = None
    lot_id: int | None = None
    lane_id: int | None = None
    person_id: int | None = None
    unit_id: int | None = None
    account_id: int | None = None
    ends_before: datetime | None = None
    written: bool | None = None


@dataclass(frozen=True, slots=True)
class Holding:
    """What a permit is for: its vehicles, who holds it, who pays, its numbered spaces and what is written of others."""

    plates: tuple[str, ...]
    person_id: int | None = None
    unit_id: int | None = None
    account_id: int | None = None
    space: str = ""
    note: str = ""
    space_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class NewPermit:
    """A permit that costs nothing. `lot_ids`: exactly those for which it holds; `spaces` 0: one for each plate.

    `vehicle_class`: vehicles of any other are temporary; empty: none is. `lane_ids`: who comes in by another entry is,
    too; empty: nobody.
    """

    kind: PermitKind
    lot_ids: tuple[int, ...]
    valid_from: datetime
    valid_until: datetime | None
    holding: Holding
    spaces: int = 0
    when_freed: WhenFreed = "never"
    grace_days: int = 0
    vehicle_class: str = ""
    lane_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Product:
    """A card that is sold: its price for a month on certain lots, and what its permits are like."""

    id: int
    project_id: int
    name: str
    price: Decimal
    months_from: MonthsFrom
    most_months: int
    vehicle_class: str
    spaces: int
    when_freed: WhenFreed
    grace_days: int
    remind_days: int
    withdrawn_at: datetime | None
    lot_ids: list[int]
    lane_ids: list[int]


@dataclass(frozen=True, slots=True)
class NewProduct:
    """What a card costs and is like; see `Product`."""

    name: str
    price: Decimal
    lot_ids: tuple[int, ...]
    months_from: MonthsFrom = "sale"
    most_months: int = 12
    vehicle_class: str = ""
    spaces: int = 1
    when_freed: WhenFreed = "never"
    grace_days: int = 0
    remind_days: int = 7
    lane_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Pay:
    """How months are paid: `method` None: a charge on the account of the permit, else money at the desk.

    `amount` is what the payer was told: another price is refused.
    """

    amount: Decimal
    method: str | None = None
    reference: str = ""


@dataclass(frozen=True, slots=True)
class Offer:
    """What months would cost: from `start` to before `end` (local dates), `amount` in all."""

    start: date
    end: date
    amount: Decimal
    currency: str


@dataclass(frozen=True, slots=True)
class Ended:
    """A permit that was ended: paid out at the desk, and taken back from bills."""

    permit: Permit
    refunded: Decimal
    credited: Decimal
    currency: str
