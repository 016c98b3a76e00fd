"""One meter on a Modbus line: the visit that runs the programs of its template."""

from collections.abc import Callable, Sequence
from time import monotonic
from typing import Final

import structlog

from gateway.drivers.base import Groups, ReadOutcome
from gateway.drivers.modbus.decoder import BlockDecoder
from gateway.drivers.modbus.numbers import Absent, Raw
from gateway.drivers.modbus.planner import Block
from gateway.drivers.modbus.program import Program, Programs, compile_template
from gateway.drivers.modbus.wire import UNREACHED, ModbusWire, write_all
from gateway.errors import ExceptionReply, MalformedReply, NoAnswer

__all__ = ["ModbusMeter", "Programs", "compile_template"]

log = structlog.get_logger(__name__)

_ILLEGAL_ADDRESS: Final = 2
_CONSTANTS_HOLD_MS: Final = 3_600_000
"""A technician may change a transformer's ratio while the meter runs; an hour later at the latest it is known."""


class ModbusMeter:
    """Reads one unit of a line."""

    def __init__(self, device: str, unit: int, wire: ModbusWire, programs: Programs) -> None:
        self.device = device
        self.groups: Groups = programs.groups
        self._unit = unit
        self._wire = wire
        self._programs = programs
        self._unlocked = False
        self._constants: list[Raw] = [Absent.ERROR] * programs.constant_count
        self._constants_until = 0
        self._last_taken = 0

    async def read(self, groups: Groups, now_ms: Callable[[], int]) -> ReadOutcome:
        """Runs the program of `groups`. Values that came before a failure are kept. Raises LineDown."""
        outcome = ReadOutcome()
        try:
            await self._prepare(outcome, now_ms)
            await self._read(self._programs.of(groups), outcome, now_ms)
        except ExceptionReply as refusal:
            _count(refusal, outcome)
        except MalformedReply:
            outcome.malformed += 1
        except NoAnswer:
            outcome.timeouts += 1
        if outcome.malformed or outcome.timeouts:
            # It may have been without power, or have been exchanged.
            self._unlocked, self._constants_until = False, 0
        return outcome

    async def unlock(self) -> None:
        """Writes what makes the device readable, if it is due. Raises DeviceError, LineDown."""
        unlock = self._programs.template.unlock
        if unlock is not None and not (self._unlocked and unlock.every == "connection"):
            await write_all(self._wire, self._unit, unlock.writes)
            self._unlocked = True

    async def _prepare(self, outcome: ReadOutcome, now_ms: Callable[[], int]) -> None:
        """Unlocks the device and reads what never changes, as far as that is due. Raises DeviceError."""
        await self.unlock()
        if self._constants and now_ms() >= self._constants_until:
            await self._read_constants(outcome)
            self._constants_until = now_ms() + _CONSTANTS_HOLD_MS

    async def _read_constants(self, outcome: ReadOutcome) -> None:
        """Those that the device refuses leave their channels in error, and the others go on."""
        for reader in self._programs.constants:
            try:
                numbers = reader.unpack(await self._ask(reader.block, outcome))
            except ExceptionReply as refusal:
                _count(refusal, outcome)
                continue
            for position, place in reader.places:
                self._constants[place] = numbers[position]

    async def _read(self, program: Program, outcome: ReadOutcome, now_ms: Callable[[], int]) -> None:
        for decoder in program:
            if outcome.timeouts:
                break
            try:
                await self._read_block(decoder, outcome, now_ms)
            except ExceptionReply as refusal:
                if refusal.code == _ILLEGAL_ADDRESS and self._programs.covers_hole(decoder.block):
                    await self._read_without_holes(decoder, outcome, now_ms)
                else:
                    _count(refusal, outcome)

    async def _read_block(self, decoder: BlockDecoder, outcome: ReadOutcome, now_ms: Callable[[], int]) -> None:
        registers = await self._ask(decoder.block, outcome)
        readings, missing, errors = decoder.decode(registers, self._constants)
        outcome.missing += missing
        outcome.errors += errors
        outcome.answers.append((self._taken(now_ms()), readings))

    async def _read_without_holes(self, decoder: BlockDecoder, outcome: ReadOutcome, now_ms: Callable[[], int]) -> None:
        """Reads again what was refused; when that works, it was for the hole, and no read covers one any more."""
        careful = self._programs.without_holes
        answers = len(outcome.answers)
        for smaller in careful.again(decoder):
            try:
                await self._read_block(smaller, outcome, now_ms)
            except ExceptionReply as refusal:
                _count(refusal, outcome)
        if len(outcome.answers) > answers and self._programs is not careful:
            self._programs = careful
            log.warning("reads-without-holes", device=self.device, refused=decoder.block.address)

    async def _ask(self, block: Block, outcome: ReadOutcome) -> Sequence[int]:
        asked = monotonic()
        registers = await self._wire.read(self._unit, block.function, block.address, block.count)
        outcome.round_trips_us.append(round((monotonic() - asked) * 1_000_000))
        return registers

    def _taken(self, now: int) -> int:
        """The time of an answer; never the same twice for one device, which would make two values one."""
        self._last_taken = max(now, self._last_taken + 1)
        return self._last_taken


def _count(refusal: ExceptionReply, outcome: ReadOutcome) -> None:
    """A converter's word that it does not reach the device is no answer of the device."""
    if refusal.code in UNREACHED:
        outcome.timeouts += 1
    else:
        outcome.exceptions += 1
