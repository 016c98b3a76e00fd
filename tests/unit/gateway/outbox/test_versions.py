"""A file of older software is brought up to date where it lies, and nothing in it is lost."""

import sqlite3
from pathlib import Path

import pytest

from gateway.contract.topics import Up
from gateway.outbox import Loss, Outbox, OutboxError, Shed
from tests.unit.gateway.outbox.bodies import START, body

VERSION_1 = """
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
CREATE TABLE command (id TEXT PRIMARY KEY, state TEXT NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO command VALUES ('c-1', 'done');
INSERT INTO meta VALUES ('epoch', '3f2b8c1e-9d4a-4f6b-8a7c-1e2d3c4b5a69');
INSERT INTO loss VALUES ('readings', 4, 4000, 17, 20), ('health', 1, 100, 5, 5);
PRAGMA user_version = 1;
"""


@pytest.fixture
def old_file(tmp_path: Path) -> Path:
    path = tmp_path / "outbox.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(VERSION_1)
        for kind in ("readings", "health", "passages", "results", "readings"):
            state = "parked" if kind == "results" else "queued"
            text = body(200)
            db.execute(
                "INSERT INTO batch (kind, created_at, state, bytes, body) VALUES (?, ?, ?, ?, ?)",
                (kind, START, state, len(text) + 64, text),
            )
    db.close()
    return path


async def test_a_file_of_version_1_goes_on_as_version_2(old_file: Path) -> None:
    outbox = Outbox.open(old_file, 1 << 24)
    assert outbox.epoch == "3f2b8c1e-9d4a-4f6b-8a7c-1e2d3c4b5a69"
    rows = await outbox.waiting(0, 99)
    assert [(row.seq, row.kind) for row in rows] == [
        (1, Up.READINGS), (2, Up.HEALTH), (3, Up.PASSAGES), (5, Up.READINGS)
    ]  # fmt: skip
    assert rows[0].body == body(200)
    stats = await outbox.stats()
    assert stats.queued == {Shed.BILLING: 2, Shed.HEALTH: 1, Shed.PASSAGES: 1}
    assert (stats.parked, stats.bytes) == (1, 5 * (len(body(200)) + 64))
    assert stats.dropped == {Shed.BILLING: Loss(4, 0, 4000, 17, 20), Shed.HEALTH: Loss(1, 0, 100, 5, 5)}
    assert await outbox.put(Up.READINGS, body(1), shed=Shed.DIAGNOSTICS) == 6
    assert await outbox.run(lambda db: db.execute("SELECT id FROM command").fetchall()) == [("c-1",)]
    outbox.close()

    again = Outbox.open(old_file, 1 << 24)
    assert len(await again.waiting(0, 99)) == 5
    assert await again.run(lambda db: db.execute("PRAGMA user_version").fetchone()[0]) == 2
    again.close()


async def test_a_full_outbox_of_version_1_sheds_by_class(old_file: Path) -> None:
    outbox = Outbox.open(old_file, 3 * len(body(200)))
    await outbox.put(Up.PASSAGES, body(1))
    stats = await outbox.stats()
    assert {shed for shed in stats.queued if shed is not Shed.GAPS} == {Shed.PASSAGES, Shed.BILLING}
    assert Shed.PASSAGES not in stats.dropped
    outbox.close()


def test_an_upgrade_that_fails_changes_nothing(old_file: Path) -> None:
    with sqlite3.connect(old_file) as db:
        db.execute("CREATE TABLE gap (x INTEGER)")
    db.close()
    with pytest.raises(OutboxError, match="gap"):
        Outbox.open(old_file, 1 << 24)
    with sqlite3.connect(old_file) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
        assert "shed" not in {row[1] for row in db.execute("PRAGMA table_info(batch)")}
    db.close()
