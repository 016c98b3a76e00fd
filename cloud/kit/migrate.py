"""Applies the numbered SQL files once, in order, under a lock, and refuses files that changed afterwards."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psycopg

MIGRATIONS = Path(__file__).resolve().parents[1] / "migrations"
_LOCK_KEY = 0x67_6D_01  # "gm", migrations

# First line of a file whose statements must run outside a transaction; they are split at `;` on a line end and must
# be safe to repeat.
_OUTSIDE = "-- outside a transaction"


class MigrationError(RuntimeError):
    """The database cannot be brought to this version; the message says why."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One SQL file."""

    name: str
    text: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text, in hexadecimal."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def read_migrations(folder: Path = MIGRATIONS) -> list[Migration]:
    """All files of `folder` in order of their numbers."""
    return [Migration(path.name, path.read_text("utf-8")) for path in sorted(folder.glob("[0-9]*.sql"))]


def migrate(dsn: str, migrations: Iterable[Migration] | None = None) -> list[str]:
    """Brings the database at `dsn` up to date and returns the names of the files applied now.

    `dsn` must log in as the owner of the schema, who may create roles and extensions.
    Raises MigrationError when an applied file was changed, when the database is newer than this software, or when
    the server is older than PostgreSQL 16.
    """
    wanted = list(migrations) if migrations is not None else read_migrations()
    applied_now: list[str] = []
    with psycopg.connect(dsn, autocommit=True) as conn:
        if conn.info.server_version < 160000:
            raise MigrationError(f"PostgreSQL 16 or newer is needed, this is {conn.info.server_version // 10000}")
        conn.execute("SELECT pg_advisory_lock(%s)", (_LOCK_KEY,))
        conn.execute(
            """CREATE TABLE IF NOT EXISTS schema_migration (
                   name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"""
        )
        rows = conn.execute("SELECT name, checksum FROM schema_migration").fetchall()
        done = {str(name): str(checksum) for name, checksum in rows}
        _check(wanted, done)
        for migration in wanted:
            if migration.name not in done:
                _apply(conn, migration)
                applied_now.append(migration.name)
    return applied_now


def _check(wanted: list[Migration], done: dict[str, str]) -> None:
    known = {migration.name: migration for migration in wanted}
    for name, checksum in done.items():
        if name not in known:
            raise MigrationError(f"the database has migration {name}, which this software does not know: it is older")
        if known[name].checksum != checksum:
            raise MigrationError(f"{name} was applied in another wording: never change an applied migration")


def _apply(conn: psycopg.Connection[tuple[object, ...]], migration: Migration) -> None:
    record = "INSERT INTO schema_migration (name, checksum) VALUES (%s, %s)"
    try:
        if migration.text.startswith(_OUTSIDE):
            for statement in migration.text.split(";\n"):
                if statement.strip():
                    conn.execute(statement.encode())
            conn.execute(record, (migration.name, migration.checksum))
        else:
            with conn.transaction():
                conn.execute(migration.text.encode())
                conn.execute(record, (migration.name, migration.checksum))
    except psycopg.Error as error:
        raise MigrationError(f"{migration.name}: {error}") from error
