"""What coupons are made of."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Literal
from uuid import UUID

from cloud.parking.fees.circumstances import CouponKind

SettlementKind = Literal["balance", "monthly"]
"""A merchant pays for coupons before they are issued, or afterwards for those that were used."""


@dataclass(frozen=True, slots=True)
class Merchant:
    """Who hands out coupons. `open` is what he owes, negative for what he paid ahead."""

    id: int
    project_id: int
    name: str
    settlement: SettlementKind
    contact: str
    closed_at: datetime | None
    open: Decimal


@dataclass(frozen=True, slots=True)
class NewBatch:
    """Coupons to issue. `value`: hours, percent or an amount, 0 for free stays; `price` is what the merchant pays.

    Valid on the local days from `valid_from` to before `valid_until`. `per_plate_and_day`: how many of the batch a
    plate may hand in on one day; None: any number. Not `stackable`: only alone. `lot_id` None: in every lot.
    """

    merchant_id: int
    kind: CouponKind
    value: Decimal
    price: Decimal
    count: int
    valid_from: date
    valid_until: date
    per_plate_and_day: int | None = None
    stackable: bool = True
    lot_id: int | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Coupons that were issued together; `used` of them were handed in."""

    id: int
    project_id: int
    merchant_id: int
    lot_id: int | None
    kind: CouponKind
    value: Decimal
    price: Decimal
    count: int
    valid_from: date
    valid_until: date
    per_plate_and_day: int | None
    stackable: bool
    issued_on: date
    issued_by: str
    withdrawn_at: datetime | None
    used: int

    @property
    def last_day(self) -> date:
        """The last local day on which they count."""
        return self.valid_until - timedelta(days=1)


@dataclass(frozen=True, slots=True)
class IssuedCoupon:
    """One coupon; `used_at` and `plate` once it is handed in."""

    id: int
    batch_id: int
    code: str
    used_at: datetime | None
    plate: str


@dataclass(frozen=True, slots=True)
class Redeemed:
    """A coupon handed in for a stay; `command_id`: the order that lets the waiting vehicle out, if one waits."""

    id: int
    coupon_id: int
    session_id: int
    plate: str
    code: str
    kind: CouponKind
    value: Decimal
    command_id: UUID | None


@dataclass(frozen=True, slots=True)
class HandedOut:
    """A code that was shown to a customer, to be handed in by himself."""

    id: int
    merchant_id: int
    batch_id: int
    code: str
    handed_at: datetime
    used: bool


@dataclass(frozen=True, slots=True)
class Given:
    """A coupon as the merchant sees it once it was used."""

    id: int
    batch_id: int
    kind: CouponKind
    value: Decimal
    plate: str
    at: datetime
    by: str

    @property
    def masked(self) -> str:
        """Enough of the plate to know the customer again, not enough to know whose it is."""
        return f"{self.plate[:2]}···{self.plate[-2:]}" if len(self.plate) > 4 else "···"


@dataclass(frozen=True, slots=True)
class BatchUse:
    """What one batch comes to in a month: coupons issued and used in it, what is owed for them, what they took off.

    `taken_off` is of ended stays; the line of a coupon in the steps of a fee is what it took off.
    """

    batch_id: int
    kind: CouponKind
    value: Decimal
    price: Decimal
    issued: int
    used: int
    owed: Decimal
    taken_off: Decimal


@dataclass(frozen=True, slots=True)
class Statement:
    """A merchant's month: owed before it, what came to it, paid in it, and what is open after it."""

    merchant: Merchant
    month: date
    currency: str
    before: Decimal
    uses: tuple[BatchUse, ...]
    owed: Decimal
    paid: Decimal

    @property
    def after(self) -> Decimal:
        """Open at the end of the month; negative when paid ahead."""
        return self.before + self.owed - self.paid
