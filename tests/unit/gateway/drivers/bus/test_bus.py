"""The owner of a bus: rests exact to the microsecond, answers never mixed up, nobody cancels what is on the wire."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable

import pytest

from gateway.drivers.bus.bus import Bus
from gateway.drivers.modbus.framing import Manners, Rtu
from gateway.drivers.modbus.line import ModbusLine
from gateway.errors import ExceptionReply, LineDown, MalformedReply, NoAnswer
from simulators.bus.wire import SimulatedBus
from simulators.modbus.faults import Fault, Faults
from simulators.modbus.station import ModbusStation
from tests.encoded_meter import EncodedMeter
from tests.simulated_bus import BAUD_9600, JoinedMedium, joined
from tests.virtual_time import run

CHARACTER_S = BAUD_9600.character_s
READ_S = (8 + 5 + 24) * CHARACTER_S + 2 * BAUD_9600.silence_s + BAUD_9600.turnaround_s
"""A read of 12 registers, the rest before the next request included."""


class Wire:
    """Two meters on a bus at 9600 baud, and the line that reads them."""

    def __init__(self, *, converter: bool = False, steady: float = 0.0, late_s: float = 0.3) -> None:
        self.loop = asyncio.get_running_loop()
        self.meters = [EncodedMeter(unit, self.loop.time, steady=steady) for unit in (1, 2)]
        self.faults = Faults(late_s=late_s)
        stations = [ModbusStation(meter.unit, meter) for meter in self.meters]
        self.bus: Bus
        self.medium: JoinedMedium
        self.bus, self.medium = joined(stations, faults=self.faults, converter=converter)
        self.line = ModbusLine(self.bus, Rtu())

    @property
    def simulated(self) -> SimulatedBus:
        return self.medium.simulated

    async def took(self, awaitable: Awaitable[object]) -> float:
        """Seconds until it is done."""
        started = self.loop.time()
        await awaitable
        return self.loop.time() - started


def on_a_wire(test: Callable[[Wire], Awaitable[None]], **options: object) -> None:
    async def program() -> None:
        await test(Wire(**options))  # type: ignore[arg-type]

    run(program())


def test_polling_flat_out_reaches_what_the_wire_bears() -> None:
    async def test(wire: Wire) -> None:
        await wire.line.read(1, 3, 0, 12)
        for number in range(500):
            assert await wire.took(wire.line.read(1 + number % 2, 3, 0, 12)) == pytest.approx(READ_S, abs=1e-6)
        assert wire.simulated.counts.collisions == 0

    on_a_wire(test)


def test_a_device_gets_the_rest_that_it_needs_and_others_do_not_pay() -> None:
    async def test(wire: Wire) -> None:
        wire.line.treat(2, Manners(rest_s=0.05))
        await wire.line.read(1, 3, 0, 12)
        more = 0.05 - BAUD_9600.silence_s
        assert await wire.took(wire.line.read(2, 3, 0, 12)) == pytest.approx(READ_S + more, abs=1e-6)
        assert await wire.took(wire.line.read(1, 3, 0, 12)) == pytest.approx(READ_S, abs=1e-6)
        await asyncio.sleep(1)
        assert await wire.took(wire.line.read(2, 3, 0, 12)) == pytest.approx(READ_S - BAUD_9600.silence_s, abs=1e-6)

    on_a_wire(test)


def test_the_wait_is_the_time_to_begin_and_the_time_on_the_wire() -> None:
    async def test(wire: Wire) -> None:
        async def read(unit: int) -> None:
            with pytest.raises(NoAnswer):
                await wire.line.read(unit, 3, 0, 12)

        wire.line.treat(9, Manners(timeout_s=0.03))
        await wire.line.read(1, 3, 0, 12)
        await asyncio.sleep(1)
        on_the_wire = (8 + 29) * CHARACTER_S
        assert await wire.took(read(8)) == pytest.approx(0.1 + on_the_wire, abs=1e-6)
        assert await wire.took(read(9)) == pytest.approx(0.03 + on_the_wire, abs=1e-6)

    on_a_wire(test)


@pytest.mark.parametrize("converter", [False, True])
def test_after_a_timeout_only_the_same_request_and_other_looks_go_on(converter: bool) -> None:
    async def test(wire: Wire) -> None:
        await wire.line.connect()
        wire.faults.forced = Fault.LATE
        with pytest.raises(NoAnswer):
            await wire.line.read(1, 3, 0, 12)
        asked_at = wire.loop.time() - 0.1 - (8 + 29) * CHARACTER_S
        wire.faults.forced = None
        assert wire.line.connected is not converter
        assert await wire.took(wire.line.read(2, 3, 100, 12)) < 0.1
        assert await wire.took(wire.line.read(1, 3, 100, 7)) < 0.1
        asked_again_at = wire.loop.time()
        assert await wire.took(wire.line.read(1, 3, 0, 12)) < 0.1
        assert wire.loop.time() < asked_at + 0.5
        await wire.line.read(1, 3, 100, 12)
        served = list(wire.meters[0].served.values())[-1]
        # The answer to the same request may have been the late one, so one may still come.
        assert served[3] - asked_again_at >= 0.5
        assert wire.medium.openings == 1 + converter

    on_a_wire(test, converter=converter)


def test_a_late_answer_inside_anothers_wait_is_passed_over() -> None:
    async def test(wire: Wire) -> None:
        wire.faults.forced, wire.faults.late_s = Fault.LATE, 0.14
        with pytest.raises(NoAnswer):
            await wire.line.read(1, 3, 0, 12)
        wire.faults.forced = Fault.SILENT
        with pytest.raises(MalformedReply):  # something came, but no answer
            await wire.line.read(2, 3, 0, 12)
        assert wire.simulated.counts.answers == 1

    on_a_wire(test)


def test_who_gives_up_poisons_nothing() -> None:
    async def test(wire: Wire) -> None:
        reader = asyncio.ensure_future(wire.line.read(1, 3, 0, 12))
        await asyncio.sleep(0.01)
        reader.cancel()
        await asyncio.sleep(0)
        registers = await wire.line.read(1, 3, 500, 12)
        assert wire.meters[0].served[tuple(registers)][1] == 500
        assert wire.simulated.counts.lost == 0
        assert wire.simulated.counts.requests == 2

    on_a_wire(test)


def test_who_gives_up_a_silent_device_costs_the_next_its_time_and_no_more() -> None:
    async def test(wire: Wire) -> None:
        await wire.line.connect()
        reader = asyncio.ensure_future(wire.line.read(7, 3, 0, 12))
        await asyncio.sleep(0.01)
        reader.cancel()
        assert await wire.took(wire.line.read(1, 3, 0, 12)) < 0.1 + 2 * READ_S
        assert wire.medium.openings == 2

    on_a_wire(test, converter=True)


def test_many_ask_at_once_and_each_gets_its_own() -> None:
    async def test(wire: Wire) -> None:
        wanted = [(1 + number % 2, 3, 100 * number, 12) for number in range(20)]
        answers = await asyncio.gather(*(wire.line.read(*one) for one in wanted))
        for (unit, function, address, count), registers in zip(wanted, answers, strict=True):
            assert wire.meters[unit - 1].served[tuple(registers)][:3] == (function, address, count)
        assert wire.simulated.counts.collisions == 0

    on_a_wire(test)


def test_what_comes_unasked_is_counted_and_waited_out() -> None:
    async def test(wire: Wire) -> None:
        await wire.line.read(1, 3, 0, 12)
        await asyncio.sleep(1)
        wire.medium.deliver(b"\x55\x66")
        await asyncio.sleep(0)
        assert await wire.took(wire.line.read(1, 3, 0, 12)) == pytest.approx(READ_S, abs=1e-6)
        assert wire.bus.stray_bytes == 2

    on_a_wire(test)


def test_a_bus_that_is_never_silent_is_down() -> None:
    async def test(wire: Wire) -> None:
        await wire.line.connect()

        async def babble() -> None:
            while True:
                wire.medium.deliver(b"\x55")
                await asyncio.sleep(0.002)

        babbler = asyncio.ensure_future(babble())
        await asyncio.sleep(0.01)
        with pytest.raises(LineDown, match="never silent"):
            await wire.line.read(1, 3, 0, 12)
        assert not wire.line.connected
        babbler.cancel()

    on_a_wire(test)


def test_endless_noise_is_no_answer() -> None:
    async def test(wire: Wire) -> None:
        wire.faults.forced = Fault.SILENT
        reader = asyncio.ensure_future(wire.line.read(1, 3, 0, 12))
        await asyncio.sleep(0.01)
        while not reader.done():
            wire.medium.deliver(b"\x00\xff")
            await asyncio.sleep(0.001)
        with pytest.raises(MalformedReply, match="noise"):
            await reader

    on_a_wire(test)


@pytest.mark.parametrize("function", [1, 2, 3, 4])
def test_reads_over_an_adapter_that_echoes(function: int) -> None:
    async def test(wire: Wire) -> None:
        wire.faults.forced = Fault.ECHO
        for _ in range(3):
            values = await wire.line.read(1, function, 0, 30)
            assert wire.meters[0].served[tuple(values)][:3] == (function, 0, 30)
        with pytest.raises(NoAnswer):
            await wire.line.read(8, function, 0, 30)

    on_a_wire(test)


def test_an_echo_confirms_no_write_once_the_adapter_is_known() -> None:
    async def test(wire: Wire) -> None:
        wire.simulated.echoes = True
        await wire.line.read(1, 3, 0, 12)
        await wire.line.write(1, 6, 5, [9])
        assert wire.meters[0].written == [(6, 5, (9,))]
        wire.faults.forced = Fault.SILENT
        with pytest.raises(NoAnswer):
            await wire.line.write(1, 6, 5, [10])
        await asyncio.sleep(1)
        wire.faults.forced = None
        await wire.line.write(1, 16, 5, [11, 12])
        assert wire.meters[0].written[-1] == (16, 5, (11, 12))

    on_a_wire(test)


@pytest.mark.parametrize(
    ("function", "values"), [(5, (1,)), (5, (0,)), (6, (65_535,)), (15, (1, 0, 1)), (16, (1, 2, 3)), (16, (0,) * 123)]
)
def test_writes(function: int, values: tuple[int, ...]) -> None:
    async def test(wire: Wire) -> None:
        await wire.line.write(2, function, 40, values)
        assert wire.meters[1].written == [(function, 40, values)]
        assert not wire.meters[0].written

    on_a_wire(test)


def test_a_refused_write_and_a_refused_read() -> None:
    async def test(wire: Wire) -> None:
        wire.meters[0].faults.forced = Fault.EXCEPTION
        with pytest.raises(ExceptionReply):
            await wire.line.write(1, 6, 0, [1])
        with pytest.raises(ExceptionReply):
            await wire.line.read(1, 3, 0, 1)
        assert wire.line.connected

    on_a_wire(test, converter=True)


def test_two_blocks_with_equal_registers_are_told_apart_by_asking_again() -> None:
    async def test(wire: Wire) -> None:
        for meter in wire.meters:
            meter._word = lambda function, address: 0  # type: ignore[method-assign]
        assert await wire.took(wire.line.read(1, 3, 0, 12)) < 0.1
        assert 0.45 < await wire.took(wire.line.read(1, 3, 100, 12)) < 0.6
        assert await wire.took(wire.line.read(2, 3, 100, 12)) < 0.1
        assert await wire.took(wire.line.read(1, 3, 100, 13)) < 0.1

    on_a_wire(test)


def test_what_is_read_after_a_write_was_said_after_it() -> None:
    async def test(wire: Wire) -> None:
        wire.faults.late_s = 0.068
        wire.faults.forced = Fault.DOUBLED_LATE
        before = await wire.line.read(1, 3, 0, 1)
        wire.faults.forced = None
        await wire.line.write(1, 6, 0, [1])
        assert await wire.line.read(1, 3, 0, 1) == before
        # The copy of the first answer came for the second read, so it was asked once more.
        assert wire.simulated.counts.requests == 4
        assert wire.loop.time() > 0.5

    on_a_wire(test, steady=1.0)


def test_a_connection_that_breaks_ends_the_wait_at_once() -> None:
    async def test(wire: Wire) -> None:
        await wire.line.read(2, 3, 0, 12)
        reader = asyncio.ensure_future(wire.line.read(1, 3, 0, 12))
        await asyncio.sleep(0.01)
        assert wire.medium.receiver is not None
        wire.medium.receiver.connection_lost(None)
        started = wire.loop.time()
        with pytest.raises(NoAnswer, match="broke the connection"):
            await reader
        assert wire.loop.time() == started
        assert not wire.line.connected
        wire.medium.refuses = True
        with pytest.raises(LineDown):
            await wire.line.read(2, 3, 0, 12)

    on_a_wire(test)


def test_who_hangs_up_before_he_said_anything_is_left_alone_for_a_while() -> None:
    async def test(wire: Wire) -> None:
        await wire.line.connect()
        assert wire.medium.receiver is not None
        wire.medium.receiver.connection_lost(None)
        for _ in range(10):
            with pytest.raises(LineDown, match="hangs up on a new connection"):
                await wire.line.read(1, 3, 0, 12)
        assert wire.medium.openings == 1
        await asyncio.sleep(1)
        await wire.line.read(1, 3, 0, 12)
        assert wire.medium.openings == 2

    on_a_wire(test)


@pytest.mark.parametrize("of_tls", [False, True])
def test_an_order_that_was_sent_may_have_arrived_though_the_other_side_hung_up(of_tls: bool) -> None:
    async def test(wire: Wire) -> None:
        alert = ssl.SSLError(1, "alert")
        alert.reason = "TLSV1_ALERT_UNKNOWN_CA"
        wire.faults.forced = Fault.SILENT
        ordering = asyncio.ensure_future(wire.line.write(1, 6, 310, [0x55]))
        while wire.bus._open is None:
            await asyncio.sleep(0.001)
        assert wire.medium.receiver is not None
        wire.medium.receiver.connection_lost(alert if of_tls else None)
        with pytest.raises(NoAnswer):
            await ordering

    on_a_wire(test, converter=True)


def test_closing_ends_the_wait_and_what_comes_afterwards_reaches_nobody() -> None:
    async def test(wire: Wire) -> None:
        reader = asyncio.ensure_future(wire.line.read(1, 3, 0, 12))
        await asyncio.sleep(0.01)
        old = wire.medium.receiver
        wire.line.close()
        with pytest.raises(NoAnswer, match="closed"):
            await reader
        await wire.line.connect()
        assert old is not None
        old.received(b"\x55" * 4)
        old.connection_lost(None)
        assert wire.line.connected
        assert wire.bus.stray_bytes == 0

    on_a_wire(test)


def test_busy_time_is_that_of_transactions() -> None:
    async def test(wire: Wire) -> None:
        for _ in range(10):
            await wire.line.read(1, 3, 0, 12)
            await asyncio.sleep(1)
        assert wire.line.busy_s == pytest.approx(10 * (READ_S - BAUD_9600.silence_s), abs=1e-6)

    on_a_wire(test)
