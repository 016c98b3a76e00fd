"""Days of 23 and 25 hours, leap days and the turn of the year: what local days and times of day mean for a fee."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.kit.calendars import DayType, day_type
from cloud.parking.fees.circumstances import Circumstances
from cloud.parking.fees.models import ParkingRule
from cloud.parking.fees.pricing import price_stay

BERLIN, NEW_YORK = ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York")
CHANGES = {
    (BERLIN, "spring"): date(2026, 3, 29), (BERLIN, "autumn"): date(2026, 10, 25),
    (NEW_YORK, "spring"): date(2026, 3, 8), (NEW_YORK, "autumn"): date(2026, 11, 1),
}  # fmt: skip
HOURS = {"spring": 23, "autumn": 25}


def rule_of(**schedule: Any) -> ParkingRule:
    return ParkingRule.model_validate({"name": "x", "schedule": schedule})


def local(day: date, clock: str, zone: ZoneInfo) -> datetime:
    return datetime.fromisoformat(f"{day}T{clock}").replace(tzinfo=zone)


def price(rule: ParkingRule, start: datetime, end: datetime, zone: ZoneInfo) -> Decimal:
    return price_stay(rule, start, end, "small", zone).amount


@pytest.mark.parametrize(("zone", "season"), CHANGES, ids=lambda one: getattr(one, "key", one))
def test_a_day_has_the_hours_that_it_has(zone: ZoneInfo, season: str) -> None:
    day = CHANGES[zone, season]
    midnight, next_midnight = local(day, "00:00", zone), local(day + timedelta(days=1), "00:00", zone)
    by_hour = rule_of(unit={"minutes": 60, "price": "1"})
    assert price(by_hour, midnight, next_midnight, zone) == HOURS[season]
    # Night until six and day from six on, whenever the clock changes in between.
    windows = [
        {"start": "22:00", "end": "06:00", "minutes": 60, "price": "1"},
        {"start": "06:00", "end": "22:00", "minutes": 60, "price": "10"},
    ]
    assert price(rule_of(windows=windows), midnight, next_midnight, zone) == HOURS[season] - 16 + 160
    windows[0]["cap"] = "4"
    before = local(day - timedelta(days=1), "22:00", zone)
    assert price(rule_of(windows=windows), before, local(day, "06:00", zone), zone) == 4


@pytest.mark.parametrize(("zone", "season"), CHANGES, ids=lambda one: getattr(one, "key", one))
def test_caps_of_days_are_those_of_the_date_and_those_of_24_hours_are_not(zone: ZoneInfo, season: str) -> None:
    day = CHANGES[zone, season]
    start, end = local(day, "00:00", zone), local(day + timedelta(days=2), "00:00", zone)
    capped = rule_of(unit={"minutes": 1, "price": "1"}, caps={"per_calendar_day": "100"})
    assert price(capped, start, end, zone) == 200
    assert price(capped, start, end + timedelta(minutes=1), zone) == 201
    rolling = rule_of(unit={"minutes": 1, "price": "1"}, caps={"per_24_hours": "100"})
    # 47 hours begin two times of 24, 49 hours begin three.
    assert price(rolling, start, end, zone) == {"spring": 200, "autumn": 260}[season]


@settings(max_examples=40)
@given(st.sampled_from(sorted(CHANGES, key=str)), st.integers(-1500, 1500), st.integers(0, 3000), st.data())
def test_against_every_minute_of_the_local_clock(
    at: tuple[ZoneInfo, str], start: int, minutes: int, data: st.DataObject
) -> None:
    """Prices by the minute, windows and days told by the clock on the wall alone."""
    zone, _ = at
    night, morning = (data.draw(st.integers(*bounds)) for bounds in ((20, 23), (4, 9)))
    cap = data.draw(st.integers(50, 900))
    windows = [
        {"start": f"{night:02}:00", "end": f"{morning:02}:00", "minutes": 1, "price": "1"},
        {"start": f"{morning:02}:00", "end": f"{night:02}:00", "minutes": 1, "price": "3"},
    ]
    rule = rule_of(windows=windows, caps={"per_calendar_day": str(cap)})
    entered = datetime.combine(CHANGES[at], datetime.min.time(), zone).astimezone(UTC) + timedelta(minutes=start)
    taken: dict[date, int] = {}
    for minute in range(minutes):
        clock = (entered + timedelta(minutes=minute)).astimezone(zone)
        cost = 3 if morning <= clock.hour < night else 1
        taken[clock.date()] = min(taken.get(clock.date(), 0) + cost, cap)
    assert price(rule, entered, entered + timedelta(minutes=minutes), zone) == sum(taken.values())


@settings(max_examples=40)
@given(
    st.sampled_from([date(2027, 12, 30), date(2028, 2, 27), date(2027, 2, 27), date(1999, 12, 30), date(2100, 2, 27)]),
    st.integers(0, 2000),
    st.integers(0, 4000),
    st.dictionaries(st.integers(-1, 6), st.sampled_from(["work", "rest", "holiday", "critical"]), max_size=5),
)
def test_leap_days_and_holidays_over_the_end_of_the_year(
    first: date, start: int, minutes: int, kinds: dict[int, DayType]
) -> None:
    """Each kind of days has its price; the calendar says which, day by day."""
    prices: dict[DayType, int] = {"work": 4, "rest": 2, "holiday": 1, "critical": 7}
    windows = [
        {"start": "00:00", "end": "24:00", "days": [kind], "minutes": 1, "price": str(cost)}
        for kind, cost in prices.items()
    ]
    rule = rule_of(windows=windows, caps={"per_calendar_day": "2500"})
    zone = ZoneInfo("Asia/Shanghai")
    calendar = {first + timedelta(days=number): kind for number, kind in kinds.items()}
    entered = datetime.combine(first, datetime.min.time(), zone) + timedelta(minutes=start)
    taken: dict[date, int] = {}
    for minute in range(minutes):
        day = (entered + timedelta(minutes=minute)).date()
        taken[day] = min(taken.get(day, 0) + prices[day_type(day, calendar)], 2500)
    given_ = Circumstances(calendar=calendar)
    fee = price_stay(rule, entered, entered + timedelta(minutes=minutes), "small", zone, given_)
    assert fee.amount == sum(taken.values())
