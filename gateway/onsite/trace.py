"""A bus that takes notes: every exchange with its bytes and times, and what Modbus reads gave."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Final, TypeVar

from gateway.drivers.bus.bus import Bus, Timing
from gateway.drivers.bus.question import Question
from gateway.drivers.bus.receiver import Receiver
from gateway.drivers.bus.transport import Medium, Pipe
from gateway.drivers.cjt188 import frame as cjt188
from gateway.drivers.dlt645 import frame as dlt645
from gateway.drivers.modbus.framing import Framing
from gateway.drivers.modbus.line import ModbusLine
from gateway.drivers.modbus.pdu import Values
from gateway.errors import DeviceError, LineDown, MalformedReply

T = TypeVar("T", bound=Hashable)

_HEAD_188: Final = 3
"""Identifier and serial number."""


@dataclass(slots=True)
class Exchange:
    """One request and what came back. Times are seconds; `None` when nothing came."""

    asked: str
    """What was asked for, for people."""
    request: bytes
    sent_at: float
    answer: bytes = b""
    first_s: float | None = None
    """From the request to the first byte that came."""
    whole_s: float | None = None
    """From the request to the last byte that came."""
    error: str = ""


class TracedBus(Bus):
    """Asks as any bus does and keeps what went over it."""

    def __init__(self, medium: Medium, timing: Timing, *, reopens: bool, may_echo: bool) -> None:
        super().__init__(_TappedMedium(medium, self), timing, reopens=reopens, may_echo=may_echo)
        self.exchanges: list[Exchange] = []
        self.asking = ""
        """What the next request asks for, if somebody says it."""

    async def ask(self, question: Question[T]) -> T:
        """As a bus does; an error is noted with the exchange."""
        before = len(self.exchanges)
        try:
            return await super().ask(question)
        except (DeviceError, LineDown) as error:
            if len(self.exchanges) > before:
                self.exchanges[-1].error = str(error)
            raise

    def sent(self, data: bytes) -> None:
        """A request went out."""
        self.exchanges.append(Exchange(self.asking or _asked(data), data, monotonic()))

    def came(self, data: bytes) -> None:
        """Bytes arrived."""
        if not self.exchanges:
            return
        last, after_s = self.exchanges[-1], monotonic() - self.exchanges[-1].sent_at
        if last.first_s is None:
            last.first_s = after_s
        last.whole_s = after_s
        last.answer += data


class TracedModbus(ModbusLine):
    """Modbus on a traced bus."""

    def __init__(self, bus: Bus, framing: Framing) -> None:
        super().__init__(bus, framing)
        self.words: dict[tuple[int, int, int], int] = {}
        """What the last reads gave, by unit, function and address."""

    async def read(self, unit: int, function: int, address: int, count: int) -> Values:
        """As a line does; what came is noted."""
        bus = self.bus
        assert isinstance(bus, TracedBus)
        bus.asking = f"FC{function} @{address} ×{count}"
        try:
            values = await super().read(unit, function, address, count)
        finally:
            bus.asking = ""
        for offset, value in enumerate(values):
            self.words[unit, function, address + offset] = value
        return values


@dataclass(frozen=True, slots=True)
class _Item:
    name: str
    data: bytes
    goes_on: bool = False
    """Whether the data continues that of the frame before."""


def items_in(exchanges: Sequence[Exchange]) -> dict[str, bytes]:
    """Data of the DL/T 645 and CJ/T 188 items that were read, by identifier; those in several frames joined."""
    items: dict[str, bytes] = {}
    for exchange in exchanges:
        found = None if exchange.error else _item(exchange.answer.removeprefix(exchange.request))  # an adapter's echo
        if found is not None:
            items[found.name] = (items.get(found.name, b"") if found.goes_on else b"") + found.data
    return items


def _asked(request: bytes) -> str:
    """What a frame asks for, for people."""
    found = _item(request)
    return f"item {found.name}" if found is not None and found.name else request.hex(" ")


def _item(frame: bytes) -> _Item | None:
    try:
        return _item_645(dlt645.parse(frame))
    except MalformedReply:
        pass
    try:
        data = cjt188.parse(frame).data
    except MalformedReply:
        return None
    # All identifiers begin with 81, 90, A0 or D1; makers differ in which byte they send first.
    name = data[:2] if data[:1] >= b"\x80" else data[:2][::-1]
    return _Item(name.hex().upper(), data[_HEAD_188:])


def _item_645(frame: dlt645.Frame) -> _Item:
    function = frame.control & ~(dlt645.ANSWERS | dlt645.REFUSES | dlt645.MORE)
    if function == dlt645.Function.READ_ON:
        return _Item(frame.data[:4][::-1].hex().upper(), frame.data[4:-1], goes_on=True)
    size = 2 if function == dlt645.EDITION_1997.read else 4
    return _Item(frame.data[:size][::-1].hex().upper(), frame.data[size:])


class _TappedMedium:
    """Passes everything on, and a copy to the bus's notes."""

    def __init__(self, medium: Medium, bus: TracedBus) -> None:
        self._medium, self._bus = medium, bus

    def __str__(self) -> str:
        return str(self._medium)

    @property
    def hang_up(self) -> str:
        return self._medium.hang_up

    async def open(self, receiver: Receiver) -> Pipe:
        return _TappedPipe(await self._medium.open(_Tap(receiver, self._bus)), self._bus)


class _TappedPipe:
    def __init__(self, pipe: Pipe, bus: TracedBus) -> None:
        self._pipe, self._bus = pipe, bus

    def write(self, data: bytes) -> None:
        self._bus.sent(data)
        self._pipe.write(data)

    def abort(self) -> None:
        self._pipe.abort()


class _Tap(Receiver):
    def __init__(self, receiver: Receiver, bus: TracedBus) -> None:
        super().__init__()
        self._receiver, self._bus = receiver, bus

    def received(self, data: bytes) -> None:
        self._bus.came(data)
        self._receiver.received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._receiver.connection_lost(exc)
