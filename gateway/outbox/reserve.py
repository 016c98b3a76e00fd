"""Disk space held back beside the outbox, so that on a full disk what is worth less can still be given up.

SQLite writes a change to its log first and moves it into the file later. On a disk without any room both are stuck,
even for deleting. Giving the reserve up frees room for exactly that; from then on the file may not grow, so that
new rows wait for room inside it. When the reserve can be had again, there is space again.
"""

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import Final

_LEAST, _MOST = 1 << 20, 4 << 20
"""Some times the log's usual size (`LOG_PAGES`): it grows while a full disk keeps it from being moved."""
LOG_PAGES: Final = 256
"""SQLite moves its log into the file when it has so many pages of 4 KiB."""
_UNLIMITED: Final = 0xFFFFFFFE


class Reserve:
    """The file `<outbox>.reserve`; `held` says whether it is there."""

    def __init__(self, outbox: Path, max_bytes: int) -> None:
        self._path = outbox.with_name(outbox.name + ".reserve")
        self._size = min(max(max_bytes // 16, _LEAST), _MOST)
        self.held = self._take()

    def give_up(self, db: sqlite3.Connection) -> None:
        """Frees the space, writes the log back with its help, and keeps the file from growing."""
        self.held = False
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        db.execute("PRAGMA wal_checkpoint(RESTART)")
        pages = db.execute("PRAGMA page_count").fetchone()[0]
        db.execute(f"PRAGMA max_page_count = {pages}")

    def regain(self, db: sqlite3.Connection) -> bool:
        """Takes the space again and lets the file grow; False when the disk has none."""
        self.held = self._take()
        if self.held:
            db.execute(f"PRAGMA max_page_count = {_UNLIMITED}")
        return self.held

    def _take(self) -> bool:
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return False
        try:
            os.posix_fallocate(file, 0, self._size)
        except OSError:
            # Some of it may have been taken, which others need more.
            with contextlib.suppress(OSError):
                self._path.unlink()
            return False
        finally:
            os.close(file)
        return True
