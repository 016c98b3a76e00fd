"""What the API of permits takes and gives."""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import BaseModel, Field, model_validator

from cloud.kit.amounts import MoneyOut
from cloud.kit.inputs import Day, Id, Input, Instant, ListQuery
from cloud.kit.periods import day_start
from cloud.parking.fees.models import VehicleClass
from cloud.parking.permits.records import (
    Ended,
    Holding,
    NewPermit,
    PaidBy,
    Permit,
    PermitDetail,
    PermitFilter,
    PermitKind,
    PermitState,
)
from cloud.parking.permits.terms import WhenFreed
from cloud.parking.plates import PlateText
from cloud.parking.spaces.models import SpaceOut

LotIds = Annotated[
    tuple[Id, ...], Field(min_length=1, max_length=100, description="Exactly these; inner lots by name.")
]
Plates = Annotated[tuple[PlateText, ...], Field(min_length=1, max_length=50)]
Spaces = Annotated[int, Field(ge=0, le=50, description="Vehicles that may stand at once; 0: a space for each plate.")]
Freed = Annotated[
    WhenFreed,
    Field(description="A vehicle beyond the spaces pays: for its whole stay, or (`from-then`) until a space is free."),
]
GraceDays = Annotated[int, Field(ge=0, le=60)]
LaneIds = Annotated[
    tuple[Id, ...],
    Field(
        max_length=50,
        description="Entries by one of which vehicles have to come in, at least one of each lot; none: by any.",
        examples=[[]],
    ),
]
OfClass = Annotated[
    VehicleClass | None, Field(description="Only vehicles of this class; null: of any.", examples=["small"])
]
Reason = Annotated[str, Field(min_length=1, max_length=300, examples=["moved out"])]


class PermitQuery(ListQuery):
    """Which permits are wanted; `ends_before`: whose last period ends before then."""

    kind: PermitKind | None = None
    state: PermitState | None = None
    plate: PlateText | None = None
    lot_id: Id | None = None
    lane_id: Annotated[Id | None, Field(description="Those that name this lane.")] = None
    person_id: Id | None = None
    unit_id: Id | None = None
    account_id: Id | None = None
    ends_before: Instant | None = None
    written: Annotated[bool | None, Field(description="Whether something of its spaces is only written.")] = None

    def wanted(self) -> PermitFilter:
        """The same as the services know it."""
        return PermitFilter(**self.model_dump(exclude={"limit", "cursor"}))


class _Held(Input):
    """Who holds a permit, who pays, where it stands."""

    person_id: Id | None = None
    unit_id: Id | None = None
    account_id: Id | None = None
    space: Annotated[
        str, Field(max_length=200, description="What is written of its spaces and no numbered one.", examples=[""])
    ] = ""
    note: Annotated[str, Field(max_length=300)] = ""


class HoldingIn(_Held):
    """The vehicles of a new permit, who holds it, who pays, where it stands."""

    plates: Plates
    space_ids: Annotated[tuple[Id, ...], Field(max_length=50, description="Its numbered spaces.", examples=[[]])] = ()

    def holding(self) -> Holding:
        """The same as the services know it."""
        told = (self.person_id, self.unit_id, self.account_id, self.space, self.note)
        return Holding(self.plates, *told, self.space_ids)


class PermitIn(HoldingIn):
    """A permit that costs nothing; its time by instants, or by local dates (`until_day`: the first day without it)."""

    project_id: Id
    kind: PermitKind
    lot_ids: LotIds
    valid_from: Annotated[Instant | None, Field(examples=[None])] = None
    valid_until: Annotated[Instant | None, Field(examples=[None])] = None
    from_day: Annotated[Day | None, Field(examples=["2026-01-01"])] = None
    until_day: Annotated[Day | None, Field(description="The first day without it.", examples=["2027-01-01"])] = None
    spaces: Spaces = 0
    when_freed: Freed = "never"
    grace_days: GraceDays = 0
    vehicle_class: OfClass = None
    lane_ids: LaneIds = ()

    @model_validator(mode="after")
    def _one_way(self) -> "PermitIn":
        if (self.valid_from is None) == (self.from_day is None):
            raise ValueError("expected valid_from or from_day")
        if self.valid_until is not None and self.until_day is not None:
            raise ValueError("expected valid_until or until_day, not both")
        return self

    def new(self, zone: ZoneInfo) -> NewPermit:
        """The same as the services know it."""
        begins = self.valid_from or day_start(self.from_day or date.min, zone)
        until = day_start(self.until_day, zone) if self.until_day is not None else self.valid_until
        terms = (self.spaces, self.when_freed, self.grace_days)
        only = (self.vehicle_class or "", self.lane_ids)
        return NewPermit(self.kind, self.lot_ids, begins, until, self.holding(), *terms, *only)


class PermitChangeIn(_Held):
    """All of it as it is to be; plates are changed one by one."""

    renews: Annotated[bool, Field(description="A card: renewed by itself, billed to its account.")] = False

    def holding(self) -> Holding:
        """The same as the services know it."""
        return Holding((), self.person_id, self.unit_id, self.account_id, self.space, self.note)


class ClassIn(Input):
    """The class that a permit is for from now on."""

    vehicle_class: OfClass


class LanesIn(Input):
    """The lanes that a permit names from now on, all of them."""

    lane_ids: LaneIds


class PlateIn(Input):
    """Another vehicle from an instant on, which may be past."""

    plate: PlateText
    valid_from: Instant | None = None


class PlateEndIn(Input):
    """A vehicle that is not of the permit any more from an instant on."""

    plate: PlateText
    valid_until: Instant | None = None


class SuspensionIn(Input):
    """Why it covers nothing from now on."""

    reason: Reason


class EndingIn(Input):
    """Why it ends and when: now, or later."""

    reason: Reason
    ends_at: Instant | None = None
    method: Annotated[
        str | None, Field(max_length=32, description="How money goes out; null: as it came in.", examples=["cash"])
    ] = None


class PermitOut(BaseModel):
    """A permit as it stands; `valid_until`: the end of its last period, null without."""

    id: int
    project_id: int
    kind: PermitKind
    state: PermitState
    product_id: int | None
    lot_ids: list[int]
    lane_ids: list[int]
    plates: list[str]
    valid_from: datetime
    valid_until: datetime | None
    grace_days: int
    spaces: int
    when_freed: WhenFreed
    vehicle_class: str | None
    space_numbers: list[str]
    space: str
    person_id: int | None
    unit_id: int | None
    account_id: int | None
    note: str
    renews: bool
    suspended_reason: str | None
    ended_at: datetime | None
    ended_reason: str | None

    @classmethod
    def of(cls, permit: Permit) -> "PermitOut":
        """From our record."""
        told = {name: getattr(permit, name) for name in PermitOut.model_fields}
        return cls(**{**told, "vehicle_class": permit.vehicle_class or None})


class PlatePeriodOut(BaseModel):
    """A plate of a permit, from when to when."""

    plate: str
    valid_from: datetime
    valid_until: datetime | None


class LanePeriodOut(BaseModel):
    """An entry by which vehicles have to come in, from when to when; null: ever since, without end."""

    lane_id: int
    valid_from: datetime | None
    valid_until: datetime | None


class ClassUntilOut(BaseModel):
    """The class that it was for until a moment; null: any."""

    until: datetime
    vehicle_class: str | None


class PeriodOut(BaseModel):
    """A time in which a permit holds, what it cost, and how it was paid."""

    valid_from: datetime
    valid_until: datetime | None
    paid_by: PaidBy
    amount: MoneyOut
    payment_id: int | None


class MonthOut(BaseModel):
    """A month that was sold (local dates); `agreement_id`: the charge by which it is billed."""

    start: date
    end: date
    amount: MoneyOut
    agreement_id: int | None
    given_back: bool


class PermitDetailOut(PermitOut):
    """A permit with all its plates, lanes, periods, months and numbered spaces, and the classes it was for before."""

    all_plates: list[PlatePeriodOut]
    all_lanes: list[LanePeriodOut]
    classes_before: list[ClassUntilOut]
    periods: list[PeriodOut]
    months: list[MonthOut]
    numbered_spaces: list[SpaceOut]

    @classmethod
    def whole(cls, detail: PermitDetail, currency: str) -> "PermitDetailOut":
        """From our record."""

        def money(amount: Decimal) -> MoneyOut:
            return MoneyOut.of(amount, currency)

        return cls(
            **dict(PermitOut.of(detail.permit)),
            all_plates=[
                PlatePeriodOut(plate=p.plate, valid_from=p.valid_from, valid_until=p.valid_until) for p in detail.plates
            ],
            all_lanes=[
                LanePeriodOut(lane_id=one.lane_id, valid_from=one.valid_from, valid_until=one.valid_until)
                for one in detail.lanes
            ],
            classes_before=[
                ClassUntilOut(until=one.until, vehicle_class=one.vehicle_class or None) for one in detail.classes_before
            ],
            periods=[
                PeriodOut(
                    valid_from=one.valid_from,
                    valid_until=one.valid_until,
                    paid_by=one.paid_by,
                    amount=money(one.amount),
                    payment_id=one.payment_id,
                )
                for one in detail.periods
            ],
            months=[
                MonthOut(
                    start=one.start,
                    end=one.end,
                    amount=money(one.amount),
                    agreement_id=one.agreement_id,
                    given_back=one.given_back,
                )
                for one in detail.months
            ],
            numbered_spaces=[SpaceOut.model_validate(one) for one in detail.numbered],
        )


class EndedOut(BaseModel):
    """A permit that was ended: what was paid out, and what is taken back from bills."""

    permit: PermitOut
    refunded: MoneyOut
    credited: MoneyOut

    @classmethod
    def of(cls, ended: Ended) -> "EndedOut":
        """From our record."""
        return cls(
            permit=PermitOut.of(ended.permit),
            refunded=MoneyOut.of(ended.refunded, ended.currency),
            credited=MoneyOut.of(ended.credited, ended.currency),
        )
