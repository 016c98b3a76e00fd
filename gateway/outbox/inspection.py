"""Looks into an outbox file, also while a gateway uses it; writes only what an operator asked for.

Every write is one short transaction: the gateway waits for it and then counts anew.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec

from gateway.contract import codec, stored
from gateway.contract.errors import ContractError
from gateway.contract.topics import Up
from gateway.outbox import damage, schema
from gateway.outbox.eviction import ROW_OVERHEAD
from gateway.outbox.losses import Loss, LossBook
from gateway.outbox.salvage import Found
from gateway.outbox.schema import OutboxError
from gateway.outbox.shedding import Shed

_BUSY_S: Final = 10.0
_AT_ONCE: Final = 50

_DECODE: Final = {
    Up.READINGS: codec.decode_points,
    Up.PASSAGES: codec.decode_passages,
    Up.RESULTS: codec.decode_results,
    Up.HEALTH: lambda body: (codec.decode_health(body),),
    Up.GAPS: codec.decode_gaps,
}


@dataclass(frozen=True, slots=True)
class ClassCount:
    """Rows of one kind, class and state."""

    kind: str
    shed: str
    state: str
    rows: int
    bytes: int
    oldest: int
    """Creation time, Unix milliseconds."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What is in the file. Times in Unix milliseconds."""

    epoch: str
    rows: int
    bytes: int
    oldest: int
    """Creation time of the oldest row that waits; 0 when none does."""
    classes: list[ClassCount]
    parked: dict[str, int]
    """Rows by the reason of the refusal."""
    losses: dict[str, Loss]
    open_gaps: int
    """Gaps that wait for room to be reported."""
    set_aside: list[str]
    """Damaged files beside this one."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One row without its body."""

    seq: int
    kind: str
    shed: str
    state: str
    created_at: int
    bytes: int
    reason: str


@dataclass(frozen=True, slots=True)
class Filter:
    """Which rows are wanted; None: any. `after` and `limit` page through them."""

    kind: Up | None = None
    shed: Shed | None = None
    state: str | None = None
    after: int = 0
    limit: int = 50


class Inspection:
    """An outbox file as somebody beside the gateway sees it. Raises OutboxError when it cannot be read."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise OutboxError(f"{path}: no such file")
        self._path = path
        try:
            self._db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True, isolation_level=None,
                                       timeout=_BUSY_S)  # fmt: skip
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
        except sqlite3.Error as error:
            raise OutboxError(f"{path}: {error}") from error
        if version != schema.VERSION:
            self._db.close()
            raise OutboxError(
                f"{path}: outbox version {version}, this software reads {schema.VERSION}; a gateway of this version"
                " brings the file up to date when it starts"
            )

    def close(self) -> None:
        """Closes the file."""
        self._db.close()

    def summary(self) -> Summary:
        """Counts of everything."""
        self._db.execute("BEGIN")
        try:
            classes = [
                ClassCount(kind, Shed(shed).name.lower(), state, *counts)
                for kind, shed, state, *counts in self._db.execute(
                    "SELECT kind, shed, state, count(*), sum(bytes), min(created_at) FROM batch"
                    " GROUP BY kind, shed, state ORDER BY shed, state DESC"
                )
            ]
            parked = self._db.execute(
                "SELECT reason, count(*) FROM batch WHERE state = 'parked' GROUP BY reason ORDER BY 2 DESC"
            ).fetchall()
            losses = {shed.name.lower(): loss for shed, loss in LossBook(self._db).losses().items()}
            epoch = self._db.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()[0]
            open_gaps = self._db.execute("SELECT count(*) FROM gap").fetchone()[0]
        finally:
            self._db.execute("COMMIT")
        queued = [one for one in classes if one.state == "queued"]
        return Summary(
            epoch, sum(one.rows for one in queued), sum(one.bytes for one in classes),
            min((one.oldest for one in queued), default=0), classes, dict(parked), losses, open_gaps,
            [file.name for file in damage.files_set_aside(self._path)],
        )  # fmt: skip

    def entries(self, wanted: Filter) -> list[Entry]:
        """Rows in order of their numbers."""
        rows = self._db.execute(
            "SELECT seq, kind, shed, state, created_at, bytes, reason FROM batch WHERE seq > ?1"
            " AND (?2 IS NULL OR kind = ?2) AND (?3 IS NULL OR shed = ?3) AND (?4 IS NULL OR state = ?4)"
            " ORDER BY seq LIMIT ?5",
            (
                wanted.after,
                None if wanted.kind is None else wanted.kind.value,
                None if wanted.shed is None else int(wanted.shed),
                wanted.state,
                wanted.limit,
            ),
        )
        return [_entry(row) for row in rows]

    def entry(self, seq: int) -> tuple[Entry, list[dict[str, Any]] | str] | None:
        """A row with what it holds, by field name; a text instead when that cannot be decoded. None: no such row."""
        row = self._db.execute(
            "SELECT seq, kind, shed, state, created_at, bytes, reason, body FROM batch WHERE seq = ?", (seq,)
        ).fetchone()
        if row is None:
            return None
        return _entry(row[:7]), readable(Up(row[1]), row[7])

    def everything(self) -> Iterator[tuple[Entry, list[dict[str, Any]] | str]]:
        """Every row, read in small portions so that the gateway is not held up."""
        after = 0
        while page := self.entries(Filter(after=after, limit=_AT_ONCE)):
            for one in page:
                after = one.seq
                if (found := self.entry(one.seq)) is not None:  # it may be on its way meanwhile
                    yield found

    def retry(self, seqs: Sequence[int] | None = None) -> int:
        """Queues parked rows again, all or those of `seqs`, under new numbers; returns how many."""
        parked = self._db.execute("SELECT seq FROM batch WHERE state = 'parked' ORDER BY seq").fetchall()
        chosen = [seq for (seq,) in parked if seqs is None or seq in seqs]
        done = 0
        for portion in _portions(chosen):
            with self._transaction():
                self._queue_again(portion)
            done += len(portion)
        return done

    def _queue_again(self, seqs: Sequence[int]) -> None:
        # A new number: the running session has passed the old one and would not look at it again.
        for seq in seqs:
            self._db.execute(
                "INSERT INTO batch (kind, shed, created_at, bytes, body)"
                " SELECT kind, shed, created_at, bytes, body FROM batch WHERE seq = ?",
                (seq,),
            )
            self._db.execute("DELETE FROM batch WHERE seq = ?", (seq,))

    def add(self, batches: Iterable[Found]) -> int:
        """Queues salvaged batches; returns how many. Doing it twice does no harm: the cloud knows them again."""
        done = 0
        for portion in _portions(batches):
            rows = [
                (one.kind.value, int(one.shed), one.created_at, len(one.body) + ROW_OVERHEAD, one.body)
                for one in portion
            ]
            with self._transaction():
                self._db.executemany(
                    "INSERT INTO batch (kind, shed, created_at, bytes, body) VALUES (?, ?, ?, ?, ?)", rows
                )
            done += len(rows)
        return done

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise OutboxError(f"{self._path}: {error}") from error


def readable(kind: Up, body: bytes) -> list[dict[str, Any]] | str:
    """The items of a batch as plain data with names, or why they cannot be read."""
    try:
        items: tuple[msgspec.Struct, ...] = _DECODE[kind](stored.unpack(body))
    except ContractError as error:
        return str(error)
    return [{name: msgspec.to_builtins(getattr(item, name)) for name in item.__struct_fields__} for item in items]


def _entry(row: Sequence[Any]) -> Entry:
    seq, kind, shed, state, created_at, size, reason = row
    return Entry(seq, kind, Shed(shed).name.lower(), state, created_at, size, reason)


def _portions(items: Iterable[Any]) -> Iterator[list[Any]]:
    rest = iter(items)
    while portion := list(islice(rest, _AT_ONCE)):
        yield portion
