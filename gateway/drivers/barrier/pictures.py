"""Pictures of vehicles, kept at the edge until they are asked for, on a disk that never fills up."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import Final

import structlog

from gateway.contract import codec
from gateway.contract.topics import Up
from gateway.outbox import Outbox

_JPEG: Final = b"\xff\xd8\xff"
_MAX_PICTURE_BYTES: Final = 3 << 20
_SUFFIX: Final = ".jpg"
_PASSAGE: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ROWS_AT_ONCE: Final = 200

_log = structlog.get_logger(__name__)


class Pictures:
    """One file for each passage, named by its id. `unsent` gives the passages that the cloud does not have yet.

    Above `max_bytes` the oldest pictures go, those of passages that the cloud does not know yet after all others.
    """

    def __init__(self, directory: Path, max_bytes: int, unsent: Callable[[], Awaitable[Collection[str]]]) -> None:
        """Raises OSError when there is no such directory and none can be made."""
        directory.mkdir(parents=True, exist_ok=True)
        self.dropped = 0
        """Pictures that had to go, or could not be kept, since the gateway started."""
        self._directory, self._max_bytes, self._unsent = directory, max_bytes, unsent
        self._turn = asyncio.Lock()
        for half in directory.glob("*.new"):  # the power went while it was written
            half.unlink()
        now = time.time_ns()
        times = ((entry.stat().st_mtime_ns, entry) for entry in directory.glob(f"*{_SUFFIX}"))
        # Pictures from the future are of a clock that was ahead: older than all that came since.
        found = sorted((at <= now, at, entry) for at, entry in times)
        self._sizes = {entry.stem: entry.stat().st_size for _, _, entry in found}
        """By passage, oldest first."""
        self.bytes = sum(self._sizes.values())

    async def keep(self, passage: str, picture: bytes) -> bool:
        """Keeps a picture, or the better one of the same passage; False when it is none or the disk takes nothing."""
        if not picture.startswith(_JPEG) or len(picture) > min(_MAX_PICTURE_BYTES, self._max_bytes):
            self.dropped += 1
            return False
        async with self._turn:
            try:
                await self._make_room(len(picture) - self._sizes.get(passage, 0), passage)
                await asyncio.to_thread(self._write, passage, picture)
            except OSError as error:
                self.dropped += 1
                _log.warning("picture not kept", passage=passage, reason=str(error))
                return False
            self.bytes += len(picture) - self._sizes.pop(passage, 0)
            self._sizes[passage] = len(picture)
            return True

    async def read(self, passage: str) -> bytes | None:
        """The picture of a passage, None when it is not here (any more) or the disk does not give it."""
        if not _PASSAGE.fullmatch(passage):
            return None
        try:
            return await asyncio.to_thread(self._path(passage).read_bytes)
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                _log.warning("picture not read", passage=passage, reason=str(error))
            return None

    async def _make_room(self, needed: int, spared: str) -> None:
        if self.bytes + needed <= self._max_bytes:
            return
        unsent = await self._unsent()
        others = [passage for passage in self._sizes if passage != spared]
        for passage in [p for p in others if p not in unsent] + [p for p in others if p in unsent]:
            if self.bytes + needed <= self._max_bytes:
                return
            self._path(passage).unlink(missing_ok=True)
            self.bytes -= self._sizes.pop(passage)
            self.dropped += 1

    def _write(self, passage: str, picture: bytes) -> None:
        """Whole or not at all: nobody is to see half a picture."""
        fresh = self._directory / f"{passage}.new"
        try:
            fresh.write_bytes(picture)
            fresh.replace(self._path(passage))
        except OSError:
            fresh.unlink(missing_ok=True)
            raise

    def _path(self, passage: str) -> Path:
        return self._directory / f"{passage}{_SUFFIX}"


async def unsent_passages(outbox: Outbox) -> frozenset[str]:
    """Ids of the passages that still wait in the outbox."""
    found: set[str] = set()
    after = 0
    while True:
        rows = await outbox.waiting(after, _ROWS_AT_ONCE, (Up.PASSAGES,))
        if not rows:
            return frozenset(found)
        for row in rows:
            found |= {passage.id for passage in codec.decode_passages(row.body)}
        after = rows[-1].seq
