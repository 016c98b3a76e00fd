"""One unit of a Modbus line: the visit that runs its programs for all meters in it, and what it learns of it."""

import asyncio
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Final

import structlog

from gateway.drivers.base import Groups, ReadOutcome
from gateway.drivers.instants import next_instant
from gateway.drivers.modbus.numbers import Absent, Raw
from gateway.drivers.modbus.planner import Block
from gateway.drivers.modbus.program import Program, Programs, Read
from gateway.drivers.modbus.wire import UNREACHED, ModbusWire, write_all
from gateway.errors import ExceptionReply, LineDown, MalformedReply, NoAnswer

log = structlog.get_logger(__name__)

_ILLEGAL_ADDRESS: Final = 2
_CONSTANTS_HOLD_MS: Final = 3_600_000
"""A technician may change a transformer's ratio while the meter runs; an hour later at the latest it is known."""
_OTHERS_HOLD_MS: Final = 10_000
"""For so long an answer waits for the other meters of its unit; they get it with the time at which it came."""

Outcomes = list[ReadOutcome]
"""One for each member."""


class Unit:
    """Reads one unit for all meters that it holds."""

    def __init__(self, name: str, number: int, wire: ModbusWire, programs: Programs) -> None:
        """`name` is for the log."""
        self.number, self.wire, self.programs = number, wire, programs
        self._name = name
        self._unlocked_on = 0
        """The connection on which it was unlocked; 0 when it has to be unlocked anew."""
        self._constants: list[Raw] = [Absent.ERROR] * programs.constant_count
        self._constants_until = 0
        self._last_taken = 0
        self._lacking: set[Block] = set()
        """Reads of which the device has nothing, with or without holes."""
        self._busy = asyncio.Lock()
        self._waiting: dict[tuple[int, Groups], tuple[int, ReadOutcome]] = {}
        """(when it came, outcome) for members that have not asked since a visit."""

    async def read(self, member: int, groups: Groups, now_ms: Callable[[], int]) -> ReadOutcome:
        """The outcome of one member: of a visit now, or of one just made for another.

        Raises LineDown when the line is lost before anything came for it.
        """
        async with self._busy:
            came, waiting = self._waiting.pop((member, groups), (0, None))
            if waiting is not None and 0 <= now_ms() - came <= _OTHERS_HOLD_MS:
                return waiting
            outcomes, lost = await self._visit(groups, now_ms)
            for other, outcome in enumerate(outcomes):
                if other != member and (lost is None or outcome.answered):
                    self._waiting[other, groups] = (now_ms(), outcome)
            if lost is not None and not outcomes[member].answered:
                raise lost
            return outcomes[member]

    async def unlock(self) -> None:
        """Writes what makes the device readable, if it is due. Raises DeviceError, LineDown."""
        unlocked = self._unlocked_on != 0 and self._unlocked_on == self.wire.connection
        for unlock in self.programs.unlocks:
            if not (unlocked and unlock.every == "connection"):
                await write_all(self.wire, self.number, unlock.writes)
        self._unlocked_on = self.wire.connection

    async def _visit(self, groups: Groups, now_ms: Callable[[], int]) -> tuple[Outcomes, LineDown | None]:
        """What came, and what ended it when that was the line."""
        lost: LineDown | None = None
        outcomes = [ReadOutcome() for _ in self.programs.members]
        try:
            await self._prepare(outcomes, now_ms)
            await self._run(self.programs.of(groups), outcomes, now_ms)
        except ExceptionReply as refusal:
            _count(refusal, outcomes)
        except MalformedReply as error:
            for outcome in outcomes:
                outcome.malformed += 1
                outcome.error = str(error)
        except NoAnswer as error:
            for outcome in outcomes:
                outcome.timeouts += 1
                outcome.error = str(error)
        except LineDown as error:
            lost = error
            for outcome in outcomes:
                outcome.error = str(error)
        if outcomes[0].malformed or outcomes[0].timeouts:
            # It may have been without power, or have been exchanged.
            self._unlocked_on = self._constants_until = 0
            self._lacking.clear()
        return outcomes, lost

    async def _prepare(self, outcomes: Outcomes, now_ms: Callable[[], int]) -> None:
        """Unlocks the device and reads what never changes, as far as that is due. Raises DeviceError."""
        await self.unlock()
        if self._constants and not 0 < self._constants_until - now_ms() <= _CONSTANTS_HOLD_MS:
            await self._read_constants(outcomes)
            self._constants_until = now_ms() + _CONSTANTS_HOLD_MS

    async def _read_constants(self, outcomes: Outcomes) -> None:
        """Those that the device refuses leave their channels in error, and the others go on."""
        for reader in self.programs.constants:
            try:
                numbers = reader.unpack(await self._ask(reader.block, outcomes))
            except ExceptionReply as refusal:
                _count(refusal, outcomes)
                continue
            for position, place in reader.places:
                self._constants[place] = numbers[position]

    async def _run(self, program: Program, outcomes: Outcomes, now_ms: Callable[[], int]) -> None:
        for read in program:
            if outcomes[0].timeouts:
                break
            try:
                await self._read(read, outcomes, now_ms)
            except ExceptionReply as refusal:
                if self._may_refuse_holes(refusal, read.block):
                    await self._read_without_holes(read, outcomes, now_ms)
                else:
                    _count(refusal, outcomes)

    async def _read(self, read: Read, outcomes: Outcomes, now_ms: Callable[[], int]) -> None:
        registers = await self._ask(read.block, outcomes)
        self._last_taken = taken = next_instant(now_ms(), self._last_taken)
        for member, decoder in read.decoders:
            readings, missing, errors = decoder.decode(registers, self._constants)
            outcome = outcomes[member]
            outcome.missing += missing
            outcome.errors += errors
            outcome.answers.append((taken, readings))

    def _may_refuse_holes(self, refusal: ExceptionReply, block: Block) -> bool:
        known = block in self._lacking
        return refusal.code == _ILLEGAL_ADDRESS and not known and self.programs.covers_hole(block)

    async def _read_without_holes(self, read: Read, outcomes: Outcomes, now_ms: Callable[[], int]) -> None:
        """Reads again what was refused; when that works, it was for the hole, and no read covers one any more.

        Else the device has nothing of it, and this is not tried again.
        """
        careful = self.programs.without_holes
        worked = False
        for smaller in careful.again(read):
            try:
                await self._read(smaller, outcomes, now_ms)
                worked = True
            except ExceptionReply as refusal:
                _count(refusal, outcomes)
        if not worked and not outcomes[0].timeouts:
            self._lacking.add(read.block)
        if worked and self.programs is not careful:
            self.programs = careful
            log.warning("reads-without-holes", device=self._name, refused=read.block.address)

    async def _ask(self, block: Block, outcomes: Outcomes) -> Sequence[int]:
        asked = monotonic()
        registers = await self.wire.read(self.number, block.function, block.address, block.count)
        round_trip_us = round((monotonic() - asked) * 1_000_000)
        for outcome in outcomes:
            outcome.round_trips_us.append(round_trip_us)
        return registers


def _count(refusal: ExceptionReply, outcomes: Outcomes) -> None:
    """A converter's word that it does not reach the device is no answer of the device."""
    for outcome in outcomes:
        if refusal.code in UNREACHED:
            outcome.timeouts += 1
        else:
            outcome.exceptions += 1
        outcome.error = str(refusal)
