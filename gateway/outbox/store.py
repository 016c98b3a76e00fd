"""The SQLite file of the outbox: rows in, rows out, bounded. Synchronous; used by one thread only."""

import contextlib
import heapq
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, Final

from gateway.contract import codec, stored
from gateway.contract.errors import ContractError
from gateway.contract.messages import GapReason
from gateway.contract.topics import Up
from gateway.outbox import damage, salvage, schema
from gateway.outbox.eviction import ROW_OVERHEAD, Eviction
from gateway.outbox.losses import Loss, LossBook, Tally
from gateway.outbox.reserve import LOG_PAGES, Reserve
from gateway.outbox.schema import OutboxError
from gateway.outbox.shedding import SHEDS_OF, Pressure, Shed

_BUSY_S: Final = 10.0
"""`gatemeter gateway queue` writes in short transactions; the gateway waits for them."""


class OutboxFull(OutboxError):
    """The disk takes nothing more, even after what is worth less was given up."""


class OutboxDamaged(OutboxError):
    """Damage was found in the file while it was in use. It is set aside; a restart begins with a new one."""


@dataclass(frozen=True, slots=True)
class Row:
    """One batch waiting for the cloud. `kept` is what the file holds: JSON, or `contract.stored.pack` of it.

    `created_at` is in Unix milliseconds.
    """

    seq: int
    kind: Up
    created_at: int
    kept: bytes

    @property
    def body(self) -> bytes:
        """The JSON array. Raises ContractError when it is damaged."""
        return stored.unpack(self.kept)


@dataclass(frozen=True, slots=True)
class OutboxStats:
    """State of the outbox. `oldest` is the creation time of the oldest queued row, 0 when there is none."""

    rows: int
    bytes: int
    oldest: int
    parked: int
    dropped: dict[Shed, Loss] = field(default_factory=dict)
    queued: dict[Shed, int] = field(default_factory=dict)
    """Rows by class."""
    shedding: bool = False
    """Whether diagnostics are not recorded for lack of room."""
    set_aside: Path | None = None
    """Where a damaged predecessor of this file was moved, when this file was made because of it."""
    damaged_files: int = 0
    """Damaged predecessors that lie beside the file."""


def open_store(path: Path, max_bytes: int, now: int) -> "Store":
    """Opens or creates the file at time `now` (Unix milliseconds). A damaged one is moved aside, never overwritten.

    Raises OutboxError when the file is in use by another process or written by newer software.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = damage.Lock(path)
    try:
        return _open(path, max_bytes, lock, now)
    except BaseException as error:
        lock.release()
        if isinstance(error, sqlite3.Error):
            raise OutboxError(f"{path}: {error}") from error
        raise


def _open(path: Path, max_bytes: int, lock: damage.Lock, now: int) -> "Store":
    known_since = lock.existed_since
    aside: Path | None = None
    missing = known_since is not None and (not path.exists() or path.stat().st_size == 0)
    if missing and path.exists():
        aside = damage.set_aside(path)
    forgetful = damage.lost_commits(damage.wal_of(path)) > 0
    if forgetful:
        damage.copy_wal_aside(path)
    try:
        store = Store(path, max_bytes, lock)
    except sqlite3.DatabaseError as error:
        if not damage.is_damage(error):
            raise
        aside = damage.set_aside(path)
        store = Store(path, max_bytes, lock)
    before = damage.files_set_aside(path)
    if store.new and aside is None and before:
        aside = before[-1]  # by the run that found the damage, which then ended
    if aside is not None or missing or forgetful:
        oldest = None if aside is None else salvage.oldest(aside)
        store.begin_anew(aside, oldest or known_since or now, now)
    lock.note(now if store.new or known_since is None else known_since)
    return store


class Store:
    """One open outbox file. Every write happens between `begin` and `commit`.

    `unwritten` holds losses that the file does not know yet; `tend` writes them.
    """

    def __init__(self, path: Path, max_bytes: int, lock: damage.Lock) -> None:
        """Raises sqlite3.Error, also for damage, and OutboxError."""
        self.path = path
        self.max_bytes = max_bytes
        self.set_aside: Path | None = None
        self.unwritten = Tally()
        self.pressure = Pressure(max_bytes)
        self.changed_by_others = False
        self.bytes = self.last_seq = self._bytes_committed = self._last_committed = 0
        self._lock = lock
        self.connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=_BUSY_S)
        try:
            self._prepare()
        except BaseException:
            self.connection.close()
            raise
        self._reserve = Reserve(path, max_bytes)
        self._eviction = Eviction(self.connection, self.book)

    def _prepare(self) -> None:
        run = self.connection.execute
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = FULL")
        run(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")
        if run("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise damage.damage("quick_check failed")
        self.new = schema.bring_up_to_date(self.connection, self.path)
        self.epoch = self._meta("epoch")
        if not self.epoch:
            raise damage.damage("no epoch")
        self.blind_before = int(self._meta("blind_before") or 0)
        self.book = LossBook(self.connection)
        self.book.load()
        self._version = self._data_version()
        self._count()

    def begin_anew(self, aside: Path | None, since: int, now: int) -> None:
        """What an earlier run kept here is gone, or part of it: says so, and takes a new epoch.

        With the old one, an acknowledgement of a lost row could free a new row of the same number.
        """
        self.set_aside = aside
        self.blind_before = now
        self.begin()
        schema.set_epoch(self.connection)
        self.connection.execute("INSERT OR REPLACE INTO meta VALUES ('blind_before', ?)", (str(now),))
        lost = Tally()
        lost.add_unknown(min(since, now), now, GapReason.DAMAGED_FILE)
        self.book.write(lost)
        self.commit()
        self.epoch = self._meta("epoch")

    # Transactions

    def begin(self) -> None:
        """Starts the transaction that the following calls belong to."""
        self.connection.execute("BEGIN IMMEDIATE")
        version = self._data_version()
        if version != self._version:
            self._version = version
            self.changed_by_others = True
            self._count()

    def commit(self) -> None:
        """Makes everything since `begin` durable; makes room first when the bound is passed."""
        if self.bytes > self.max_bytes:
            self.make_room(self.bytes - self.max_bytes, GapReason.OUTBOX_FULL)
        self.connection.execute("COMMIT")
        self._bytes_committed, self._last_committed = self.bytes, self.last_seq
        self.pressure.see(self.bytes, monotonic())

    def rollback(self) -> None:
        """Forgets everything since `begin`."""
        with contextlib.suppress(sqlite3.Error):  # SQLite may have rolled back by itself
            self.connection.execute("ROLLBACK")
        self.bytes, self.last_seq = self._bytes_committed, self._last_committed

    # Rows

    def insert(self, kind: Up, shed: Shed, body: bytes, created_at: int) -> int:
        """Adds a row and returns its sequence number, which is never used again."""
        size = len(body) + ROW_OVERHEAD
        cursor = self.connection.execute(
            "INSERT INTO batch (kind, shed, created_at, bytes, body) VALUES (?, ?, ?, ?, ?)",
            (kind.value, int(shed), created_at, size, body),
        )
        self.bytes += size
        assert cursor.lastrowid is not None
        self.last_seq = cursor.lastrowid
        return self.last_seq

    def delete(self, seqs: Iterable[int]) -> None:
        """Removes rows that the cloud has; unknown numbers are ignored, so a repeated ack is harmless."""
        for seq in seqs:
            for (size,) in self.connection.execute("DELETE FROM batch WHERE seq = ? RETURNING bytes", (seq,)):
                self.bytes -= size

    def park(self, refused: Iterable[tuple[int, str]]) -> None:
        """Keeps rows that the cloud refuses, with its reason, and offers them no more."""
        self.connection.executemany(
            "UPDATE batch SET state = 'parked', reason = ? WHERE seq = ?",
            [(reason, seq) for seq, reason in refused],
        )

    def waiting(self, after_seq: int, limit: int, kinds: Sequence[Up]) -> list[Row]:
        """The first `limit` queued rows of `kinds` behind `after_seq`, in order; damaged ones are parked and told."""
        # One index range per class, and bodies only of what is chosen: anything else would read the whole backlog.
        ranges = [
            [seq for (seq,) in self.connection.execute(
                "SELECT seq FROM batch WHERE shed = ? AND state = 'queued' AND seq > ? ORDER BY seq LIMIT ?",
                (int(shed), after_seq, limit),
            )]
            for kind in kinds for shed in SHEDS_OF[kind]
        ]  # fmt: skip
        rows, flaws = [], []
        for seq in list(heapq.merge(*ranges))[:limit]:
            kind, shed, created_at, body = self._named_by_index(seq, "kind, shed, created_at, body")
            row = Row(seq, Up(kind), created_at, body)
            try:
                stored.unpack(body)
            except ContractError as error:
                flaws.append((seq, f"damaged in the outbox: {error}"))
                size = len(body) + ROW_OVERHEAD
                self.unwritten.add_batch(Shed(shed), row.kind, body, created_at, size, GapReason.DAMAGED_FILE)
            else:
                rows.append(row)
        if flaws:
            # A flipped bit that SQLite does not see. The cloud could not even tell whose batch it was.
            self.park(flaws)
            return self.waiting(after_seq, limit, kinds)
        return rows

    def _named_by_index(self, seq: int, columns: str) -> Any:
        """Of a row that is there by the index. quick_check does not compare an index with its table."""
        found = self.connection.execute(f"SELECT {columns} FROM batch WHERE seq = ?", (seq,)).fetchone()  # noqa: S608
        if found is None:
            raise damage.damage(f"the index names row {seq}, which is not there")
        return found

    def holds(self, seq: int) -> bool:
        """Whether a row is still queued: the cloud has not answered for it."""
        found = self.connection.execute("SELECT 1 FROM batch WHERE seq = ? AND state = 'queued'", (seq,))
        return found.fetchone() is not None

    def stats(self) -> OutboxStats:
        """Counts of what is here now and what was ever lost."""
        queued: dict[Shed, int] = {}
        first: list[int] = []
        parked = 0
        for shed, state, count, oldest in self.connection.execute(
            "SELECT shed, state, count(*), min(seq) FROM batch GROUP BY shed, state"
        ):
            if state == "queued":
                queued[Shed(shed)] = count
                first.append(oldest)
            else:
                parked += count
        created = [int(self._named_by_index(seq, "created_at")[0]) for seq in first]
        dropped = self.book.losses()
        for lost_shed, loss in self.unwritten.losses.items():
            dropped[lost_shed] = loss if lost_shed not in dropped else dropped[lost_shed].plus(loss)
        return OutboxStats(
            rows=sum(queued.values()), bytes=self.bytes, oldest=min(created, default=0), parked=parked,
            dropped=dropped, queued=queued, shedding=self.pressure.shedding, set_aside=self.set_aside,
            damaged_files=len(damage.files_set_aside(self.path)),
        )  # fmt: skip

    # Room

    def make_room(self, needed: int, reason: GapReason, for_shed: Shed = Shed.GAPS) -> int:
        """Gives up rows worth no more than `for_shed` until `needed` bytes are free; returns what it freed."""
        freed = self._eviction.make_room(needed, reason, for_shed)
        self.bytes -= freed
        return freed

    def disk_refused(self) -> None:
        """There is no room on the disk: what is held back for this is given up, and the file grows no more."""
        self.pressure.disk_refused(monotonic())
        self._reserve.give_up(self.connection)

    def lose(self, shed: Shed, kind: Up, body: bytes, created_at: int) -> None:
        """Counts a batch that could not even be written; `tend` notes it in the file when the disk takes it."""
        self.unwritten.add_batch(shed, kind, body, created_at, len(body) + ROW_OVERHEAD, GapReason.DISK_FULL)

    def tend(self, clock: Callable[[], int]) -> bool:
        """After a commit: notes losses, thins diagnostics a little, reports gaps once there is room.

        A transaction of its own, and only when there is something to do. True when a row was added.
        """
        self._look_for_space()
        reports = self.book.open_gaps and not self.pressure.shedding
        thins = self.pressure.thinning and self._eviction.may_thin
        if not self.pressure.shedding:
            self._eviction.forget_walk()
        if not (self.unwritten or reports or thins):
            return False
        self.begin()
        added = False
        try:
            self.book.write(self.unwritten)
            if thins:
                self.bytes -= self._eviction.thin()
            if reports and (gaps := self.book.take_gaps()):
                added = True
                self.insert(Up.GAPS, Shed.GAPS, stored.pack(codec.encode_body(gaps)), clock())
            self.commit()
        except BaseException:
            self.rollback()
            self.book.open_gaps = True
            raise
        self.unwritten.clear()
        return added

    def _look_for_space(self) -> None:
        now = monotonic()
        if self._reserve.held or now < self.pressure.refused_until:
            return
        if not self._reserve.regain(self.connection):
            self.pressure.disk_refused(now)
        self.pressure.see(self.bytes, now)

    # The file

    def condemn(self) -> Path:
        """Closes the file and sets it aside; the store is of no use any more."""
        with contextlib.suppress(sqlite3.Error):
            self.connection.close()
        return damage.set_aside(self.path)

    def close(self) -> None:
        """Closes the file and lets others use it."""
        self.connection.close()
        self._lock.release()

    def _meta(self, key: str) -> str:
        row = self.connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return "" if row is None else str(row[0])

    def _data_version(self) -> int:
        return int(self.connection.execute("PRAGMA data_version").fetchone()[0])

    def _count(self) -> None:
        run = self.connection.execute
        self.bytes = run("SELECT coalesce(sum(bytes), 0) FROM batch").fetchone()[0]
        row = run("SELECT seq FROM sqlite_sequence WHERE name = 'batch'").fetchone()
        self.last_seq = 0 if row is None else row[0]
        self._bytes_committed, self._last_committed = self.bytes, self.last_seq
