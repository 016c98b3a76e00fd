"""Prices of stays by rules of each kind, worked out by hand; payments and the time to leave after them."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from cloud.parking.fees.billed_time import clock_instant
from cloud.parking.fees.circumstances import Circumstances, Coupon, CoveredTime
from cloud.parking.fees.models import Caps, ParkingRule, PriceWindow, Schedule, Unit
from cloud.parking.fees.pricing import Settlement, assess, price_stay
from cloud.parking.fees.versions import Pricing
from cloud.parking.records import RuleVersion

ROOT = Path(__file__).parents[5]
SHANGHAI = ZoneInfo("Asia/Shanghai")


def _rule(name: str) -> ParkingRule:
    text = (ROOT / f"firmware-config/parking/{name}.yaml").read_text("utf-8")
    return ParkingRule.model_validate(yaml.safe_load(text))


def _at(text: str, zone: ZoneInfo = SHANGHAI) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone)


def _price(rule: ParkingRule, entered: str, left: str, zone: ZoneInfo = SHANGHAI) -> Decimal:
    return price_stay(rule, _at(entered, zone), _at(left, zone), "small", zone).amount


@pytest.mark.parametrize(
    ("left", "amount"),
    [
        ("2026-05-01T09:30", "0.00"),
        ("2026-05-01T09:30:00.999", "0.00"),
        ("2026-05-01T09:30:01", "5.00"),
        ("2026-05-01T10:00", "5.00"),
        ("2026-05-01T10:00:01", "6.00"),
        ("2026-05-02T08:00", "20.00"),
        ("2026-05-02T08:00:01", "21.00"),
        ("2026-05-02T09:00", "21.00"),
        ("2026-05-03T08:00", "40.00"),
    ],
)
def test_mall_free_minutes_first_block_and_cap(left: str, amount: str) -> None:
    assert _price(_rule("mall"), "2026-05-01T08:00", left) == Decimal(amount)


def test_units_are_counted_anew_where_a_window_begins() -> None:
    rule = _rule("day-night")
    fee = price_stay(rule, _at("2026-05-01T17:10"), _at("2026-05-01T19:10"), "small", SHANGHAI)
    assert [(step.kind, step.units, step.amount) for step in fee.steps] == [
        ("units", 2, Decimal("2.00")),
        ("units", 2, Decimal("1.00")),
    ]


def test_the_cap_is_a_step_of_its_own() -> None:
    fee = price_stay(_rule("day-night"), _at("2026-05-01T08:00"), _at("2026-05-02T08:00"), "small", SHANGHAI)
    assert [(step.kind, step.amount) for step in fee.steps] == [
        ("units", Decimal("20.00")),
        ("units", Decimal("7.00")),
        ("cap-24-hours", Decimal("-7.00")),
    ]


def test_free_minutes_may_stay_free() -> None:
    rule = ParkingRule(
        name="x",
        schedule=Schedule(free_minutes=60, billing_from="end-of-free", unit=Unit(minutes=60, price=Decimal(2))),
    )
    assert _price(rule, "2026-05-01T08:00", "2026-05-01T09:01") == Decimal("2.00")
    assert _price(rule, "2026-05-01T08:00", "2026-05-01T10:00") == Decimal("2.00")
    assert _price(rule, "2026-05-01T08:00", "2026-05-01T10:01") == Decimal("4.00")


def test_both_caps_bind_together() -> None:
    rule = ParkingRule(
        name="x",
        schedule=Schedule(
            unit=Unit(minutes=60, price=Decimal(1)),
            caps=Caps(per_24_hours=Decimal(15), per_calendar_day=Decimal(5)),
        ),
    )
    # 22:00-24:00 2, then 5 of the next date; its cap binds before that of the 24 hours.
    assert _price(rule, "2026-05-01T22:00", "2026-05-02T22:00") == Decimal("7.00")
    assert _price(rule, "2026-05-01T22:00", "2026-05-03T22:00") == Decimal("12.00")


def test_clocks_put_forward_and_back_in_the_zone_of_the_lot() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    day = PriceWindow(start="06:00", end="22:00", minutes=60, price=Decimal(2))
    night = PriceWindow(start="22:00", end="06:00", minutes=60, price=Decimal(1))
    rule = ParkingRule(name="x", currency="EUR", schedule=Schedule(windows=(day, night)))
    assert _price(rule, "2026-03-28T22:00", "2026-03-29T07:00", berlin) == Decimal("9.00")  # a night of 7 hours
    assert _price(rule, "2026-10-24T22:00", "2026-10-25T07:00", berlin) == Decimal("11.00")  # a night of 9 hours


def test_a_time_that_the_clock_skips_begins_where_the_jump_ends() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    jump = int(datetime(2026, 3, 29, 1, tzinfo=UTC).timestamp())
    day = datetime(2026, 3, 29, tzinfo=UTC).date()
    assert [clock_instant(day, minutes, berlin) - jump for minutes in (119, 120, 150, 180, 181)] == [-60, 0, 0, 0, 60]


def test_a_date_that_clocks_interrupt_is_one_date() -> None:
    # Until 2011 the clocks of St. John's went back at 00:01, into the evening before.
    zone = ZoneInfo("America/St_Johns")
    schedule = Schedule(unit=Unit(minutes=15, price=Decimal(1)), caps=Caps(per_calendar_day=Decimal(10)))
    rule = ParkingRule(name="x", currency="CAD", schedule=schedule)
    fee = price_stay(rule, _at("2010-11-06T23:00", zone), _at("2010-11-07T12:00", zone), "small", zone)
    assert [(step.kind, step.units, step.amount) for step in fee.steps] == [
        ("units", 4, Decimal("4.00")),
        ("units", 52, Decimal("52.00")),
        ("cap-calendar-day", 0, Decimal("-42.00")),
    ]
    in_the_second_evening = datetime(2010, 11, 7, 3, tzinfo=UTC)
    assert in_the_second_evening.astimezone(zone).day == 6
    fee = price_stay(rule, in_the_second_evening, _at("2010-11-07T12:00", zone), "small", zone)
    assert [step.units for step in fee.steps] == [50, 0]


@given(st.integers(0, 60 * 48))
@example(15)
@example(16)
def test_after_paying_one_may_leave_within_the_time_and_pays_the_difference_later(minutes: int) -> None:
    rule, entered = _rule("mall"), _at("2026-05-01T08:00")
    paid_until = entered + timedelta(hours=5)
    left = paid_until + timedelta(minutes=minutes)
    result = assess(rule, entered, left, "small", SHANGHAI, [Settlement(paid_until, Decimal("8.00"))])
    if minutes <= 15:
        assert (result.due, result.fee.amount) == (Decimal(0), Decimal("8.00"))
    else:
        whole = price_stay(rule, entered, left, "small", SHANGHAI).amount
        assert result.due == whole - Decimal("8.00")


def test_too_little_paid_starts_no_time_to_leave() -> None:
    rule, entered = _rule("mall"), _at("2026-05-01T08:00")
    left = entered + timedelta(hours=5)
    result = assess(rule, entered, left, "small", SHANGHAI, [Settlement(left, Decimal("7.00"))])
    assert (result.due, result.leave_by) == (Decimal("1.00"), None)


def test_an_earlier_exit_found_out_later_leaves_a_surplus() -> None:
    rule, entered = _rule("mall"), _at("2026-05-01T08:00")
    paid = [Settlement(entered + timedelta(hours=5), Decimal("8.00"))]
    result = assess(rule, entered, entered + timedelta(hours=2), "small", SHANGHAI, paid)
    assert (result.due, result.surplus) == (Decimal(0), Decimal("3.00"))


def test_a_stay_that_ends_before_it_begins_costs_nothing() -> None:
    assert _price(_rule("mall"), "2026-05-02T08:00", "2026-05-01T08:00") == Decimal("0.00")


def test_naive_instants_are_refused() -> None:
    naive = _at("2026-05-01T08:00").replace(tzinfo=None)
    with pytest.raises(ValueError, match="time zone"):
        price_stay(_rule("mall"), naive, naive, "small", SHANGHAI)


def test_the_cap_of_a_window_is_one_for_each_time_that_it_lasts() -> None:
    day = PriceWindow(start="08:00", end="20:00", minutes=60, price=Decimal(1))
    night = PriceWindow(start="20:00", end="08:00", minutes=60, price=Decimal(2), cap=Decimal(10))
    rule = ParkingRule(name="x", schedule=Schedule(windows=(day, night)))
    assert _price(rule, "2026-05-01T20:00", "2026-05-03T08:00") == Decimal("32.00"), "10 + 12 + 10"


def test_a_stay_of_just_the_free_minutes_says_that_it_was_free() -> None:
    fee = price_stay(_rule("mall"), _at("2026-05-01T08:00"), _at("2026-05-01T09:30"), "small", SHANGHAI)
    assert [(step.kind, step.end) for step in fee.steps] == [("free", _at("2026-05-01T09:30"))]


def test_a_permit_that_moves_a_unit_behind_midnight_makes_no_stay_dearer() -> None:
    """Both units begin before midnight and share the cap of the day; with a quarter covered one begins after it."""
    schedule = Schedule(unit=Unit(minutes=60, price=Decimal(10)), caps=Caps(per_calendar_day=Decimal(10)))
    rule, stay = ParkingRule(name="x", schedule=schedule), (_at("2026-05-01T22:50"), _at("2026-05-02T00:40"))
    covered = CoveredTime(_at("2026-05-01T22:55"), _at("2026-05-01T23:10"))
    fee = price_stay(rule, *stay, "small", SHANGHAI, Circumstances(covered=(covered,)))
    assert fee.amount == price_stay(rule, *stay, "small", SHANGHAI).amount == Decimal("10.00")


def test_hours_that_a_coupon_gives_are_the_first_ones() -> None:
    """The stay begins in the day, which is dear, and ends in the night, which is not."""
    day = PriceWindow(start="08:00", end="20:00", minutes=60, price=Decimal(5))
    night = PriceWindow(start="20:00", end="08:00", minutes=60, price=Decimal(1))
    rule, stay = (
        ParkingRule(name="x", schedule=Schedule(windows=(day, night))),
        (_at("2026-05-01T19:00"), _at("2026-05-01T22:00")),
    )
    coupon = Coupon("C", "hours", Decimal(1))
    assert price_stay(rule, *stay, "small", SHANGHAI, Circumstances(coupons=(coupon,))).amount == Decimal("2.00")


def test_the_rule_in_force_at_the_entry_is_that_of_the_local_day() -> None:
    """Half past midnight in Shanghai is the day before in UTC."""
    old, new = (
        RuleVersion(number, 1, number, begins, ends, _rule("mall"))
        for number, begins, ends in ((1, date(2026, 1, 1), date(2026, 5, 1)), (2, date(2026, 5, 1), None))
    )
    rates = Pricing(SHANGHAI, (old, new))
    for entered, version in (("2026-04-30T23:59:59", old), ("2026-05-01T00:30", new)):
        assert rates.rule_for(1, _at(entered).astimezone(UTC)) is version
    assert rates.rule_for(1, _at("2025-12-31T23:59")) is None
    assert rates.rule_for(2, _at("2026-05-01T00:30")) is None
