"""The file in which a gateway keeps what it knows of vehicles: numbered entries of the cloud, stays of its own lanes.

Entries are kept as they were sent, with what this software does not know: the next one may.
One thread works with it (`book.py`). What belongs together is one transaction, so that a cut of the power leaves a
state that was true once; what is missing then comes again from the cloud.
"""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import structlog

from gateway.access.index import AHEAD_MS, AccessIndex, as_mended, as_named
from gateway.contract.access import (
    AccessEntry,
    AccessUpdate,
    GoneEntry,
    StayEntry,
    UnreadEntry,
    as_sent,
    entry_name,
    read_entry,
)
from gateway.contract.errors import ContractError
from gateway.outbox.damage import is_damage, set_aside

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS entry (
  kind TEXT NOT NULL,
  key  TEXT NOT NULL,
  own  INTEGER NOT NULL,   -- a stay that a lane here opened and of which the cloud has said nothing yet
  body BLOB NOT NULL,
  PRIMARY KEY (kind, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS departure (
  lot   TEXT NOT NULL,
  plate TEXT NOT NULL,
  at    INTEGER NOT NULL,
  PRIMARY KEY (lot, plate)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ended (
  key TEXT PRIMARY KEY,    -- of a stay: told again by a cloud that does not know yet, it does not begin anew
  at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS part (
  number INTEGER NOT NULL,
  base   INTEGER NOT NULL,
  part   INTEGER NOT NULL,
  body   BLOB NOT NULL,
  PRIMARY KEY (number, base, part)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS held (number INTEGER NOT NULL) STRICT;
INSERT INTO held SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM held);
"""

_ONE_BY_ONE: Final = 2_000
"""Entries of a step that lanes wait for, some milliseconds; for more a new index is made beside them."""
ENDED_KEPT_MS: Final = 30 * 86_400_000
"""How long departures, and stays that are over, are remembered."""
_OWN_KEPT_MS: Final = 90 * 86_400_000
"""A stay of which the cloud never said anything is forgotten after so long."""

Entry = AccessEntry | UnreadEntry

_entries: msgspec.json.Decoder[tuple[msgspec.Raw, ...]] = msgspec.json.Decoder(tuple[msgspec.Raw, ...])
_encode: Final = msgspec.json.Encoder().encode

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Change:
    """What a step did: what there was and what there is, entry by entry. `fresh` replaces everything instead.

    `ended` are the keys of stays that are over, also of those that lanes have just begun and that are not written yet.
    """

    number: int
    entries: tuple[tuple[Entry | None, Entry | None], ...] = ()
    fresh: AccessIndex | None = None
    ended: tuple[str, ...] = ()


def open_store(path: Path | None, now: int) -> tuple[sqlite3.Connection, AccessIndex]:
    """Opens or creates the file, with all that it holds. None keeps everything in memory. Raises sqlite3.Error.

    One that is damaged is set aside.
    """
    try:
        return _opened(path, now)
    except (sqlite3.DatabaseError, msgspec.MsgspecError, ContractError) as error:
        if path is None or (isinstance(error, sqlite3.Error) and not is_damage(error)):
            raise
        _log.error("access file was damaged and set aside", set_aside=str(set_aside(path)), reason=str(error))
        return _opened(path, now)


def _opened(path: Path | None, now: int) -> tuple[sqlite3.Connection, AccessIndex]:
    db = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        # After a cut of the power the last moments may be missing: the cloud tells them again.
        db.execute("PRAGMA synchronous = NORMAL")
        if path is not None and db.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            error = sqlite3.DatabaseError("quick_check found damage")
            error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise error
        db.executescript(_SCHEMA)
        forget_ended(db, now)
        with transaction(db):
            _forget_old_stays(db, now - _OWN_KEPT_MS)
        bring_back(db, now)
        return db, load(db)
    except BaseException:
        db.close()
        raise


class transaction:  # noqa: N801  # reads like a statement
    """All or nothing; `sqlite3` by itself would begin one late."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, *_: object) -> None:
        self._db.execute("COMMIT" if kind is None else "ROLLBACK")


def forget_ended(db: sqlite3.Connection, now: int) -> None:
    """Of long before `now`: who left, and which stays are over."""
    with transaction(db):
        db.execute("DELETE FROM ended WHERE at < ?", (now - ENDED_KEPT_MS,))
        db.execute("DELETE FROM departure WHERE at < ?", (now - ENDED_KEPT_MS,))


def _forget_old_stays(db: sqlite3.Connection, before: int) -> None:
    for stay in _own_stays(db):
        if stay.entered_at < before:
            db.execute("DELETE FROM entry WHERE kind = 'stay' AND key = ?", (stay.key,))


def _own_stays(db: sqlite3.Connection) -> list[StayEntry]:
    rows = db.execute("SELECT body FROM entry WHERE kind = 'stay' AND own = 1").fetchall()
    return [stay for (body,) in rows if isinstance(stay := read_entry(body), StayEntry)]


def bring_back(db: sqlite3.Connection, at: int) -> None:
    """What lanes told by a clock that was far ahead and is mended now, at `at`: see `AccessIndex.bring_back`."""
    limit = at + AHEAD_MS
    with transaction(db):
        db.execute("UPDATE departure SET at = ? WHERE at > ?", (at - 1, limit))
        db.execute("UPDATE ended SET at = ? WHERE at > ?", (at, limit))
        for stay in _own_stays(db):
            if stay.entered_at > limit:
                body = bytes(as_sent(as_mended(stay, at)))
                db.execute("UPDATE entry SET body = ? WHERE kind = 'stay' AND key = ?", (body, stay.key))


def held_number(db: sqlite3.Connection) -> int:
    """The number of the last step that was taken."""
    return int(db.execute("SELECT number FROM held").fetchone()[0])


def load(db: sqlite3.Connection) -> AccessIndex:
    """Everything that the file holds, by plate."""
    index = AccessIndex()
    # First: of who has left since, nothing begins anew that the cloud told before it knew.
    for lot, plate, at in db.execute("SELECT lot, plate, at FROM departure"):
        index.remember_left(lot, plate, at)
    for (body,) in db.execute("SELECT body FROM entry WHERE own = 0"):
        index.put(read_entry(body))
    for stay in _own_stays(db):
        index.entered(stay)
    index.ever_told = held_number(db) > 0
    return index


def take(db: sqlite3.Connection, update: AccessUpdate) -> Change | None:
    """Takes one proven message. None when nothing follows from it yet, or ever: old, out of step, or parts lack.

    Raises ContractError when an entry cannot even be named.
    """
    with transaction(db):
        held = held_number(db)
        if update.number <= held or update.base not in (0, held):
            return None
        if update.parts == 1:
            return _take_all(db, update, [update.entries])
        place = (update.number, update.base)
        # Of a change that a newer one overtakes nothing is needed any more.
        db.execute("DELETE FROM part WHERE number < ? OR base > 0 AND base <> ?", (update.number, held))
        if db.execute("SELECT 1 FROM part WHERE number > ?", (update.number,)).fetchone():
            return None
        db.execute("INSERT OR REPLACE INTO part VALUES (?, ?, ?, ?)", (*place, update.part, _encode(update.entries)))
        parts = "FROM part WHERE number = ? AND base = ? AND part <= ?"
        (here,) = db.execute(f"SELECT count(*) {parts}", (*place, update.parts)).fetchone()  # constant
        if here < update.parts:
            return None
        bodies = db.execute(f"SELECT body {parts} ORDER BY part", (*place, update.parts)).fetchall()
        return _take_all(db, update, (_entries.decode(body) for (body,) in bodies))


def _take_all(db: sqlite3.Connection, update: AccessUpdate, groups: Iterable[tuple[msgspec.Raw, ...]]) -> Change:
    whole = update.base == 0
    if whole:
        db.execute("DELETE FROM entry WHERE own = 0")
    taken = [_take_entry(db, body, update.issued_at) for group in groups for body in group]
    db.execute("DELETE FROM part")
    db.execute("UPDATE held SET number = ?", (update.number,))
    ended = tuple(told.key for told, _, _ in taken if isinstance(told, GoneEntry) and told.kind == "stay")
    if whole or len(taken) > _ONE_BY_ONE:
        return Change(update.number, fresh=load(db), ended=ended)
    return Change(update.number, tuple((before, after) for _, before, after in taken), ended=ended)


def _take_entry(db: sqlite3.Connection, body: msgspec.Raw, issued_at: int) -> tuple[Entry, Entry | None, Entry | None]:
    """Writes one entry; gives what was told, what was there before and what is there now."""
    entry = read_entry(body)
    kind, _ = entry_name(entry)
    before = _found(db, kind, entry.key)
    if isinstance(entry, GoneEntry):
        db.execute("DELETE FROM entry WHERE kind = ? AND key = ?", (kind, entry.key))
        if kind == "stay":
            db.execute("INSERT OR REPLACE INTO ended VALUES (?, ?)", (entry.key, issued_at))
        return entry, before, None
    if kind == "stay" and db.execute("SELECT 1 FROM ended WHERE key = ?", (entry.key,)).fetchone():
        return entry, before, None
    db.execute("INSERT OR REPLACE INTO entry VALUES (?, ?, 0, ?)", (kind, entry.key, bytes(body)))
    return entry, before, entry


def _found(db: sqlite3.Connection, kind: str, key: str) -> Entry | None:
    row = db.execute("SELECT body FROM entry WHERE kind = ? AND key = ?", (kind, key)).fetchone()
    return None if row is None else read_entry(row[0])


def write_entered(db: sqlite3.Connection, stay: StayEntry) -> None:
    """A stay that a lane here opened, or named, unless it is over already."""
    with transaction(db):
        unless = "WHERE NOT EXISTS (SELECT 1 FROM ended WHERE key = ?1)"
        row = (stay.key, bytes(as_sent(stay)))
        db.execute(f"INSERT OR IGNORE INTO entry SELECT 'stay', ?1, 1, ?2 {unless}", row)  # constant
        before = _found(db, "stay", stay.key)
        if isinstance(before, StayEntry) and stay.plate and not before.plate:
            body = bytes(as_sent(as_named(before, stay.plate)))
            db.execute("UPDATE entry SET body = ? WHERE kind = 'stay' AND key = ?", (body, stay.key))


def write_left(db: sqlite3.Connection, lot: str, plate: str, at: int, key: str | None) -> None:
    """A vehicle that left by a lane here, with the key of its stay when that was known."""
    with transaction(db):
        latest = "ON CONFLICT DO UPDATE SET at = max(at, excluded.at)"
        db.execute(f"INSERT INTO departure VALUES (?, ?, ?) {latest}", (lot, plate, at))  # noqa: S608  # constant
        if key is not None:
            db.execute("DELETE FROM entry WHERE kind = 'stay' AND key = ?", (key,))
            db.execute("INSERT OR REPLACE INTO ended VALUES (?, ?)", (key, at))
