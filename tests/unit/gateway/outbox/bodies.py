"""Batches for the tests of the outbox."""

import random
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from gateway.contract import codec, stored
from gateway.contract.messages import Gap, Point
from gateway.contract.topics import Up
from gateway.outbox import Outbox

START = 1_764_000_000_000


def noise(size: int) -> bytes:
    """A body of exactly `size` bytes in the file: random bytes, which nothing compresses."""
    for overhead in range(60):
        kept = stored.pack(b"[" + random.Random(size).randbytes(size - 1 - overhead))
        if len(kept) == size:
            return kept
    raise AssertionError(f"no body of {size} bytes")


def points(count: int, channel: str = "energy_import_total", start: int = START, device: str = "m-1") -> list[Point]:
    """Readings a minute apart."""
    return [Point(device, channel, start + 60_000 * n, n * 1_000_003 % 999_983) for n in range(count)]


def body(*args: object, **kwargs: object) -> bytes:
    """The body of `points`."""
    return codec.encode_body(points(*args, **kwargs))  # type: ignore[arg-type]  # passed on


async def gaps(outbox: Outbox) -> list[Gap]:
    """What the queued gap batches say."""
    rows = await outbox.waiting(0, 1_000, (Up.GAPS,))
    return [gap for row in rows for gap in codec.decode_gaps(row.body)]


async def queued_points(outbox: Outbox) -> list[Point]:
    """Every reading that waits."""
    rows = await outbox.waiting(0, 100_000, (Up.READINGS,))
    return [point for row in rows for point in codec.decode_points(row.body)]


def total(found: Sequence[Gap]) -> int:
    """How many points the gaps count together."""
    return sum(gap.count for gap in found)


def put_out_of_step(path: Path, seq: int) -> None:
    """Removes a row but not its index entry: damage that shows only when the row is wanted."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        entry = db.execute("SELECT * FROM sqlite_schema WHERE name = 'batch_by_shed'").fetchone()
        db.execute("PRAGMA writable_schema = ON")
        db.execute("DELETE FROM sqlite_schema WHERE name = 'batch_by_shed'")
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("DELETE FROM batch WHERE seq = ?", (seq,))
        db.execute("PRAGMA writable_schema = ON")
        db.execute("INSERT INTO sqlite_schema VALUES (?, ?, ?, ?, ?)", entry)
