"""The tables of the outbox file, and how a file of older software is brought up to date in place."""

import sqlite3
import uuid
from typing import Final

from gateway.errors import GatewayError

VERSION: Final = 2


class OutboxError(GatewayError):
    """The outbox file cannot be used: in use by another process, unreadable, of a newer version."""


# The body comes last: SQLite need not walk through a large value to reach the columns behind it.
_SCHEMA: Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE batch (
  seq        INTEGER PRIMARY KEY AUTOINCREMENT,
  kind       TEXT NOT NULL,
  shed       INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  state      TEXT NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'parked')),
  bytes      INTEGER NOT NULL,
  reason     TEXT NOT NULL DEFAULT '',
  body       BLOB NOT NULL
) STRICT;
"""
_INDEX: Final = "CREATE INDEX batch_by_shed ON batch (shed, state, seq);"
_LOSSES: Final = """
CREATE TABLE loss (
  shed    INTEGER PRIMARY KEY,
  batches INTEGER NOT NULL,
  items   INTEGER NOT NULL,
  bytes   INTEGER NOT NULL,
  oldest  INTEGER NOT NULL,
  newest  INTEGER NOT NULL
) STRICT;
CREATE TABLE gap (
  kind    TEXT NOT NULL,
  device  TEXT NOT NULL,
  channel TEXT NOT NULL,
  reason  TEXT NOT NULL,
  since   INTEGER NOT NULL,
  until   INTEGER NOT NULL,
  count   INTEGER NOT NULL,
  PRIMARY KEY (kind, device, channel, reason)
) STRICT, WITHOUT ROWID;
"""

# Rows of version 1 mixed registers and diagnostics: they are kept like registers. Those rows stay where they are: a
# disk that is nearly full has no room for a copy.
_FROM_1: Final = "".join(
    (
        """
ALTER TABLE batch ADD COLUMN shed INTEGER NOT NULL DEFAULT 4;
DROP INDEX batch_by_kind;
UPDATE batch SET shed = CASE kind WHEN 'health' THEN 0 WHEN 'results' THEN 3 ELSE 5 END WHERE kind <> 'readings';
ALTER TABLE loss RENAME TO loss_1;
""",
        _INDEX,
        _LOSSES,
        """
INSERT INTO loss SELECT CASE kind WHEN 'health' THEN 0 WHEN 'results' THEN 3 WHEN 'passages' THEN 5 ELSE 4 END,
                        batches, 0, bytes, oldest, newest FROM loss_1;
DROP TABLE loss_1;
""",
    )
)


def bring_up_to_date(db: sqlite3.Connection, path: object) -> bool:
    """Makes the tables of a new file, or upgrades an old one, in one transaction; True when the file was new.

    Raises OutboxError for a file of newer software, sqlite3.Error when the file cannot be written.
    """
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        raise OutboxError(f"{path}: outbox version {version}, this software knows {VERSION}")
    if version == 0:
        db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} {_INDEX} {_LOSSES} PRAGMA user_version = {VERSION};")
        set_epoch(db)
        db.execute("COMMIT")
    elif version == 1:
        db.executescript(f"BEGIN IMMEDIATE; {_FROM_1} PRAGMA user_version = {VERSION}; COMMIT;")
    return bool(version == 0)


def set_epoch(db: sqlite3.Connection) -> None:
    """A new name for this line of sequence numbers; acknowledgements for an older one free nothing."""
    db.execute("INSERT OR REPLACE INTO meta VALUES ('epoch', ?)", (str(uuid.uuid4()),))
