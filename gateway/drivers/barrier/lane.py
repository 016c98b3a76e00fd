"""One lane: from a recognised plate to the passage that is charged. Knows no MQTT."""

import asyncio
import uuid
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

import msgspec
import structlog

from gateway.access.decision import AccessPolicy, AccessRequest, AccessState, Verdict, decide, normal_plate
from gateway.contract.limits import MAX_PLATE_CHARS
from gateway.contract.messages import Action, Command, CommandState, Outcome, Passage
from gateway.drivers.barrier.dialect import Event, KeepAlive, Order, Passed, Recognised, TurnedBack
from gateway.drivers.barrier.memory import Visit, VisitMemory
from gateway.drivers.barrier.settings import BarrierLineSettings, LaneSettings
from gateway.drivers.base import CommandOutcome

_PASSAGE_NAMESPACE: Final = uuid.UUID("6f1b6bd2-5d7e-5c0f-9a8e-2f5b1d6c7a34")
_VISITS_KEPT: Final = 16
"""Vehicles that stay known at one lane at most; who was never seen leaving is forgotten, oldest first."""

_FINISHED_KEPT: Final = 256

_log = structlog.get_logger(__name__)


class Answer(Enum):
    """What became of an order to a barrier."""

    DONE = "done"
    REFUSED = "refused"
    LOST = "lost"
    """Sent, but not answered in time: it may have opened."""
    OFFLINE = "offline"
    """Not sent: no connection to the barrier's broker."""


_OUTCOMES: Final = {
    Answer.DONE: CommandOutcome(CommandState.DONE),
    Answer.REFUSED: CommandOutcome(CommandState.FAILED, "the barrier refused"),
    Answer.LOST: CommandOutcome(CommandState.UNCERTAIN, "the barrier did not answer in time"),
    Answer.OFFLINE: CommandOutcome(CommandState.FAILED, "no connection to the barrier"),
}


@dataclass(slots=True)
class LaneCounters:
    """What a lane saw since the gateway started."""

    recognised: int = 0
    duplicates: int = 0
    opened: int = 0
    passed: int = 0
    refused_orders: int = 0
    lost_answers: int = 0


class Lane:
    """State of one lane. `give` sends an order to the barrier; `known` tells what the edge knows of vehicles.

    `clock` gives Unix milliseconds. Events of one lane come one after the other; commands may come between.
    """

    def __init__(
        self,
        settings: LaneSettings,
        line: BarrierLineSettings,
        memory: VisitMemory,
        give: Callable[[LaneSettings, Order], Awaitable[Answer]],
        known: Callable[[], AccessState],
        clock: Callable[[], int],
    ) -> None:
        self.settings = settings
        self.counters = LaneCounters()
        self._line = line
        self._memory = memory
        self._give = give
        self._known = known
        self._clock = clock
        self._policy = AccessPolicy(settings.temporary_allowed, settings.cloud_silent)
        self._visits: dict[str, Visit] = {}
        self._finished: deque[str] = deque(maxlen=_FINISHED_KEPT)
        """Recognitions whose end is told, newest last: a device may tell it again."""
        self._owed: deque[Passage] = deque(maxlen=_FINISHED_KEPT)
        """Ends of passages for which there was no room on the disk."""
        self._last: Recognised | None = None
        self._watches: set[asyncio.Task[None]] = set()
        self._tasks: asyncio.TaskGroup | None = None

    async def open(self, tasks: asyncio.TaskGroup) -> None:
        """Takes up the vehicles that stood here when the gateway stopped; what runs beside events runs in `tasks`."""
        self._tasks = tasks
        for visit in await self._memory.load(self.settings.device, self._clock()):
            self._visits[visit.passage.id] = visit

    def close(self) -> None:
        """Ends the watches over silent clouds."""
        for watch in self._watches:
            watch.cancel()

    async def handle(self, event: Event) -> None:
        """One event of the device."""
        await self._write_owed()
        match event:
            case Recognised():
                await self._recognised(event)
            case Passed():
                await self._passed(event)
            case TurnedBack():
                await self._turned_back(event)
            case KeepAlive():
                pass

    async def execute(self, command: Command) -> CommandOutcome:
        """Opens or closes for the cloud; an opening for a passage only while that vehicle stands here."""
        if command.action is Action.CLOSE_BARRIER:
            return _OUTCOMES[await self._order("close", command.id, command.expires_at)]
        if command.action is not Action.OPEN_BARRIER:
            return CommandOutcome(CommandState.FAILED, f"a barrier cannot {command.action}")
        wanted = command.arguments.get("passage")
        visit = self._visits.get(wanted) if wanted is not None else self._newest(opened=False)
        if wanted is not None and visit is None:
            return CommandOutcome(CommandState.FAILED, f"passage {wanted} is not at this lane")
        answer = await self._order("open", command.id, command.expires_at)
        if visit is not None and answer in (Answer.DONE, Answer.LOST):
            visit.opened = True
            visit.passage = msgspec.structs.replace(visit.passage, decision="command")
        return _OUTCOMES[answer]

    async def _recognised(self, event: Recognised) -> None:
        plate = normal_plate(event.plate)[:MAX_PLATE_CHARS]
        if self._repeats_last(event, plate):
            self.counters.duplicates += 1
            return
        self._last = event
        self.counters.recognised += 1
        visit = self._standing(plate) or self._new_visit(event, plate)
        if event.offline:
            await self._memory.keep_and_send(visit)
            return
        request = AccessRequest(plate, event.vehicle_class, self.settings.direction, self._clock())
        decision = decide(request, self._known(), self._policy)
        visit.passage = msgspec.structs.replace(visit.passage, decision=decision.rule)
        if decision.verdict is Verdict.OPEN:
            await self._let_through(visit)
            return
        await self._memory.keep_and_send(visit)
        _log.info("vehicle waits", lane=self.settings.device, plate=plate, rule=decision.rule)
        if decision.verdict is Verdict.AWAIT_CLOUD:
            assert self._tasks is not None, "events come after open"
            watch = self._tasks.create_task(self._watch_cloud(visit, request))
            self._watches.add(watch)
            watch.add_done_callback(self._watches.discard)

    def _repeats_last(self, event: Recognised, plate: str) -> bool:
        last = self._last
        if last is None or not plate or normal_plate(last.plate) != plate:
            return last is not None and last.id == event.id
        return abs(event.taken_at - last.taken_at) <= self._line.duplicate_s * 1000

    def _standing(self, plate: str) -> Visit | None:
        return next((v for v in self._visits.values() if plate and v.passage.plate == plate and not v.opened), None)

    def _newest(self, *, opened: bool) -> Visit | None:
        return next((v for v in reversed(self._visits.values()) if v.opened is opened), None)

    def _new_visit(self, event: Recognised, plate: str) -> Visit:
        # The same recognition told twice is the same passage, also over a restart.
        passage_id = uuid.uuid5(_PASSAGE_NAMESPACE, f"{self.settings.sn}/{event.id}/{event.taken_at}")
        passage = Passage(
            id=str(passage_id),
            device=self.settings.device,
            plate=plate,
            taken_at=event.taken_at,
            outcome=Outcome.ARRIVED,
            direction=self.settings.direction,
            vehicle_class=event.vehicle_class,
            score=event.score,
            plate_read=event.plate if event.plate != plate else "",
            offline=event.offline,
            image=event.image,
        )
        visit = Visit(passage, event.id)
        if event.id in self._finished:  # told again, or the device counts from the beginning
            self._finished.remove(event.id)
        self._visits[passage.id] = visit
        while len(self._visits) > _VISITS_KEPT:
            self._visits.pop(next(iter(self._visits)))
        return visit

    async def _let_through(self, visit: Visit) -> None:
        """Opens first and writes down at the same time: nobody waits at a barrier for a disk."""
        now = self._clock()
        order = asyncio.ensure_future(self._order("open", str(uuid.uuid4()), now + round(self._line.answer_s * 1000)))
        await self._memory.keep(visit)
        answer = await order
        visit.opened = answer in (Answer.DONE, Answer.LOST)
        if answer is not Answer.DONE:
            # Somebody must see that a vehicle stands there; an uncertain opening is not tried again by itself.
            _log.warning(
                "barrier not opened", lane=self.settings.device, plate=visit.passage.plate, answer=answer.value
            )
            await self._memory.keep_and_send(visit)

    async def _order(self, action: str, order_id: str, expires_at: int) -> Answer:
        order = Order(type="open" if action == "open" else "close", id=order_id, expires_at=expires_at)
        answer = await self._give(self.settings, order)
        self.counters.opened += action == "open" and answer is Answer.DONE
        self.counters.refused_orders += answer is Answer.REFUSED
        self.counters.lost_answers += answer is Answer.LOST
        return answer

    async def _watch_cloud(self, visit: Visit, request: AccessRequest) -> None:
        """Decides without the cloud when it takes no note of a waiting vehicle in time."""
        await asyncio.sleep(self._line.cloud_silent_s)
        if visit.opened or visit.passage.id not in self._visits or await self._memory.taken_note_of(visit):
            return
        decision = decide(request, replace(self._known(), cloud_silent=True), self._policy)
        visit.passage = msgspec.structs.replace(visit.passage, decision=decision.rule)
        _log.warning("cloud is silent", lane=self.settings.device, plate=request.plate, verdict=decision.verdict.value)
        if decision.verdict is Verdict.OPEN:
            await self._let_through(visit)

    async def _passed(self, event: Passed) -> None:
        if event.id in self._finished:
            self.counters.duplicates += 1
            return
        self.counters.passed += 1
        visit = self._meant(event.id) if event.id else self._newest(opened=True) or self._newest(opened=False)
        if visit is None:
            await self._write(self._unrecognised(event))
            return
        await self._finish(visit, Outcome.PASSED, event)

    async def _turned_back(self, event: TurnedBack) -> None:
        # A device that names the vehicle means no other, also when that one is gone already.
        visit = self._meant(event.id) if event.id else self._newest(opened=False)
        if visit is not None:
            await self._finish(visit, Outcome.TURNED_BACK, event)

    def _meant(self, event_id: str) -> Visit | None:
        return next((v for v in self._visits.values() if event_id and v.event_id == event_id), None)

    async def _finish(self, visit: Visit, outcome: Outcome, event: Passed | TurnedBack) -> None:
        self._visits.pop(visit.passage.id)
        self._finished.append(visit.event_id)
        await self._write(
            msgspec.structs.replace(
                visit.passage,
                outcome=outcome,
                outcome_at=event.taken_at,
                offline=visit.passage.offline or event.offline,
            )
        )

    async def _write(self, passage: Passage) -> None:
        """Makes the end of a passage durable. When the disk takes nothing, tries again with each sign of the device."""
        if not await self._memory.finish(passage):
            self._owed.append(passage)

    async def _write_owed(self) -> None:
        while self._owed and await self._memory.finish(self._owed[0]):
            self._owed.popleft()

    def _unrecognised(self, event: Passed) -> Passage:
        """Somebody went through whom no camera saw: tailgating, or a barrier opened by hand."""
        passage_id = uuid.uuid5(_PASSAGE_NAMESPACE, f"{self.settings.sn}/passed/{event.id}/{event.taken_at}")
        return Passage(
            id=str(passage_id),
            device=self.settings.device,
            plate="",
            taken_at=event.taken_at,
            outcome=Outcome.PASSED,
            direction=self.settings.direction,
            offline=event.offline,
            decision="unrecognised",
        )
