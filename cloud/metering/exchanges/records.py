"""What exchanges and removals of meters are made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal

from cloud.devices.bindings import BoundDevice
from cloud.metering.records import Meter, MeterRegister

ExchangeReason = Literal["exchanged", "multiplier"]
ProcedureKind = Literal["exchanged", "multiplier", "removed"]
WarningCode = Literal["ends-missing", "above-maximum", "next-does-not-fit", "nothing-to-compare", "has-sub-meters"]


@dataclass(frozen=True, slots=True)
class ChannelEnd:
    """Where a channel stood on the old register at the change, and on the new one; in its base unit."""

    channel: int
    final: int | None
    initial: int | None


@dataclass(frozen=True, slots=True)
class Exchange:
    """A change of the register at an instant: another meter, or another multiplier of the same one.

    `final` and `initial` are of the main channel; with the reason `multiplier` the register runs on, so that the
    reading at the change is both. What is None of the new register is as it was on the old one.
    """

    meter_id: int
    at: datetime
    reason: ExchangeReason
    final: int | None
    initial: int | None = None
    others: tuple[ChannelEnd, ...] = ()
    serial: str = ""
    multiplier: Decimal | None = None
    bounds: tuple[int, int] | None = None
    """Modulus and resolution."""
    max_per_hour: int | None = None
    rating: Mapping[str, int] = field(default_factory=dict)
    device_id: int | None = None
    """The device that carries the meter from then on, when it is another one."""
    verification_due: date | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Removal:
    """A meter is taken out for good. `others`: channel and final reading."""

    meter_id: int
    at: datetime
    final: int | None
    others: tuple[ChannelEnd, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class KnownReading:
    """A reading that counts, after edits."""

    taken_at: datetime
    value: int


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The last reading of a channel before an instant (since its register was put in) and the first at or after it."""

    before: KnownReading | None
    after: KnownReading | None


@dataclass(frozen=True, slots=True)
class ChannelOutcome:
    """What a change means for a channel: usage from the last reading to the change, and on to the next one.

    Multiplier applied; None where one of the two readings is not known.
    """

    end: ChannelEnd
    neighbours: Neighbours
    used_before: int | None
    used_after: int | None

    @property
    def used(self) -> int | None:
        """Over the whole change."""
        if self.used_before is None:
            return None
        return self.used_before + (self.used_after or 0)


@dataclass(frozen=True, slots=True)
class PlanWarning:
    """Something that does not forbid a change but that a person should have looked at."""

    code: WarningCode
    channel: int


@dataclass(frozen=True, slots=True)
class ExchangePlan:
    """A change that may be made, as it would be made. `after` is None when the meter is removed."""

    meter: Meter
    before: MeterRegister
    after: MeterRegister | None
    outcomes: tuple[ChannelOutcome, ...]
    """The main channel first."""
    warnings: tuple[PlanWarning, ...]
    binding: BoundDevice | None
    """The binding in force at the change."""


@dataclass(frozen=True, slots=True)
class Procedure:
    """An exchange or a removal that was made, and whether it was undone. `details` as it was entered."""

    id: int
    project_id: int
    meter_id: int
    kind: ProcedureKind
    at: datetime
    details: dict[str, Any]
    note: str
    actor: str
    created_at: datetime
    undone_at: datetime | None
    undone_by: str
    undone_reason: str
