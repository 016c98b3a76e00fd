"""What a gateway knows of vehicles: an index in memory for its lanes, a file behind it, changes from both sides."""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from time import monotonic
from typing import Final, TypeVar

import structlog

from gateway.access import store
from gateway.access.decision import AccessState
from gateway.access.index import AHEAD_MS, AccessIndex
from gateway.contract.access import AccessUpdate, StayEntry
from gateway.contract.messages import Outcome, Passage
from gateway.outbox.outbox import wall_clock_ms

T = TypeVar("T")

_DAY_MS: Final = 86_400_000
_COVERING: Final = frozenset({"permit", "permit-grace"})

_log = structlog.get_logger(__name__)


class AccessBook:
    """For one event loop. Questions are answered from memory; what changes is written by a thread of its own.

    A disk that takes nothing costs no lane anything: memory goes on, and after a restart the cloud tells it again.
    """

    def __init__(self, path: Path | None = None, now: int | None = None) -> None:
        """Opens or creates the file at `path`; without one nothing outlives the process. Raises sqlite3.Error.

        `now` is a time that has certainly come: by it is forgotten what is long ago.
        """
        self._opened_at, self._began = wall_clock_ms() if now is None else now, monotonic()
        self._forgot_at = self._opened_at
        self._db, self._index = store.open_store(path, self._opened_at)
        self.number = store.held_number(self._db)
        """The last step of the cloud that is in force."""
        self._thread = ThreadPoolExecutor(1, "access")
        self._since: list[Callable[[AccessIndex], object]] | None = None
        """What lanes changed while a new index may be in the making; None while none is."""
        self._closed = False

    @property
    def not_understood(self) -> int:
        """Entries of the cloud in words that this software does not know."""
        return self._index.not_understood

    def state(self, plate: str, vehicle_class: str, lot: str, at: int) -> AccessState:
        """All that is known of one vehicle at one lot."""
        return self._index.state(plate, vehicle_class, lot, at)

    def inside(self, lot: str, vehicle_class: str = "") -> int:
        """Vehicles inside, of one class or of all."""
        return self._index.inside(lot, vehicle_class)

    def passed(self, lot: str, passage: Passage) -> None:
        """A vehicle went through a lane: its stay begins or ends here and now, whatever the cloud does."""
        if passage.outcome is not Outcome.PASSED:
            return
        at = passage.outcome_at or passage.taken_at
        came = min(passage.taken_at, at)  # by a clock that was mended while it stood there it would come later
        if not passage.offline and self._index.latest > at + AHEAD_MS:
            _log.warning("clock was mended: stays brought back", ahead_ms=self._index.latest - at)
            self._change(lambda index: index.bring_back(came))
            self._write(lambda: store.bring_back(self._db, came))
        if passage.direction == "entry":
            self._entered(lot, passage, came)
        elif passage.plate:
            self._left(lot, passage.plate, at)
        self._forget_old()

    async def take(self, update: AccessUpdate) -> bool:
        """Takes one proven message of the cloud; whether anything is in force now that was not.

        Raises sqlite3.Error when the disk does not take it, ContractError when not even the kind and the key of an
        entry can be read: nothing changed then, and the cloud tells it again.
        """
        since: list[Callable[[AccessIndex], object]] = []
        self._since = since
        try:
            change = await asyncio.wrap_future(self._thread.submit(store.take, self._db, update))
        finally:
            self._since = None
        if change is None:
            return False
        if change.fresh is not None:
            for again in since:
                again(change.fresh)
            self._index = change.fresh
        for before, after in change.entries:
            self._index.replace(before, after)
        for key in change.ended:
            self._index.end(key)
        self.number = change.number
        return True

    def close(self) -> None:
        """Writes what is at hand and closes the file. May be called twice."""
        if self._closed:
            return
        self._closed = True
        self._thread.shutdown()
        self._db.close()

    def _entered(self, lot: str, passage: Passage, came: int) -> None:
        stay = StayEntry(
            passage.id,
            passage.plate,
            lot,
            passage.vehicle_class,
            came,
            covered=passage.decision in _COVERING,
        )
        if self._change(lambda index: index.entered(stay)):
            self._write(lambda: store.write_entered(self._db, stay))

    def _left(self, lot: str, plate: str, at: int) -> None:
        stay = self._change(lambda index: index.left(lot, plate, at))
        key = None if stay is None else stay.key
        self._write(lambda: store.write_left(self._db, lot, plate, at, key))

    def _forget_old(self) -> None:
        """Once a day what is long ago, by a time that has certainly come: a gateway may run for years."""
        now = self._opened_at + round((monotonic() - self._began) * 1000)
        if now - self._forgot_at < _DAY_MS:
            return
        self._forgot_at = now
        self._change(lambda index: index.forget_left(now - store.ENDED_KEPT_MS))
        self._write(lambda: store.forget_ended(self._db, now))

    def _change(self, what: Callable[[AccessIndex], T]) -> T:
        if self._since is not None:
            self._since.append(what)
        return what(self._index)

    def _write(self, work: Callable[[], None]) -> None:
        if not self._closed:
            self._thread.submit(work).add_done_callback(_told)


def _told(done: "Future[None]") -> None:
    error = done.exception()
    if isinstance(error, sqlite3.Error):
        _log.error("access file does not take a stay", reason=str(error))
    elif error is not None:
        raise error
