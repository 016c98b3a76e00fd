"""What the API of apportionment takes and gives. Quantities are decimal strings in the unit people use."""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Self

from pydantic import BaseModel, Field

from cloud.estate.records import UnitKind, Validity
from cloud.kit.inputs import Day, Id, Input
from cloud.metering.apportionment.records import (
    Basis,
    Member,
    NewRule,
    OwnShare,
    Participation,
    Preview,
    Rule,
    Run,
    Share,
    SharedThing,
)
from cloud.metering.models import QuantityOut
from cloud.metering.records import MAIN_CHANNEL, Medium
from cloud.metering.supervision.models import PeriodQuery
from gateway.contract.quantities import Quantity

FixedQuantity = Annotated[
    Decimal,
    Field(gt=0, le=10**9, max_digits=13, decimal_places=3, description="In the unit people use (kWh, m³)."),
]


class MemberIn(Input):
    """A unit on the list with its share, or one that is left out."""

    unit_id: Id
    weight: Annotated[int, Field(ge=0, le=10**9)] = 1
    excluded: bool = False


class RuleIn(Input):
    """A new rule: what is shared, by what, among whom, from when on."""

    project_id: Id
    name: Annotated[str, Field(min_length=1, max_length=100)]
    medium: Medium
    shared: SharedThing
    meter_id: Id | None = None
    quantity: FixedQuantity | None = None
    basis: Basis
    participants: Participation
    building_id: Id | None = None
    excluded_kinds: Annotated[list[UnitKind], Field(default_factory=list, max_length=5)]
    only_occupied: bool = False
    valid_from: Day
    valid_until: Day | None = None
    members: Annotated[list[MemberIn], Field(default_factory=list, max_length=10_000)]

    def new_rule(self) -> NewRule:
        """The same as the services know it."""
        return NewRule(
            self.name, self.medium, self.shared, self.basis, self.participants,
            Validity(self.valid_from, self.valid_until), self.meter_id,
            None if self.quantity is None else base_units(self.quantity, MAIN_CHANNEL[self.medium]), self.building_id,
            tuple(self.excluded_kinds), self.only_occupied,
            tuple(Member(one.unit_id, one.weight, one.excluded) for one in self.members),
        )  # fmt: skip


class RuleEnd(Input):
    """Until when (exclusive) a rule holds."""

    valid_until: Day


class RuleOut(BaseModel):
    """A rule."""

    id: int
    project_id: int
    name: str
    medium: Medium
    shared: SharedThing
    meter_id: int | None
    quantity: QuantityOut | None
    basis: Basis
    participants: Participation
    building_id: int | None
    excluded_kinds: list[UnitKind]
    only_occupied: bool
    valid_from: date
    valid_until: date | None

    @classmethod
    def of(cls, rule: Rule) -> Self:
        """From the record."""
        fixed = None if rule.quantity is None else QuantityOut.of(rule.quantity, rule.channel)
        return cls(
            id=rule.id, project_id=rule.project_id, name=rule.name, medium=rule.medium, shared=rule.shared,
            meter_id=rule.meter_id, quantity=fixed, basis=rule.basis, participants=rule.participants,
            building_id=rule.building_id, excluded_kinds=list(rule.excluded_kinds), only_occupied=rule.only_occupied,
            valid_from=rule.valid.start, valid_until=rule.valid.end,
        )  # fmt: skip


class PreviewQuery(PeriodQuery):
    """Of which local days [from, to); `estimate`: what is missing is estimated."""

    estimate: bool = False


class ShareOut(BaseModel):
    """What a unit gets for local days [from, to): amount × weight / total weight, rounded by the largest remainder."""

    unit_id: int
    from_: Annotated[date, Field(alias="from")]
    to: date
    weight: str
    quantity: QuantityOut
    before: QuantityOut | None = None

    @classmethod
    def of(cls, share: Share, channel: Quantity) -> Self:
        """From the record."""
        before = None if share.before is None else QuantityOut.of(share.before, channel)
        return cls(
            unit_id=share.unit_id, to=share.until_on, weight=str(share.weight), before=before,
            quantity=QuantityOut.of(share.quantity, channel), **{"from": share.from_on},
        )  # fmt: skip


class PreviewOut(BaseModel):
    """What settling now would come to. `found` below 0 is a finding about the meters: nothing is shared out."""

    rule_id: int
    found: QuantityOut
    amount: QuantityOut
    total_weight: str
    estimated: bool
    open_meters: list[int]
    changed: bool
    settled_version: int | None
    shares: list[ShareOut]

    @classmethod
    def of(cls, made: Preview) -> Self:
        """From the record."""
        channel = made.rule.channel
        return cls(
            rule_id=made.rule.id, found=QuantityOut.of(made.found, channel),
            amount=QuantityOut.of(made.amount, channel), total_weight=str(made.total_weight),
            estimated=made.estimated, open_meters=list(made.open_meters), changed=made.is_changed,
            settled_version=None if made.settled is None else made.settled.version,
            shares=[ShareOut.of(share, channel) for share in made.shares],
        )  # fmt: skip


class RunOut(BaseModel):
    """A settled version of a period."""

    id: int
    rule_id: int
    from_: Annotated[date, Field(alias="from")]
    to: date
    version: int
    found: QuantityOut
    amount: QuantityOut
    total_weight: str
    estimated: bool
    actor: str
    settled_at: datetime

    @classmethod
    def of(cls, run: Run, channel: Quantity) -> Self:
        """From the record."""
        return cls(
            id=run.id, rule_id=run.rule_id, to=run.period.end, version=run.version,
            found=QuantityOut.of(run.found, channel), amount=QuantityOut.of(run.amount, channel),
            total_weight=str(run.total_weight), estimated=run.estimated, actor=run.actor, settled_at=run.settled_at,
            **{"from": run.period.start},
        )  # fmt: skip


class OwnShareOut(BaseModel):
    """A settled share with what explains it: total × weight / total weight = quantity."""

    rule: str
    medium: Medium
    basis: Basis
    version: int
    total: QuantityOut
    total_weight: str
    share: ShareOut

    @classmethod
    def of(cls, own: OwnShare) -> Self:
        """From the record."""
        channel = MAIN_CHANNEL[own.medium]
        return cls(
            rule=own.rule_name, medium=own.medium, basis=own.basis, version=own.version,
            total=QuantityOut.of(own.amount, channel), total_weight=str(own.total_weight),
            share=ShareOut.of(own.share, channel),
        )  # fmt: skip


def base_units(shown: Decimal, channel: Quantity) -> int:
    """A quantity in the unit people use, in the base unit of the channel."""
    return int(shown.scaleb(-channel.display_exponent))
