"""What holds for every rule there can be, for every stay, whatever the circumstances."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.parking.fees.circumstances import USUAL, Circumstances, Coupon, CoveredTime
from cloud.parking.fees.models import ParkingRule
from cloud.parking.fees.pricing import Settlement, assess, price_stay
from cloud.parking.fees.reading import read_rule, rule_text
from cloud.parking.fees.warnings import warnings
from tests.unit.cloud.parking.fees import by_the_minute
from tests.unit.cloud.parking.fees.rules import SHANGHAI, circumstances, entries, rules, stays, zones

minute_entries = st.integers(0, 4 * 1440).map(
    lambda minute: datetime(2026, 4, 29, tzinfo=SHANGHAI) + timedelta(minutes=minute)
)


@settings(max_examples=120)
@given(st.data(), rules(), minute_entries, st.integers(0, 3 * 1440))
def test_the_price_is_what_counting_minute_by_minute_gives(
    data: st.DataObject, rule: ParkingRule, entered: datetime, minutes: int
) -> None:
    given_ = data.draw(circumstances(entered))
    if rule.schedule.charging is not None:
        given_ = replace(given_, charged=replace(given_.charged, kwh=given_.charged.kwh.to_integral_value()))
    fee = price_stay(rule, entered, entered + timedelta(minutes=minutes), "small", SHANGHAI, given_)
    assert fee.amount == by_the_minute.price(rule.schedule, entered, minutes, given_)


@given(st.data(), rules(), entries, stays, stays, zones)
def test_a_longer_stay_never_costs_less(
    data: st.DataObject, rule: ParkingRule, entered: datetime, one: timedelta, other: timedelta, zone: ZoneInfo
) -> None:
    given_ = data.draw(circumstances(entered))
    short, long = sorted((one, other))
    lower = price_stay(rule, entered, entered + short, "small", zone, given_).amount
    assert Decimal(0) <= lower <= price_stay(rule, entered, entered + long, "small", zone, given_).amount


@given(st.data(), rules(), entries, stays, zones, zones)
def test_steps_add_up_and_the_zone_of_display_changes_nothing(
    data: st.DataObject, rule: ParkingRule, entered: datetime, stay: timedelta, zone: ZoneInfo, display: ZoneInfo
) -> None:
    given_ = data.draw(circumstances(entered))
    fee = price_stay(rule, entered, entered + stay, "small", zone, given_)
    assert fee.amount == sum(step.amount for step in fee.steps)
    assert all(step.amount == step.units * step.price for step in fee.steps if step.kind in ("units", "first-block"))
    assert all(step.start <= step.end for step in fee.steps)
    covered = tuple(
        CoveredTime(one.start.astimezone(display), one.end.astimezone(UTC)) for one in reversed(given_.covered)
    )
    there = replace(given_, covered=covered, coupons=given_.coupons[::-1])
    assert (
        price_stay(rule, entered.astimezone(display), (entered + stay).astimezone(display), "small", zone, there) == fee
    )


@settings(max_examples=40)
@given(st.data(), rules(), entries, stays, zones)
def test_cutting_covered_time_into_pieces_changes_nothing(
    data: st.DataObject, rule: ParkingRule, entered: datetime, stay: timedelta, zone: ZoneInfo
) -> None:
    given_ = data.draw(circumstances(entered))
    pieces: list[CoveredTime] = []
    for one in given_.covered:
        middle = one.start + data.draw(st.floats(0, 1)) * (one.end - one.start)
        pieces += [CoveredTime(middle, one.end), CoveredTime(one.start, middle), one]
    fee = price_stay(rule, entered, entered + stay, "small", zone, given_)
    cut = replace(given_, covered=tuple(pieces))
    assert price_stay(rule, entered, entered + stay, "small", zone, cut).steps == fee.steps


@given(st.data(), rules(), entries, stays, zones)
def test_neither_permit_nor_coupon_ever_makes_a_stay_dearer(
    data: st.DataObject, rule: ParkingRule, entered: datetime, stay: timedelta, zone: ZoneInfo
) -> None:
    given_ = data.draw(circumstances(entered))
    permit = Circumstances(covered=given_.covered, free_used=given_.free_used, calendar=given_.calendar)
    whole, covered, all_of_it = (
        price_stay(rule, entered, entered + stay, "small", zone, one).amount
        for one in (replace(permit, covered=()), permit, given_)
    )
    assert all_of_it <= covered <= whole


@settings(max_examples=40)
@given(rules(), entries, stays, zones)
def test_what_is_covered_from_beginning_to_end_is_free(
    rule: ParkingRule, entered: datetime, stay: timedelta, zone: ZoneInfo
) -> None:
    covered = Circumstances(covered=(CoveredTime(entered, entered + stay + timedelta(seconds=1)),))
    free = Circumstances(coupons=(Coupon("C", "free", Decimal(0)),))
    assert price_stay(rule, entered, entered + stay, "small", zone, covered).amount == 0
    assert price_stay(rule, entered, entered + stay, "small", zone, free).amount == 0


@settings(max_examples=40)
@given(st.data(), rules(), entries, st.lists(stays, min_size=1, max_size=5))
def test_paying_in_parts_costs_what_the_whole_stay_costs(
    data: st.DataObject, rule: ParkingRule, entered: datetime, cuts: list[timedelta]
) -> None:
    given_ = data.draw(circumstances(entered))
    rule = rule.model_copy(update={"leave_within_minutes": 0})
    paid: list[Settlement] = []
    for cut in sorted(cuts):
        due = assess(rule, entered, entered + cut, "small", SHANGHAI, paid, given_).due
        if due:
            paid.append(Settlement(entered + cut, due))
    whole = price_stay(rule, entered, entered + max(cuts), "small", SHANGHAI, given_).amount
    assert sum((settlement.amount for settlement in paid), Decimal(0)) == whole


@settings(max_examples=40)
@given(rules(), entries, stays, zones)
def test_caps_hold(rule: ParkingRule, entered: datetime, stay: timedelta, zone: ZoneInfo) -> None:
    fee = price_stay(rule, entered, entered + stay, "small", zone, USUAL)
    periods = stay // timedelta(hours=24) + 1
    limits = rule.schedule.caps
    if limits.per_24_hours is not None:
        assert fee.amount <= limits.per_24_hours * periods
    if limits.per_calendar_day is not None:
        assert fee.amount <= limits.per_calendar_day * (periods + 1)
    for cap in limits.escalating:
        within = price_stay(rule, entered, entered + timedelta(minutes=cap.within_minutes), "small", zone)
        assert within.amount <= cap.amount


@settings(max_examples=40)
@given(rules())
def test_a_rule_survives_storing_and_being_written_as_text(rule: ParkingRule) -> None:
    assert ParkingRule.model_validate(rule.model_dump(mode="json")) == rule
    assert read_rule(rule_text(rule)).rule == rule
    assert all(str(one) for one in warnings(rule))
