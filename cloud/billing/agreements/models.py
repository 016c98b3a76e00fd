"""What the API of agreements, rents, packages and one-off charges takes and gives."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, Field, WithJsonSchema

from cloud.billing.agreements.area_repository import BilledArea
from cloud.billing.agreements.rents import Rent, RentStep
from cloud.billing.agreements.service import NewRent, Rise
from cloud.billing.agreements.taxes import TaxStep
from cloud.billing.records import Agreement, AgreementKind
from cloud.kit.amounts import MoneyOut, plain
from cloud.kit.inputs import Day, Id, Input, ListQuery
from cloud.tariffs.model.registers import RegisterMap, Source
from cloud.tariffs.model.values import Percent, Price

Months = Annotated[Literal[1, 3, 6, 12], Field(examples=[3])]
Amount = Annotated[
    Price,
    Field(gt=0, decimal_places=2),
    WithJsonSchema({"type": "string", "pattern": r"^[0-9]{1,10}(\.[0-9]{1,2})?$", "examples": ["8000.00"]}),
]
Area = Annotated[
    Price,
    Field(gt=0, decimal_places=2),
    WithJsonSchema({"type": "string", "pattern": r"^[0-9]{1,10}(\.[0-9]{1,2})?$", "examples": ["89.50"]}),
]
ServiceCode = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$", examples=["electricity"])]


class AgreementQuery(ListQuery):
    """Which agreements are wanted; `valid_on`: those of a local day."""

    account_id: Id | None = None
    kind: AgreementKind | None = None
    valid_on: Day | None = None


class AgreementIn(Input):
    """What an account is charged for by a tariff, from `valid_from` up to, not including, `valid_until`."""

    project_id: Id
    account_id: Id
    service: ServiceCode
    tariff_id: Id
    meter_id: Id | None = None
    unit_id: Id | None = None
    valid_from: Day
    valid_until: Day | None = None
    capacity_va: Annotated[
        int | None, Field(gt=0, le=10**12, description="Contracted capacity in VA.", examples=[315000])
    ] = None
    area: Annotated[Area | None, Field(description="m² where it is not that of the unit.")] = None
    single: Annotated[bool, Field(description="Billed by the prices without tiers.")] = False
    time_of_use: Annotated[
        Source | None,
        Field(description="Where usage by price period comes from; null: as the tariff says.", examples=["registers"]),
    ] = None
    registers: Annotated[
        RegisterMap | None,
        Field(description="Which registers of the meter count each price period; null: as the tariff says."),
    ] = None


class TaxIn(Input):
    """A tax on what is agreed: on top of it, or contained in it (`inclusive`)."""

    percent: Annotated[Percent, Field(ge=0, lt=100, decimal_places=4, examples=["9"])]
    inclusive: bool = False


class TaxStepIn(TaxIn):
    """A tax from a day on; 0 percent is none."""

    from_day: Annotated[Day, Field(examples=["2026-01-01"])]

    def step(self) -> TaxStep:
        """The same as the services know it."""
        return TaxStep(self.from_day, self.percent, self.inclusive)


class RentStepIn(Input):
    """From this day on another amount."""

    from_day: Annotated[Day, Field(examples=["2027-01-01"])]
    amount: Amount


class RiseIn(Input):
    """A rise by a percentage of the rent before, each rounded half up; a fall where it is negative."""

    percent: Annotated[Percent, Field(gt=-100, le=1000)]
    every_months: Annotated[int, Field(ge=1, le=120, examples=[12])] = 12


class _Periodic(Input):
    """What rents and packages have in common."""

    project_id: Id
    account_id: Id
    unit_id: Id | None = None
    valid_from: Day
    valid_until: Annotated[Day | None, Field(description="The first day after the lease.")] = None
    amount: Amount
    per_months: Annotated[Months, Field(description="The amount is for so many months.")] = 1
    every_months: Annotated[Months, Field(description="It is paid every so many months.")] = 1
    in_advance: Annotated[bool, Field(description="Due on the first day of an instalment, else after its last.")] = True
    anchor: Annotated[
        Day | None, Field(description="Instalments count from this day; without: from the first of the lease.")
    ] = None
    steps: Annotated[tuple[RentStepIn, ...], Field(max_length=200)] = ()
    rise: RiseIn | None = None
    taxes: Annotated[tuple[TaxStepIn, ...], Field(max_length=50, description="By date; before the first: none.")] = ()

    def _new(self, service: str, description: str) -> NewRent:
        return NewRent(
            account_id=self.account_id,
            service=service,
            valid_from=self.valid_from,
            amount=self.amount,
            valid_until=self.valid_until,
            unit_id=self.unit_id,
            per_months=self.per_months,
            every_months=self.every_months,
            in_advance=self.in_advance,
            anchor=self.anchor,
            steps=tuple(RentStep(step.from_day, step.amount) for step in self.steps),
            rise=None if self.rise is None else Rise(self.rise.percent, self.rise.every_months),
            description=description,
            taxes=tuple(tax.step() for tax in self.taxes),
        )


class RentIn(_Periodic):
    """A rent: an amount for so many months, paid every so many, with steps by date or a rise in percent."""

    service: ServiceCode = "rent"
    per_area: Annotated[bool, Field(description="Amounts are for a square metre of the billed floor area.")] = False
    description: Annotated[str, Field(max_length=300)] = ""

    def new(self) -> NewRent:
        """The same as the services know it."""
        return replace(self._new(self.service, self.description), per_area=self.per_area)


class PackageIn(_Periodic):
    """Several services sold together for a price between two days: nothing else is to pay of what it contains."""

    service: Annotated[ServiceCode, Field(examples=["package"])] = "package"
    name: Annotated[str, Field(min_length=1, max_length=100, examples=["All-in shop"])]
    contains: Annotated[tuple[ServiceCode, ...], Field(min_length=1, max_length=20, examples=[["property", "water"]])]
    valid_until: Annotated[Day, Field(description="The first day after it.")]

    def new(self) -> NewRent:
        """The same as the services know it."""
        return replace(self._new(self.service, self.name), contains=self.contains)


class RentChangeIn(Input):
    """Amounts from the first of their days on, in place of all known so far for later days."""

    steps: Annotated[tuple[RentStepIn, ...], Field(min_length=1, max_length=200)]


class TakingBackIn(Input):
    """Why a charge is taken back."""

    reason: Annotated[str, Field(min_length=1, max_length=300, examples=["charged to the wrong tenant"])]


class BilledAreaIn(Input):
    """The floor area of a unit as it is billed from a day on, which may be past."""

    project_id: Id
    unit_id: Id
    from_day: Annotated[Day, Field(examples=["2026-01-01"])]
    area: Annotated[Area, Field(examples=["92.10"])]
    reason: Annotated[str, Field(min_length=1, max_length=300, examples=["measured again"])]


class BilledAreaQuery(ListQuery):
    """Which filed areas are wanted."""

    unit_id: Id | None = None


class BilledAreaOut(BaseModel):
    """The floor area in m² of a unit from a day on, and why it was filed."""

    id: int
    project_id: int
    unit_id: int
    from_day: date
    area: Annotated[str, Field(examples=["92.1"])]
    reason: str

    @classmethod
    def of(cls, one: BilledArea) -> "BilledAreaOut":
        """From our records."""
        return cls(
            id=one.id,
            project_id=one.project_id,
            unit_id=one.unit_id,
            from_day=one.from_day,
            area=plain(one.area),
            reason=one.reason,
        )


class OneOffIn(Input):
    """A charge that the next run over its day, or a later one, bills once."""

    project_id: Id
    account_id: Id
    unit_id: Id | None = None
    category: Annotated[ServiceCode, Field(description="The service it counts as.", examples=["maintenance"])]
    description: Annotated[str, Field(min_length=1, max_length=300, examples=["New lock of the door"])]
    amount: Amount
    day: Day
    tax: TaxIn | None = None


class EndIn(Input):
    """The first day without it."""

    day: Annotated[Day, Field(examples=["2026-07-01"])]


class AgreementOut(BaseModel):
    """A service agreement: by a tariff, a rent, or a one-off charge, which alone has `amount`."""

    id: int
    project_id: int
    account_id: int
    kind: AgreementKind
    service: str
    tariff_id: int | None
    meter_id: int | None
    unit_id: int | None
    valid_from: date
    valid_until: date | None
    capacity_va: int | None
    area: str | None
    single: bool
    amount: MoneyOut | None
    description: str
    taken_back: Annotated[bool, Field(description="Of a one-off charge: it is given back.")]
    time_of_use: Source | None
    registers: RegisterMap | None

    @classmethod
    def of(cls, agreement: Agreement, currency: str) -> "AgreementOut":
        """From our records."""
        return cls(
            id=agreement.id,
            project_id=agreement.project_id,
            account_id=agreement.account_id,
            kind=agreement.kind,
            service=agreement.service,
            tariff_id=agreement.tariff_id,
            meter_id=agreement.meter_id,
            unit_id=agreement.unit_id,
            valid_from=agreement.valid_from,
            valid_until=agreement.valid_until,
            capacity_va=agreement.capacity_va,
            area=None if agreement.area is None else plain(agreement.area),
            single=agreement.single,
            amount=None if agreement.amount is None else MoneyOut.of(agreement.amount, currency),
            description=agreement.description,
            taken_back=agreement.taken_back,
            time_of_use=agreement.time_of_use,
            registers=None if agreement.registers is None else RegisterMap.model_validate(agreement.registers),
        )


class TaxStepOut(BaseModel):
    """A tax from a day on."""

    from_day: date
    percent: Annotated[str, Field(examples=["9"])]
    inclusive: bool


class RentStepOut(BaseModel):
    """From this day on the rent is this."""

    from_day: date
    amount: MoneyOut


class RentOut(BaseModel):
    """The terms of a rent: amounts for `per_months` by date, paid every `every_months` from `anchor` on."""

    per_months: int
    every_months: int
    in_advance: bool
    anchor: date
    per_area: bool
    contains: Annotated[list[str], Field(description="Services that a package pays for.")]
    steps: list[RentStepOut]

    @classmethod
    def of(cls, rent: Rent, currency: str) -> "RentOut":
        """From our records."""
        steps = [RentStepOut(from_day=one.from_day, amount=MoneyOut.of(one.amount, currency)) for one in rent.steps]
        return cls(
            per_months=rent.per_months,
            every_months=rent.every_months,
            in_advance=rent.in_advance,
            anchor=rent.anchor,
            per_area=rent.per_area,
            contains=list(rent.contains),
            steps=steps,
        )


class AgreementDetailOut(AgreementOut):
    """An agreement with the terms of its rent or package, null unless it is one, and its taxes by date."""

    rent: RentOut | None
    taxes: list[TaxStepOut]

    @classmethod
    def whole(
        cls, agreement: Agreement, rent: Rent | None, taxes: Sequence[TaxStep], currency: str
    ) -> "AgreementDetailOut":
        """From our records."""
        told = None if rent is None else RentOut.of(rent, currency)
        said = [TaxStepOut(from_day=one.from_day, percent=plain(one.percent), inclusive=one.inclusive) for one in taxes]
        return cls(**dict(AgreementOut.of(agreement, currency)), rent=told, taxes=said)
