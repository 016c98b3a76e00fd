"""A simulated bus takes the time of a real one, and garbles what two send at once."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence

import pytest

from simulators.bus.device import BusDevice
from simulators.bus.spoiling import Sending, spoil
from simulators.bus.wire import BusTiming, SimulatedBus
from simulators.modbus.faults import ON_THE_WIRE, Fault, Faults
from tests.virtual_time import run

TIMING = BusTiming(character_s=0.001, silence_s=0.004, turnaround_s=0.02)


class Echoing:
    """Answers frames that begin with its letter, with as many small letters as it is told."""

    def __init__(self, letter: bytes, size: int = 10) -> None:
        self.letter, self.size = letter, size
        self.heard: list[bytes] = []

    def answer(self, frame: bytes) -> bytes | None:
        self.heard.append(frame)
        return self.letter.lower() * self.size if frame.startswith(self.letter) else None


class Listener:
    """What came from the bus, and when."""

    def __init__(self, devices: Sequence[BusDevice], timing: BusTiming = TIMING) -> None:
        self.heard: list[tuple[float, bytes]] = []
        self.bus = SimulatedBus(devices, timing)
        self.bus.listeners.append(lambda data: self.heard.append((asyncio.get_running_loop().time(), data)))


def on_virtual_time(test: Callable[[], Awaitable[None]]) -> None:
    async def program() -> None:
        await test()

    run(program())


def test_an_answer_comes_when_its_last_byte_has_passed() -> None:
    async def test() -> None:
        one = Listener([Echoing(b"A")])
        one.bus.hear(b"Axxx")
        await asyncio.sleep(1)
        at, data = one.heard[0]
        assert data == b"a" * 10
        assert at == pytest.approx(0.004 + 0.004 + 0.02 + 0.010)
        assert one.bus.counts.busy_s == pytest.approx(at + 0.004)

    on_virtual_time(test)


def test_what_is_sent_without_a_pause_is_one_frame_and_preambles_are_none() -> None:
    async def test() -> None:
        device = Echoing(b"A")
        one = Listener([device])
        one.bus.hear(b"\xfe\xfeAx")
        await asyncio.sleep(0.003)
        one.bus.hear(b"yz")
        await asyncio.sleep(1)
        assert device.heard == [b"Axyz"]

    on_virtual_time(test)


def test_every_device_hears_and_each_answers_for_itself() -> None:
    async def test() -> None:
        devices = [Echoing(b"A"), Echoing(b"B")]
        one = Listener(devices)
        for frame in (b"Ax", b"Bx", b"Cx"):
            one.bus.hear(frame)
            await asyncio.sleep(1)
        assert [data for _, data in one.heard] == [b"a" * 10, b"b" * 10]
        assert all(device.heard == [b"Ax", b"Bx", b"Cx"] for device in devices)

    on_virtual_time(test)


def test_two_answers_at_once_garble_each_other() -> None:
    async def test() -> None:
        one = Listener([Echoing(b"A"), Echoing(b"A", size=12)])
        one.bus.hear(b"Ax")
        await asyncio.sleep(1)
        assert len(one.heard) == 2
        assert all(b"a" not in data for _, data in one.heard)
        assert one.bus.counts.collisions == 1

    on_virtual_time(test)


def test_a_request_during_an_answer_is_lost_and_spoils_it() -> None:
    async def test() -> None:
        device = Echoing(b"A")
        one = Listener([device])
        one.bus.hear(b"Ax")
        await asyncio.sleep(0.03)  # the answer is on the bus from 0.026 to 0.036
        one.bus.hear(b"Ay")
        await asyncio.sleep(1)
        assert device.heard == [b"Ax"]
        assert [b"a" in data for _, data in one.heard] == [False]
        assert (one.bus.counts.lost, one.bus.counts.collisions) == (1, 1)

    on_virtual_time(test)


def test_a_late_answer_that_begins_during_a_request_spoils_that() -> None:
    async def test() -> None:
        device = Echoing(b"A")
        one = Listener([device])
        one.bus.faults = Faults(late_s=0.1, forced=Fault.LATE)
        one.bus.hear(b"Ax")
        await asyncio.sleep(0.124)
        one.bus.hear(b"Axxxxxxx")
        await asyncio.sleep(1)
        assert device.heard == [b"Ax"]
        assert one.bus.counts.lost == 1

    on_virtual_time(test)


def test_stopping_forgets_what_was_to_come() -> None:
    async def test() -> None:
        one = Listener([Echoing(b"A")])
        one.bus.hear(b"Ax")
        await asyncio.sleep(0.01)
        one.bus.stop()
        await asyncio.sleep(1)
        assert one.heard == []

    on_virtual_time(test)


def test_a_bus_that_takes_no_time_answers_at_once() -> None:
    async def test() -> None:
        one = Listener([Echoing(b"A")], BusTiming())
        one.bus.hear(b"Ax")
        assert [data for _, data in one.heard] == [b"a" * 10]

    on_virtual_time(test)


@pytest.mark.parametrize("fault", [None, *sorted(ON_THE_WIRE, key=str)])
def test_what_is_done_to_an_answer(fault: Fault | None) -> None:
    sent = spoil(fault, b"question", b"answer", 0.5, random.Random(1))
    now = Sending(0, b"answer")
    match fault:
        case None:
            assert sent == [now]
        case Fault.SILENT:
            assert sent == []
        case Fault.LATE:
            assert sent == [Sending(0.5, b"answer")]
        case Fault.DOUBLED:
            assert sent == [Sending(0, b"answeranswer")]
        case Fault.DOUBLED_LATE:
            assert sent == [now, Sending(0.5, b"answer")]
        case Fault.ECHO:
            assert sent == [Sending(0, b"questionanswer")]
        case Fault.CUT:
            assert 0 < len(sent[0].data) < len(b"answer")
            assert b"answer".startswith(sent[0].data)
        case Fault.FLIPPED:
            wrong = int.from_bytes(sent[0].data, "big") ^ int.from_bytes(b"answer", "big")
            assert wrong.bit_count() == 1
        case Fault.STRAY:
            assert sent[0] == now
            assert sent[1].after_s == 0.5
