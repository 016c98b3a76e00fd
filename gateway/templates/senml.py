"""The shape of a template of a meter that speaks SenML: which of its records is which channel."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from gateway.contract.quantities import Kind
from gateway.templates.base import DeviceTemplate, Measured

_RECORD_PATTERN = r"^[A-Za-z0-9:./_-]+$"


class SenmlRecord(Measured):
    """One value of the device and the record that carries it."""

    record: Annotated[str, Field(min_length=1, max_length=128, pattern=_RECORD_PATTERN)]
    """Name of the record without what it shares with the device's other records: the base name."""
    sent_as: Annotated[str, Field(max_length=32)] | None = None
    """Unit as the device writes it, such as `Cel`; `unit` when absent, empty for a device that names no unit. A record
    of another unit is refused, never converted by guess."""
    field: Literal["value", "sum"] = "value"
    """Which number of the record: its value, or the sum that the device integrates over time. A sum is in `sent_as`
    times seconds."""
    states: dict[str, int] = Field(default_factory=dict)
    """For a state told in words: the number of each word (`"true"` and `"false"` for a boolean)."""

    @property
    def is_exact(self) -> bool:
        """A device may write any decimal number; it is rounded half to even to the base unit."""
        return False

    @model_validator(mode="after")
    def _states_of_a_state(self) -> Self:
        if self.states and (self.quantity.kind is not Kind.STATE or self.field == "sum" or self.sent_as is not None):
            raise ValueError("expected states only on the value of a state, without sent_as")
        return self


class SenmlTemplate(DeviceTemplate):
    """A meter that pushes SenML, or that is observed."""

    protocol: Literal["senml"]
    registers: Annotated[tuple[SenmlRecord, ...], Field(min_length=1)]
