"""What the metering feature hands out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Final, Literal, get_args

from gateway.contract.quantities import BY_CODE, Quantity

Medium = Literal["electricity", "water", "heat"]
MEDIA: Final[tuple[Medium, ...]] = get_args(Medium)
Step = Literal["15min", "30min", "hour", "day", "month"]

MAIN_CHANNEL: dict[Medium, Quantity] = {
    "electricity": BY_CODE["energy_import_total"],
    "water": BY_CODE["volume_total"],
    "heat": BY_CODE["heat_total"],
}
"""The register that is billed."""

_NUMBERS_OF: dict[Medium, tuple[range, ...]] = {
    "electricity": (range(1, 60),),
    "water": (range(70, 72), range(80, 81), range(83, 85)),
    # A heat meter counts the water that runs through it.
    "heat": (range(70, 71), range(72, 74), range(80, 83), range(85, 86)),
}
_OF_ANY_DEVICE = range(100, 110)

MAX_MODULUS = 10**15
MAX_PER_HOUR = 10**12
MAX_PRODUCT = 10**16
"""Of the modulus with the multiplier. These three are bounds that keep the usage engine inside 64 bits."""


def belongs_to(quantity: Quantity, medium: Medium) -> bool:
    """Whether a meter for this medium can measure the quantity."""
    return any(quantity.number in numbers for numbers in (*_NUMBERS_OF[medium], _OF_ANY_DEVICE))


@dataclass(frozen=True, slots=True)
class Meter:
    """A meter. `modulus` and `max_per_hour` are in the base unit of its main channel, before the multiplier."""

    id: int
    project_id: int
    code: str
    medium: Medium
    unit_id: int | None
    parent_id: int | None
    serial: str
    place: str
    multiplier: Decimal
    modulus: int
    max_per_hour: int
    installed_on: date
    removed_on: date | None
    meter_class: str = ""
    """Key of its thresholds; empty: the usual class of the medium."""
    interval_s: int = 3600
    """Length of its usage rows: 900, 1800, 3600, or 86400 for local days."""
    verification_due: date | None = None

    @property
    def main_channel(self) -> Quantity:
        """The register that is billed."""
        return MAIN_CHANNEL[self.medium]


@dataclass(frozen=True, slots=True)
class NewMeter:
    """What `create_meters` wants to know of each meter."""

    code: str
    medium: Medium
    unit_id: int | None
    modulus: int
    max_per_hour: int
    installed_on: date
    multiplier: Decimal = Decimal(1)
    parent_id: int | None = None
    serial: str = ""
    place: str = ""
    meter_class: str = ""
    interval_s: int = 3600
    resolution: int = 1
    rating: Mapping[str, int] = field(default_factory=dict)
    verification_due: date | None = None


@dataclass(frozen=True, slots=True)
class MasterData:
    """What is said of a meter and can be corrected. What is said of its register has a history of its own."""

    code: str
    unit_id: int | None
    parent_id: int | None
    place: str
    meter_class: str
    interval_s: int
    verification_due: date | None


@dataclass(frozen=True, slots=True)
class MeterFilter:
    """Which meters are wanted; None: any."""

    unit_id: int | None = None
    medium: Medium | None = None
    meter_class: str | None = None
    parent_id: int | None = None
    due_by: date | None = None
    """Only meters in place whose verification is due on this day or before."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One stored reading; `value` in the base unit of the channel, before the multiplier."""

    meter_id: int
    channel: int
    taken_at: datetime
    value: int
    quality: int
    received_at: datetime


@dataclass(frozen=True, slots=True)
class BoundaryReading:
    """The first good reading at or after an instant, within the tolerance."""

    taken_at: datetime
    value: int
    quality: int


@dataclass(frozen=True, slots=True)
class UsageBar:
    """Usage from `start` to `end` (UTC) in the base unit, multiplier applied.

    `quantity` is None when it is not known: readings are missing over an edge of the bar for too long (`spans_gap`), or
    there are none at all yet. `estimated`: its shape or one of its ends is, at least in part.
    """

    start: datetime
    end: datetime
    quantity: int | None
    spans_gap: bool
    estimated: bool = False

    @property
    def uncertain(self) -> bool:
        """Whether readings are missing here: what is shown is an estimate, or nothing."""
        return self.spans_gap or self.estimated


@dataclass(frozen=True, slots=True)
class UsageRow:
    """One derived row: the advance between two instants, multiplier applied."""

    start: datetime
    length_s: int
    quantity: int
    method: int
    version: int

    @property
    def estimated(self) -> bool:
        """Whether no reading tells where the register stood at one of its ends."""
        return 3 <= self.method <= 6


@dataclass(frozen=True, slots=True)
class UsageTotal:
    """Usage between two instants. `complete`: the rows cover it exactly, none crosses an end, none is missing."""

    quantity: int
    complete: bool
    rollovers: int
    gaps: int
    """Rows over gaps too long to be shaped."""
    estimated: int = 0
    """Rows with an estimated end."""


Rule = Literal[
    "duplicate", "clock", "configuration", "gap", "backward", "exchange", "maximum", "spike", "high-low", "frozen",
    "zero", "inactive", "negative", "register-sum", "sibling", "prolonged-estimate", "leak", "master-balance",
]  # fmt: skip
"""V1 to V18 in their order."""
ExceptionState = Literal["open", "accepted", "corrected", "dismissed"]


@dataclass(frozen=True, slots=True)
class MeterException:
    """A finding of a validation rule and what was decided about it. About one reading `from_at` equals `until_at`."""

    id: int
    project_id: int
    meter_id: int
    channel: int
    rule: Rule
    from_at: datetime
    until_at: datetime
    found: int | None
    expected: int | None
    state: ExceptionState
    actor: str
    reason: str
    decided_at: datetime | None
    detected_at: datetime


@dataclass(frozen=True, slots=True)
class MeterRegister:
    """The register in force from `valid_from` to `valid_until` (None: still). Units as in `Meter`.

    `ends`: by channel, where it stood when it was put in and when it was taken out, None where nobody knows.
    """

    id: int
    meter_id: int
    valid_from: datetime
    valid_until: datetime | None
    reason: Literal["installed", "exchanged", "multiplier"]
    serial: str
    multiplier: Decimal
    modulus: int
    resolution: int
    max_per_hour: int
    ends: dict[int, tuple[int | None, int | None]]
    rating: dict[str, int] = field(default_factory=dict)
    """What `max_per_hour` follows from (cloud/metering/assets/ratings.py); empty when nobody said."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class TreePlace:
    """A meter in a tree: `depth` is 0 for the one that was asked for, below 0 for its masters."""

    id: int
    depth: int


@dataclass(frozen=True, slots=True)
class MeterSeal:
    """A seal on a meter, and when, by whom and why it was taken off."""

    id: int
    meter_id: int
    number: str
    place: str
    applied_at: datetime
    applied_by: str
    removed_at: datetime | None
    removed_by: str
    removed_reason: str


@dataclass(frozen=True, slots=True)
class Verification:
    """An official test of a meter. `next_due` is None after one that was not passed, and where nobody said."""

    id: int
    meter_id: int
    verified_on: date
    result: Literal["passed", "failed"]
    certificate: str
    next_due: date | None
    note: str
    actor: str


@dataclass(frozen=True, slots=True)
class ReadingEdit:
    """What staff decided about one reading; of several the highest version counts."""

    meter_id: int
    channel: int
    taken_at: datetime
    version: int
    action: Literal["set", "use", "ignore", "original"]
    value: int | None
    reason: str
    actor: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ChangedSpan:
    """Usage rows of one register with `from_at <= start < until_at` differ from what was there before."""

    project_id: int
    meter_id: int
    channel: int
    from_at: datetime
    until_at: datetime


@dataclass(slots=True)
class StoreResult:
    """What became of a group of points."""

    stored: int = 0
    repeated: int = 0
    """Same key, same value: dropped."""
    revised: int = 0
    """Same key, other value: the first stays, this one is kept beside it."""
    unclaimed: int = 0
    unusable: int = 0
    """The device answered without a value."""
    seen_ms: Mapping[int, int] = field(default_factory=dict)
    """By id of the device, when it was heard of last by these points: milliseconds since 1970, stamped at the edge."""
