"""Commands of the cloud: verified, not expired, ours, executed at most once, every step reported."""

import base64
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

import structlog
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gateway.contract import codec, limits
from gateway.contract.errors import ContractError
from gateway.contract.messages import Command, CommandResult, CommandState, signed_bytes
from gateway.drivers.base import CommandOutcome
from gateway.uplink.journal import Journal

_UNPROVEN_REPORTS_PER_MINUTE: Final = 30
_MINUTE_MS: Final = 60_000

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


class CommandDesk:
    """Judges and executes the commands for one gateway. `clock` gives Unix milliseconds."""

    def __init__(
        self,
        project: str,
        gateway: str,
        cloud_keys: Mapping[str, str],
        journal: Journal,
        execute: CommandHandler,
        clock: Callable[[], int],
    ) -> None:
        self.counters = CommandCounters()
        self._address = (project, gateway)
        self._keys = {
            key_id: Ed25519PublicKey.from_public_bytes(base64.b64decode(key)) for key_id, key in cloud_keys.items()
        }
        self._journal = journal
        self._execute = execute
        self._clock = clock
        self._unproven: list[int] = []
        self._busy: set[str] = set()

    async def handle(self, payload: bytes) -> None:
        """One `down/command` message, from its bytes to the report of its final state."""
        try:
            command = codec.decode_command(payload)
        except ContractError as error:
            self.counters.malformed += 1
            _log.warning("malformed command", reason=error.reason, detail=error.detail)
            return
        if command.id in self._busy:
            self.counters.repeated += 1
            return
        self._busy.add(command.id)
        try:
            await self._judge(command)
        finally:
            self._busy.discard(command.id)

    async def _judge(self, command: Command) -> None:
        now = self._clock()
        flaw = self._unproven_flaw(command)
        known = await self._journal.known(command.id)
        if known is not None:
            # Not executed again. An honest repetition means that our report was lost; a forged one learns nothing.
            self.counters.repeated += 1
            if flaw is None:
                await self._journal.report(known)
            return
        if flaw is not None:
            await self._refuse_unproven(command, flaw, now)
        elif command.expires_at <= now:
            await self._refuse(command, CommandState.EXPIRED, f"expired {now - command.expires_at} ms ago", now)
        elif await self._journal.take_on(command, now):
            await self._carry_out(command)
        else:
            await self._refuse(command, CommandState.FAILED, "no room on disk to remember it", now)

    async def _carry_out(self, command: Command) -> None:
        outcome = await self._execute(command)
        self.counters.executed += 1
        _log.info("command", id=command.id, device=command.device, action=command.action, state=outcome.state)
        detail = outcome.detail[: limits.MAX_TEXT_CHARS]
        await self._journal.finish(CommandResult(command.id, outcome.state, self._clock(), detail))

    def _unproven_flaw(self, command: Command) -> str | None:
        """Why this is not an order of our cloud to us, or None when it is."""
        key = self._keys.get(command.key_id)
        if key is None:
            return f"signature: unknown key {command.key_id}"
        try:
            key.verify(base64.b64decode(command.signature, validate=True), signed_bytes(command))
        except (InvalidSignature, ValueError):
            return "signature: does not match"
        if (command.project, command.gateway) != self._address:
            return f"address: meant for {command.project}/{command.gateway}"
        return None

    async def _refuse(self, command: Command, state: CommandState, detail: str, now: int) -> None:
        self.counters.refused += 1
        _log.warning("command refused", id=command.id, device=command.device, detail=detail)
        await self._journal.report(CommandResult(command.id, state, now, detail))

    async def _refuse_unproven(self, command: Command, flaw: str, now: int) -> None:
        """Reported at a bounded rate: whoever owns the broker must not be able to fill the outbox."""
        self._unproven = [at for at in self._unproven if now - at < _MINUTE_MS]
        if len(self._unproven) < _UNPROVEN_REPORTS_PER_MINUTE:
            self._unproven.append(now)
            await self._refuse(command, CommandState.FAILED, flaw, now)
        else:
            self.counters.refused += 1
