"""What the API of coupons takes and gives."""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from cloud.kit.amounts import MoneyOut, plain
from cloud.kit.inputs import Day, Id, Input, ListQuery
from cloud.parking.charging.models import MoneyIn
from cloud.parking.coupons.records import Batch, BatchUse, IssuedCoupon, Merchant, NewBatch, Redeemed, Statement
from cloud.parking.fees.circumstances import CouponKind
from cloud.parking.fees.models import Amount
from cloud.parking.plates import PlateText

Value = Annotated[Amount, Field(description="Hours, percent or an amount; 0 for a free stay.", examples=["2"])]
Code = Annotated[str, Field(min_length=1, max_length=40, examples=["7KQ4M2XW9A"])]


class MerchantIn(Input):
    """A merchant who will hand out coupons."""

    project_id: Id
    name: Annotated[str, Field(min_length=1, max_length=100, examples=["Noodle house"])]
    settlement: Annotated[
        Literal["balance", "monthly"], Field(description="Pays before coupons are issued, or for those that were used.")
    ]
    contact: Annotated[str, Field(max_length=200)] = ""


class MerchantOut(BaseModel):
    """A merchant; `open` is what he owes, negative for what he paid ahead."""

    id: int
    project_id: int
    name: str
    settlement: Literal["balance", "monthly"]
    contact: str
    open: Annotated[str, Field(examples=["120.00"])]

    @classmethod
    def of(cls, one: Merchant) -> "MerchantOut":
        """From our record."""
        return cls(
            id=one.id,
            project_id=one.project_id,
            name=one.name,
            settlement=one.settlement,
            contact=one.contact,
            open=str(one.open),
        )


class MerchantPaymentIn(Input):
    """What a merchant pays."""

    amount: MoneyIn
    method: Annotated[str, Field(min_length=1, max_length=32, examples=["transfer"])]
    paid_on: Day
    reference: Annotated[str, Field(max_length=100)] = ""


class BatchIn(Input):
    """Coupons to issue. Valid to before `valid_until`; `price` is what the merchant pays for one."""

    merchant_id: Id
    kind: CouponKind
    value: Value
    price: Annotated[Amount, Field(examples=["3.00"])]
    count: Annotated[int, Field(ge=1, le=10_000, examples=[100])]
    valid_from: Day
    valid_until: Day
    per_plate_and_day: Annotated[int, Field(ge=1, le=100)] | None = None
    stackable: Annotated[bool, Field(description="Whether other coupons may be used with one.")] = True
    lot_id: Annotated[Id | None, Field(description="Null: in every lot.")] = None

    def new(self) -> NewBatch:
        """The same as the services know it."""
        return NewBatch(**dict(self))


class BatchQuery(ListQuery):
    """Which batches are wanted."""

    merchant_id: Id | None = None


class BatchOut(BaseModel):
    """Coupons that were issued together."""

    id: int
    project_id: int
    merchant_id: int
    lot_id: int | None
    kind: CouponKind
    value: str
    price: str
    count: int
    used: int
    valid_from: date
    valid_until: date
    per_plate_and_day: int | None
    stackable: bool
    issued_on: date
    withdrawn_at: datetime | None

    @classmethod
    def of(cls, one: Batch) -> "BatchOut":
        """From our record."""
        known = {name: getattr(one, name) for name in cls.model_fields}
        return cls(**{**known, "value": plain(one.value), "price": str(one.price)})


class CouponOut(BaseModel):
    """One coupon and whether it was handed in."""

    id: int
    code: str
    used_at: datetime | None
    plate: str

    @classmethod
    def of(cls, one: IssuedCoupon) -> "CouponOut":
        """From our record."""
        return cls(id=one.id, code=one.code, used_at=one.used_at, plate=one.plate)


class RedemptionIn(Input):
    """A coupon to hand in for a vehicle that is inside."""

    project_id: Id
    plate: PlateText
    code: Code


class RedemptionOut(BaseModel):
    """A coupon that was handed in. `command_id`: the order that lets the waiting vehicle out."""

    id: int
    session_id: int
    plate: str
    code: str
    kind: CouponKind
    value: str
    command_id: UUID | None

    @classmethod
    def of(cls, one: Redeemed) -> "RedemptionOut":
        """From our record."""
        known = {name: getattr(one, name) for name in cls.model_fields}
        return cls(**{**known, "value": plain(one.value)})


class ChargingIn(Input):
    """What a vehicle was charged during its stay, beside what was told before."""

    session_id: Id
    kwh: Annotated[Amount, Field(examples=["21.5"])] = Decimal(0)
    minutes: Annotated[int, Field(ge=0, le=20_000, examples=[40])] = 0


class ChargingOut(BaseModel):
    """What was noted."""

    session_id: int
    kwh: str
    minutes: int


class BatchUseOut(BaseModel):
    """What one batch comes to in a month; `taken_off`: what its coupons took off ended stays."""

    batch_id: int
    kind: CouponKind
    value: str
    price: str
    issued: int
    used: int
    owed: str
    taken_off: str

    @classmethod
    def of(cls, one: BatchUse) -> "BatchUseOut":
        """From our record."""
        known = {name: getattr(one, name) for name in cls.model_fields}
        amounts = {name: str(known[name]) for name in ("price", "owed", "taken_off")}
        return cls(**{**known, **amounts, "value": plain(one.value)})


class StatementOut(BaseModel):
    """A merchant's month: `after` is `before` and what is owed for the month less what was paid in it."""

    merchant_id: int
    month: date
    before: MoneyOut
    owed: MoneyOut
    paid: MoneyOut
    after: MoneyOut
    uses: list[BatchUseOut]

    @classmethod
    def of(cls, one: Statement) -> "StatementOut":
        """From our record."""
        amounts = {name: MoneyOut.of(getattr(one, name), one.currency) for name in ("before", "owed", "paid", "after")}
        return cls(
            merchant_id=one.merchant.id, month=one.month, uses=[BatchUseOut.of(use) for use in one.uses], **amounts
        )
