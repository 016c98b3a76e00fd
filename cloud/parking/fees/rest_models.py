"""What the API of fee rules takes and gives."""

from datetime import date, datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field

from cloud.kit.inputs import Day, Input
from cloud.parking.fees.models import ParkingRule
from cloud.parking.fees.trying import BEGINNINGS, Tried
from cloud.parking.records import RuleVersion

_EXAMPLE = {"name": "Two yuan an hour", "schedule": {"free_minutes": 30, "unit": {"minutes": 60, "price": "2.00"}}}
Content = Annotated[ParkingRule, Field(examples=[_EXAMPLE])]


class ParkingRuleIn(Input):
    """A rule to publish: it prices who enters on `valid_from` or later."""

    valid_from: Day
    content: Content


class RuleVersionOut(BaseModel):
    """A published rule; it never changes but for `valid_until`, the day from which a later one holds."""

    id: int
    lot_id: int
    version: int
    valid_from: date
    valid_until: date | None
    content: dict[str, Any]

    @classmethod
    def of(cls, one: RuleVersion) -> "RuleVersionOut":
        """From our record."""
        known = {name: getattr(one, name) for name in ("id", "lot_id", "version", "valid_from", "valid_until")}
        return cls(**known, content=one.rule.model_dump(mode="json", exclude_defaults=True))


class RuleVersionsOut(BaseModel):
    """All versions of a lot's rule, oldest first."""

    items: list[RuleVersionOut]


class TrialIn(Input):
    """A rule to try; nothing is kept."""

    content: Content
    day: Day


class StayExampleOut(BaseModel):
    """A stay that begins at a local time of the day tried; `before` is null when no rule holds on that day."""

    vehicle_class: str
    begins: str
    minutes: int
    before: str | None
    amount: str


class ComparedOut(BaseModel):
    """A real stay; `before` is null when no rule held for it."""

    session_id: int
    entered_at: datetime
    left_at: datetime
    vehicle_class: str
    before: str | None
    after: str


class TrialOut(BaseModel):
    """What a rule would come to."""

    currency: str
    warnings: list[str]
    examples: list[StayExampleOut]
    stays: list[ComparedOut]

    @classmethod
    def of(cls, one: Tried) -> "TrialOut":
        """From our record."""
        examples = [
            StayExampleOut(
                vehicle_class=each.vehicle_class,
                begins=f"{begin:%H:%M}",
                minutes=example.minutes,
                before=None if example.before is None else str(example.before[number]),
                amount=str(amount),
            )
            for each in one.classes
            for example in each.examples
            for number, (begin, amount) in enumerate(zip(BEGINNINGS, example.amounts, strict=True))
        ]
        stays = [
            ComparedOut(
                session_id=each.stay.id,
                entered_at=each.stay.entered_at,
                left_at=each.stay.left_at,
                vehicle_class=each.stay.vehicle_class,
                before=None if each.before is None else str(each.before),
                after=str(each.after),
            )
            for each in one.stays
        ]
        warned = [str(each) for each in one.warnings]
        return cls(currency=one.rule.currency, warnings=warned, examples=examples, stays=stays)
