"""Prices of stays: published examples, and what must hold for every rule and every stay."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from cloud.parking.fees.models import Caps, FirstBlock, ParkingRule, Schedule, Unit, Window
from cloud.parking.fees.billed_time import clock_instant
from cloud.parking.fees.pricing import Settlement, assess, price_stay

ROOT = Path(__file__).parents[5]
SHANGHAI = ZoneInfo("Asia/Shanghai")
ORACLES = yaml.safe_load((ROOT / "tests/oracles/parking.yaml").read_text("utf-8"))
RULE_FILES = {"mall lot": "mall", "day and night lot": "day-night"}
MINUTES = {"m": 1, "h": 60}
CASES = [(oracle["name"], case) for oracle in ORACLES for case in oracle["cases"]]


def _rule(name: str) -> ParkingRule:
    text = (ROOT / f"firmware-config/parking/{name}.yaml").read_text("utf-8")
    return ParkingRule.model_validate(yaml.safe_load(text))


@pytest.mark.parametrize(("lot", "case"), CASES, ids=[f"{lot}-{case['stay']}" for lot, case in CASES])
@pytest.mark.parametrize("hour", [8, 9, 10])
def test_published_examples(lot: str, case: dict[str, str], hour: int) -> None:
    entered = datetime(2026, 5, 1, hour, tzinfo=SHANGHAI)
    stay = timedelta(minutes=int(case["stay"][:-1]) * MINUTES[case["stay"][-1]])
    vehicle_class = case.get("class", "small").replace("_", "-")
    fee = price_stay(_rule(RULE_FILES[lot]), entered, entered + stay, vehicle_class, SHANGHAI)
    assert fee.amount == Decimal(case["amount"])
    assert sum(step.amount for step in fee.steps) == fee.amount


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
    day = Window(start="06:00", end="22:00", minutes=60, price=Decimal(2))
    night = Window(start="22:00", end="06:00", minutes=60, price=Decimal(1))
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


amounts = st.integers(0, 5000).map(lambda cents: Decimal(cents) / 100)
units = st.builds(Unit, minutes=st.integers(1, 240), price=amounts)
caps = st.builds(Caps, per_24_hours=st.none() | amounts, per_calendar_day=st.none() | amounts)
zones = st.sampled_from([SHANGHAI, ZoneInfo("Europe/Berlin"), ZoneInfo("America/St_Johns"), ZoneInfo("Asia/Kathmandu")])


@st.composite
def windows(draw: st.DrawFn) -> tuple[Window, ...]:
    starts = sorted(draw(st.sets(st.integers(0, 1439), min_size=2, max_size=4)))
    ends = [*starts[1:], starts[0]]
    texts = [(f"{a // 60:02}:{a % 60:02}", f"{b // 60:02}:{b % 60:02}") for a, b in zip(starts, ends, strict=True)]
    return tuple(
        Window(start=start, end=end, minutes=draw(st.integers(5, 240)), price=draw(amounts)) for start, end in texts
    )


@st.composite
def rules(draw: st.DrawFn) -> ParkingRule:
    by_windows = draw(st.booleans())
    schedule = Schedule(
        free_minutes=draw(st.integers(0, 300)),
        billing_from=draw(st.sampled_from(["entry", "end-of-free"])),
        first=draw(st.none() | st.builds(FirstBlock, minutes=st.integers(1, 300), amount=amounts)),
        unit=None if by_windows else draw(units),
        windows=draw(windows()) if by_windows else (),
        caps=draw(caps),
    )
    return ParkingRule(name="any", leave_within_minutes=draw(st.integers(0, 60)), schedule=schedule)


# Around the changes of the clock in Newfoundland and in Europe.
entries = st.builds(
    lambda day, seconds: datetime.fromisoformat(day).replace(tzinfo=UTC) + timedelta(seconds=seconds),
    st.sampled_from(["2010-11-05", "2026-03-27", "2026-10-23"]),
    st.integers(0, 3 * 24 * 3600),
)
stays = st.integers(0, 5 * 24 * 3600).map(lambda seconds: timedelta(seconds=seconds))


@given(rules(), entries, stays, stays, zones)
def test_a_longer_stay_never_costs_less(
    rule: ParkingRule, entered: datetime, one: timedelta, other: timedelta, zone: ZoneInfo
) -> None:
    short, long = sorted((one, other))
    lower = price_stay(rule, entered, entered + short, "small", zone).amount
    assert Decimal(0) <= lower <= price_stay(rule, entered, entered + long, "small", zone).amount


@given(rules(), entries, stays, zones, zones)
def test_steps_add_up_and_the_zone_of_display_changes_nothing(
    rule: ParkingRule, entered: datetime, stay: timedelta, zone: ZoneInfo, display: ZoneInfo
) -> None:
    fee = price_stay(rule, entered, entered + stay, "small", zone)
    assert fee.amount == sum(step.amount for step in fee.steps)
    assert all(step.amount == step.units * step.price for step in fee.steps if step.kind in ("units", "first-block"))
    shown = price_stay(rule, entered.astimezone(display), (entered + stay).astimezone(display), "small", zone)
    assert shown == fee


@given(rules(), entries, stays, zones)
def test_caps_hold(rule: ParkingRule, entered: datetime, stay: timedelta, zone: ZoneInfo) -> None:
    fee = price_stay(rule, entered, entered + stay, "small", zone)
    periods = stay // timedelta(hours=24) + 1
    limits = rule.schedule.caps
    if limits.per_24_hours is not None:
        assert fee.amount <= limits.per_24_hours * periods
    if limits.per_calendar_day is not None:
        assert fee.amount <= limits.per_calendar_day * (periods + 1)


def _unit_by_unit(rule: ParkingRule, entered: datetime, stay: timedelta) -> Decimal:
    """The same price by the plainest reading: one unit after the other, all day one price, 24-hour cap."""
    schedule = rule.schedule
    assert schedule.unit is not None
    minutes = -(stay // timedelta(minutes=-1))
    if stay <= timedelta(minutes=schedule.free_minutes):
        return Decimal(0)
    at = 0 if schedule.billing_from == "entry" else schedule.free_minutes
    charges: dict[int, Decimal] = {}
    if schedule.first is not None:
        charges[at] = schedule.first.amount
        at += schedule.first.minutes
    while timedelta(minutes=at) < stay and at < minutes:
        charges[at] = schedule.unit.price
        at += schedule.unit.minutes
    by_day: dict[int, Decimal] = {}
    for begin, amount in charges.items():
        by_day[begin // 1440] = by_day.get(begin // 1440, Decimal(0)) + amount
    cap = schedule.caps.per_24_hours
    return sum((amount if cap is None else min(cap, amount) for amount in by_day.values()), Decimal(0))


@given(rules().filter(lambda rule: rule.schedule.unit is not None), entries, stays)
def test_runs_of_units_cost_what_single_units_cost(rule: ParkingRule, entered: datetime, stay: timedelta) -> None:
    entered = entered.replace(microsecond=0)
    limits = Caps(per_24_hours=rule.schedule.caps.per_24_hours)
    rule = rule.model_copy(update={"schedule": rule.schedule.model_copy(update={"caps": limits})})
    assert price_stay(rule, entered, entered + stay, "small", SHANGHAI).amount == _unit_by_unit(rule, entered, stay)


@given(rules(), entries, st.lists(stays, min_size=1, max_size=5))
def test_paying_in_parts_costs_what_the_whole_stay_costs(
    rule: ParkingRule, entered: datetime, cuts: list[timedelta]
) -> None:
    rule = rule.model_copy(update={"leave_within_minutes": 0})
    paid: list[Settlement] = []
    for cut in sorted(cuts):
        due = assess(rule, entered, entered + cut, "small", SHANGHAI, paid).due
        if due:
            paid.append(Settlement(entered + cut, due))
    whole = price_stay(rule, entered, entered + max(cuts), "small", SHANGHAI).amount
    assert sum((settlement.amount for settlement in paid), Decimal(0)) == whole


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
