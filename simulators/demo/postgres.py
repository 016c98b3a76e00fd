"""`python -m simulators.demo.postgres FOLDER`: keeps the embedded PostgreSQL running until it is told to stop."""

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Final

from cloud.kit.embedded import EmbeddedPostgres

DATABASE: Final = "gatemeter"
_SERVER_LOG_BYTES: Final = 8_000_000
_LOOK_EVERY_S: Final = 2.0


def dsn_file(folder: Path) -> Path:
    """Where the running server's owner DSN stands; present only while it runs."""
    return folder / "owner-dsn"


def main() -> None:
    """Starts the server, writes the owner's DSN, waits for SIGTERM or SIGINT and stops the server."""
    folder = Path(sys.argv[1])
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    _bound_log(folder / "data" / "log")
    told = dsn_file(folder)
    told.unlink(missing_ok=True)
    with EmbeddedPostgres(folder) as server:
        dsn = server.create_database(DATABASE)
        fresh = told.with_name(told.name + ".new")
        fresh.unlink(missing_ok=True)
        fresh.touch(mode=0o600)
        fresh.write_text(dsn)
        fresh.replace(told)
        while not stop.wait(timeout=_LOOK_EVERY_S):
            _bound_log(folder / "data" / "log")
            if not _lives(server.pid):
                sys.exit("the server is gone")  # whoever watches us starts it again
        told.unlink(missing_ok=True)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # it is another user's
    return True


def _bound_log(path: Path) -> None:
    """The server appends to this file for ever; it opens it for appending, so it can be cut while it writes."""
    if path.exists() and path.stat().st_size > _SERVER_LOG_BYTES:
        with path.open("r+b") as stream:
            stream.truncate(0)


if __name__ == "__main__":
    main()
