"""What a fee rule would come to: example stays, and the last real stays of a lot before and after."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from cloud.estate.calendar import calendar
from cloud.kit.calendars import DayType
from cloud.kit.db import Conn
from cloud.kit.periods import Period, local_day
from cloud.parking.charging.circumstances import circumstances
from cloud.parking.fees import trying_repository as repository
from cloud.parking.fees.circumstances import Circumstances
from cloud.parking.fees.models import ParkingRule
from cloud.parking.fees.pricing import Fee, FeeStep, price_stay
from cloud.parking.fees.trying_repository import PastStay
from cloud.parking.fees.versions import Pricing, pricing
from cloud.parking.fees.warnings import Warned, warnings
from cloud.parking.places.service import get_lot
from cloud.parking.records import Lot, RuleVersion

LENGTHS = (15, 30, 60, 90, 120, 180, 300, 480, 720, 1440, 2880, 4320)
"""Minutes of the example stays."""
BEGINNINGS = (time(9), time(20))
"""When they begin, on a local clock."""

_DAYS_SHOWN = timedelta(days=10)
_DAY = timedelta(days=1)
STAYS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Example:
    """What stays of one length would cost, by beginning; `before`: by the rule that holds then without the new one."""

    minutes: int
    amounts: tuple[Decimal, ...]
    before: tuple[Decimal, ...] | None = None


@dataclass(frozen=True, slots=True)
class ClassExamples:
    """Example stays of one class of vehicles; the empty name is all that have no schedule of their own."""

    vehicle_class: str
    examples: tuple[Example, ...]


@dataclass(frozen=True, slots=True)
class Compared:
    """A real stay: what it costs by the rule that holds for it (None without one), and by the one that is tried."""

    stay: PastStay
    before: Decimal | None
    after: Decimal


@dataclass(frozen=True, slots=True)
class TypedStay:
    """A stay that somebody thought of."""

    entered_at: datetime
    left_at: datetime
    vehicle_class: str


@dataclass(frozen=True, slots=True)
class Priced:
    """What a stay would cost and why; `before`: by the rule that holds for it now, None without one."""

    stay: TypedStay
    fee: Decimal
    currency: str
    steps: tuple[FeeStep, ...]
    before: Decimal | None


@dataclass(frozen=True, slots=True)
class Tried:
    """All of it. `before` and `after` are sums over the stays that have both; `base` is what examples compare with."""

    rule: ParkingRule
    day: date
    zone: ZoneInfo
    base: RuleVersion | None
    priced: Priced | None
    warnings: tuple[Warned, ...]
    classes: tuple[ClassExamples, ...]
    stays: tuple[Compared, ...]

    @property
    def before(self) -> Decimal:
        """What the real stays cost."""
        return sum((one.before for one in self.stays if one.before is not None), Decimal(0))

    @property
    def after(self) -> Decimal:
        """What the same stays would have cost."""
        return sum((one.after for one in self.stays if one.before is not None), Decimal(0))


async def try_rule(conn: Conn, lot_id: int, rule: ParkingRule, day: date, stay: TypedStay | None = None) -> Tried:
    """Prices example stays that begin on a local day, the last stays of the lot, and one more. Raises NotFound."""
    lot = await get_lot(conn, lot_id)
    rates = await pricing(conn, lot.project_id, [lot.id])
    base = next((one for one in rates.versions if one.covers(day)), None)
    days = await calendar(conn, lot.project_id, Period(day - timedelta(days=1), day + _DAYS_SHOWN))
    names = {"", *rule.classes, *(() if base is None else base.rule.classes)}
    examples = _Examples(rule, None if base is None else base.rule, day, rates.zone, days)
    classes = tuple(ClassExamples(name, examples.of(name)) for name in sorted(names))
    priced = None if stay is None else await _priced(conn, lot, rule, rates, stay)
    stays = await _last_stays(conn, lot, rule, rates)
    return Tried(rule, day, rates.zone, base, priced, tuple(warnings(rule)), classes, stays)


@dataclass(frozen=True, slots=True)
class _Examples:
    rule: ParkingRule
    base: ParkingRule | None
    day: date
    zone: ZoneInfo
    days: Mapping[date, DayType]

    def of(self, vehicle_class: str) -> tuple[Example, ...]:
        """Those of a class."""
        return tuple(
            Example(
                minutes,
                self._amounts(self.rule, vehicle_class, minutes),
                None if self.base is None else self._amounts(self.base, vehicle_class, minutes),
            )
            for minutes in LENGTHS
        )

    def _amounts(self, rule: ParkingRule, vehicle_class: str, minutes: int) -> tuple[Decimal, ...]:
        given = Circumstances(calendar=self.days)
        length = timedelta(minutes=minutes)
        starts = [datetime.combine(self.day, begin, self.zone).astimezone(UTC) for begin in BEGINNINGS]
        return tuple(
            price_stay(rule, start, start + length, vehicle_class, self.zone, given).amount for start in starts
        )


async def _priced(conn: Conn, lot: Lot, rule: ParkingRule, rates: Pricing, stay: TypedStay) -> Priced:
    days = Period(
        local_day(stay.entered_at, rates.zone) - timedelta(days=1), local_day(stay.left_at, rates.zone) + _DAY
    )
    given = Circumstances(calendar=await calendar(conn, lot.project_id, days))
    version = rates.rule_for(lot.id, stay.entered_at)

    def price(by: ParkingRule) -> Fee:
        return price_stay(by, stay.entered_at, stay.left_at, stay.vehicle_class, rates.zone, given)

    fee, before = price(rule), None if version is None else price(version.rule).amount
    return Priced(stay, fee.amount, fee.currency, fee.steps, before)


async def _last_stays(conn: Conn, lot: Lot, rule: ParkingRule, rates: Pricing) -> tuple[Compared, ...]:
    stays = await repository.last_stays(conn, lot.id, STAYS_SHOWN)
    given = await circumstances(conn, lot.project_id, rates.zone, stays)
    return tuple(_compared(stay, rule, rates, given[stay.id]) for stay in stays)


def _compared(stay: PastStay, rule: ParkingRule, rates: Pricing, given: Circumstances) -> Compared:
    version = rates.rule_for(stay.lot_id, stay.entered_at)

    def price(by: ParkingRule) -> Decimal:
        return price_stay(by, stay.entered_at, stay.left_at, stay.vehicle_class, rates.zone, given).amount

    return Compared(stay, None if version is None else price(version.rule), price(rule))


def next_first_day(versions: Sequence[date], today: date) -> date:
    """The earliest local day from which a new version may hold, from tomorrow on."""
    return max([today, *versions]) + timedelta(days=1)


def today_of(zone: ZoneInfo) -> date:
    """The local day now."""
    return local_day(datetime.now(UTC), zone)
