"""A visit asks what is due, keeps what came, and learns what the device cannot bear."""

from typing import Any

import pytest
import structlog

from gateway.drivers.base import Group, ReadOutcome
from gateway.drivers.modbus.meter import ModbusMeter, modbus_meters
from gateway.drivers.modbus.planner import TCP_COST
from gateway.drivers.modbus.program import Member, Programs, compile_template
from gateway.errors import ExceptionReply, LineDown, MalformedReply, NoAnswer
from gateway.templates.modbus import ModbusTemplate
from tests.modbus_answers import template
from tests.unit.gateway.drivers.modbus.wire import Asked, DirectWire

ALL = frozenset(Group)
VOLTAGE: dict[str, Any] = {"channel": "voltage_l1", "address": 0}
FAR: dict[str, Any] = {"channel": "voltage_l2", "address": 40}
OTHER: dict[str, Any] = {"channel": "frequency", "unit": "Hz", "function": 4, "address": 0}


class Bench:
    """A meter and the device behind it."""

    def __init__(self, whole: ModbusTemplate, **options: Any) -> None:
        self.wire = DirectWire(whole)
        self.meter = modbus_meters(["m"], 7, self.wire, compile_template(whole, **options))[0]

    async def visit(self) -> tuple[ReadOutcome, list[Asked]]:
        """One visit and what it asked; a minute passes."""
        self.wire.now_ms += 60_000
        outcome = await self.meter.read(ALL, self.wire.clock)
        return outcome, self.wire.taken()


def channels(outcome: ReadOutcome) -> set[str]:
    return {reading.channel for _, readings in outcome.answers for reading in readings}


async def test_asks_for_the_groups_that_are_due() -> None:
    energy = {"channel": "energy_import_total", "unit": "kWh", "type": "u32", "address": 2}
    bench = Bench(template(VOLTAGE, energy))
    assert bench.meter.groups == ALL
    await bench.meter.read(frozenset({Group.BILLING}), bench.wire.clock)
    await bench.meter.read(frozenset({Group.INSTANT}), bench.wire.clock)
    await bench.meter.read(ALL, bench.wire.clock)
    assert bench.wire.taken() == [("read", 3, 2, 2), ("read", 3, 0, 1), ("read", 3, 0, 4)]
    assert Bench(template(VOLTAGE)).meter.groups == {Group.INSTANT}


async def test_answers_never_share_a_time() -> None:
    bench = Bench(template(VOLTAGE, OTHER))
    outcomes = [await bench.meter.read(ALL, lambda: 1_000) for _ in range(2)]
    assert [at for outcome in outcomes for at, _ in outcome.answers] == [1_000, 1_001, 1_002, 1_003]


async def test_a_wrong_time_that_is_given_up_is_not_gone_on_from() -> None:
    bench = Bench(template(VOLTAGE))
    await bench.visit()
    bench.wire.now_ms -= 10 * 365 * 86_400_000
    outcome, _ = await bench.visit()
    assert [at for at, _ in outcome.answers] == [bench.wire.now_ms]


@pytest.mark.parametrize("failure", [NoAnswer("silent"), MalformedReply("noise"), ExceptionReply(11)])
async def test_what_came_before_a_failure_is_kept(failure: Exception) -> None:
    bench = Bench(template(VOLTAGE, OTHER))

    def fails(asked: Asked) -> None:
        if asked[1] == 4:
            raise failure

    bench.wire.fails = fails
    outcome, _ = await bench.visit()
    assert channels(outcome) == {"voltage_l1"}
    assert (outcome.timeouts, outcome.malformed) == ((0, 1) if isinstance(failure, MalformedReply) else (1, 0))
    assert outcome.exceptions == 0


async def test_what_came_before_the_line_was_lost_is_kept_and_nobody_is_to_blame() -> None:
    bench = Bench(template(VOLTAGE, OTHER))

    def fails(asked: Asked) -> None:
        if asked[1] == 4:
            raise LineDown("cut")

    bench.wire.fails = fails
    outcome, _ = await bench.visit()
    assert channels(outcome) == {"voltage_l1"}
    assert (outcome.timeouts, outcome.malformed, outcome.exceptions, outcome.error) == (0, 0, 0, "cut")
    bench.wire.fails = lambda _: fails(("read", 4, 0, 1))
    with pytest.raises(LineDown):
        await bench.visit()


async def test_whoever_got_nothing_of_his_unit_before_the_line_was_lost_asks_himself() -> None:
    first, second = template(VOLTAGE), template(OTHER)
    wire = DirectWire(first)
    meters = modbus_meters(["a", "b"], 7, wire, Programs((Member(first), Member(second)), TCP_COST))

    def fails(asked: Asked) -> None:
        if asked[1] == 4:
            raise LineDown("cut")

    wire.fails = fails
    assert channels(await meters[0].read(ALL, wire.clock)) == {"voltage_l1"}
    with pytest.raises(LineDown):
        await meters[1].read(ALL, wire.clock)
    assert channels(await meters[0].read(ALL, wire.clock)) == {"voltage_l1"}
    assert len(wire.taken()) == 4, "what the second visit gave the first meter is handed over without asking"


@pytest.mark.parametrize("code", [1, 4, 6])
async def test_a_refused_read_does_not_hold_up_the_others(code: int) -> None:
    bench = Bench(template(VOLTAGE, FAR, OTHER))

    def fails(asked: Asked) -> None:
        if asked[1] == 3:
            raise ExceptionReply(code)

    bench.wire.fails = fails
    outcome, asked = await bench.visit()
    assert (channels(outcome), outcome.exceptions, len(asked)) == ({"frequency"}, 1, 2)


@pytest.mark.parametrize("code", [10, 11])
async def test_a_converter_that_does_not_reach_the_device_is_no_sign_of_life(code: int) -> None:
    bench = Bench(template(VOLTAGE, OTHER))

    def fails(asked: Asked) -> None:
        raise ExceptionReply(code)

    bench.wire.fails = fails
    outcome, asked = await bench.visit()
    assert (outcome.timeouts, outcome.exceptions, outcome.answered, len(asked)) == (1, 0, False, 1)


async def test_what_is_no_value_is_counted_for_what_it_is() -> None:
    rows = [VOLTAGE | {"sentinels": [9]}, {"channel": "voltage_l2", "address": 1, "type": "bcd16"}]
    bench = Bench(template(*rows))
    bench.wire.meter.overrides = {"voltage_l1": 9}
    bench.wire.meter._fixed = {(3, 1): 0xF}
    outcome, _ = await bench.visit()
    assert (outcome.missing, outcome.errors, channels(outcome)) == (1, 1, set())


class TestHoles:
    async def test_a_device_that_refuses_them_is_read_around_them_from_then_on(self) -> None:
        bench = Bench(template(VOLTAGE, FAR, OTHER))

        def fails(asked: Asked) -> None:
            if asked[1] == 3 and asked[3] > 1:
                raise ExceptionReply(2)

        bench.wire.fails = fails
        with structlog.testing.capture_logs() as logs:
            first, asked = await bench.visit()
            assert asked == [("read", 3, 0, 41), ("read", 3, 0, 1), ("read", 3, 40, 1), ("read", 4, 0, 1)]
            second, asked = await bench.visit()
            assert asked == [("read", 3, 0, 1), ("read", 3, 40, 1), ("read", 4, 0, 1)]
        assert channels(first) == channels(second) == {"voltage_l1", "voltage_l2", "frequency"}
        assert (first.exceptions, second.exceptions) == (0, 0)
        assert [entry["event"] for entry in logs] == ["reads-without-holes"]

    async def test_a_device_that_lacks_the_registers_is_not_thought_to_refuse_holes(self) -> None:
        bench = Bench(template(VOLTAGE, FAR, OTHER))

        def fails(asked: Asked) -> None:
            if asked[1] == 3:
                raise ExceptionReply(2)

        bench.wire.fails = fails
        first, asked = await bench.visit()
        assert asked == [("read", 3, 0, 41), ("read", 3, 0, 1), ("read", 3, 40, 1), ("read", 4, 0, 1)]
        assert (channels(first), first.exceptions) == ({"frequency"}, 2)
        second, asked = await bench.visit()
        assert asked == [("read", 3, 0, 41), ("read", 4, 0, 1)]
        assert (channels(second), second.exceptions) == ({"frequency"}, 1)

    async def test_a_read_without_a_hole_is_not_tried_again(self) -> None:
        bench = Bench(template(VOLTAGE, {"channel": "voltage_l2", "address": 1}))

        def fails(asked: Asked) -> None:
            raise ExceptionReply(2)

        bench.wire.fails = fails
        outcome, asked = await bench.visit()
        assert (asked, outcome.exceptions) == ([("read", 3, 0, 2)], 1)

    async def test_a_value_on_both_sides_of_a_hole_is_read_all_the_same(self) -> None:
        wide = {"channel": "energy_import_total", "unit": "Wh", "parts": [
            {"address": 10, "type": "u16"}, {"address": 14, "type": "u16", "scale": "65536"}]}  # fmt: skip
        bench = Bench(template(VOLTAGE, wide))

        def fails(asked: Asked) -> None:
            if asked[3] > 5:
                raise ExceptionReply(2)

        bench.wire.fails = fails
        outcome, asked = await bench.visit()
        assert asked == [("read", 3, 0, 15), ("read", 3, 0, 1), ("read", 3, 10, 5)]
        assert channels(outcome) == {"voltage_l1", "energy_import_total"}


class TestUnlock:
    WRITE = ("write", 6, 99, (0x5A5A,))

    def bench(self, every: str) -> Bench:
        writes = [{"function": 6, "address": 99, "values": [0x5A5A]}]
        return Bench(template(VOLTAGE, unlock={"every": every, "writes": writes}))

    async def test_before_each_visit(self) -> None:
        bench = self.bench("visit")
        for _ in range(2):
            outcome, asked = await bench.visit()
            assert (asked, channels(outcome)) == ([self.WRITE, ("read", 3, 0, 1)], {"voltage_l1"})

    async def test_once_and_again_after_a_failure(self) -> None:
        bench = self.bench("connection")
        assert (await bench.visit())[1][0] == self.WRITE
        assert (await bench.visit())[1] == [("read", 3, 0, 1)]

        def fails(asked: Asked) -> None:
            raise NoAnswer("silent")

        bench.wire.fails = fails
        assert (await bench.visit())[0].timeouts == 1
        bench.wire.fails = lambda _asked: None
        assert (await bench.visit())[1][0] == self.WRITE

    async def test_once_on_each_connection(self) -> None:
        bench = self.bench("connection")
        await bench.visit()
        bench.wire.connection = 0  # hung up; the next transaction opens another
        assert (await bench.visit())[1][0] == self.WRITE
        bench.wire.connection = 1
        await bench.visit()
        bench.wire.connection = 2  # for another unit's sake
        assert (await bench.visit())[1][0] == self.WRITE
        assert (await bench.visit())[1] == [("read", 3, 0, 1)]

    async def test_what_stays_locked_is_not_read(self) -> None:
        bench = self.bench("visit")

        def fails(asked: Asked) -> None:
            if asked[0] == "write":
                raise ExceptionReply(4)

        bench.wire.fails = fails
        outcome, asked = await bench.visit()
        assert (outcome.exceptions, channels(outcome), asked) == (1, set(), [self.WRITE])


class TestConstants:
    RATIO = ("read", 4, 500, 1)

    def bench(self) -> Bench:
        ratio = {"function": 4, "address": 500, "type": "u16", "constant": True}
        energy = {"channel": "energy_import_total", "unit": "kWh", "address": 1, "multipliers": [ratio]}
        return Bench(template(VOLTAGE, energy))

    async def test_are_read_once_and_again_after_an_hour_or_a_failure(self) -> None:
        bench = self.bench()
        outcome, asked = await bench.visit()
        assert asked == [self.RATIO, ("read", 3, 0, 2)]
        assert channels(outcome) == {"voltage_l1", "energy_import_total"}
        assert self.RATIO not in (await bench.visit())[1]
        bench.wire.now_ms += 3_600_000
        assert self.RATIO in (await bench.visit())[1]

        def fails(asked: Asked) -> None:
            raise MalformedReply("noise")

        bench.wire.fails = fails
        await bench.visit()
        bench.wire.fails = lambda _asked: None
        assert self.RATIO in (await bench.visit())[1]

    async def test_that_are_refused_cost_only_what_needs_them(self) -> None:
        bench = self.bench()

        def fails(asked: Asked) -> None:
            if asked[1] == 4:
                raise ExceptionReply(2)

        bench.wire.fails = fails
        outcome, _ = await bench.visit()
        assert (channels(outcome), outcome.errors, outcome.exceptions) == ({"voltage_l1"}, 1, 1)


async def test_on_a_bus_no_two_answers_of_a_visit_look_the_same() -> None:
    rows = [VOLTAGE, {"channel": "voltage_l2", "address": 500}, {"channel": "voltage_l3", "address": 1_000}]
    for distinct, counts in ((False, [1, 1, 1]), (True, [1, 2, 3])):
        bench = Bench(template(*rows), distinct_looks=distinct)
        outcome, asked = await bench.visit()
        assert sorted(count for _, _, _, count in asked) == counts
        assert len(channels(outcome)) == 3


class TestUnitWithSeveralMeters:
    ROWS = (VOLTAGE | {"instance_stride": 0}, {"channel": "power_active_total", "unit": "W", "address": 10})

    def bench(self) -> tuple[DirectWire, list[ModbusMeter]]:
        whole = template(*self.ROWS, instances={"count": 3, "stride": 20})
        wire = DirectWire(whole)
        wire.meter._fixed = {(3, 10): 1, (3, 30): 2, (3, 50): 3}
        wire.meter.overrides = {"power_active_total": 0}
        programs = Programs([Member(whole, number) for number in range(3)], TCP_COST)
        return wire, modbus_meters(["a", "b", "c"], 7, wire, programs)

    async def test_is_read_once_for_all_of_them(self) -> None:
        wire, meters = self.bench()
        outcomes = []
        for meter in meters:
            outcomes.append(await meter.read(ALL, wire.clock))
            wire.now_ms += 1_000
        assert wire.taken() == [("read", 3, 0, 51)]
        values = [{one.channel: one.value for _, answer in outcome.answers for one in answer} for outcome in outcomes]
        assert [one["power_active_total"] for one in values] == [1, 2, 3]
        assert len({one["voltage_l1"] for one in values}) == 1
        assert len({at for outcome in outcomes for at, _ in outcome.answers}) == 1

    async def test_each_answer_is_given_once_and_not_when_it_is_old(self) -> None:
        wire, (first, second, _) = self.bench()
        for meter in (first, second, second, first, first):
            await meter.read(ALL, wire.clock)
        # the second of each unlike pair is served from the other's visit
        assert len(wire.taken()) == 3
        wire.now_ms += 10_001
        await second.read(ALL, wire.clock)
        assert len(wire.taken()) == 1

    async def test_other_groups_are_another_visit(self) -> None:
        wire, (first, second, _) = self.bench()
        await first.read(ALL, wire.clock)
        await second.read(frozenset({Group.INSTANT}), wire.clock)
        assert len(wire.taken()) == 2

    async def test_a_dead_unit_costs_one_timeout_and_is_dead_for_all(self) -> None:
        wire, meters = self.bench()

        def fails(asked: Asked) -> None:
            raise NoAnswer("silent")

        wire.fails = fails
        outcomes = [await meter.read(ALL, wire.clock) for meter in meters]
        assert [(one.timeouts, one.answered) for one in outcomes] == [(1, False)] * 3
        assert len(wire.taken()) == 1
