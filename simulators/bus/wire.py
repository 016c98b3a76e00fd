"""The bus itself: one pair of wires on which every byte takes its time and two senders at once garble each other."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from simulators.bus.device import BusDevice
from simulators.bus.spoiling import Sending, spoil
from simulators.modbus.faults import ON_THE_WIRE, Faults

_GARBLE: Final = 0xA5
_PREAMBLE: Final = b"\xfe"


@dataclass(frozen=True, slots=True)
class BusTiming:
    """How long things take; all zero for a bus that takes no time, on which each piece of bytes heard is a frame."""

    character_s: float = 0.0
    silence_s: float = 0.0
    """Silence by which devices know that a frame has ended."""
    turnaround_s: float = 0.0
    """What a device takes to begin its answer once it knows."""


@dataclass(slots=True, eq=False)
class _Transmission:
    data: bytes
    start: float
    end: float
    garbled: bool = False


@dataclass(slots=True)
class BusCounts:
    """What happened since the start."""

    requests: int = 0
    answers: int = 0
    collisions: int = 0
    lost: int = 0
    """Requests that no device could hear because somebody was sending."""
    busy_s: float = 0.0
    """From the first byte of a request to the end of the silence behind its answer, summed up."""


@dataclass(slots=True, eq=False)
class SimulatedBus:
    """Takes what the master sends with `hear`, gives what devices send to every one of `listeners`.

    Times are kept as they should be, not as the event loop comes to them: nothing adds up.
    """

    devices: Sequence[BusDevice]
    timing: BusTiming = field(default_factory=BusTiming)
    faults: Faults = field(default_factory=Faults)
    """Only those of `ON_THE_WIRE` matter here."""
    echoes: bool = False
    """Whether the adapter of the master sends back all that it sends."""
    listeners: list[Callable[[bytes], None]] = field(default_factory=list)
    counts: BusCounts = field(default_factory=BusCounts)
    _request: _Transmission | None = None
    _ending: asyncio.TimerHandle | None = None
    _sending: list[_Transmission] = field(default_factory=list)
    _planned: set[asyncio.TimerHandle] = field(default_factory=set)

    def hear(self, data: bytes) -> None:
        """Bytes from the master. What it sends without a pause is one frame."""
        if self.echoes:
            self._deliver(data)
        loop = asyncio.get_running_loop()
        now = loop.time()
        request = self._request
        if request is None:
            request = self._request = _Transmission(b"", now, now)
        request.data += data
        request.end = max(now, request.end) + len(data) * self.timing.character_s
        for other in self._sending:
            self._collide(request, other)
        if self._ending is not None:
            self._ending.cancel()
        known_at = request.end + self.timing.silence_s
        if known_at <= now:
            self._heard(known_at)
        else:
            self._ending = loop.call_at(known_at, self._heard, known_at)

    def stop(self) -> None:
        """Forgets all that was still to be sent."""
        for handle in (self._ending, *self._planned):
            if handle is not None:
                handle.cancel()
        self._planned.clear()
        self._sending.clear()
        self._request = self._ending = None

    def _heard(self, at: float) -> None:
        request, self._request, self._ending = self._request, None, None
        assert request is not None
        self.counts.requests += 1
        if request.garbled:
            self.counts.lost += 1
            return
        frame = request.data.lstrip(_PREAMBLE)
        for device in self.devices:
            answer = device.answer(frame)
            if not answer:
                continue
            fault = self.faults.draw()
            spoilt = fault if fault in ON_THE_WIRE else None
            for sending in spoil(spoilt, request.data, answer, self.faults.lateness(), self.faults.generator):
                self._plan(at + self.timing.turnaround_s + sending.after_s, sending, request.start)

    def _plan(self, at: float, sending: Sending, asked_at: float) -> None:
        loop = asyncio.get_running_loop()
        if at <= loop.time() and not self.timing.character_s:
            self.counts.answers += 1
            self._deliver(sending.data)
            return
        end = at + len(sending.data) * self.timing.character_s
        if not sending.after_s:
            self.counts.busy_s += end + self.timing.silence_s - asked_at
        self._at(at, lambda: self._begin(_Transmission(sending.data, at, end)))

    def _begin(self, transmission: _Transmission) -> None:
        others = [*self._sending, *([self._request] if self._request is not None else [])]
        for other in others:
            self._collide(transmission, other)
        self._sending.append(transmission)
        self._at(transmission.end, lambda: self._end(transmission))

    def _end(self, transmission: _Transmission) -> None:
        self._sending.remove(transmission)
        self.counts.answers += 1
        data = transmission.data
        self._deliver(bytes(byte ^ _GARBLE for byte in data) if transmission.garbled else data)

    def _collide(self, one: _Transmission, other: _Transmission) -> None:
        if one.start < other.end and other.start < one.end:
            self.counts.collisions += 1
            one.garbled = other.garbled = True

    def _deliver(self, data: bytes) -> None:
        for listener in self.listeners:
            listener(data)

    def _at(self, when: float, do: Callable[[], None]) -> None:
        def run() -> None:
            self._planned.discard(handle)
            do()

        handle = asyncio.get_running_loop().call_at(when, run)
        self._planned.add(handle)
