"""What the API of the estate takes and gives."""

from datetime import date
from decimal import Decimal
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from cloud.estate.records import OccupancyRole, UnitKind
from cloud.estate.service import EstateFilter
from cloud.kit.inputs import Day, Id, Input, ListQuery

Code = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^\S(.*\S)?$")]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Phone = Annotated[str, Field(min_length=5, max_length=40, pattern=r"^[+0-9 ()-]+$", examples=["138 0013 8000"])]

IdNumber = Annotated[
    str, Field(min_length=4, max_length=40, pattern=r"^[0-9A-Za-z -]+$", examples=["11010119900101123X"])
]


class _Out(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class EstateQuery(ListQuery):
    """Which rows are wanted; each list looks at the fields that its rows have."""

    building_id: Id | None = None
    unit_id: Id | None = None
    person_id: Id | None = None
    kind: UnitKind | None = None
    code: Annotated[str, Field(max_length=64, description="Beginning of the code of a unit.")] | None = None
    number: Annotated[str, Field(max_length=64, description="Number of an account.")] | None = None
    valid_on: Annotated[Day, Field(description="Local date on which the row holds.")] | None = None

    def wanted(self) -> EstateFilter:
        """The same as the services know it."""
        return EstateFilter(**self.model_dump(exclude={"limit", "cursor"}))


class PeopleQuery(ListQuery):
    """Which people are wanted: a part of the name."""

    name: Annotated[str, Field(max_length=200)] | None = None


class PeopleSearchIn(Input):
    """Exactly a phone, an ID number or both. A body, since addresses end up in logs."""

    project_id: Id | None = None
    phone: Phone | None = None
    id_number: IdNumber | None = None

    @model_validator(mode="after")
    def _one_at_least(self) -> Self:
        if self.phone is None and self.id_number is None:
            raise ValueError("expected phone or id_number")
        return self


class ValidityOut(_Out):
    """Local dates; the end is exclusive, null: open."""

    start: date
    end: date | None


class ProjectOut(_Out):
    """A project."""

    id: int
    code: str
    name: str
    time_zone: str
    currency: str
    address: str


class BuildingIn(Input):
    """A new building."""

    project_id: Id
    code: Annotated[Code, Field(examples=["3"])]
    name: Annotated[Name, Field(examples=["3号楼"])]


class BuildingOut(_Out):
    """A building."""

    id: int
    project_id: int
    code: str
    name: str


class UnitIn(Input):
    """A new unit. `area` in square metres."""

    project_id: Id
    building_id: Id
    code: Annotated[Code, Field(examples=["0302"])]
    kind: UnitKind = "residential"
    floor: Annotated[int, Field(ge=-20, le=300)] | None = None
    area: Annotated[Decimal, Field(ge=0, max_digits=12, decimal_places=2, examples=["89.50"])] | None = None


class UnitOut(_Out):
    """A unit. `area` in square metres."""

    id: int
    project_id: int
    building_id: int
    building_name: str
    code: str
    label: str
    kind: UnitKind
    floor: int | None
    area: Decimal | None


Email = Annotated[str, Field(max_length=254, pattern=r"^[^@\s]+@[^@\s]+$", examples=["li.na@example.com"])]


class PersonIn(Input):
    """A new person. Phone and ID number are stored sealed."""

    project_id: Id
    name: Name
    phone: Phone | None = None
    id_number: IdNumber | None = None
    email: Email | None = None


class PersonChange(Input):
    """What is to be different of a person; null: no e-mail address."""

    email: Email | None


class PersonOut(_Out):
    """A person. The ID number is always masked; phone (masked) and e-mail (null) unless you may read people."""

    id: int
    project_id: int
    name: str
    phone: str | None
    id_number: str | None
    email: str | None


class _DatedIn(Input):
    project_id: Id
    valid_from: Day
    valid_until: Annotated[Day, Field(description="First day after the end.")] | None = None


class OccupancyIn(_DatedIn):
    """Who lives or works in a unit."""

    unit_id: Id
    person_id: Id
    role: OccupancyRole


class OccupancyChange(Input):
    """When a person leaves a unit; null: he has not left."""

    valid_until: Annotated[Day, Field(description="First day after the end.")] | None


class OccupancyOut(_Out):
    """Who lives or works in a unit."""

    id: int
    project_id: int
    unit_id: int
    person_id: int
    person_name: str
    role: OccupancyRole
    valid: ValidityOut


class HouseholdIn(_DatedIn):
    """How many persons are filed for a unit."""

    unit_id: Id
    persons: Annotated[int, Field(ge=0, le=99)]


class HouseholdChange(Input):
    """What is to be different of a filing: its number for all its days, its end (null: it goes on), or both."""

    persons: Annotated[int, Field(ge=0, le=99)] | None = None
    valid_until: Annotated[Day, Field(description="First day after the end.")] | None = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_fields_set or ("persons" in self.model_fields_set and self.persons is None):
            raise ValueError("expected persons, valid_until or both")
        return self


class HouseholdOut(_Out):
    """How many persons are filed for a unit."""

    id: int
    project_id: int
    unit_id: int
    persons: int
    valid: ValidityOut


class AccountIn(_DatedIn):
    """Who pays, for a unit or without one."""

    number: Annotated[Code, Field(examples=["A-3-0302"])]
    unit_id: Id | None = None
    person_id: Id


class AccountOut(_Out):
    """Who pays. `unit_label` is empty for an account without a unit."""

    id: int
    project_id: int
    number: str
    unit_id: int | None
    person_id: int
    person_name: str
    unit_label: str
    valid: ValidityOut
