"""What a fee rule would come to: example stays, and the last real stays of a lot before and after."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from cloud.estate import service as estate
from cloud.estate.calendar import calendar
from cloud.kit.calendars import DayType
from cloud.kit.db import Conn
from cloud.kit.periods import Period, local_day
from cloud.parking.charging.circumstances import circumstances
from cloud.parking.fees import trying_repository as repository
from cloud.parking.fees.circumstances import Circumstances
from cloud.parking.fees.models import ParkingRule
from cloud.parking.fees.pricing import price_stay
from cloud.parking.fees.trying_repository import PastStay
from cloud.parking.fees.versions import Pricing, pricing
from cloud.parking.fees.warnings import Warned, warnings
from cloud.parking.places.service import get_lot
from cloud.parking.records import Lot

LENGTHS = (15, 30, 60, 90, 120, 180, 300, 480, 720, 1440, 2880, 4320)
"""Minutes of the example stays."""
BEGINNINGS = (time(9), time(20))
"""When they begin, on a local clock."""

_DAYS_SHOWN = timedelta(days=10)
STAYS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Example:
    """What stays of one length would cost, by beginning."""

    minutes: int
    amounts: tuple[Decimal, ...]


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
class Tried:
    """All of it. `before` and `after` are sums over the stays that have both."""

    rule: ParkingRule
    day: date
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


async def try_rule(conn: Conn, lot_id: int, rule: ParkingRule, day: date) -> Tried:
    """Prices example stays that begin on a local day, and the last stays of the lot. Raises NotFound."""
    lot = await get_lot(conn, lot_id)
    zone = (await estate.get_project(conn, lot.project_id)).zone
    days = await calendar(conn, lot.project_id, Period(day - timedelta(days=1), day + _DAYS_SHOWN))
    classes = tuple(ClassExamples(name, _examples(rule, name, day, zone, days)) for name in ("", *sorted(rule.classes)))
    stays = await _last_stays(conn, lot, rule, zone)
    return Tried(rule, day, tuple(warnings(rule)), classes, stays)


def _examples(
    rule: ParkingRule, vehicle_class: str, day: date, zone: ZoneInfo, days: Mapping[date, DayType]
) -> tuple[Example, ...]:
    given = Circumstances(calendar=days)
    starts = [datetime.combine(day, begin, zone).astimezone(UTC) for begin in BEGINNINGS]

    def amounts(minutes: int) -> tuple[Decimal, ...]:
        length = timedelta(minutes=minutes)
        return tuple(price_stay(rule, start, start + length, vehicle_class, zone, given).amount for start in starts)

    return tuple(Example(minutes, amounts(minutes)) for minutes in LENGTHS)


async def _last_stays(conn: Conn, lot: Lot, rule: ParkingRule, zone: ZoneInfo) -> tuple[Compared, ...]:
    stays = await repository.last_stays(conn, lot.id, STAYS_SHOWN)
    given = await circumstances(conn, lot.project_id, stays)
    rates = await pricing(conn, lot.project_id, [lot.id])
    return tuple(_compared(stay, rule, rates, given[stay.id], zone) for stay in stays)


def _compared(stay: PastStay, rule: ParkingRule, rates: Pricing, given: Circumstances, zone: ZoneInfo) -> Compared:
    version = rates.rule_for(stay.lot_id, stay.entered_at)

    def price(by: ParkingRule) -> Decimal:
        return price_stay(by, stay.entered_at, stay.left_at, stay.vehicle_class, zone, given).amount

    return Compared(stay, None if version is None else price(version.rule), price(rule))


def next_first_day(versions: Sequence[date], today: date) -> date:
    """The earliest local day from which a new version may hold, from tomorrow on."""
    return max([today, *versions]) + timedelta(days=1)


def today_of(zone: ZoneInfo) -> date:
    """The local day now."""
    return local_day(datetime.now(UTC), zone)
