"""Which commands this gateway has taken on, kept in the outbox file: a command is executed at most once, for ever."""

import sqlite3
from collections.abc import Sequence
from time import monotonic
from typing import Final

from gateway.contract import codec
from gateway.contract.messages import Command, CommandHead, CommandResult, CommandState
from gateway.contract.topics import Up
from gateway.outbox import Outbox

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS command (
  id         TEXT PRIMARY KEY,
  state      TEXT NOT NULL,
  at         INTEGER NOT NULL,
  detail     TEXT NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID
"""

_REMEMBERED_AFTER_EXPIRY_MS: Final = 90 * 86_400_000
"""An expired command is refused by its own time; the margin covers a clock that was set back."""


class Journal:
    """Durable memory of commands; every step and its report are one commit."""

    def __init__(self, outbox: Outbox) -> None:
        self._since = outbox.blind_before
        self._outbox = outbox
        self._began = monotonic()

    def blind_until(self, now: int) -> int:
        """What was issued before (Unix milliseconds) may have been carried out by a predecessor of this memory.

        A memory that was lost was lost before this run began, whatever a clock said that was ahead then.
        """
        return min(self._since, now - round((monotonic() - self._began) * 1000))

    async def open(self, now: int, reached: int) -> int:
        """Prepares the table and reports what a crash cut off as uncertain; returns how many that were.

        `reached` is a time that has certainly come: by it commands of long ago are forgotten.
        """

        def prepare(db: sqlite3.Connection) -> list[str]:
            db.execute(_SCHEMA)
            db.execute("DELETE FROM command WHERE expires_at < ?", (reached - _REMEMBERED_AFTER_EXPIRY_MS,))
            cut_off = db.execute("SELECT id FROM command WHERE state = ?", (CommandState.EXECUTING.value,))
            return [command_id for (command_id,) in cut_off]

        cut_off = await self._outbox.run(prepare)
        for command_id in cut_off:
            await self.finish(
                CommandResult(command_id, CommandState.UNCERTAIN, now, "the gateway stopped while executing it")
            )
        return len(cut_off)

    async def known(self, command_id: str) -> CommandResult | None:
        """The last state of a command that was taken on before, or None."""

        def find(db: sqlite3.Connection) -> tuple[str, str, int, str] | None:
            found = db.execute("SELECT id, state, at, detail FROM command WHERE id = ?", (command_id,)).fetchone()
            return None if found is None else (found[0], found[1], found[2], found[3])

        found = await self._outbox.run(find)
        return None if found is None else CommandResult(found[0], CommandState(found[1]), found[2], found[3])

    async def take_on(self, command: Command, now: int) -> bool:
        """Remembers that execution begins, and reports it. False when that cannot be made durable."""
        steps = [CommandResult(command.id, state, now) for state in (CommandState.DELIVERED, CommandState.EXECUTING)]
        return await self._remember(command, steps)

    async def turn_down(self, command: Command | CommandHead, result: CommandResult) -> None:
        """Remembers that a command is not carried out, and reports it."""
        await self._remember(command, [result])

    async def _remember(self, command: Command | CommandHead, steps: Sequence[CommandResult]) -> bool:
        last = steps[-1]

        def remember(db: sqlite3.Connection) -> None:
            db.execute(
                "INSERT INTO command VALUES (?, ?, ?, ?, ?)",
                (command.id, last.state.value, last.at, last.detail, command.expires_at),
            )

        return await self._outbox.put(Up.RESULTS, codec.encode_body(steps), also=remember) != 0

    async def finish(self, result: CommandResult) -> None:
        """Writes the final state of a command and reports it."""

        def write(db: sqlite3.Connection) -> None:
            db.execute(
                "UPDATE command SET state = ?, at = ?, detail = ? WHERE id = ?",
                (result.state.value, result.at, result.detail, result.command_id),
            )

        await self._outbox.put(Up.RESULTS, codec.encode_body([result]), also=write)

    async def report(self, result: CommandResult) -> None:
        """Reports a state without remembering it: refusals, and repetitions of what is known."""
        await self._outbox.put(Up.RESULTS, codec.encode_body([result]))
