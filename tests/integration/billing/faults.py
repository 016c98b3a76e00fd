"""Faults of the whole system, at a statement of one's choice: what the server says then it really says."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, LiteralString

import psycopg
import pytest

_SAY: LiteralString = "DO $$ BEGIN RAISE EXCEPTION 'injected' USING ERRCODE = '{}'; END $$"

STATES = {
    "half upgraded: a column": "42703",
    "half upgraded: a table": "42P01",
    "a right": "42501",
    "a cached plan": "0A000",
    "time of a statement": "57014",
    "time of a transaction": "25P04",
    "idle": "25P03",
    "read only": "25006",
    "disk": "53100",
    "memory of the server": "53200",
    "connections": "53300",
    "shutdown": "57P01",
    "crash": "57P02",
    "internal": "XX000",
    "corrupted": "XX001",
    "an extension": "TS003",
}
"""By what is wrong, as the server says it."""
FAULTS = (*STATES, "memory", "gone")


class Faults:
    """Counts statements; from the `at`-th on, `lasts` of them meet what is wrong: `what`, one of FAULTS."""

    def __init__(self, what: str, at: int, lasts: int) -> None:
        self.what = what
        self.met = 0
        self._at = at
        self._until = at + lasts
        self._count = 0

    async def statement(self, conn: Any, execute: Any) -> None:
        """Before each statement."""
        self._count += 1
        if not self._at <= self._count < self._until:
            return
        self.met += 1
        if self.what == "memory":
            raise MemoryError
        if self.what == "gone":
            await conn.close()
            return
        await execute(conn, _SAY.format(STATES[self.what]))


@contextmanager
def fault(monkeypatch: pytest.MonkeyPatch, faults: Faults) -> Iterator[None]:
    """The fault is there within the block."""
    execute = psycopg.AsyncConnection.execute

    async def counted(conn: Any, *args: Any, **kwargs: Any) -> Any:
        # The pool asks nothing of a connection to see whether it is there, and would wait for another one.
        if args[0]:
            await faults.statement(conn, execute)
        return await execute(conn, *args, **kwargs)

    with monkeypatch.context() as broken:
        broken.setattr(psycopg.AsyncConnection, "execute", counted)
        yield
