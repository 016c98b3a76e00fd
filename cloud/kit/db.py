"""The door to PostgreSQL: every transaction states who asks, and row-level security does the rest."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any, Literal, LiteralString

from psycopg import AsyncConnection, OperationalError, sql
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import set_json_dumps
from psycopg_pool import AsyncConnectionPool

from cloud.kit import columns
from cloud.kit.waiting import PromptConnection

Conn = AsyncConnection[DictRow]
"""A connection inside a transaction, as every repository takes it. Rows are dictionaries."""

Role = Literal["gatemeter_web", "gatemeter_ingest", "gatemeter_worker"]


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, for one transaction. The default sees nothing.

    `kind`: `system` for ingest and worker (all projects), `sign-in` while a user is being recognised (identity
    tables only), `staff` (rows of `projects`), `resident` (rows of `persons` within `projects`), `merchant` (coupons of
    `merchants` within `projects`).
    """

    kind: Literal["nobody", "system", "sign-in", "staff", "resident", "merchant"] = "nobody"
    projects: tuple[int, ...] = ()
    persons: tuple[int, ...] = ()
    user_id: int | None = None
    request_id: str = ""
    merchants: tuple[int, ...] = ()

    def named(self, request_id: str) -> "Asker":
        """The same asker with the request or job that the audit trail will name."""
        return replace(self, request_id=request_id)


NOBODY = Asker()
SYSTEM = Asker(kind="system")
SIGN_IN = Asker(kind="sign-in")

_STATE_ASKER: LiteralString = """
    SELECT set_config('gm.kind', %(kind)s, true), set_config('gm.projects', %(projects)s, true),
           set_config('gm.persons', %(persons)s, true), set_config('gm.user_id', %(user_id)s, true),
           set_config('gm.request_id', %(request_id)s, true), set_config('gm.merchants', %(merchants)s, true)
"""

_STATE_ASKER_FOR_SESSION: LiteralString = """
    SELECT set_config('gm.kind', %(kind)s, false), set_config('gm.projects', %(projects)s, false),
           set_config('gm.persons', %(persons)s, false), set_config('gm.user_id', %(user_id)s, false),
           set_config('gm.request_id', %(request_id)s, false), set_config('gm.merchants', %(merchants)s, false)
"""


# Who waits for a page has gone long before, and what he left behind must not hold up the others.
_WEB_PATIENCE: LiteralString = """
    SET statement_timeout = '20s'; SET lock_timeout = '10s'; SET idle_in_transaction_session_timeout = '60s'
"""


# Ingest has few statements and runs each of them for ever: to plan them five times before they are kept, as the library
# does, makes the vehicles wait that come after a start. (Prepared from which use on; at most so many.)
_PREPARED_AT_ONCE = 0, 400


_RECONNECT_S = 30.0
"""The pool tries to connect after 1, 3, 7, 15 s … and then when it is asked again. For longer, as the library does, it
would ask a server that is back after a minute another minute later."""


class Database:
    """A pool of connections that all act as one database role.

    `role` is taken with SET ROLE, so that an owner's DSN serves too; a production DSN that logs in as the role
    itself cannot reset it. `role=None` acts as the DSN's own user (migrations and administration only).
    """

    def __init__(self, dsn: str, role: Role | None, *, max_size: int = 8, timeout_s: float = 30.0) -> None:
        self.dsn = dsn
        self._role = role
        self._timeout_s = timeout_s
        self._pool: AsyncConnectionPool[Conn] = AsyncConnectionPool(
            dsn,
            connection_class=AsyncConnection[DictRow] if role == "gatemeter_web" else PromptConnection,
            kwargs={"row_factory": dict_row},
            min_size=1,
            max_size=max_size,
            timeout=timeout_s,
            reconnect_timeout=_RECONNECT_S,
            configure=self._configure,
            check=self._check,
            open=False,
        )

    async def open(self) -> "Database":
        """Opens the pool; raises psycopg_pool.PoolTimeout when the server cannot be reached in time."""
        await self._pool.open(wait=True)
        return self

    async def close(self) -> None:
        """Closes the pool and its connections."""
        await self._pool.close()

    async def __aenter__(self) -> "Database":
        return await self.open()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def alone(self) -> "Database":
        """Another one like this, of one connection, whose statements stay planned: for who does one thing at a time."""
        return Database(self.dsn, self._role, max_size=1, timeout_s=self._timeout_s)

    @asynccontextmanager
    async def transaction(self, asker: Asker) -> AsyncIterator[Conn]:
        """One transaction in the name of `asker`: committed at the end of the block, rolled back by an exception."""
        async with self._pool.connection() as conn, conn.transaction():
            await state_asker(conn, asker)
            yield conn

    @asynccontextmanager
    async def outside(self, asker: Asker) -> AsyncIterator[Conn]:
        """A connection outside any transaction, in the name of `asker`: for what the server must commit by itself."""
        async with self._pool.connection() as conn:
            await conn.set_autocommit(True)
            try:
                await conn.execute(_STATE_ASKER_FOR_SESSION, _settings(asker))
                yield conn
            finally:
                await conn.execute(_STATE_ASKER_FOR_SESSION, _settings(NOBODY))
                await conn.set_autocommit(False)

    async def _check(self, conn: Conn) -> None:
        """Before a connection is given out. Where one was lost, others mostly were as well: all are looked at, once.

        By itself the pool would find out about them one by one, and rests 1, 2, 4 … seconds between them: after the
        server was restarted, who asks first would wait half a minute in vain.
        """
        try:
            await self._pool.check_connection(conn)
        except OperationalError:
            await self._pool.check()
            raise

    async def _configure(self, conn: Conn) -> None:
        columns.register(conn)
        if self._role is not None:
            await conn.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(self._role)))
        if self._role == "gatemeter_web":
            await conn.execute(_WEB_PATIENCE)
        # Local days are computed from the project's zone in code; the session must not add another one.
        # Statements here take milliseconds; to compile one, as other servers than ours do, takes more than it saves.
        await conn.execute("SET TIME ZONE 'UTC'; SET jit = off")
        await conn.commit()
        if self._role == "gatemeter_ingest":
            # From now on only: what was executed above is several statements in one.
            conn.prepare_threshold, conn.prepared_max = _PREPARED_AT_ONCE


async def state_asker(conn: Conn, asker: Asker) -> None:
    """Tells the database who asks until the current transaction ends."""
    await conn.execute(_STATE_ASKER, _settings(asker))


async def commit_without_waiting(conn: Conn) -> None:
    """Lets the commit of this transaction return before it is on disk: a crash within the next second may undo it.

    Only for work that is found again as a whole then, because what asks for it is removed in the same transaction, and
    of which nobody is told outside. Whatever is committed later and waited for is on disk only after this.
    """
    await conn.execute("SET LOCAL synchronous_commit = off")


async def plan_once(conn: Conn) -> None:
    """Lets the server plan each statement of this transaction once, for whatever values, not anew for each of them.

    For many short statements that find what they need by keys: planning takes longer than what they do.
    """
    await conn.execute("SET LOCAL plan_cache_mode = force_generic_plan")


def _settings(asker: Asker) -> dict[str, str]:
    return {
        "kind": asker.kind,
        "projects": ",".join(map(str, asker.projects)),
        "persons": ",".join(map(str, asker.persons)),
        "merchants": ",".join(map(str, asker.merchants)),
        "user_id": "" if asker.user_id is None else str(asker.user_id),
        "request_id": asker.request_id,
    }


def _json_default(value: object) -> Any:
    if isinstance(value, Decimal):
        return str(value)  # never a JSON number: a reader might make a float of it
    if isinstance(value, timedelta):
        return int(value.total_seconds())
    if hasattr(value, "isoformat"):
        return value.isoformat()
    raise TypeError(f"cannot store {type(value).__name__} as JSON")


def _dumps(value: object) -> str:
    return json.dumps(value, default=_json_default, ensure_ascii=False)


def as_json(value: object) -> Any:
    """What a reader gets back of a value that is stored as JSON: decimals and times are strings."""
    return json.loads(_dumps(value))


set_json_dumps(_dumps)
