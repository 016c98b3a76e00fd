"""Observed meters: nothing is skipped, a forgotten observation is registered anew, and without any it is polled."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal

import pytest
from aiocoap import Message
from aiocoap.numbers.codes import CONTENT, NOT_FOUND

from gateway.contract.messages import Point
from simulators.coap.mains import MainsMeter
from simulators.coap.senml import CBOR, JSON
from tests.integration.coap.lines import ELECTRICITY, Recording, client_line, now_s, observing, simulated, until


@asynccontextmanager
async def mains(content_format: int = CBOR, observable: bool = True) -> AsyncIterator[MainsMeter]:
    """A meter that has one reading, on a free port."""
    meter = MainsMeter(simulated(ELECTRICITY), content_format, observable)
    meter.times.append(now_s() - 100)
    await meter.start("127.0.0.1", 0)
    try:
        yield meter
    finally:
        await meter.stop()


@pytest.mark.parametrize("content_format", [JSON, CBOR])
async def test_readings_are_recorded_to_the_last_digit(content_format: int) -> None:
    recording = Recording()
    async with mains(content_format) as meter, observing(recording, meter.port) as line:
        await until(lambda: recording.points)
        at = meter.times[0]
        energy = meter.meter.shown(meter.meter.template.registers[0], at)
        assert isinstance(energy, Decimal)
        assert recording.points[0] == Point("e-1", "energy_import_total", at * 1000, int(energy * 1000))
        assert [point.channel for point in recording.points[1:]] == [
            "power_active_total",
            "voltage_l1",
            "current_l1",
        ]
        stats = line.stats.devices[0]
        assert (stats.answers, stats.points, stats.timeouts, len(stats.round_trips_us)) == (1, 4, 0, 1)


async def test_notifications_come_and_what_is_known_is_recorded_once() -> None:
    recording = Recording()
    async with mains() as meter, observing(recording, meter.port) as line:
        await until(lambda: meter.observers == 1 and recording.points)
        first = meter.times[0]
        for step in range(1, 30):
            meter.read(first + step)
            if step % 7 == 0:  # in between, notifications overtake each other: only the last one is seen
                await until(lambda step=step: recording.of("energy_import_total")[-1].taken_at == (first + step) * 1000)
        meter.read(first + 30)
        await until(lambda: len(recording.of("energy_import_total")) == 31)
        assert line.stats.visits == 1
        assert line.counters.duplicates > 0
    times = [point.taken_at for point in recording.of("energy_import_total")]
    assert times == [(first + step) * 1000 for step in range(31)]


async def test_a_meter_that_cannot_be_observed_is_polled() -> None:
    recording = Recording()
    async with mains(observable=False) as meter, observing(recording, meter.port) as line:
        for step in range(1, 4):
            await until(lambda step=step: len(recording.of("energy_import_total")) == step)
            meter.read(meter.times[0] + step)
        await until(lambda: len(recording.of("energy_import_total")) == 4)
        assert line.stats.visits >= 4
        assert line.stats.devices[0].timeouts == 0


async def test_silence_registers_anew() -> None:
    recording = Recording()
    async with mains() as meter, observing(recording, meter.port, staleness_s=0.1) as line:
        await until(lambda: line.counters.stale >= 3)
        assert line.stats.visits >= 3
        meter.read(meter.times[0] + 5)
        await until(lambda: len(recording.of("energy_import_total")) == 2)
        assert line.stats.devices[0].timeouts == 0


async def test_after_a_restart_of_the_meter_nothing_is_missing() -> None:
    recording = Recording()
    async with mains() as meter, observing(recording, meter.port, staleness_s=0.2) as line:
        await until(lambda: meter.observers == 1 and recording.points)
        port, first = meter.port, meter.times[0]
        await meter.stop()
        for step in range(1, 6):
            meter.read(first + step)
        await until(lambda: line.stats.devices[0].timeouts or line.counters.stale)
        await meter.start("127.0.0.1", port)
        await until(lambda: meter.observers >= 1)
        meter.read(first + 6)
        await until(lambda: len(recording.of("energy_import_total")) == 7)
        assert line.stats.devices[0].failures_in_a_row == 0
    times = [point.taken_at for point in recording.of("energy_import_total")]
    assert times == [(first + step) * 1000 for step in range(7)]


async def test_nobody_there_is_a_timeout_and_somebody_later_is_found() -> None:
    recording = Recording()
    async with mains() as meter:
        port = meter.port
        await meter.stop()
        async with observing(recording, port, answer_s=0.2) as line:
            await until(lambda: line.stats.devices[0].timeouts)
            assert line.stats.devices[0].failures_in_a_row >= 1
            await meter.start("127.0.0.1", port)
            await until(lambda: recording.points)


@pytest.mark.parametrize(
    ("answer", "counter"),
    [
        (Message(code=NOT_FOUND), "exceptions"),
        (Message(code=CONTENT, payload=b"[", content_format=JSON), "malformed"),
        (Message(code=CONTENT, payload=b"[]", content_format=50), "malformed"),
        (Message(code=CONTENT, payload=b'[{"n":"energy","u":"MWh","v":1}]', content_format=JSON), "malformed"),
    ],
)
async def test_bad_answers_are_counted_and_nothing_is_used(answer: Message, counter: str) -> None:
    recording = Recording()
    async with mains() as meter:
        meter.answer = lambda: answer.copy()  # type: ignore[method-assign]
        async with observing(recording, meter.port) as line:
            stats = line.stats.devices[0]
            await until(lambda: getattr(stats, counter) == 1)
            await until(lambda: stats.last_error)
            assert (stats.answers, stats.exceptions + stats.malformed, stats.timeouts) == (0, 1, 0)
            assert recording.points == []
            del meter.answer  # the meter is well again
            await until(lambda: recording.points)


async def test_a_meter_that_ends_the_observation_is_asked_again() -> None:
    recording = Recording()
    async with mains() as meter, observing(recording, meter.port) as line:
        await until(lambda: meter.observers == 1 and recording.points)
        meter.end_observations()
        await until(lambda: line.stats.devices[0].exceptions == 1)
        meter.times.append(meter.times[0] + 1)
        await until(lambda: len(recording.of("energy_import_total")) == 2)


async def test_a_recorder_that_fails_ends_the_line() -> None:
    recording = Recording()

    async def fails(points: object) -> None:
        raise OSError("disk")

    recording.record = fails  # type: ignore[method-assign]
    async with mains() as meter:
        with pytest.raises(OSError, match="disk"):
            await client_line(recording, meter.port).run()
