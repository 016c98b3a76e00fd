"""DL/T 645 meters against simulated ones: reading, many frames, refusals, relay and clock."""

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from gateway.contract.messages import CommandState
from gateway.drivers.base import Group, Reading, SetsClock, Supply, SwitchesSupply
from gateway.drivers.dlt645.frame import EDITION_1997, EVERY_ADDRESS, Frame, Password, build, parse
from gateway.drivers.dlt645.meter import Authority, Dlt645Meter, RelayAndClockMeter, build_meter, compile_meter
from gateway.drivers.dlt645.secret import PasswordMissing
from gateway.drivers.dlt645.station import Station
from gateway.errors import ExceptionReply, LineDown, MalformedReply, NoAnswer
from gateway.templates.dlt645 import Dlt645Template
from simulators.bcd import value_of
from simulators.dlt645.meter import SimulatedDlt645
from simulators.modbus.dwelling import Dwelling
from tests.templates import dlt645, ids_of
from tests.unit.gateway.drivers.direct import DirectBus

ZONE = ZoneInfo("Asia/Shanghai")
NOW = datetime.fromisoformat("2026-11-25 20:00:00")
NOW_MS = round(NOW.replace(tzinfo=ZONE).timestamp() * 1000)
ADDRESS = "201709320072"
RELAY = "generic-dlt645-2007-relay"
THREE = "generic-dlt645-2007-three-phase"
OLD = "generic-dlt645-1997"
IDS = ids_of("dlt645")


def now_ms() -> int:
    return NOW_MS


def simulated(template_id: str, address: str = ADDRESS) -> SimulatedDlt645:
    return SimulatedDlt645("m", address, dlt645(template_id), Dwelling(1, "m", "electricity", ZONE), now_ms)


def quick(template_id: str = RELAY, close: str = "direct") -> Dlt645Template:
    """The template with a relay and a clock that are looked at often, for a short time."""
    template = dlt645(template_id)
    document = template.model_dump(exclude_none=True)
    document["controls"]["relay"] |= {"within_s": 0.01, "every_s": 0.001, "close": close}
    document["controls"]["clock"] |= {"within_s": 0.01, "every_s": 0.001}
    return Dlt645Template.model_validate(document)


def ordered(
    meter: SimulatedDlt645, bus: DirectBus, password: str = "000000", close: str = "direct"
) -> RelayAndClockMeter:
    meter.template = quick(close=close)
    authority = Authority(lambda: Password(2, password), lambda: NOW)
    built = build_meter("m", ADDRESS, bus, compile_meter(meter.template), authority)
    assert isinstance(built, RelayAndClockMeter)
    return built


@pytest.mark.parametrize("template_id", IDS)
async def test_reads_what_the_simulator_shows(template_id: str) -> None:
    meter = simulated(template_id)
    bus = DirectBus(meter.answer)
    reader = build_meter("m", ADDRESS, bus, compile_meter(dlt645(template_id)))
    outcome = await reader.read(reader.groups, now_ms)
    got = {reading.channel: reading.value for _, readings in outcome.answers for reading in readings}
    shown = {item.channel: meter.raw(item, NOW_MS) for item in meter.template.registers}
    assert got == {
        item.channel: value_of(item, raw)
        for item in meter.template.registers
        if (raw := shown[item.channel]) is not None
    }
    assert len(got) == len(meter.template.registers)
    assert len(bus.requests) == len({item.id for item in meter.template.registers})
    assert (outcome.missing, outcome.exceptions, outcome.malformed, outcome.timeouts) == (0, 0, 0, 0)
    assert len({taken for taken, _ in outcome.answers}) == len(outcome.answers)


@pytest.mark.parametrize("template_id", IDS)
async def test_values_that_the_meter_lacks_are_missing(template_id: str) -> None:
    meter = simulated(template_id)
    digits = [item.channel for item in meter.template.registers if item.type == "bcd"]
    meter.overrides = dict.fromkeys(digits, None)
    reader = build_meter("m", ADDRESS, DirectBus(meter.answer), compile_meter(dlt645(template_id)))
    outcome = await reader.read(reader.groups, now_ms)
    got = {reading.channel for _, readings in outcome.answers for reading in readings}
    assert got == {item.channel for item in meter.template.registers} - set(digits)
    assert outcome.missing == len(digits)


async def test_billing_asks_for_nothing_else() -> None:
    meter = simulated(THREE)
    bus = DirectBus(meter.answer)
    reader = build_meter("m", ADDRESS, bus, compile_meter(dlt645(THREE)))
    await reader.read(frozenset({Group.BILLING}), now_ms)
    assert [parse(request).data[::-1].hex() for request in bus.requests] == [
        "0001ff00", "00020000", "00030000", "00040000",
    ]  # fmt: skip
    assert len(set(bus.looks)) == 4


async def test_negative_powers() -> None:
    meter = simulated(THREE)
    meter.overrides = {"power_active_total": -12_345, "power_factor_total": -950, "current_l2": -1_500}
    reader = build_meter("m", ADDRESS, DirectBus(meter.answer), compile_meter(dlt645(THREE)))
    outcome = await reader.read(reader.groups, now_ms)
    readings = [reading for _, answer in outcome.answers for reading in answer]
    assert Reading("power_active_total", -1_234, 0) in readings  # 1234.5 W, half to even
    assert Reading("power_factor_total", -950, 0) in readings
    assert Reading("current_l2", -1_500, 0) in readings


async def test_a_long_answer_comes_in_many_frames() -> None:
    meter = simulated(THREE)
    meter.most_data = 8
    bus = DirectBus(meter.answer)
    reader = build_meter("m", ADDRESS, bus, compile_meter(dlt645(THREE)))
    outcome = await reader.read(frozenset({Group.BILLING}), now_ms)
    assert sum(len(readings) for _, readings in outcome.answers) == 8
    assert [parse(request).control for request in bus.requests] == [0x11, 0x12, 0x12, 0x11, 0x11, 0x11]
    assert len(set(bus.looks)) == 6


async def test_a_continuation_of_another_number_is_not_taken() -> None:
    meter = simulated(THREE)
    meter.most_data = 8

    def renumbered(request: bytes, answer: bytes) -> Iterable[bytes]:
        frame = parse(answer)
        if frame.control & 0x1F == 0x12:
            answer = build(Frame(frame.address, frame.control, frame.data[:-1] + bytes([frame.data[-1] ^ 1])))
        yield answer

    bus = DirectBus(meter.answer)
    bus.spoil = renumbered
    with pytest.raises(NoAnswer):
        await Station(ADDRESS, bus).item("0001FF00")


async def test_an_answer_without_end_ends() -> None:
    def endless(request: bytes) -> bytes:
        frame = parse(request)
        return build(Frame(ADDRESS, frame.control | 0xA0, frame.data[:4] + bytes(100) + frame.data[4:]))

    with pytest.raises(MalformedReply, match="goes on"):
        await Station(ADDRESS, DirectBus(endless)).item("0001FF00")


async def test_a_refused_item_does_not_stop_the_others() -> None:
    compiled = compile_meter(dlt645(THREE))
    meter = simulated(THREE)
    document = dlt645(THREE).model_dump(exclude_none=True)
    document["registers"] = [item for item in document["registers"] if item["id"] != "00020000"]
    meter.template = Dlt645Template.model_validate(document)
    reader = build_meter("m", ADDRESS, DirectBus(meter.answer), compiled)
    outcome = await reader.read(reader.groups, now_ms)
    assert (outcome.exceptions, outcome.malformed, outcome.timeouts) == (1, 0, 0)
    assert sum(len(readings) for _, readings in outcome.answers) == len(meter.template.registers)


async def test_a_value_that_is_no_digits_is_malformed_and_the_others_stand() -> None:
    meter = simulated("generic-dlt645-2007-single-phase")

    def spoilt(request: bytes, answer: bytes) -> Iterable[bytes]:
        frame = parse(answer)
        wrong = b"\x3a" * 2 if frame.data[:4] == bytes.fromhex("00010102") else frame.data[4:]
        yield build(Frame(frame.address, frame.control, frame.data[:4] + wrong))

    bus = DirectBus(meter.answer)
    bus.spoil = spoilt
    reader = build_meter("m", ADDRESS, bus, compile_meter(meter.template))
    outcome = await reader.read(reader.groups, now_ms)
    got = {reading.channel for _, readings in outcome.answers for reading in readings}
    assert outcome.malformed == 1
    assert got == {item.channel for item in meter.template.registers} - {"voltage_l1"}


@pytest.mark.parametrize(
    ("content", "malformed", "missing"), [(b"", 1, 0), (b"\0" * 3, 1, 0), (b"\0" * 12, 0, 2), (b"\0" * 36, 0, 0)]
)
async def test_lengths_of_a_block(content: bytes, malformed: int, missing: int) -> None:
    def answer(request: bytes) -> bytes:
        frame = parse(request)
        body = content if frame.data[:4] == bytes.fromhex("00ff0100") else b"\0\0\0\0"
        return build(Frame(ADDRESS, 0x91, frame.data + body))

    reader = build_meter("m", ADDRESS, DirectBus(answer), compile_meter(dlt645("generic-dlt645-2007-single-phase")))
    outcome = await reader.read(frozenset({Group.BILLING}), now_ms)
    assert (outcome.malformed, outcome.missing) == (malformed, missing)


async def test_a_silent_meter_costs_one_timeout() -> None:
    reader = build_meter("m", ADDRESS, DirectBus(lambda _: None), compile_meter(dlt645(THREE)))
    outcome = await reader.read(reader.groups, now_ms)
    assert (outcome.timeouts, outcome.answered, outcome.error) == (1, False, "nothing came")


async def test_a_line_that_breaks_keeps_what_came() -> None:
    bus = DirectBus(simulated(THREE).answer)
    bus.down_after = 2
    reader = build_meter("m", ADDRESS, bus, compile_meter(dlt645(THREE)))
    outcome = await reader.read(reader.groups, now_ms)
    assert len(outcome.answers) == 2
    with pytest.raises(LineDown):
        await reader.read(reader.groups, now_ms)


async def test_the_address_of_the_only_meter() -> None:
    assert await Station(EVERY_ADDRESS, DirectBus(simulated(THREE).answer)).address() == ADDRESS


@pytest.mark.parametrize("close", ["direct", "permit"])
async def test_the_relay_is_switched_and_read_back(close: str) -> None:
    meter = simulated(RELAY)
    bus = DirectBus(meter.answer)
    built = ordered(meter, bus, close=close)
    assert isinstance(built, SwitchesSupply)
    assert built.supplies == {Supply.RELAY}
    off = await built.switch(Supply.RELAY, False)
    assert (off.state, meter.relay_open, meter.orders) == (CommandState.DONE, True, [0x1A])
    assert bus.changes == 1
    on = await built.switch(Supply.RELAY, True)
    assert on.state is CommandState.DONE
    assert meter.orders[1:] == [0x1C if close == "direct" else 0x1B]
    assert meter.relay_open is (close == "permit")
    assert ("button" in on.detail) is (close == "permit")


async def test_a_relay_that_does_not_move_has_failed() -> None:
    meter = simulated(RELAY)
    meter.relay_stuck = True
    outcome = await ordered(meter, DirectBus(meter.answer)).switch(Supply.RELAY, False)
    assert (outcome.state, outcome.detail) == (CommandState.FAILED, "the meter shows the relay closed")


async def test_a_wrong_password_is_refused_and_not_shown() -> None:
    meter = simulated(RELAY)
    bus = DirectBus(meter.answer)
    outcome = await ordered(meter, bus, password="987654").switch(Supply.RELAY, False)
    assert outcome.state is CommandState.FAILED
    assert outcome.detail == "refused: wrong password or not authorised"
    assert not meter.relay_open
    assert len(bus.requests) == 1


async def test_without_a_password_nothing_is_sent() -> None:
    def missing() -> Password:
        raise PasswordMissing("environment variable X is not set")

    bus = DirectBus(simulated(RELAY).answer)
    meter = build_meter("m", ADDRESS, bus, compile_meter(dlt645(RELAY)), Authority(missing, lambda: NOW))
    assert isinstance(meter, RelayAndClockMeter)
    for outcome in (await meter.switch(Supply.RELAY, False), await meter.set_clock(lambda: NOW)):
        assert outcome.state is CommandState.FAILED
        assert re.fullmatch("nothing sent: environment variable X is not set", outcome.detail)
    assert bus.requests == []


async def test_an_order_whose_answer_is_lost_is_decided_by_the_status() -> None:
    meter = simulated(RELAY)
    bus = DirectBus(meter.answer)

    def lose_the_order(request: bytes, answer: bytes) -> Iterable[bytes]:
        yield b"" if parse(request).control == 0x1C else answer

    bus.spoil = lose_the_order
    built = ordered(meter, bus)
    assert (await built.switch(Supply.RELAY, False)).state is CommandState.DONE
    bus.spoil = lambda _request, _answer: [b""]
    assert (await built.switch(Supply.RELAY, True)).state is CommandState.UNCERTAIN
    assert meter.orders == [0x1A, 0x1C]  # each was sent once


async def test_an_order_that_is_too_old_by_the_meters_clock_is_refused() -> None:
    meter = simulated(RELAY)
    meter.clock_error = timedelta(hours=1)
    outcome = await ordered(meter, DirectBus(meter.answer)).switch(Supply.RELAY, False)
    assert (outcome.state, outcome.detail) == (CommandState.FAILED, "refused: other error")


async def test_no_valve_here() -> None:
    meter = simulated(RELAY)
    outcome = await ordered(meter, DirectBus(meter.answer)).switch(Supply.VALVE, False)
    assert outcome.state is CommandState.FAILED


async def test_the_clock_is_set_and_read_back() -> None:
    meter = simulated(RELAY)
    meter.clock_error = timedelta(days=400, minutes=7)
    built = ordered(meter, DirectBus(meter.answer))
    assert isinstance(built, SetsClock)
    assert (await built.set_clock(lambda: NOW)).state is CommandState.DONE
    assert meter.local_now() == NOW


async def test_midnight_between_date_and_time() -> None:
    meter = simulated(RELAY)
    moments = iter(
        [datetime.fromisoformat("2026-11-25 23:59:59")] + [datetime.fromisoformat("2026-11-26 00:00:00")] * 9
    )
    bus = DirectBus(meter.answer)
    assert (await ordered(meter, bus).set_clock(lambda: next(moments))).state is CommandState.DONE
    assert meter.local_now() == datetime.fromisoformat("2026-11-26 00:00:00")


async def test_a_clock_that_keeps_its_time_has_failed() -> None:
    meter = simulated(RELAY)

    def deaf(request: bytes) -> bytes | None:
        frame = parse(request)
        return build(Frame(ADDRESS, 0x94)) if frame.control == 0x14 else meter.answer(request)

    meter.clock_error = timedelta(hours=3)
    built = ordered(meter, DirectBus(deaf))
    outcome = await built.set_clock(lambda: NOW)
    assert (outcome.state, outcome.detail) == (CommandState.FAILED, "the meter shows 2026-11-25 23:00:00")


def test_without_authority_or_controls_a_meter_is_only_read() -> None:
    authority = Authority(lambda: Password(2, "000000"), lambda: NOW)
    assert type(build_meter("m", ADDRESS, DirectBus(), compile_meter(dlt645(RELAY)))) is Dlt645Meter
    assert type(build_meter("m", ADDRESS, DirectBus(), compile_meter(dlt645(THREE)), authority)) is Dlt645Meter


async def test_an_old_meter_refuses_in_its_own_words() -> None:
    meter = simulated(OLD)
    station = Station(ADDRESS, DirectBus(meter.answer), EDITION_1997)
    meter.overrides = {"energy_import_total": 123_456}
    assert await station.item("9010") == bytes.fromhex("56341200")
    with pytest.raises(ExceptionReply, match="wrong data identifier"):
        await station.item("B611")
