"""The clock of a Modbus meter: local time to registers and back, written, read back and compared."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from gateway.contract.messages import CommandState
from gateway.drivers.base import CommandOutcome
from gateway.drivers.modbus.numbers import Unpacker, reader
from gateway.drivers.modbus.wire import IN_DOUBT, ModbusWire, write_all
from gateway.errors import DeviceError, ExceptionReply, LineDown
from gateway.templates.modbus import ModbusTemplate
from gateway.templates.modbus_controls import Clock, ClockField, ClockPart, Write
from gateway.templates.modbus_registers import Layout

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - seconds of a local clock
_CALENDAR: Final = (ClockPart.YEAR, ClockPart.MONTH, ClockPart.DAY, ClockPart.HOUR, ClockPart.MINUTE)


class ClockSetter:
    """Sets the clock of one unit."""

    def __init__(
        self,
        clock: Clock,
        template: ModbusTemplate,
        unit: int,
        wire: ModbusWire,
        unlock: Callable[[], Awaitable[None]],
    ) -> None:
        self._clock, self._unit, self._wire, self._unlock = clock, unit, wire, unlock
        self._most = template.limits.max_registers
        self._layouts = [
            (one, template.bits_of(one, one.type, clock.read_function, one.address)) for one in clock.fields
        ]
        self._first = min(layout.address for _, layout in self._layouts)
        self._count = max(layout.end for _, layout in self._layouts) - self._first
        self._unpack = Unpacker(self._first, self._count, [layout for _, layout in self._layouts])
        self._readers = [(one.part, one.minus, reader(at, self._unpack.position[at])) for one, at in self._layouts]

    async def set(self, local_now: Callable[[], datetime]) -> CommandOutcome:
        """Writes what `local_now` gives, reads it back. Raises LineDown when nothing of the time was sent.

        Of several writes only the first decides alone: once it is taken, what the clock shows does.
        """
        try:
            await write_all(self._wire, self._unit, self._clock.before)
        except DeviceError as error:
            return CommandOutcome(CommandState.FAILED, f"not set, the write before it failed: {error}")
        first, *others = (*self._writes(local_now()), *self._clock.after)
        doubt = ""
        try:
            await write_all(self._wire, self._unit, (first,))
        except DeviceError as error:
            if isinstance(error, ExceptionReply) and error.code not in IN_DOUBT:
                return CommandOutcome(CommandState.FAILED, f"refused: {error}")
            doubt = f"the write was not confirmed: {error}; "
        try:
            await write_all(self._wire, self._unit, () if doubt else others)
        except (DeviceError, LineDown) as error:
            doubt = f"a later write failed: {error}; "
        try:
            shown = await self.read()
        except (DeviceError, LineDown) as error:
            return CommandOutcome(CommandState.UNCERTAIN, f"{doubt}the clock cannot be read: {error}")
        except (ValueError, OverflowError) as error:
            return CommandOutcome(CommandState.FAILED, f"{doubt}the clock shows no time: {error}")
        off = shown - local_now()
        if abs(off) > timedelta(seconds=self._clock.tolerance_s):
            return CommandOutcome(CommandState.FAILED, f"{doubt}the clock shows {shown}")
        return CommandOutcome(CommandState.DONE, f"the clock shows {shown}")

    async def read(self) -> datetime:
        """What the clock shows. Raises DeviceError, LineDown; ValueError and OverflowError for what is no time."""
        await self._unlock()
        registers: list[int] = []
        while len(registers) < self._count:
            count = min(self._most, self._count - len(registers))
            address = self._first + len(registers)
            registers += await self._wire.read(self._unit, self._clock.read_function, address, count)
        numbers = self._unpack(registers)
        parts: dict[ClockPart, int] = {}
        for part, minus, read in self._readers:
            number = read(numbers)
            if not isinstance(number, int):
                raise ValueError(f"{part.value} is no number")
            parts[part] = number + minus
        if ClockPart.EPOCH in parts:
            return _EPOCH + timedelta(seconds=parts[ClockPart.EPOCH])
        year, month, day, hour, minute = (parts[part] for part in _CALENDAR)
        return datetime(year, month, day, hour, minute, parts.get(ClockPart.SECOND, 0))  # noqa: DTZ001

    def _writes(self, time: datetime) -> Sequence[Write]:
        words = [0] * self._count
        for field, layout in self._layouts:
            for index, word in enumerate(_words(layout, _number(field, time))):
                words[layout.address - self._first + index] |= word
        if self._clock.function == 16:
            return (Write(function=16, address=self._first, values=tuple(words)),)
        return [
            Write(function=6, address=address, values=(word,)) for address, word in enumerate(words, start=self._first)
        ]


def _number(field: ClockField, time: datetime) -> int:
    if field.part is ClockPart.EPOCH:
        return (time - _EPOCH) // timedelta(seconds=1) - field.minus
    if field.part is ClockPart.WEEKDAY:
        return (field.weekdays or range(1, 8))[time.weekday()] - field.minus
    number: int = getattr(time, field.part.value)
    return number - field.minus


def _words(layout: Layout, number: int) -> list[int]:
    """The registers that hold `number`, lowest address first; bits that do not belong to it are 0."""
    bits = int(str(number), 16) if layout.type.is_bcd else number
    if layout.mask is not None:
        bits = bits << ((layout.mask & -layout.mask).bit_length() - 1) & layout.mask
    data = (bits & ((1 << layout.type.bits) - 1)).to_bytes(2 * layout.type.registers, "big")
    words = [int.from_bytes(data[at : at + 2], layout.byte_order) for at in range(0, len(data), 2)]
    return words if layout.word_order == "big" else words[::-1]
