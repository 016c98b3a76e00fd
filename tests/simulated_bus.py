"""The gateway's bus joined to a simulated one in memory, for tests on a virtual clock."""

import asyncio
from collections.abc import Sequence

from gateway.drivers.bus.bus import Bus, Timing
from gateway.drivers.bus.receiver import Receiver
from gateway.drivers.bus.transport import Pipe
from gateway.errors import LineDown
from simulators.bus.device import BusDevice
from simulators.bus.wire import BusTiming, SimulatedBus
from simulators.modbus.answers import Answers, answer_pdu
from simulators.modbus.faults import Faults

BAUD_9600 = BusTiming(character_s=10 / 9_600, silence_s=35 / 9_600, turnaround_s=0.02)


class JoinedMedium:
    """What the bus sends is heard at once. Opened again, it delivers what was on its way to its predecessor."""

    def __init__(self, simulated: SimulatedBus) -> None:
        self.simulated = simulated
        self.receiver: Receiver | None = None
        self.openings = 0
        self.refuses = False
        simulated.listeners.append(self.deliver)

    def __str__(self) -> str:
        return "memory"

    @property
    def hang_up(self) -> str:
        """Nothing hangs up by itself."""
        return "why?"

    async def open(self, receiver: Receiver) -> Pipe:
        """Never fails unless told to."""
        if self.refuses:
            raise LineDown("memory is refused")
        self.openings += 1
        self.receiver = receiver
        return _Pipe(self)

    def deliver(self, data: bytes) -> None:
        """Bytes arrive at the bus, in an event of their own as from a socket."""
        if self.receiver is not None:
            asyncio.get_running_loop().call_soon(self.receiver.received, data)


class _Pipe:
    def __init__(self, medium: JoinedMedium) -> None:
        self._medium = medium

    def write(self, data: bytes) -> None:
        self._medium.simulated.hear(data)

    def abort(self) -> None:
        self._medium.receiver = None


class MbapStation:
    """A Modbus TCP device by frames, so that a bus may do to it what it does to others."""

    def __init__(self, unit: int, meter: Answers) -> None:
        self.unit, self.meter = unit, meter

    def answer(self, frame: bytes) -> bytes | None:
        """The frame that answers `frame`."""
        if len(frame) < 8 or frame[6] != self.unit:
            return None
        pdu = answer_pdu(self.meter, frame[7:], self.meter.faults.draw())
        return frame[:4] + (len(pdu) + 1).to_bytes(2, "big") + frame[6:7] + pdu


def joined(
    devices: Sequence[BusDevice],
    timing: BusTiming = BAUD_9600,
    *,
    faults: Faults | None = None,
    timeout_s: float = 0.1,
    late_answer_s: float = 0.5,
    converter: bool = False,
    numbered: bool = False,
) -> tuple[Bus, JoinedMedium]:
    """A bus and its medium. `converter`: closed after a failure. `numbered`: for Modbus TCP, which needs no rests."""
    medium = JoinedMedium(SimulatedBus(devices, timing, faults or Faults()))
    silence_s = 0.0 if numbered else timing.silence_s
    bus = Bus(
        medium,
        Timing(timeout_s, timing.character_s, silence_s, 0.0 if numbered else late_answer_s),
        reopens=converter,
        may_echo=not numbered,
    )
    return bus, medium
