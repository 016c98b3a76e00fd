"""Passages of a lane that are over: their ends are told once, on the disk, and completed when a plate is read late."""

from collections import deque
from typing import Final

from gateway.access.book import AccessBook
from gateway.contract.messages import Passage
from gateway.drivers.barrier.memory import UNREAD_KEPT, Visit, VisitMemory

_FINISHED_KEPT: Final = 256


class Ends:
    """What is over at one lane of `lot`. `book` learns that vehicles are through; `memory` tells the cloud."""

    def __init__(self, lot: str, memory: VisitMemory, book: AccessBook) -> None:
        self.unread: dict[str, Passage] = {}
        """Passages that are over and had no plate, the newest last, by id."""
        self._lot = lot
        self._memory = memory
        self._book = book
        self._finished: deque[str] = deque(maxlen=_FINISHED_KEPT)
        """Recognitions whose end is told, newest last: a device may tell it again."""
        self._owed: deque[Visit] = deque(maxlen=_FINISHED_KEPT)
        """Ends of passages for which there was no room on the disk."""

    def is_told(self, event_id: str) -> bool:
        """Whether the end of this recognition is told already."""
        return event_id in self._finished

    def begins_anew(self, event_id: str) -> None:
        """A vehicle is recognised under a name whose end was told: again, or the device counts from the beginning."""
        if event_id in self._finished:
            self._finished.remove(event_id)

    def note_unread(self, passage: Passage) -> None:
        """A picture that comes behind may show the plate after all."""
        self.unread[passage.id] = passage
        while len(self.unread) > UNREAD_KEPT:
            self.unread.pop(next(iter(self.unread)))

    async def end(self, visit: Visit) -> None:
        """The passage of a vehicle that stood here is over."""
        self._finished.append(visit.event_id)
        if not visit.passage.plate:
            self.note_unread(visit.passage)
        await self.tell(visit)

    async def name(self, passage: Passage, event_id: str) -> None:
        """One of `unread` has its plate now."""
        del self.unread[passage.id]
        await self.tell(Visit(passage, event_id))

    async def tell(self, ended: Visit) -> None:
        """To who decides here, and to the cloud."""
        try:
            self._book.passed(self._lot, ended.passage)
        finally:  # whatever is wrong with what is known here, the cloud is told
            await self.write(ended)

    async def write(self, ended: Visit) -> None:
        """Makes the end of a passage durable. When the disk takes nothing, tries again with each sign of the device."""
        if not await self._memory.finish(ended):
            self._owed.append(ended)

    async def write_owed(self) -> None:
        """What the disk did not take before."""
        while self._owed and await self._memory.finish(self._owed[0]):
            self._owed.popleft()
