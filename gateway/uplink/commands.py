"""Commands of the cloud: verified, not expired, ours, executed at most once, every step reported."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from gateway.contract import codec, limits
from gateway.contract.errors import ContractError
from gateway.contract.messages import Command, CommandHead, CommandResult, CommandState
from gateway.contract.orders import HARMLESS, arguments_flaw
from gateway.contract.signing import SignedText
from gateway.contract.topics import Down
from gateway.drivers.base import CommandOutcome
from gateway.outbox import OutboxError
from gateway.uplink.journal import Journal
from gateway.uplink.rate import PerMinute
from gateway.uplink.signatures import public_keys, signature_flaw

_UNPROVEN_REPORTS_PER_MINUTE: Final = 30
_CLOCKS_APART_MS: Final = 60_000
"""An order from further in the future than this says that the clock here is behind: nothing would ever expire."""

_log = structlog.get_logger(__name__)


CommandHandler = Callable[[Command], Awaitable[CommandOutcome]]
"""Executes one command of ours. Answers also for devices it does not know (FAILED)."""


@dataclass(slots=True)
class CommandCounters:
    """Commands since the gateway started."""

    executed: int = 0
    refused: int = 0
    repeated: int = 0
    malformed: int = 0
    """Broken so far that not even their ids could be read."""
    not_understood: int = 0
    """Of our cloud, in words that this software does not know."""


def _trusted() -> bool:
    return True


class CommandDesk:
    """Judges and executes the commands for one gateway.

    `clock` gives Unix milliseconds; `clock_is_sure` whether it can be trusted. Without a clock nobody can tell an
    order from one that was held back for hours: only what changes nothing is carried out then.
    """

    def __init__(
        self,
        project: str,
        gateway: str,
        cloud_keys: Mapping[str, str],
        journal: Journal,
        execute: CommandHandler,
        clock: Callable[[], int],
        clock_is_sure: Callable[[], bool] = _trusted,
    ) -> None:
        self.counters = CommandCounters()
        self._address = (project, gateway)
        self._keys = public_keys(cloud_keys)
        self._journal = journal
        self._execute = execute
        self._clock, self._clock_is_sure = clock, clock_is_sure
        self._unproven = PerMinute(_UNPROVEN_REPORTS_PER_MINUTE)
        self._busy: set[str] = set()

    def trust(self, cloud_keys: Mapping[str, str]) -> None:
        """Takes orders signed by these keys from now on, and by no others."""
        self._keys = public_keys(cloud_keys)

    async def handle(self, payload: bytes) -> None:
        """One `down/command` message, from its bytes to the report of its final state."""
        try:
            opened = codec.open_signed(Down.COMMAND, payload)
            head = codec.read_command_head(opened)
        except ContractError as error:
            self.counters.malformed += 1
            _log.warning("malformed command", reason=error.reason, detail=error.detail)
            return
        if head.id in self._busy:
            self.counters.repeated += 1
            return
        self._busy.add(head.id)
        try:
            await self._judge(head, opened)
        finally:
            self._busy.discard(head.id)

    async def _judge(self, head: CommandHead, opened: SignedText) -> None:
        now = self._clock()
        flaw = self._unproven_flaw(head, opened)
        known = await self._journal.known(head.id)
        if known is not None:
            # Not executed again. An honest repetition means that our report was lost; a forged one learns nothing.
            self.counters.repeated += 1
            if flaw is None:
                await self._journal.report(known)
            return
        if flaw is not None:
            await self._refuse_unproven(head, flaw, now)
            return
        try:
            command = codec.read_command(opened)
        except ContractError as error:
            # Of a newer cloud, perhaps: the cloud hears that nothing will happen, and no software that is installed
            # here later carries it out.
            self.counters.not_understood += 1
            await self._turn_down(head, CommandState.FAILED, f"not understood: {error}", now)
            return
        await self._judge_proven(command, now)

    async def _judge_proven(self, command: Command, now: int) -> None:
        if command.expires_at <= now:
            await self._turn_down(command, CommandState.EXPIRED, f"expired {now - command.expires_at} ms ago", now)
        elif (why := self._why_not(command, now)) is not None:
            await self._turn_down(command, CommandState.FAILED, why, now)
        elif await self._journal.take_on(command, now):
            await self._carry_out(command)
        else:
            await self._refuse(command, CommandState.FAILED, "no room on disk to remember it", now)

    async def _carry_out(self, command: Command) -> None:
        outcome = await self._outcome_of(command)
        self.counters.executed += 1
        _log.info("command", id=command.id, device=command.device, action=command.action, state=outcome.state)
        detail = outcome.detail[: limits.MAX_TEXT_CHARS]
        await self._journal.finish(CommandResult(command.id, outcome.state, self._clock(), detail))

    async def _outcome_of(self, command: Command) -> CommandOutcome:
        """An error of the software leaves uncertain what was done, and ends nothing else."""
        try:
            return await self._execute(command)
        except OutboxError:
            raise
        except Exception:  # noqa: BLE001 - what is wrong with one command must not end all lines
            _log.exception("software failed on a command", id=command.id, device=command.device)
            return CommandOutcome(CommandState.UNCERTAIN, "the software failed on it")

    def _unproven_flaw(self, head: CommandHead, opened: SignedText) -> str | None:
        """Why this is not an order of our cloud to us, or None when it is."""
        flaw = signature_flaw(self._keys, head.key_id, head.signature, opened)
        if flaw is not None:
            return flaw
        if (head.project, head.gateway) != self._address:
            return f"address: meant for {head.project}/{head.gateway}"
        return None

    def _why_not(self, command: Command, now: int) -> str | None:
        """Why an order of our cloud is not carried out all the same."""
        flaw = arguments_flaw(command.action, command.arguments)
        if flaw is not None:
            return f"arguments: {flaw}"
        if command.issued_at < self._journal.blind_until(now):
            return "memory: whether it was carried out before is not known here any more"
        if command.action in HARMLESS:
            return None
        if command.issued_at - now > _CLOCKS_APART_MS:
            return f"clock: it was issued {command.issued_at - now} ms from now, the clock here is behind"
        if not self._clock_is_sure():
            return "clock: the clock here was set back and is not sure"
        return None

    async def _turn_down(self, command: Command | CommandHead, state: CommandState, detail: str, now: int) -> None:
        """An order of our cloud that is not carried out stays so, also when it comes again and the reason is gone."""
        self.counters.refused += 1
        _log.warning("command turned down", id=command.id, detail=detail)
        shown = detail[: limits.MAX_TEXT_CHARS]
        await self._journal.turn_down(command, CommandResult(command.id, state, now, shown))

    async def _refuse(self, command: Command | CommandHead, state: CommandState, detail: str, now: int) -> None:
        self.counters.refused += 1
        _log.warning("command refused", id=command.id, detail=detail)
        await self._journal.report(CommandResult(command.id, state, now, detail))

    async def _refuse_unproven(self, head: CommandHead, flaw: str, now: int) -> None:
        """Reported at a bounded rate."""
        if self._unproven.takes(now):
            await self._refuse(head, CommandState.FAILED, flaw, now)
        else:
            self.counters.refused += 1
