"""The computed load is that of the cost model, and the slots are counted as the schedule spreads them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.drivers.base import Group
from gateway.drivers.bus.bus import Timing
from gateway.drivers.modbus.planner import rtu_cost
from gateway.drivers.modbus.program import compile_template
from gateway.onsite.load import DeviceLoad, Exchange, item_visits, line_load, modbus_visits, visits_per_s
from gateway.polling.schedule import LineSchedule, spread
from tests.templates import cjt188, dlt645, modbus

BILLING, INSTANT, BOTH = frozenset({Group.BILLING}), frozenset({Group.INSTANT}), frozenset(Group)
CHARACTER_S = 11 / 9_600
BUS = Timing(1.0, CHARACTER_S, 3.5 * CHARACTER_S)


def test_groups_whose_slots_fall_together_are_read_in_one_visit() -> None:
    assert visits_per_s({Group.BILLING: 60_000, Group.INSTANT: 15_000}) == {
        INSTANT: pytest.approx(1 / 15 - 1 / 60),
        BOTH: pytest.approx(1 / 60),
    }
    assert visits_per_s({Group.BILLING: 60_000}) == {BILLING: pytest.approx(1 / 60)}
    apart = visits_per_s({Group.BILLING: 40_000, Group.INSTANT: 15_000})
    assert apart == {BILLING: pytest.approx(1 / 40), INSTANT: pytest.approx(1 / 15)}


@given(st.integers(1, 6), st.integers(1, 5))
def test_the_schedule_makes_as_many_visits_as_are_counted(multiple: int, devices: int) -> None:
    periods = {Group.BILLING: 4_000 * multiple, Group.INSTANT: 4_000}
    beats = [spread(index, devices, periods) for index in range(devices)]
    horizon = 4_000 * multiple * 10
    schedule = LineSchedule(beats, 0, lambda time_ms: time_ms + 2 * horizon)  # no day begins meanwhile
    counted: dict[frozenset[Group], int] = {}
    now = 0
    while (wait := schedule.wait_ms(now)) is not None and now + wait <= horizon:
        now += wait
        visit = schedule.take(now)
        if visit is not None:
            counted[visit.groups] = counted.get(visit.groups, 0) + 1
            schedule.answered(visit, now)
    for groups, per_s in visits_per_s(periods).items():
        assert counted.get(groups, 0) / devices == pytest.approx(per_s * horizon / 1000, abs=1)


def test_a_request_costs_what_the_model_says() -> None:
    programs = compile_template(modbus("eastron-sdm630"), rtu_cost(CHARACTER_S, 3.5 * CHARACTER_S, 0.02))
    visits = modbus_visits(programs, text=False)
    device = DeviceLoad({BOTH: visits[BOTH]}, {Group.BILLING: 10_000, Group.INSTANT: 10_000})
    load = line_load([device], BUS, 0.02)
    seconds = sum((13 + 2 * one.block.count) * CHARACTER_S + 7 * CHARACTER_S + 0.02 for one in programs.of(BOTH))
    assert load.busy == pytest.approx(seconds / 10)
    assert load.requests_per_s == pytest.approx(len(programs.of(BOTH)) / 10)


def test_devices_add_up_and_their_rest_counts() -> None:
    visit = {BILLING: [Exchange(8, 9)]}
    resting = {BILLING: [Exchange(8, 9, rest_s=0.1)]}
    one = line_load([DeviceLoad(visit, {Group.BILLING: 1_000})], BUS, 0.0)
    two = line_load([DeviceLoad(visit, {Group.BILLING: 1_000})] * 2, BUS, 0.0)
    rested = line_load([DeviceLoad(resting, {Group.BILLING: 1_000})], BUS, 0.0)
    assert two.busy == pytest.approx(2 * one.busy)
    assert rested.busy == pytest.approx(one.busy + 0.1 - BUS.silence_s)


def test_ascii_takes_twice_the_characters() -> None:
    programs = compile_template(modbus("gatemeter-demo-water"))
    binary, text = modbus_visits(programs, text=False), modbus_visits(programs, text=True)
    for groups, exchanges in binary.items():
        for one, other in zip(exchanges, text[groups], strict=True):
            # ':' and CR LF instead of nothing, LRC (2) instead of CRC (2 bytes): 2 (n - 1) + 3 - 2 = 2 n - 1
            assert (other.sent, other.received) == (2 * one.sent - 1, 2 * one.received - 1)


def test_items_are_asked_one_by_one() -> None:
    meter = item_visits(dlt645("generic-dlt645-2007-single-phase"))
    assert len(meter[BOTH]) == len({one.id for one in dlt645("generic-dlt645-2007-single-phase").registers})
    assert meter[BILLING][0].sent == 4 + 12 + 4
    water = item_visits(cjt188("generic-cjt188-cold-water"))
    assert [(one.sent, one.received) for one in water[BILLING]] == [(20, 20 + 19)]
