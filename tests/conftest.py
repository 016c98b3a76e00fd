"""Fixtures that every tier of tests shares: a migrated database on a real PostgreSQL."""

import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import settings
from psycopg import sql
from psycopg.conninfo import make_conninfo

from cloud.kit.db import Database
from cloud.kit.embedded import EmbeddedPostgres
from cloud.kit.garbage import keep_what_is_loaded, look_rarely
from cloud.kit.migrate import migrate
from tests.databases import administrator, close_database, copy_database, drop_database, leave
from tests.plain_logs import log_plainly
from tests.schedule import pytest_xdist_make_scheduler
from tests.worlds import World

__all__ = ["pytest_xdist_make_scheduler"]

# No deadlines: how fast a machine is today says nothing about a property. `make fuzz` takes the long profile.
settings.register_profile("short", deadline=None, max_examples=150)
settings.register_profile("long", deadline=None, max_examples=5_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "short"))

log_plainly()
look_rarely()


def pytest_collection_finish() -> None:
    """What was imported and collected stays to the end: nobody looks for garbage in it again and again."""
    keep_what_is_loaded()


_MEMORY = Path("/dev/shm")
_ENOUGH = 6 * 1024**3


def _in_memory() -> Path | None:
    """A folder in memory where there is enough of it: making a database of a thousand files takes a tenth there."""
    if not _MEMORY.is_dir() or shutil.disk_usage(_MEMORY).free < _ENOUGH:
        return None
    return _MEMORY


@pytest.fixture(scope="session")
def server_dsn() -> Iterator[str]:
    """DSN of a server on which databases may be made: GATEMETER_TEST_DSN, or an embedded PostgreSQL."""
    given = os.environ.get("GATEMETER_TEST_DSN")
    if given:
        yield given
        leave(given)
        return
    # A short path: the server's socket lies in it, and socket paths are limited to about 100 bytes.
    with (
        tempfile.TemporaryDirectory(prefix="gmtest", dir=_in_memory(), ignore_cleanup_errors=True) as folder,
        EmbeddedPostgres(Path(folder), durable=False) as server,
    ):
        yield server.dsn()
        leave(server.dsn())


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder for what an embedded server is installed or works in: under root that runs as a user of its own.

    Not below `tmp_path`: each run of pytest that begins on this machine closes that to all other users.
    """
    with tempfile.TemporaryDirectory(prefix="gmopen", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def template_database(server_dsn: str) -> Iterator[str]:
    """Name of a database with all migrations applied, from which tests copy theirs."""
    name = f"gm_template_{secrets.token_hex(6)}"
    administrator(server_dsn).execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
    migrate(make_conninfo(server_dsn, dbname=name))
    close_database(server_dsn, name)
    yield name
    drop_database(server_dsn, name)


@contextmanager
def _fresh(server_dsn: str, template: str) -> Iterator[str]:
    name = f"gm_test_{secrets.token_hex(6)}"
    copy_database(server_dsn, template, name)
    yield make_conninfo(server_dsn, dbname=name)
    drop_database(server_dsn, name)


@pytest.fixture
def beginning(request: pytest.FixtureRequest, template_database: str) -> str:
    """Name of the database that the test's own is copied from: the world that the test asks for, or the empty one."""
    asked = [name for name in request.fixturenames if name.endswith("_world")]
    assert len(asked) <= 1, f"a database is a copy of one world: {', '.join(asked)}"
    if not asked:
        return template_database
    world: World[object] = request.getfixturevalue(asked[0])
    return world.template()


@pytest.fixture
def owner_dsn(server_dsn: str, beginning: str) -> Iterator[str]:
    """DSN of the owner of a fresh, migrated database that only this test uses; it holds the world that it asks for."""
    with _fresh(server_dsn, beginning) as dsn:
        yield dsn


@pytest.fixture
def another_owner_dsn(server_dsn: str, template_database: str) -> Iterator[str]:
    """DSN of the owner of a second such database, for tests that compare two."""
    with _fresh(server_dsn, template_database) as dsn:
        yield dsn


@pytest.fixture
async def web_db(owner_dsn: str) -> AsyncIterator[Database]:
    """The database as the web process sees it."""
    async with Database(owner_dsn, "gatemeter_web", max_size=4) as db:
        yield db


@pytest.fixture
async def worker_db(owner_dsn: str) -> AsyncIterator[Database]:
    """The database as the worker sees it."""
    async with Database(owner_dsn, "gatemeter_worker", max_size=4) as db:
        yield db


@pytest.fixture
async def ingest_db(owner_dsn: str) -> AsyncIterator[Database]:
    """The database as the ingest process sees it."""
    async with Database(owner_dsn, "gatemeter_ingest", max_size=4) as db:
        yield db
