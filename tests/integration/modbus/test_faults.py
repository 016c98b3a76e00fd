"""Whatever one device does, it is counted right, gives no wrong value, and the others are read on."""

import asyncio
from time import monotonic, time_ns

import pytest

from gateway.errors import LineDown, MalformedReply, NoAnswer
from simulators.modbus.faults import MALFORMED, Fault
from tests.integration.modbus.fleet import running_line, until
from tests.modbus_lines import tcp_line


@pytest.mark.parametrize("fault", sorted(MALFORMED, key=str))
async def test_malformed_frame_is_counted_and_the_line_goes_on(fault: Fault) -> None:
    async with running_line(["good", "bad"]) as bench:
        await until(lambda: bench.of("bad") and bench.of("good"))
        bench.meters["bad"].faults.forced = fault
        bad = bench.worker.stats.devices[1]
        await until(lambda: bad.malformed >= 1)
        known = len(bench.of("bad"))
        good = len(bench.of("good"))
        await until(lambda: len(bench.of("good")) >= good + 21)
        assert len(bench.of("bad")) == known
        assert (bad.timeouts, bad.exceptions) == (0, 0)
        assert bench.worker.stats.devices[0].failures_in_a_row == 0
        bench.meters["bad"].faults.forced = None
        await until(lambda: len(bench.of("bad")) > known)
        assert bad.failures_in_a_row == 0


@pytest.mark.parametrize("fault", [Fault.EXCEPTION, Fault.BUSY])
async def test_exception_reply_is_counted_and_costs_no_connection(fault: Fault) -> None:
    async with running_line(["good", "bad"]) as bench:
        bench.meters["bad"].faults.forced = fault
        bad = bench.worker.stats.devices[1]
        await until(lambda: bad.exceptions >= 3)
        await until(lambda: len(bench.of("good")) >= 21)
        assert bench.of("bad") == []
        assert (bad.timeouts, bad.malformed) == (0, 0)
        assert bench.worker.stats.connects == 1


async def test_silent_device_is_found_again() -> None:
    async with running_line(["good", "silent"], timeout_s=0.02, period_ms=50) as bench:
        await until(lambda: bench.of("silent"))
        bench.meters["silent"].faults.forced = Fault.SILENT
        silent = bench.worker.stats.devices[1]
        await until(lambda: silent.timeouts >= 3)
        known = len(bench.of("silent"))
        assert silent.malformed == 0
        assert silent.last_error == "no answer within 0.02 s"
        bench.meters["silent"].faults.forced = None
        await until(lambda: len(bench.of("silent")) > known)
        assert silent.failures_in_a_row == 0


async def test_many_dead_devices_together_take_a_bounded_share() -> None:
    dead = [f"dead-{number}" for number in range(20)]
    async with running_line(["good", *dead], timeout_s=0.05, period_ms=20) as bench:
        for device in dead:
            bench.meters[device].faults.forced = Fault.SILENT
        await until(lambda: all(stats.failures_in_a_row for stats in bench.worker.stats.devices[1:]))
        answers = len(bench.of("good"))
        await until(lambda: len(bench.of("good")) >= answers + 7 * 20)
        timeouts, answers = sum(stats.timeouts for stats in bench.worker.stats.devices), len(bench.of("good"))
        started = monotonic()
        await until(lambda: len(bench.of("good")) >= answers + 7 * 120)
        spent = 0.05 * (sum(stats.timeouts for stats in bench.worker.stats.devices) - timeouts)
        assert spent <= 0.05 * (monotonic() - started) + 2 * 0.05


async def test_a_lost_answer_is_asked_for_again_in_its_slot() -> None:
    async with running_line(["one", "two"], timeout_s=0.25, period_ms=1_600) as bench:
        await until(lambda: bench.of("one"))
        bench.meters["one"].faults.forced = Fault.SILENT
        stats, known = bench.worker.stats.devices[0], len(bench.of("one"))
        await until(lambda: stats.timeouts)
        bench.meters["one"].faults.forced = None
        slot = time_ns() // 1_600_000_000
        await until(lambda: len(bench.of("one")) > known)
        assert bench.of("one")[known].taken_at // 1_600 == slot
        assert stats.timeouts == 1


async def test_missing_unit_is_silent_and_the_line_goes_on() -> None:
    async with running_line(["good", "gone"]) as bench:
        del bench.line.meters[2]
        await until(lambda: bench.worker.stats.devices[1].timeouts >= 1)
        good = len(bench.of("good"))
        await until(lambda: len(bench.of("good")) > good)


async def test_late_answer_is_never_taken_for_the_next_one() -> None:
    async with running_line(["other", "late"], timeout_s=0.08, period_ms=60, advance=True) as bench:
        late = bench.meters["late"]
        late.faults.late_s = 0.12
        late.faults.forced = Fault.LATE
        for meter, energy in (("other", 1_000), ("late", 900_000_000)):
            bench.meters[meter].overrides = {"energy_import_total": energy}
        await until(lambda: bench.worker.stats.devices[1].timeouts >= 3)
        await until(lambda: len(bench.of("other")) >= 50)
        assert bench.of("late") == []
        energies = {one.value for one in bench.of("other") if one.channel == "energy_import_total"}
        assert energies == {1_000}


async def test_cut_answer_ends_the_wait_at_once() -> None:
    async with running_line(["cut"], timeout_s=60) as bench:
        bench.meters["cut"].faults.forced = Fault.CUT
        await until(lambda: bench.worker.stats.devices[0].timeouts >= 1, seconds=40)
        bench.meters["cut"].faults.forced = None
        await until(lambda: bench.of("cut"))


async def test_line_comes_back_after_a_power_cut() -> None:
    async with running_line(["one"]) as bench:
        await until(lambda: bench.of("one"))
        port = bench.line.port
        await bench.line.stop()
        await until(lambda: bench.worker.stats.connect_failures >= 1)
        seen = len(bench.points)
        await bench.line.start("127.0.0.1", port)
        await until(lambda: len(bench.points) > seen)
        assert bench.worker.stats.connects >= 2


async def test_a_command_overtakes_the_schedule() -> None:
    async with running_line(["one", "two"], period_ms=3_600_000) as bench:
        outcome = await bench.worker.read_now("two")
        assert outcome.answered
        assert {point.device for point in bench.points} == {"two"}
        with pytest.raises(KeyError):
            await bench.worker.read_now("three")


async def test_a_command_overtakes_polls_on_a_busy_line() -> None:
    async with running_line([f"m-{number}" for number in range(20)], period_ms=1) as bench:
        await until(lambda: len(bench.points) > 100)
        for _ in range(5):
            asked = bench.line.requests
            assert (await bench.worker.read_now("m-7")).answered
            assert bench.line.requests - asked <= 2  # itself, and the one that was running


async def test_stopping_lets_the_running_transaction_finish() -> None:
    async with running_line(["slow"], timeout_s=5, period_ms=50) as bench:
        bench.meters["slow"].faults.late_s = 0.3
        bench.meters["slow"].faults.forced = Fault.LATE
        await until(lambda: bench.line.requests >= 1)
        bench.worker.stop()
        await until(lambda: bench.of("slow"))
        assert bench.worker.stats.devices[0].timeouts == 0


async def test_readings_of_one_device_never_share_a_time() -> None:
    async with running_line(["fast"], period_ms=1) as bench:
        await until(lambda: len(bench.points) >= 700)
        keys = [(point.channel, point.taken_at) for point in bench.points]
        assert len(keys) == len(set(keys))


async def test_nobody_listens() -> None:
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    line = tcp_line("127.0.0.1", port, 0.5)
    with pytest.raises(LineDown):
        await line.connect()
    assert not line.connected
    with pytest.raises(LineDown):
        await line.read(1, 3, 0, 1)


async def test_a_refused_reply_closes_the_connection() -> None:
    async with running_line(["one"], period_ms=3_600_000) as bench:
        line = tcp_line("127.0.0.1", bench.line.port, 0.2)
        for fault, error in ((Fault.SHORT, MalformedReply), (Fault.SILENT, NoAnswer)):
            await line.connect()
            bench.meters["one"].faults.forced = fault
            with pytest.raises(error):
                await line.read(1, 3, 0, 2)
            assert not line.connected
        bench.meters["one"].faults.forced = None
        await line.connect()
        assert len(await line.read(1, 3, 0, 2)) == 2
        line.close()
