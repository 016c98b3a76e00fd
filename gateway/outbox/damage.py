"""Signs of damage in an outbox file, what is done with a damaged one, and the lock that keeps a second gateway out."""

import array
import contextlib
import fcntl
import json
import os
import shutil
import sqlite3
import struct
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from gateway.outbox.schema import OutboxError

_DAMAGE: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_NO_ROOM: Final = {
    sqlite3.SQLITE_FULL,
    # A quota or a size limit fails the write itself, and SQLite does not tell which of the reasons it was.
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_FSYNC,
    sqlite3.SQLITE_IOERR_TRUNCATE,
    sqlite3.SQLITE_IOERR_SHMSIZE,
    sqlite3.SQLITE_IOERR_SHMMAP,
}
_PRIMARY_CODE: Final = 0xFF
_WAL_HEAD: Final = struct.Struct(">8I")
_FRAME_HEAD: Final = struct.Struct(">6I")
_WORD: Final = 0xFFFFFFFF


def is_damage(error: BaseException) -> bool:
    """Whether SQLite says that the file is no sound database."""
    return isinstance(error, sqlite3.Error) and _code(error) & _PRIMARY_CODE in _DAMAGE


def is_full(error: BaseException) -> bool:
    """Whether SQLite could not write: no room on the disk, a quota, a page limit."""
    if not isinstance(error, sqlite3.Error):
        return False
    return _code(error) in _NO_ROOM or _code(error) & _PRIMARY_CODE in _NO_ROOM


def damage(what: str) -> sqlite3.DatabaseError:
    """The error that SQLite would raise if it had found this itself."""
    error = sqlite3.DatabaseError(what)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def _code(error: sqlite3.Error) -> int:
    # Errors without a connection (bad file name) carry no code.
    return int(getattr(error, "sqlite_errorcode", 0))


def wal_of(path: Path) -> Path:
    """SQLite's write-ahead log beside a database."""
    return path.with_name(path.name + "-wal")


def set_aside(path: Path) -> Path:
    """Moves a damaged file, with what belongs to it, under a new name beside it; nothing is deleted."""
    target = _aside_name(path)
    if path.exists():
        path.rename(target)
    for suffix in ("-wal", "-shm"):
        companion = path.with_name(path.name + suffix)
        if companion.exists():
            companion.rename(target.with_name(target.name + suffix))
    return target


def copy_wal_aside(path: Path) -> Path:
    """Keeps a damaged log as evidence; the database itself is sound without it."""
    target = wal_of(_aside_name(path))
    shutil.copy2(wal_of(path), target)
    return target


def _aside_name(path: Path) -> Path:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    return path.with_name(f"{path.name}.damaged-{stamp}")


def files_set_aside(path: Path) -> list[Path]:
    """Damaged predecessors of an outbox file, oldest first."""
    return sorted(
        file
        for file in path.parent.glob(f"{path.name}.damaged-*")
        if not file.name.endswith(("-wal", "-shm", "-journal"))
    )


def lost_commits(wal: Path) -> int:
    """How many commits of a log lie behind a damaged frame: SQLite stops there and would forget them silently.

    A torn end is no damage: of the transaction that a power cut interrupted nobody was told that it is safe. So the
    first commit behind the flaw does not count.
    """
    try:
        log = wal.read_bytes()
    except FileNotFoundError:
        return 0
    if len(log) < _WAL_HEAD.size + _FRAME_HEAD.size:
        return 0
    magic, _, page, _, salt_1, salt_2, sum_1, sum_2 = _WAL_HEAD.unpack_from(log)
    big = bool(magic & 1)
    sums = _checksum(log[:24], big, (0, 0))
    sound = magic >> 1 == 0x377F0682 >> 1 and sums == (sum_1, sum_2)
    if not sound:
        page, (salt_1, salt_2) = _page_size(log), _FRAME_HEAD.unpack_from(log, _WAL_HEAD.size)[2:4]
    commits_behind = 0
    for start in range(_WAL_HEAD.size, len(log) - _FRAME_HEAD.size - page + 1, _FRAME_HEAD.size + page):
        _, commit, here_1, here_2, sum_1, sum_2 = _FRAME_HEAD.unpack_from(log, start)
        if sound:
            if (here_1, here_2) == (salt_1, salt_2):
                sums = _checksum(log[start : start + 8], big, sums)
                sums = _checksum(log[start + 24 : start + 24 + page], big, sums)
            sound = (here_1, here_2) == (salt_1, salt_2) and sums == (sum_1, sum_2)
        if not sound and commit and (here_1, here_2) == (salt_1, salt_2):
            commits_behind += 1
    return max(0, commits_behind - 1)


def _page_size(log: bytes) -> int:
    """Of a log without a readable head: the one at which the salts of the first frames agree; else SQLite's default."""
    first = _FRAME_HEAD.unpack_from(log, _WAL_HEAD.size)[2:4]
    for page in (4096, 1024, 2048, 8192, 16_384, 32_768, 65_536, 512):
        second = _WAL_HEAD.size + _FRAME_HEAD.size + page
        if len(log) >= second + _FRAME_HEAD.size and _FRAME_HEAD.unpack_from(log, second)[2:4] == first:
            return page
    return 4096


def _checksum(data: bytes, big: bool, sums: tuple[int, int]) -> tuple[int, int]:
    words = array.array("I", data)
    if big != (sys.byteorder == "big"):
        words.byteswap()
    first, second = sums
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & _WORD
        second = (second + odd + first) & _WORD
    return first, second


class Lock:
    """Held as long as the outbox is in use: two gateways on one file would send every row twice.

    Readers need not hold it. `existed_since` is when the outbox was made (Unix milliseconds) as far as an earlier
    holder wrote it down, None when there was none.
    """

    def __init__(self, path: Path) -> None:
        """Raises OutboxError when another process, or another part of this one, has it."""
        self._file = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = self._read().get("pid", "unknown")
            os.close(self._file)
            raise OutboxError(f"{path}: locked by process {holder}") from error
        since = self._read().get("outbox_since")
        self.existed_since: int | None = since if isinstance(since, int) else None

    def note(self, outbox_since: int) -> None:
        """Writes down who holds it and since when the outbox exists; not at all on a disk without room."""
        text = json.dumps({"pid": os.getpid(), "outbox_since": outbox_since}).encode()
        with contextlib.suppress(OSError):
            os.pwrite(self._file, text, 0)
            os.ftruncate(self._file, len(text))

    def release(self) -> None:
        """Lets the next one in."""
        os.close(self._file)

    def _read(self) -> dict[str, object]:
        try:
            found = json.loads(os.pread(self._file, 1_000, 0) or b"{}")
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}
