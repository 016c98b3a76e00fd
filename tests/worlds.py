"""What all tests of a file begin with, built once for them: each finds a copy of it in a database of its own.

Months of bills of five flats take half a second of processor time, a copy of the database that has them as much as one
of an empty database. The tests know nothing of each other as before: nobody is connected to the database that is
copied, and what was made of it in Python is copied as well.
"""

import copy
import inspect
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final, Generic, TypeVar

import pytest
from anyio.from_thread import start_blocking_portal
from psycopg.conninfo import make_conninfo

from cloud.kit.db import Database
from tests.databases import close_database, copy_database, drop_database

T = TypeVar("T")

_FRESH_S: Final = 900
"""Midnight is at a whole quarter of an hour everywhere: what is built before it is not used after it."""


class World(Generic[T]):
    """A database that is copied, and what was made in it."""

    def __init__(self, server_dsn: str, empty: str, build: Callable[[Database], Awaitable[T]]) -> None:
        self._server_dsn = server_dsn
        self._empty = empty
        self._build = build
        self._built: tuple[int, str, Database, T] | None = None

    def template(self) -> str:
        """Name of the database to copy. Built at the first call, and anew in another quarter of an hour."""
        quarter = int(time.time() // _FRESH_S)
        if self._built is None or self._built[0] != quarter:
            self.drop()
            name = f"gm_world_{secrets.token_hex(6)}"
            copy_database(self._server_dsn, self._empty, name)
            try:
                # In a thread of its own: fixtures of pytest run beside the loop of the test.
                with start_blocking_portal() as portal:
                    db, made = portal.call(self._furnish, make_conninfo(self._server_dsn, dbname=name))
            except BaseException:
                drop_database(self._server_dsn, name)
                raise
            close_database(self._server_dsn, name)
            self._built = quarter, name, db, made
        return self._built[1]

    async def _furnish(self, dsn: str) -> tuple[Database, T]:
        async with Database(dsn, "gatemeter_worker", max_size=4) as db:
            return db, await self._build(db)

    def of(self, db: Database) -> T:
        """What was made, as this test's: it asks `db`, the copy."""
        assert self._built is not None, "the database of a test that asks for a world is a copy of it"
        _, _, built_in, made = self._built
        return copy.deepcopy(made, {id(built_in): db})

    def drop(self) -> None:
        """Drops the database, if there is one."""
        if self._built is not None:
            drop_database(self._server_dsn, self._built[1])
            self._built = None


def world(build: Callable[[Database], Awaitable[Any]]) -> Any:
    """Makes a fixture `…_world` of a function that builds what all tests of a file begin with, as the worker.

    Whoever asks for a fixture of that name gets, as `owner_dsn`, a copy of what was built (`beginning` in conftest.py);
    a second fixture says `world.of(worker_db)`.
    """
    assert build.__name__.endswith("_world"), "by its name it is known that a test's database is a copy of it"

    def built(server_dsn: str, template_database: str) -> Iterator[World[Any]]:
        made = World(server_dsn, template_database, build)
        yield made
        made.drop()

    built.__doc__ = inspect.getdoc(build)
    return pytest.fixture(scope="module")(built)
