"""What the API of concessions takes and gives."""

from datetime import date, datetime
from typing import Annotated

from pydantic import BaseModel, Field, WithJsonSchema

from cloud.billing.concessions.reductions import Kind, Rule
from cloud.billing.concessions.service import ConcessionFilter, ConcessionRow, NewConcession
from cloud.kit.amounts import plain
from cloud.kit.inputs import Day, Id, Input, ListQuery
from cloud.tariffs.model.values import Price

Codes = Annotated[tuple[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")], ...], Field(max_length=20)]
Reason = Annotated[str, Field(min_length=1, max_length=300, examples=["form 17, filed by the owner"])]


class ConcessionQuery(ListQuery):
    """Which concessions are wanted; of an account also those of its agreements and units."""

    account_id: Id | None = None
    agreement_id: Id | None = None
    unit_id: Id | None = None
    rule: Rule | None = None
    unapproved: Annotated[bool, Field(description="Only those that wait for approval.")] = False

    def wanted(self) -> ConcessionFilter:
        """The same as the services know it."""
        return ConcessionFilter(
            self.project_id, self.account_id, self.agreement_id, self.unit_id, self.rule, self.unapproved
        )


class ConcessionIn(Input):
    """A reduction for an account, an agreement or a unit (one of them), filed from a day; a vacancy also until a day.

    Concessions of a charge apply in the order of `position` and id, each on what the ones before left.
    """

    project_id: Id
    account_id: Id | None = None
    agreement_id: Id | None = None
    unit_id: Id | None = None
    rule: Rule
    name: Annotated[str, Field(min_length=1, max_length=100, examples=["Vacancy of shop 12"])]
    kind: Annotated[
        Kind,
        Field(description="percent: taken off; factor: the share still owed; amount: taken off for a calendar month."),
    ]
    value: Annotated[
        Price,
        Field(decimal_places=4),
        WithJsonSchema({"type": "string", "pattern": r"^[0-9]{1,10}(\.[0-9]{1,4})?$", "examples": ["0.70"]}),
    ]
    services: Annotated[Codes, Field(description="What it applies to; none named: every service.")] = ()
    components: Annotated[Codes, Field(description="Components of the charge; none named: all, taxes included.")] = ()
    valid_from: Annotated[Day | None, Field(description="Needed: a concession without dates is refused.")] = None
    valid_until: Annotated[Day | None, Field(description="The first day without it; needed for a vacancy.")] = None
    position: Annotated[
        int | None, Field(ge=1, le=999, description="vacancy 10, long_lease 20, subsidy 30, promotion 40, other 50.")
    ] = None
    reason: Reason

    def new(self) -> NewConcession:
        """The same as the services know it."""
        return NewConcession(
            rule=self.rule,
            name=self.name,
            kind=self.kind,
            value=self.value,
            valid_from=self.valid_from,
            valid_until=self.valid_until,
            reason=self.reason,
            account_id=self.account_id,
            agreement_id=self.agreement_id,
            unit_id=self.unit_id,
            services=self.services,
            components=self.components,
            position=self.position,
        )


class ApprovalIn(Input):
    """Why it is approved."""

    reason: Reason


class ConcessionOut(BaseModel):
    """A concession; it is taken off once it is approved."""

    id: int
    project_id: int
    account_id: int | None
    agreement_id: int | None
    unit_id: int | None
    rule: Rule
    name: str
    kind: Kind
    value: Annotated[str, Field(examples=["0.7"])]
    services: list[str]
    components: list[str]
    valid_from: date
    valid_until: date | None
    position: int
    reason: str
    created_by: Annotated[int | None, Field(description="Who filed it; somebody else approves it.")]
    approved_by: int | None
    approved_at: datetime | None
    approval: Annotated[str | None, Field(description="Why it was approved.")]

    @classmethod
    def of(cls, row: ConcessionRow) -> "ConcessionOut":
        """From our records."""
        terms = row.terms
        return cls(
            id=terms.id,
            project_id=row.project_id,
            account_id=row.account_id,
            agreement_id=row.agreement_id,
            unit_id=row.unit_id,
            rule=terms.rule,
            name=terms.name,
            kind=terms.kind,
            value=plain(terms.value),
            services=list(terms.services),
            components=list(terms.components),
            valid_from=terms.valid.start,
            valid_until=row.valid_until,
            position=terms.position,
            reason=row.reason,
            created_by=row.created_by,
            approved_by=row.approved_by,
            approved_at=row.approved_at,
            approval=row.approval,
        )
