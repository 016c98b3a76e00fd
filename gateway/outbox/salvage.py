"""Reads what is still readable of a damaged outbox file that was set aside. The file itself is never changed."""

import contextlib
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.contract import codec, stored
from gateway.contract.errors import ContractError
from gateway.contract.topics import Up
from gateway.outbox.damage import wal_of
from gateway.outbox.schema import OutboxError
from gateway.outbox.shedding import Shed, usual_shed

_PROBES: Final = 200_000
"""Numbers tried one by one behind a damaged place before the rest counts as unreadable."""


@dataclass(frozen=True, slots=True)
class Found:
    """One batch that survived. `body` is as it was stored; it decodes."""

    seq: int
    kind: Up
    shed: Shed
    created_at: int
    state: str
    body: bytes


class Salvage:
    """A damaged file, opened so that nothing is written to it. `skipped` counts the damaged places and rows met."""

    def __init__(self, file: Path, *, with_log: bool = True) -> None:
        """`with_log` also reads what the write-ahead log beside it holds, from a copy of both.

        Raises OutboxError when there is no such file, OSError when it cannot be copied.
        """
        if not file.is_file():
            raise OutboxError(f"{file}: no such file")
        self.skipped = 0
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        log = wal_of(file)
        if with_log and log.exists() and log.stat().st_size:
            self._folder = tempfile.TemporaryDirectory(prefix="gatemeter-salvage-")
            copy = Path(self._folder.name) / "outbox.sqlite"
            shutil.copyfile(file, copy)
            shutil.copyfile(log, wal_of(copy))
            self._db = sqlite3.connect(copy, isolation_level=None)
        else:
            self._db = sqlite3.connect(f"{file.resolve().as_uri()}?immutable=1", uri=True, isolation_level=None)

    def close(self) -> None:
        """Removes the copy."""
        self._db.close()
        if self._folder is not None:
            self._folder.cleanup()

    def oldest(self) -> int | None:
        """Creation time of the first row that can be read."""
        first = next(self._rows(), None)
        return None if first is None else int(first[3])

    def batches(self) -> Iterator[Found]:
        """Every batch that is whole, in order."""
        for seq, kind, shed, created_at, state, body in self._rows():
            try:
                known = Up(kind)
                codec.check_body(known, stored.unpack(body))
                yield Found(seq, known, usual_shed(known) if shed is None else Shed(shed), created_at, state, body)
            except (ContractError, ValueError, TypeError):
                self.skipped += 1

    def _rows(self) -> Iterator[tuple[int, str, int | None, int, str, bytes]]:
        """Along the table as far as it is sound; behind a damaged place number by number until it is sound again."""
        try:
            columns = {row[1] for row in self._db.execute("PRAGMA table_info(batch)")}
        except sqlite3.Error:
            return
        shed = "shed" if "shed" in columns else "NULL"
        query = f"SELECT seq, kind, {shed}, created_at, state, body FROM batch WHERE seq "  # noqa: S608  # one of two names
        after, probes = 0, _PROBES
        while probes:
            try:
                for row in self._db.execute(query + "> ? ORDER BY seq", (after,)):
                    after = row[0]
                    yield row
                return
            except sqlite3.Error:
                self.skipped += 1
            while probes:
                after, probes = after + 1, probes - 1
                with contextlib.suppress(sqlite3.Error):
                    row = self._db.execute(query + "= ?", (after,)).fetchone()
                    if row is not None:
                        yield row
                        break


def oldest(file: Path) -> int | None:
    """Creation time (Unix milliseconds) of the oldest readable row of a damaged file; None when none can be read."""
    try:
        salvage = Salvage(file, with_log=False)
    except (OutboxError, OSError):
        return None
    try:
        return salvage.oldest()
    finally:
        salvage.close()
