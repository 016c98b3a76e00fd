"""What the API of monthly cards takes and gives: what is sold, a sale, a renewal."""

from datetime import date, datetime
from typing import Annotated

from pydantic import BaseModel, Field

from cloud.kit.amounts import MoneyOut
from cloud.kit.inputs import Day, Id, Input, Instant, ListQuery
from cloud.parking.charging.models import MoneyIn
from cloud.parking.fees.models import Amount
from cloud.parking.permits.models import Freed, GraceDays, HoldingIn, LaneIds, LotIds, OfClass, Spaces
from cloud.parking.permits.months import MonthsFrom
from cloud.parking.permits.records import NewProduct, Offer, Pay, Product
from cloud.parking.permits.terms import WhenFreed

Months = Annotated[int, Field(ge=1, le=36, examples=[3])]


class ProductIn(Input):
    """A card that is sold: its price for a month on certain lots, and what its permits are like."""

    project_id: Id
    name: Annotated[str, Field(min_length=1, max_length=100, examples=["Resident's card"])]
    price: Annotated[Amount, Field(description="For a month.", examples=["300.00"])]
    lot_ids: LotIds
    lane_ids: LaneIds = ()
    months_from: Annotated[
        MonthsFrom,
        Field(description="Months from the day of sale, or the rest of the month by days, then calendar ones."),
    ] = "sale"
    most_months: Months = 12
    vehicle_class: OfClass = None
    spaces: Spaces = 1
    when_freed: Freed = "never"
    grace_days: GraceDays = 0
    remind_days: Annotated[int, Field(ge=0, le=60, description="Days before its end; 0: not at all.")] = 7

    def new(self) -> NewProduct:
        """The same as the services know it."""
        told = self.model_dump(exclude={"project_id"})
        return NewProduct(**{**told, "vehicle_class": self.vehicle_class or ""})


class ProductQuery(ListQuery):
    """Which products are wanted."""

    withdrawn: Annotated[bool, Field(description="Also those that are not sold any more.")] = False


class PayIn(Input):
    """What the payer was told that it costs; `method` null: billed to the account."""

    amount: MoneyIn
    method: Annotated[str | None, Field(max_length=32, pattern=r"^[a-z][a-z0-9-]*$", examples=["cash"])] = None
    reference: Annotated[str, Field(max_length=100, description="Number at the payment provider.")] = ""

    def pay(self) -> Pay:
        """The same as the services know it."""
        return Pay(self.amount.amount, self.method, self.reference)


class SaleIn(HoldingIn):
    """A card that is sold, from the beginning of a local day (null: today) on."""

    product_id: Id
    months: Months
    start: Day | None = None
    pay: PayIn


class RenewalIn(Input):
    """More months of a card whose time ends at `after`, as it was shown: a repetition finds another end."""

    months: Months
    after: Instant
    pay: PayIn


class OfferQuery(Input):
    """How many months, and from which day on (null: today)."""

    months: Annotated[int, Field(ge=1, le=36)] = 1
    start: Day | None = None


class OfferOut(BaseModel):
    """What months cost, from `start` to before `end` (local dates)."""

    start: date
    end: date
    amount: MoneyOut

    @classmethod
    def of(cls, offer: Offer) -> "OfferOut":
        """From our record."""
        return cls(start=offer.start, end=offer.end, amount=MoneyOut.of(offer.amount, offer.currency))


class ProductOut(BaseModel):
    """A card that is or was sold."""

    id: int
    project_id: int
    name: str
    price: MoneyOut
    lot_ids: list[int]
    lane_ids: list[int]
    months_from: MonthsFrom
    most_months: int
    vehicle_class: str | None
    spaces: int
    when_freed: WhenFreed
    grace_days: int
    remind_days: int
    withdrawn_at: datetime | None

    @classmethod
    def of(cls, product: Product, currency: str) -> "ProductOut":
        """From our record."""
        told = {name: getattr(product, name) for name in cls.model_fields}
        price = MoneyOut.of(product.price, currency)
        return cls(**{**told, "price": price, "vehicle_class": product.vehicle_class or None})
