"""What the API of findings, edits and thresholds takes and gives."""

from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field

from cloud.kit.errors import InvalidInput
from cloud.kit.inputs import Id, Input, Instant, ListQuery, PageQuery
from cloud.metering.edits.service import Action, EditFilter
from cloud.metering.exceptions.repository import ExceptionFilter
from cloud.metering.exceptions.service import MOST_AT_ONCE, Decision
from cloud.metering.models import channel_number
from cloud.metering.records import ExceptionState, Meter, MeterException, ReadingEdit, Rule
from gateway.contract.quantities import BY_NUMBER, Quantity

Reason = Annotated[str, Field(min_length=1, max_length=500)]
Amount = Annotated[str, Field(max_length=40, pattern=r"^\d{1,20}(\.\d{1,12})?$", examples=["1234.56"])]
"""A register value in the unit people use (kWh, m³), as decimal text."""


def base_value(text: str, quantity: Quantity) -> int:
    """A register value in the base unit from one in the unit people use. Raises InvalidInput."""
    try:
        value = Decimal(text).scaleb(-quantity.display_exponent)
    except InvalidOperation as error:
        raise InvalidInput("bad-value", "expected a number", field="value") from error
    if not value.is_finite() or value != value.to_integral_value() or value < 0:
        raise InvalidInput(
            "bad-value", f"expected a number of {quantity.display_unit} with fewer decimals", field="value"
        )
    return int(value)


class ExceptionQuery(ListQuery):
    """Which findings are wanted: those that touch [from, to)."""

    meter_id: Id | None = None
    rule: Rule | None = None
    state: ExceptionState | None = None
    from_: Annotated[Instant | None, Field(alias="from")] = None
    to: Instant | None = None

    def wanted(self) -> ExceptionFilter:
        """The same as the service knows it."""
        return ExceptionFilter(self.project_id, self.meter_id, self.rule, self.state, self.from_, self.to)


class ExceptionOut(BaseModel):
    """A finding. `found` and `expected` are integers in the base unit or the unit that the rule names."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    project_id: int
    meter_id: int
    channel: str
    rule: Rule
    from_at: datetime
    until_at: datetime
    found: str | None
    expected: str | None
    state: ExceptionState
    actor: str
    reason: str
    decided_at: datetime | None
    detected_at: datetime

    @classmethod
    def of(cls, found: MeterException) -> Self:
        """From the record."""
        fields: dict[str, Any] = {name: getattr(found, name) for name in cls.model_fields}
        return cls(
            **{
                **fields,
                "channel": BY_NUMBER[found.channel].code,
                "found": None if found.found is None else str(found.found),
                "expected": None if found.expected is None else str(found.expected),
            }
        )


class DecisionIn(Input):
    """What is decided about open findings; `value` in the unit of the meter, when one reading is corrected."""

    ids: Annotated[list[Id], Field(min_length=1, max_length=MOST_AT_ONCE)]
    decision: Decision
    reason: Reason
    value: Amount | None = None


class DecidedOut(BaseModel):
    """The findings as they are now."""

    items: list[ExceptionOut]


class ReopeningIn(Input):
    """Why a decision is taken back."""

    reason: Reason


class EditsQuery(ListQuery):
    """Edits that were made in [from, to), of one meter or all; `actor` is a part of the name of who made them."""

    meter_id: Id | None = None
    actor: Annotated[str, Field(min_length=1, max_length=100, examples=["user:manager"])] | None = None
    from_: Annotated[Instant | None, Field(alias="from")] = None
    to: Instant | None = None

    def wanted(self) -> EditFilter:
        """The same as the service knows it."""
        return EditFilter(self.project_id, self.meter_id, actor=self.actor, start=self.from_, end=self.to)


class EditQuery(PageQuery):
    """Edits of one meter that were made in [from, to): of one channel or of all, of one reading or of all."""

    channel: Annotated[str, Field(max_length=64, examples=["energy_import_total"])] | None = None
    taken_at: Instant | None = None
    actor: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    from_: Annotated[Instant | None, Field(alias="from")] = None
    to: Instant | None = None

    def wanted(self, meter: Meter) -> EditFilter:
        """The same as the service knows it. Raises InvalidInput."""
        channel = None if self.channel is None else channel_number(self.channel, meter)
        return EditFilter(None, meter.id, channel, self.taken_at, self.actor, self.from_, self.to)


class EditIn(Input):
    """What is decided about a reading. `value` in the unit of the meter, for `set`."""

    channel: Annotated[str, Field(max_length=64)] | None = None
    taken_at: Instant
    action: Action
    value: Amount | None = None
    reason: Reason


class EditOut(BaseModel):
    """One version of what was decided about a reading; of several the highest counts."""

    meter_id: int
    channel: str
    taken_at: datetime
    version: int
    action: Action
    value: str | None
    unit: str
    reason: str
    actor: str
    created_at: datetime

    @classmethod
    def of(cls, edit: ReadingEdit) -> Self:
        """From the record."""
        quantity = BY_NUMBER[edit.channel]
        value = None if edit.value is None else format(Decimal(edit.value).scaleb(quantity.display_exponent), "f")
        return cls(
            meter_id=edit.meter_id,
            channel=quantity.code,
            taken_at=edit.taken_at,
            version=edit.version,
            action=edit.action,
            value=value,
            unit=quantity.display_unit,
            reason=edit.reason,
            actor=edit.actor,
            created_at=edit.created_at,
        )


class ThresholdIn(Input):
    """Settings that differ; without any the usual ones count."""

    settings: Annotated[dict[str, Any], Field(examples=[{"zero_days": 7, "rules": {"spike": "info"}}])]


class ThresholdOut(BaseModel):
    """The settings that differ, and all that count with them."""

    meter_class: str
    meter_id: int | None
    settings: dict[str, Any]
    in_force: dict[str, Any]
