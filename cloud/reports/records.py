"""What the reports hand out."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Literal

from cloud.billing.records import Bill, TierGauge
from cloud.devices.records import DeviceCounts
from cloud.kit.money import round_half_up
from cloud.kit.periods import Period
from cloud.metering.records import MAIN_CHANNEL, Medium, Meter, Reading
from cloud.parking.records import Session, Vehicle


@dataclass(frozen=True, slots=True)
class Consumption:
    """Usage of a project today and yesterday up to the same hour, in the medium's base unit."""

    medium: Medium
    today: int
    yesterday: int

    @property
    def channel(self) -> str:
        """Code of the register that was summed."""
        return MAIN_CHANNEL[self.medium].code

    @property
    def change_percent(self) -> Decimal | None:
        """How much more (or less) than yesterday, with one decimal; None when nothing was used then."""
        if not self.yesterday:
            return None
        return round_half_up(Decimal(self.today - self.yesterday) * 100 / self.yesterday, 1)


@dataclass(frozen=True, slots=True)
class MonthMoney:
    """What was billed in a month, and what of those bills has been collected until now."""

    period: Period
    billed: Decimal
    collected: Decimal
    currency: str

    @property
    def bar_percent(self) -> int:
        """Collected of billed in whole percent, 0 to 100, for a bar."""
        return 0 if not self.billed else max(0, min(100, int(self.collected * 100 / self.billed)))


@dataclass(frozen=True, slots=True)
class LotState:
    """How full a parking lot is: vehicles that stand in it, and not in a lot inside."""

    lot_id: int
    name: str
    standing: int
    free: int
    capacity: int


@dataclass(frozen=True, slots=True)
class Exceptional:
    """Something a person should look at; `count` times until `at`.

    `code` is the stable reason (of a command: its state), `detail` the English sentence that came with it, `what` the
    action of a command, the kind of a job or the content of a gap, `href` the page that shows more, `span` the time
    that is meant.
    """

    kind: Literal["usage", "dead-letter", "unclaimed", "gap", "command", "job", "bill-failure"]
    at: datetime
    subject: str
    code: str
    detail: str = ""
    count: int = 1
    what: str = ""
    href: str | None = None
    span: tuple[datetime, datetime] | None = None


@dataclass(frozen=True, slots=True)
class Overview:
    """The staff's first page. Parts that the reader may not see are None or empty."""

    devices: DeviceCounts | None
    consumption: list[Consumption]
    months: list[MonthMoney]
    lots: list[LotState]
    exceptions: list[Exceptional] | None


@dataclass(frozen=True, slots=True)
class MeterMonth:
    """Usage of a resident's meter this month until now and in the whole month before, in the base unit."""

    meter: Meter
    this_month: int
    last_month: int


@dataclass(frozen=True, slots=True)
class TierFill:
    """One tier of a gauge and how much of it is used, in whole percent."""

    number: int
    upper: Decimal | None
    price: Decimal | None
    percent: int
    is_current: bool


@dataclass(frozen=True, slots=True)
class Home:
    """A resident's first page. `bill` is the newest one."""

    usage: list[MeterMonth]
    gauges: list[TierGauge]
    bill: Bill | None
    vehicles: list[Vehicle]
    sessions: list[Session]


@dataclass(frozen=True, slots=True)
class HourUsage:
    """Usage of a project that began in the hour at `start`."""

    start: datetime
    quantity: int


@dataclass(frozen=True, slots=True)
class MeterRow:
    """A meter in a list: where it is and what it read last."""

    id: int
    code: str
    medium: Medium
    place: str
    meter_class: str
    verification_due: date | None
    seen_at: datetime | None
    reading: Reading | None

    @property
    def channel(self) -> str:
        """Code of its main register."""
        return MAIN_CHANNEL[self.medium].code


@dataclass(frozen=True, slots=True)
class MeterFilter:
    """Which meters are wanted; None: any. `state` looks at the device that carries the meter now."""

    project_id: int
    search: str | None = None
    building_id: int | None = None
    unit_id: int | None = None
    medium: Medium | None = None
    state: Literal["online", "silent", "never"] | None = None
    meter_class: str | None = None
    due_by: date | None = None
    """Only meters in place whose verification is due on this day or before."""


def fills(gauge: TierGauge) -> list[TierFill]:
    """How full each tier is. The last has no upper bound: it is empty or, once reached, half full."""
    found, lower = [], Decimal(0)
    for band in gauge.tiers:
        if band.upper is None:
            percent = 50 if gauge.used > lower else 0
        else:
            inside = min(max(gauge.used - lower, Decimal(0)), band.upper - lower)
            percent = int(inside * 100 / (band.upper - lower))
            lower = band.upper
        found.append(TierFill(band.number, band.upper, band.price, percent, band.number == gauge.tier))
    return found
