"""An order to a relay or a valve, and a clock that is set, are done when the device shows it."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.messages import CommandState
from gateway.drivers.base import CommandOutcome, ReadsMeter, SetsClock, Supply, SwitchesSupply
from gateway.drivers.modbus.clock import ClockSetter
from gateway.drivers.modbus.meter import modbus_meters
from gateway.drivers.modbus.program import compile_template
from gateway.drivers.modbus.switch import Switcher
from gateway.errors import ExceptionReply, LineDown, MalformedReply, NoAnswer
from gateway.templates.modbus_controls import Clock, Switch
from tests.modbus_answers import template
from tests.unit.gateway.drivers.modbus.wire import Asked, DirectWire

KEY = {"function": 16, "address": 300, "values": [0x12, 0x34]}
SWITCH: dict[str, Any] = {
    "connect": [KEY, {"function": 6, "address": 310, "values": [0xAA]}],
    "disconnect": [KEY, {"function": 6, "address": 310, "values": [0x55]}],
    "shown": {"address": 320, "type": "u16", "connected": [0xAA, 0xAB], "disconnected": [0x55]},
}
COIL: dict[str, Any] = {
    "connect": [{"function": 5, "address": 0, "values": [1]}],
    "disconnect": [{"function": 5, "address": 0, "values": [0]}],
    "shown": {"function": 1, "address": 0, "type": "bit"},
}
FIELDS = [
    {"part": "year", "address": 60, "mask": 0xFF00, "minus": 2000},
    {"part": "month", "address": 60, "mask": 0x00FF},
    {"part": "day", "address": 61, "mask": 0xFF00},
    {"part": "hour", "address": 61, "mask": 0x00FF},
    {"part": "minute", "address": 62, "mask": 0xFF00},
    {"part": "second", "address": 62, "mask": 0x00FF},
]
NOON = datetime(2027, 3, 4, 12, 0, 1)  # noqa: DTZ001 - local time


async def unlocked() -> None:
    """The device needs no unlocking."""


class Bench:
    """A meter with a relay and how quickly its time passes: a second for each look."""

    def __init__(self, relay: dict[str, Any] = SWITCH, **keys: Any) -> None:
        whole = template({}, controls={"relay": relay}, **keys)
        self.wire = DirectWire(whole)
        assert whole.controls.relay is not None
        quick: Switch = whole.controls.relay.model_copy(update={"within_s": 0.05, "look_every_ms": 5})
        self.switcher = Switcher(quick, whole, 7, self.wire, unlocked)
        self.actuator = self.wire.meter.controls.actuators[Supply.RELAY]
        self.failures: dict[str, Exception] = {}
        """By what is done: `key`, `order`, `look`."""
        self.lost: set[str] = set()
        """What is carried out although its answer fails."""
        self.wire.fails = self._fail

    def _fail(self, asked: Asked) -> None:
        self.wire.now_ms += 1_000
        name = "look" if asked[0] == "read" else "key" if asked[2] == 300 else "order"
        if name in self.lost:
            self.wire.meter.write(*asked[1:])
        if name in self.failures:
            raise self.failures[name]

    async def order(self, connect: bool) -> CommandOutcome:
        return await self.switcher.order(connect)

    def looks(self) -> int:
        return sum(1 for asked in self.wire.asked if asked[0] == "read")


@pytest.mark.parametrize("relay", [SWITCH, COIL], ids=["registers", "coil"])
async def test_an_order_is_done_when_the_device_shows_it(relay: dict[str, Any]) -> None:
    bench = Bench(relay)
    bench.actuator.travel_ms = 3_000
    for connect in (False, True):
        outcome = await bench.order(connect)
        assert (outcome.state, bench.actuator.connected) == (CommandState.DONE, connect)
    assert bench.actuator.orders == 2
    assert bench.looks() >= 6


async def test_a_relay_that_is_there_already_is_done() -> None:
    bench = Bench()
    assert (await bench.order(True)).state is CommandState.DONE
    assert bench.looks() == 1


async def test_a_relay_that_does_not_move_has_failed() -> None:
    bench = Bench()
    bench.actuator.stuck = True
    outcome = await bench.order(False)
    assert (outcome.state, outcome.detail) == (CommandState.FAILED, "still shown as connected")
    assert bench.actuator.orders == 1


async def test_a_relay_that_stops_in_between_is_uncertain() -> None:
    bench = Bench()
    bench.actuator.travel_ms = 10**9
    outcome = await bench.order(False)
    assert (outcome.state, outcome.detail) == (CommandState.UNCERTAIN, "neither connected nor disconnected")


@pytest.mark.parametrize("failure", [ExceptionReply(4), NoAnswer("silent"), MalformedReply("noise")])
async def test_what_cannot_be_unlocked_is_not_ordered(failure: Exception) -> None:
    bench = Bench()
    bench.failures = {"key": failure}
    assert (await bench.order(False)).state is CommandState.FAILED
    assert [asked[2] for asked in bench.wire.asked] == [300]


async def test_a_refused_order_has_failed() -> None:
    bench = Bench()
    bench.failures = {"order": ExceptionReply(3)}
    assert await bench.order(False) == CommandOutcome(CommandState.FAILED, "refused: exception code 3")
    assert bench.looks() == 0


@pytest.mark.parametrize(
    "failure", [NoAnswer("silent"), MalformedReply("noise"), ExceptionReply(11), ExceptionReply(5)]
)
async def test_an_order_whose_answer_is_lost_is_judged_by_what_is_shown(failure: Exception) -> None:
    for carried_out, state in ((True, CommandState.DONE), (False, CommandState.FAILED)):
        bench = Bench()
        bench.failures = {"order": failure}
        bench.lost = {"order"} if carried_out else set()
        outcome = await bench.order(False)
        assert outcome.state is state
        assert ("not confirmed" in outcome.detail) is not carried_out
        assert sum(1 for asked in bench.wire.asked if asked[2] == 310) == 1


@pytest.mark.parametrize("failure", [NoAnswer("silent"), LineDown("cut"), ExceptionReply(6)])
async def test_an_order_whose_effect_cannot_be_read_is_uncertain(failure: Exception) -> None:
    bench = Bench()
    bench.failures = {"look": failure}
    assert (await bench.order(False)).state is CommandState.UNCERTAIN
    assert bench.actuator.orders == 1


async def test_without_a_line_nothing_is_ordered() -> None:
    for name in ("key", "order"):
        bench = Bench()
        bench.failures = {name: LineDown("cut")}
        with pytest.raises(LineDown):
            await bench.order(False)
        assert bench.actuator.orders == 0


def clock_of(wire: DirectWire, clock: Clock) -> ClockSetter:
    return ClockSetter(clock, wire.meter.template, 7, wire, unlocked)


def clock_bench(**keys: Any) -> tuple[DirectWire, ClockSetter]:
    whole = template({}, controls={"clock": {"fields": FIELDS} | keys})
    wire = DirectWire(whole)
    assert whole.controls.clock is not None
    return wire, clock_of(wire, whole.controls.clock)


async def test_a_clock_is_set_and_read_back() -> None:
    wire, setter = clock_bench()
    assert (await setter.set(lambda: NOON)).state is CommandState.DONE
    assert wire.meter.controls.clock_now() == NOON
    assert wire.taken() == [("write", 16, 60, (0x1B03, 0x040C, 0x0001)), ("read", 3, 60, 3)]


async def test_a_clock_may_need_writes_around_it_and_one_register_at_a_time() -> None:
    wire, setter = clock_bench(function=6, before=[KEY], after=[KEY | {"address": 400}])
    assert (await setter.set(lambda: NOON)).state is CommandState.DONE
    assert [(asked[1], asked[2]) for asked in wire.asked] == [(16, 300), (6, 60), (6, 61), (6, 62), (16, 400), (3, 60)]


async def test_a_long_clock_is_read_in_pieces() -> None:
    names = ("year", "month", "day", "hour", "minute", "second", "weekday")
    fields = [{"part": part, "address": 60 + index} for index, part in enumerate(names)]
    whole = template({}, controls={"clock": {"fields": fields}}, limits={"max_registers": 3})
    wire = DirectWire(whole)
    assert whole.controls.clock is not None
    assert (await clock_of(wire, whole.controls.clock).set(lambda: NOON)).state is CommandState.DONE
    assert [asked[2:] for asked in wire.asked[1:]] == [(60, 3), (63, 3), (66, 1)]


async def test_a_clock_that_shows_another_time_has_failed() -> None:
    _, setter = clock_bench()
    times = iter([NOON, NOON + timedelta(seconds=6)])
    outcome = await setter.set(lambda: next(times))
    assert (outcome.state, outcome.detail) == (CommandState.FAILED, f"the clock shows {NOON}")


async def test_a_clock_that_shows_no_time_has_failed() -> None:
    wire, setter = clock_bench()
    wire.meter._fixed = {(3, 60): 0x1B00}
    wire.meter.controls.clock_words = lambda: (3, {})  # type: ignore[method-assign]
    assert (await setter.set(lambda: NOON)).state is CommandState.FAILED


@pytest.mark.parametrize(
    ("failing", "failure", "state"),
    [
        (("write", 300), NoAnswer("silent"), CommandState.FAILED),
        (("write", 60), ExceptionReply(3), CommandState.FAILED),
        (("write", 60), NoAnswer("silent"), CommandState.FAILED),
        (("read", 60), NoAnswer("silent"), CommandState.UNCERTAIN),
        (("read", 60), LineDown("cut"), CommandState.UNCERTAIN),
    ],
)
async def test_a_clock_that_cannot_be_set(failing: tuple[str, int], failure: Exception, state: CommandState) -> None:
    wire, setter = clock_bench(before=[KEY])

    def fails(asked: Asked) -> None:
        if (asked[0], asked[2]) == failing:
            raise failure

    wire.fails = fails
    assert (await setter.set(lambda: NOON)).state is state


@pytest.mark.parametrize(
    ("address", "failure", "state"),
    [
        (62, LineDown("cut"), CommandState.FAILED),
        (62, ExceptionReply(3), CommandState.FAILED),
        (400, LineDown("cut"), CommandState.DONE),
        (400, ExceptionReply(3), CommandState.DONE),
    ],
)
async def test_a_clock_of_which_a_part_was_written_is_judged_by_what_it_shows(
    address: int, failure: Exception, state: CommandState
) -> None:
    wire, setter = clock_bench(function=6, after=[KEY | {"address": 400}])

    def fails(asked: Asked) -> None:
        if asked[:1] == ("write",) and asked[2] == address:
            raise failure

    wire.fails = fails
    outcome = await setter.set(lambda: NOON)
    assert outcome.state is state
    if state is CommandState.FAILED:
        assert outcome.detail.startswith("a later write failed")
    assert wire.asked[-1][0] == "read"


@pytest.mark.parametrize("kind", ["epoch", "year"])
async def test_a_clock_that_shows_a_time_beyond_all_bounds_has_failed(kind: str) -> None:
    parts = ["epoch"] if kind == "epoch" else ["year", "month", "day", "hour", "minute"]
    fields = [{"part": part, "address": 60 + 4 * index, "type": "u64"} for index, part in enumerate(parts)]
    whole = template({}, controls={"clock": {"fields": fields, "tolerance_s": 60}})
    wire = DirectWire(whole)
    assert whole.controls.clock is not None
    wire.meter._fixed = {(3, 60): 0x7FFF}
    wire.meter.controls.clock_words = lambda: (3, {})  # type: ignore[method-assign]
    assert (await clock_of(wire, whole.controls.clock).set(lambda: NOON)).state is CommandState.FAILED


async def test_a_clock_whose_answer_is_lost_is_judged_by_what_it_shows() -> None:
    wire, setter = clock_bench()

    def fails(asked: Asked) -> None:
        if asked[0] == "write":
            wire.meter.write(*asked[1:])
            raise NoAnswer("silent")

    wire.fails = fails
    assert (await setter.set(lambda: NOON)).state is CommandState.DONE


ORDERS = st.sampled_from(("big", "little"))
TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2089, 12, 31)).map(  # noqa: DTZ001 - local time
    lambda time: time.replace(microsecond=0)
)


@given(TIMES, st.sampled_from(("u16", "bcd16", "bytes", "bcd bytes", "u32", "epoch")), ORDERS, ORDERS)
async def test_every_time_survives_every_layout(time: datetime, kind: str, words: str, order: str) -> None:
    names = ("year", "month", "day", "hour", "minute", "second", "weekday", "none")
    if kind == "epoch":
        fields: list[dict[str, Any]] = [{"part": "epoch", "address": 60, "type": "u32", "minus": 946_684_800}]
    elif "bytes" in kind:
        mask = (0xFF00, 0x00FF)
        fields = [{"part": part, "address": 60 + at // 2, "mask": mask[at % 2]} for at, part in enumerate(names[:7])]
        fields = [one | {"type": "bcd16" if kind == "bcd bytes" else "u16"} for one in fields]
        fields[0]["minus"] = 2000
    else:
        step = 2 if kind == "u32" else 1
        fields = [{"part": part, "address": 60 + at * step, "type": kind} for at, part in enumerate(names[:7])]
    if kind != "epoch":
        fields[6]["weekdays"] = [2, 3, 4, 5, 6, 7, 1]
    wire, setter = clock_bench(fields=[one | {"word_order": words, "byte_order": order} for one in fields])
    assert (await setter.set(lambda: time)).state is CommandState.DONE
    assert wire.meter.controls.clock_now() == time


def test_a_meter_can_what_its_template_says() -> None:
    relay, clock = {"relay": SWITCH}, {"clock": {"fields": FIELDS}}
    for controls, supplies, sets in (
        ({}, None, False),
        (relay, {Supply.RELAY}, False),
        (clock, None, True),
        (relay | clock | {"valve": COIL}, {Supply.RELAY, Supply.VALVE}, True),
    ):
        whole = template({}, controls=controls)
        meter: ReadsMeter = modbus_meters(["m"], 7, DirectWire(whole), compile_template(whole))[0]
        assert isinstance(meter, SwitchesSupply) is (supplies is not None)
        assert set(getattr(meter, "supplies", ())) == (supplies or set())
        assert isinstance(meter, SetsClock) is sets


async def test_a_locked_device_is_unlocked_for_a_look() -> None:
    unlock = {"writes": [{"function": 6, "address": 99, "values": [1]}]}
    whole = template({}, controls={"relay": SWITCH, "clock": {"fields": FIELDS}}, unlock=unlock)
    wire = DirectWire(whole)
    meter = modbus_meters(["m"], 7, wire, compile_template(whole))[0]
    assert isinstance(meter, SwitchesSupply)
    assert isinstance(meter, SetsClock)
    assert (await meter.switch(Supply.RELAY, False)).state is CommandState.DONE
    assert (await meter.set_clock(lambda: NOON)).state is CommandState.DONE
