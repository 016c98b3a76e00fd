"""The SQLite file of the outbox: schema, bounds and eviction. Synchronous; used by one thread only."""

import contextlib
import sqlite3
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from gateway.contract.topics import Up
from gateway.errors import GatewayError

_SCHEMA_VERSION: Final = 1

# The body comes last: SQLite need not walk through a large value to reach the columns behind it.
_SCHEMA: Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE batch (
  seq        INTEGER PRIMARY KEY AUTOINCREMENT,
  kind       TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  state      TEXT NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'parked')),
  bytes      INTEGER NOT NULL,
  reason     TEXT NOT NULL DEFAULT '',
  body       BLOB NOT NULL
) STRICT;
CREATE INDEX batch_by_kind ON batch (kind, state, seq);
CREATE TABLE loss (
  kind    TEXT PRIMARY KEY,
  batches INTEGER NOT NULL,
  bytes   INTEGER NOT NULL,
  oldest  INTEGER NOT NULL,
  newest  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
"""

_ROW_OVERHEAD: Final = 64
"""What a row costs besides its body: columns, index entry, page slack."""

EVICTION_ORDER: Final = (Up.HEALTH, Up.READINGS, Up.CONFIGURATIONS, Up.RESULTS, Up.PASSAGES)
"""Least valuable first: a health report is stale at once, a reading has a successor, a passage has none."""

_EVICTION_CHUNK: Final = 64
_DAMAGE: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_FULL: Final = sqlite3.SQLITE_FULL
_PRIMARY_CODE: Final = 0xFF


class OutboxError(GatewayError):
    """The outbox file cannot be used: locked by another process, unreadable, of a newer version."""


class OutboxFull(OutboxError):
    """The disk takes nothing more, even after what is worth less was given up."""


@dataclass(frozen=True, slots=True)
class Row:
    """One batch waiting for the cloud. `body` is the encoded JSON array, `created_at` Unix milliseconds."""

    seq: int
    kind: Up
    created_at: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Loss:
    """What was given up of one kind because there was no room, and from when (Unix milliseconds) it was."""

    batches: int
    bytes: int
    oldest: int
    newest: int


@dataclass(frozen=True, slots=True)
class OutboxStats:
    """State of the outbox. `oldest` is the creation time of the oldest queued row, 0 when there is none."""

    rows: int
    bytes: int
    oldest: int
    parked: int
    dropped: dict[Up, Loss] = field(default_factory=dict)
    set_aside: Path | None = None
    """Where a damaged predecessor of this file was moved when it was opened."""


def _primary_code(error: sqlite3.Error) -> int:
    # Connection-less errors (bad file name) carry no code.
    return int(getattr(error, "sqlite_errorcode", 0)) & _PRIMARY_CODE


def _damage(what: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(what)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def is_full(error: sqlite3.Error) -> bool:
    """Whether SQLite had no room to write: the disk or its page limit."""
    return _primary_code(error) == _FULL


def open_store(path: Path, max_bytes: int) -> "Store":
    """Opens or creates the file. A damaged one is moved aside under a new name, never overwritten.

    Raises OutboxError when the file is in use by another process or written by newer software.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return Store(path, max_bytes, set_aside=None)
    except sqlite3.DatabaseError as error:
        if _primary_code(error) not in _DAMAGE:
            raise OutboxError(f"{path}: {error}") from error
    return Store(path, max_bytes, set_aside=_set_aside(path))


def _set_aside(path: Path) -> Path:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    target = path.with_name(f"{path.name}.damaged-{stamp}")
    path.rename(target)
    for suffix in ("-wal", "-shm"):
        companion = path.with_name(path.name + suffix)
        if companion.exists():
            companion.rename(target.with_name(target.name + suffix))
    return target


class Store:
    """One open outbox file. Every write happens inside `transaction`."""

    def __init__(self, path: Path, max_bytes: int, set_aside: Path | None) -> None:
        self.path = path
        self.max_bytes = max_bytes
        self.set_aside = set_aside
        self._lost: list[tuple[Up, int, int]] = []
        self._lost_noted = 0
        self.connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=1.0)
        try:
            self._prepare()
        except BaseException:
            self.connection.close()
            raise

    def _prepare(self) -> None:
        run = self.connection.execute
        # Exclusive: a second gateway on the same file would send every row twice.
        run("PRAGMA locking_mode = EXCLUSIVE")
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = FULL")
        if run("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise _damage("quick_check failed")
        version = run("PRAGMA user_version").fetchone()[0]
        if version > _SCHEMA_VERSION:
            raise OutboxError(f"{self.path}: outbox version {version}, this software knows {_SCHEMA_VERSION}")
        if version == 0:
            self._create()
        epoch = run("SELECT value FROM meta WHERE key = 'epoch'").fetchone()
        if epoch is None:
            raise _damage("no epoch")
        self.epoch: str = epoch[0]
        self._bytes: int = run("SELECT coalesce(sum(bytes), 0) FROM batch").fetchone()[0]
        self._bytes_committed = self._bytes

    def _create(self) -> None:
        self.connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {_SCHEMA_VERSION};")
        self.connection.execute("INSERT INTO meta VALUES ('epoch', ?)", (str(uuid.uuid4()),))
        self.connection.execute("COMMIT")

    def begin(self) -> None:
        """Starts the transaction that the following calls belong to."""
        self.connection.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Makes everything since `begin` durable; makes room first when the bound is passed."""
        if self._bytes > self.max_bytes:
            self.make_room(self._bytes - self.max_bytes)
        self.connection.execute("COMMIT")
        self._bytes_committed = self._bytes
        del self._lost[: self._lost_noted]
        self._lost_noted = 0

    def rollback(self) -> None:
        """Forgets everything since `begin`."""
        with contextlib.suppress(sqlite3.OperationalError):  # SQLite may have rolled back by itself
            self.connection.execute("ROLLBACK")
        self._bytes = self._bytes_committed
        self._lost_noted = 0

    def insert(self, kind: Up, body: bytes, created_at: int) -> int:
        """Adds a row and returns its sequence number, which is never used again."""
        for loss in self._lost[self._lost_noted :]:
            self._record_loss(*loss)
            self._lost_noted += 1
        size = len(body) + _ROW_OVERHEAD
        cursor = self.connection.execute(
            "INSERT INTO batch (kind, created_at, bytes, body) VALUES (?, ?, ?, ?)",
            (kind.value, created_at, size, body),
        )
        self._bytes += size
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def delete(self, seqs: Iterable[int]) -> None:
        """Removes rows that the cloud has; unknown numbers are ignored, so a repeated ack is harmless."""
        for seq in seqs:
            for (size,) in self.connection.execute("DELETE FROM batch WHERE seq = ? RETURNING bytes", (seq,)):
                self._bytes -= size

    def park(self, refused: Iterable[tuple[int, str]]) -> None:
        """Keeps rows that the cloud refuses, with its reason, and offers them no more."""
        self.connection.executemany(
            "UPDATE batch SET state = 'parked', reason = ? WHERE seq = ?",
            [(reason, seq) for seq, reason in refused],
        )

    def waiting(self, after_seq: int, limit: int, kinds: Sequence[Up]) -> list[Row]:
        """The first `limit` queued rows of `kinds` behind `after_seq`, in order."""
        rows: list[Row] = []
        for kind in kinds:  # one index range per kind: `kind IN (…)` would read and sort the whole backlog
            found = self.connection.execute(
                "SELECT seq, created_at, body FROM batch WHERE kind = ? AND state = 'queued' AND seq > ?"
                " ORDER BY seq LIMIT ?",
                (kind.value, after_seq, limit),
            )
            rows.extend(Row(seq, kind, created_at, body) for seq, created_at, body in found)
        rows.sort(key=lambda row: row.seq)
        return rows[:limit]

    def holds(self, seq: int) -> bool:
        """Whether a row is still queued: the cloud has not answered for it."""
        found = self.connection.execute("SELECT 1 FROM batch WHERE seq = ? AND state = 'queued'", (seq,))
        return found.fetchone() is not None

    def stats(self) -> OutboxStats:
        """Counts of what is here now and what was ever lost."""
        by_state = {
            state: (count, oldest)
            for state, count, oldest in self.connection.execute(
                "SELECT state, count(*), min(created_at) FROM batch GROUP BY state"
            )
        }
        rows, oldest = by_state.get("queued", (0, 0))
        dropped = {
            Up(kind): Loss(*loss)
            for kind, *loss in self.connection.execute("SELECT kind, batches, bytes, oldest, newest FROM loss")
        }
        for kind, size, created_at in self._lost:
            before = dropped.get(kind, Loss(0, 0, created_at, created_at))
            dropped[kind] = Loss(
                before.batches + 1,
                before.bytes + size,
                min(before.oldest, created_at),
                max(before.newest, created_at),
            )
        return OutboxStats(rows, self._bytes, oldest, by_state.get("parked", (0, 0))[0], dropped, self.set_aside)

    def make_room(self, needed: int, for_kind: Up = EVICTION_ORDER[-1]) -> int:
        """Gives up rows until `needed` bytes are free: least valuable kind first, in it parked ones, then oldest.

        Nothing more valuable than `for_kind` is touched. Returns the bytes that it freed.
        """
        before = self._bytes
        for kind in EVICTION_ORDER[: EVICTION_ORDER.index(for_kind) + 1]:
            for state in ("parked", "queued"):
                while needed > 0:
                    freed = self._evict(kind, state, needed)
                    if not freed:
                        break
                    needed -= freed
        return before - self._bytes

    def _evict(self, kind: Up, state: str, needed: int) -> int:
        chosen: list[tuple[int]] = []
        freed = 0
        for seq, size, created_at in self.connection.execute(
            "SELECT seq, bytes, created_at FROM batch WHERE kind = ? AND state = ? ORDER BY seq LIMIT ?",
            (kind.value, state, _EVICTION_CHUNK),
        ).fetchall():
            if freed >= needed:
                break
            chosen.append((seq,))
            freed += size
            self._record_loss(kind, size, created_at)
        self.connection.executemany("DELETE FROM batch WHERE seq = ?", chosen)
        self._bytes -= freed
        return freed

    def lost(self, kind: Up, body: bytes, created_at: int) -> None:
        """Counts a batch that could not even be written; noted in the file with the next one that can.

        The one method that another thread may call.
        """
        self._lost.append((kind, len(body) + _ROW_OVERHEAD, created_at))

    def _record_loss(self, kind: Up, size: int, created_at: int) -> None:
        self.connection.execute(
            "INSERT INTO loss VALUES (?1, 1, ?2, ?3, ?3) ON CONFLICT (kind) DO UPDATE SET batches = batches + 1,"
            " bytes = bytes + ?2, oldest = min(oldest, ?3), newest = max(newest, ?3)",
            (kind.value, size, created_at),
        )

    def checkpoint(self) -> None:
        """Writes the log back into the file, so that its space can be used again."""
        self.connection.execute("PRAGMA wal_checkpoint(RESTART)")

    def close(self) -> None:
        """Closes the file."""
        self.connection.close()
