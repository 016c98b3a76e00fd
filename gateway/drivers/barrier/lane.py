"""One lane: from a recognised plate to the passage that is charged. Knows no MQTT."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final

import msgspec
import structlog

from gateway.access.book import AccessBook
from gateway.access.decision import AccessPolicy, AccessRequest, Decision, Verdict, decide, undecided
from gateway.contract.access import OPENED_BY_LANE
from gateway.contract.messages import Action, Command, CommandState, Outcome
from gateway.drivers.barrier.answers import OUTCOMES, Answer
from gateway.drivers.barrier.credible import Believed, believed_plate
from gateway.drivers.barrier.device_clock import DeviceClock
from gateway.drivers.barrier.ends import Ends
from gateway.drivers.barrier.events import Event, GateMoved, KeepAlive, Order, Passed, Recognised, TurnedBack
from gateway.drivers.barrier.memory import Visit, VisitMemory
from gateway.drivers.barrier.passages import arrived, named, unrecognised
from gateway.drivers.barrier.pictures import Pictures
from gateway.drivers.barrier.recognitions import Recognitions, Seen
from gateway.drivers.barrier.settings import BarrierLineSettings, LaneSettings
from gateway.drivers.base import CommandOutcome
from gateway.outbox import OutboxError

_VISITS_KEPT: Final = 16
"""Vehicles that stay known at one lane at most; who was never seen leaving is forgotten, oldest first."""

_STANDS_MS: Final = 1_800_000
"""Who was seen longer ago is not whom a person opens for; the cloud says the same (`manual_opening`)."""
UNCERTAIN: Final = "uncertain"
"""Told of a vehicle for which an order to open went out whose outcome nobody knows: nothing else opens for it."""

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class LaneCounters:
    """What a lane saw since the gateway started."""

    recognised: int = 0
    duplicates: int = 0
    opened: int = 0
    passed: int = 0
    refused_orders: int = 0
    lost_answers: int = 0
    bad_plates: int = 0
    """Vehicles whose plate was empty, over-long or no text: treated as not read."""
    bad_times: int = 0
    """Events from the future or from long ago: the gateway's own clock was taken instead."""


class Lane:
    """State of one lane. `give` sends an order to the barrier; `book` is what the edge knows of vehicles.

    Pictures go to `pictures`; with `pictures_later` one is expected for every vehicle. `clock` gives Unix
    milliseconds. Events of one lane come one after the other; commands may come between.
    """

    def __init__(
        self,
        settings: LaneSettings,
        line: BarrierLineSettings,
        memory: VisitMemory,
        give: Callable[[LaneSettings, Order], Awaitable[Answer]],
        book: AccessBook,
        clock: Callable[[], int],
        pictures: Pictures | None = None,
        pictures_later: bool = False,
    ) -> None:
        self.settings = settings
        self.gate_is_open: bool | None = None
        """As the device told last; None when it never did."""
        self.counters = LaneCounters()
        self.device_clock = DeviceClock(clock)
        self._line = line
        self._memory = memory
        self._give = give
        self._book = book
        self._clock = clock
        self._pictures = pictures
        self._pictures_later = pictures_later and pictures is not None
        self._policy = AccessPolicy(
            settings.temporary_allowed,
            settings.cloud_silent,
            settings.permit_expired,
            settings.already_inside,
            settings.without_plate,
            settings.on_failure,
        )
        self._visits: dict[str, Visit] = {}
        self._ends = Ends(line.lot, memory, book)
        self._recognitions = Recognitions(round(line.duplicate_s * 1000))
        self._seen_last = ("", 0)
        """Passage of the vehicle that was recognised last, and when (Unix milliseconds)."""
        self._watches: set[asyncio.Task[None]] = set()
        self._tasks: asyncio.TaskGroup | None = None

    async def open(self, tasks: asyncio.TaskGroup) -> None:
        """Takes up the vehicles that stood here when the gateway stopped; what runs beside events runs in `tasks`.

        They are told once more. Of one whose opening was on its way nobody knows whether it is through: people see it,
        and nothing opens for it by itself.
        """
        self._tasks = tasks
        standing = await self._memory.load(self.settings.device)
        for ended in await self._memory.load_unread(self.settings.device):
            self._note_known(ended)
            self._ends.note_unread(ended.passage)
        for visit in standing:
            passage = visit.passage
            self._visits[passage.id] = visit
            self._note_known(visit)
            self._seen_last = (passage.id, passage.taken_at)
            await self._memory.send(visit, UNCERTAIN if passage.decision in OPENED_BY_LANE else passage.decision)
            if passage.decision == "await-cloud":
                self._begin_watch(visit, passage.vehicle_class)

    def _note_known(self, visit: Visit) -> None:
        passage = visit.passage
        self._recognitions.note(Seen(visit.event_id, passage.taken_at, passage.plate, passage.taken_at, passage.id))

    def close(self) -> None:
        """Ends the watches over silent clouds."""
        for watch in self._watches:
            watch.cancel()

    async def handle(self, event: Event) -> None:
        """One event of the device."""
        await self._ends.write_owed()
        match event:
            case Recognised():
                await self._recognised(event)
            case Passed():
                await self._passed(event)
            case TurnedBack():
                await self._turned_back(event)
            case GateMoved():
                await self._gate_moved(event)
            case KeepAlive():
                pass  # its time counted when it was heard

    def waiting(self, passage: str) -> str | None:
        """The recognition of the vehicle of a passage, while it stands here and nothing was opened for it."""
        visit = self._visits.get(passage)
        return None if visit is None or visit.opened or visit.passage.offline else visit.event_id

    async def execute(self, command: Command) -> CommandOutcome:
        """Opens or closes for the cloud; an opening for a passage only while that vehicle stands here, and once.

        The cloud orders again when it heard of no answer, which may be on its way: a second opening of a barrier that
        may be open lets the next vehicle out. People open without naming a passage.
        """
        if command.action is Action.CLOSE_BARRIER:
            return OUTCOMES[await self._order("close", command.id, command.expires_at)]
        if command.action is not Action.OPEN_BARRIER:
            return CommandOutcome(CommandState.FAILED, f"a barrier cannot {command.action}")
        wanted = command.arguments.get("passage")
        if wanted is None:
            return OUTCOMES[await self._open_by_hand(command)]
        visit = self._visits.get(wanted)
        if visit is None:
            return CommandOutcome(CommandState.FAILED, f"passage {wanted} is not at this lane")
        async with visit.turn:
            if visit.outcome is not None:
                return visit.outcome
            answer = await self._open_by(command, visit)
            if answer in (Answer.DONE, Answer.LOST):
                visit.outcome = OUTCOMES[answer]
            return OUTCOMES[answer]

    async def _open_by(self, command: Command, visit: Visit) -> Answer:
        answer = await self._order("open", command.id, command.expires_at)
        await self._note_opened(visit, answer)
        return answer

    async def _open_by_hand(self, command: Command) -> Answer:
        """For who stands there as it is given; nobody waits until the lane has opened by itself, or has not."""
        visit = self._before_barrier()
        answer = await self._order("open", command.id, command.expires_at)
        if visit is not None:
            async with visit.turn:
                if visit.outcome is None or visit.outcome.state is not CommandState.DONE:
                    await self._note_opened(visit, answer)
        return answer

    async def _note_opened(self, visit: Visit, answer: Answer) -> None:
        if answer in (Answer.DONE, Answer.LOST):
            visit.opened = True
            visit.passage = msgspec.structs.replace(visit.passage, decision="command")
            if visit.passage.id in self._visits:  # after a restart nobody asks the cloud once more
                await self._memory.keep(visit)
        if answer is Answer.DONE:
            await self._through_without_sensor(visit)

    def _before_barrier(self) -> Visit | None:
        """The vehicle that was seen last, unless it is through or that is long ago."""
        passage, at = self._seen_last
        return self._visits.get(passage) if self._clock() - at <= _STANDS_MS else None

    async def _gate_moved(self, event: GateMoved) -> None:
        """The boom tells what an answer that was lost did not: where nobody sees vehicles, this one is through."""
        self.gate_is_open = event.is_open
        waiting = self._newest(opened=True)
        if event.is_open and waiting is not None:
            await self._through_without_sensor(waiting)

    async def _recognised(self, event: Recognised) -> None:
        plate, when = believed_plate(event.plate), self._believed(event.taken_at, event.offline)
        known = self._recognitions.same(event.id, event.taken_at, plate, when.at, self._visits, self._ends.unread)
        if known is not None:
            self.counters.duplicates += 1
            await self._told_again(known, event, plate, when)
            return
        self.counters.recognised += 1
        self.counters.bad_plates += not plate
        visit = self._standing(plate) or self._new_visit(event, plate, when)
        self._recognitions.note(Seen(event.id, event.taken_at, plate, when.at, visit.passage.id))
        if not when.offline:
            self._seen_last = (visit.passage.id, when.at)
        if when.offline:
            await self._memory.keep_and_send(visit)
        else:
            await self._judge(visit, event.vehicle_class)
        await self._forget_oldest()
        await self._keep_picture(visit.passage.id, event.picture)  # nobody waits at a barrier for it

    async def _judge(self, visit: Visit, vehicle_class: str) -> None:
        """Decides, and does what follows."""
        plate = visit.passage.plate
        decision = self._decide(self._asked(plate, vehicle_class))
        visit.passage = msgspec.structs.replace(visit.passage, decision=decision.rule)
        if decision.verdict is Verdict.OPEN:
            await self._let_through(visit)
            return
        await self._memory.keep_and_send(visit)
        _log.info("vehicle waits", lane=self.settings.device, plate=plate, rule=decision.rule)
        if decision.verdict is Verdict.AWAIT_CLOUD:
            self._begin_watch(visit, vehicle_class)

    def _begin_watch(self, visit: Visit, vehicle_class: str) -> None:
        assert self._tasks is not None, "events come after open"
        watch = self._tasks.create_task(self._watch_cloud(visit, vehicle_class))
        self._watches.add(watch)
        watch.add_done_callback(self._watches.discard)

    def _asked(self, plate: str, vehicle_class: str) -> AccessRequest:
        return AccessRequest(plate, vehicle_class, self.settings.direction, self._clock(), self.settings.device)

    def _decide(self, request: AccessRequest, *, cloud_silent: bool = False) -> Decision:
        try:
            known = self._book.state(request.plate, request.vehicle_class, self._line.lot, request.at)
            return decide(request, replace(known, cloud_silent=True) if cloud_silent else known, self._policy)
        except Exception:  # noqa: BLE001 - whatever is wrong with what is known, no vehicle may be held by it
            _log.exception("decision failed", lane=self.settings.device, plate=request.plate)
            return undecided(request, self._policy, cloud_silent=cloud_silent)

    async def _told_again(self, known: Seen, event: Recognised, plate: str, when: Believed) -> None:
        """The same vehicle: now with its picture, or with the plate that was not read at first."""
        visit, ended = self._visits.get(known.passage), self._ends.unread.get(known.passage)
        if ended is not None and plate:
            self._recognitions.read_at_last(known, plate, event.taken_at)
            await self._ends.name(named(ended, event, plate), known.event_id)
        elif visit is not None and plate and not visit.passage.plate:
            await self._read_at_last(visit, known, event, plate, when)
        await self._keep_picture(known.passage, event.picture)

    async def _read_at_last(self, visit: Visit, known: Seen, event: Recognised, plate: str, when: Believed) -> None:
        """Of who stands there. What is told afterwards opens nothing, and names only what was told so before."""
        if when.offline and not visit.passage.offline:
            return
        visit.passage = named(visit.passage, event, plate)
        self._recognitions.read_at_last(known, plate, event.taken_at)
        if visit.opened or when.offline:
            # The passing tells the plate: without one a stay could not be found again.
            await self._memory.keep(visit)
        else:
            await self._judge(visit, event.vehicle_class)

    async def _keep_picture(self, passage: str, picture: bytes) -> None:
        if picture and self._pictures is not None:
            await self._pictures.keep(passage, picture)

    def _believed(self, taken_at: int, offline: bool) -> Believed:
        when = self.device_clock.believed(taken_at, offline)
        if not when.is_good:
            self.counters.bad_times += 1
            _log.warning("time of a device not believed", lane=self.settings.device, told=taken_at, taken=when.at)
        return when

    def _standing(self, plate: str) -> Visit | None:
        return next((v for v in self._visits.values() if plate and v.passage.plate == plate and not v.opened), None)

    def _newest(self, *, opened: bool) -> Visit | None:
        return next((v for v in reversed(self._visits.values()) if v.opened is opened), None)

    def _new_visit(self, event: Recognised, plate: str, when: Believed) -> Visit:
        visit = Visit(arrived(self.settings, event, plate, when, pictured=self._has_picture(event)), event.id)
        self._ends.begins_anew(event.id)
        self._visits[visit.passage.id] = visit
        return visit

    async def _forget_oldest(self) -> None:
        while len(self._visits) > _VISITS_KEPT:
            await self._memory.forget(self._visits.pop(next(iter(self._visits))))

    def _has_picture(self, event: Recognised) -> bool:
        """Whether a picture of this vehicle is, or will be, kept here."""
        return self._pictures_later or bool(event.picture and self._pictures is not None)

    async def _let_through(self, visit: Visit) -> None:
        """Opens first and writes down at the same time: nobody waits at a barrier for a disk."""
        async with visit.turn:
            if visit.outcome is None:
                await self._open_first(visit)

    async def _open_first(self, visit: Visit) -> None:
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
            await self._memory.send(visit, UNCERTAIN if answer is Answer.LOST else visit.passage.decision)
            return
        visit.outcome = OUTCOMES[answer]
        await self._through_without_sensor(visit)

    async def _through_without_sensor(self, visit: Visit) -> None:
        """Where nobody sees a vehicle go through, the word of the barrier has to do."""
        if not self.settings.passage_sensor and visit.passage.id in self._visits:
            self.counters.passed += 1
            await self._finish(visit, Outcome.PASSED, Believed(self._clock(), offline=False, is_good=True))

    async def _order(self, action: str, order_id: str, expires_at: int) -> Answer:
        order = Order(type="open" if action == "open" else "close", id=order_id, expires_at=expires_at)
        answer = await self._give(self.settings, order)
        self.counters.opened += action == "open" and answer is Answer.DONE
        self.counters.refused_orders += answer is Answer.REFUSED
        self.counters.lost_answers += answer is Answer.LOST
        return answer

    async def _watch_cloud(self, visit: Visit, vehicle_class: str) -> None:
        """Decides without the cloud when it takes no note of a waiting vehicle in time."""
        await asyncio.sleep(self._line.cloud_silent_s)
        try:
            await self._go_on_alone(visit, vehicle_class)
        except OutboxError:
            raise
        except Exception:  # noqa: BLE001 - what is wrong with one vehicle must not end all lanes
            _log.exception("going on without the cloud failed", lane=self.settings.device, plate=visit.passage.plate)

    async def _go_on_alone(self, visit: Visit, vehicle_class: str) -> None:
        if await self._memory.taken_note_of(visit) or visit.opened or visit.passage.id not in self._visits:
            return  # a person may have opened while it was looked up
        request = self._asked(visit.passage.plate, vehicle_class)
        decision = self._decide(request, cloud_silent=True)
        visit.passage = msgspec.structs.replace(visit.passage, decision=decision.rule)
        _log.warning("cloud is silent", lane=self.settings.device, plate=request.plate, verdict=decision.verdict.value)
        if decision.verdict is Verdict.OPEN:
            await self._let_through(visit)

    async def _passed(self, event: Passed) -> None:
        if self._ends.is_told(event.id):
            self.counters.duplicates += 1
            return
        visit = self._meant(event.id) if event.id else self._newest(opened=True)
        if visit is None and not self.settings.passage_sensor:
            # The barrier's word ended the passage of whom this is about; who stands there is the next one.
            self.counters.duplicates += 1
            return
        self.counters.passed += 1
        if visit is None and not event.id:
            visit = self._newest(opened=False)
        if visit is None:
            when = self._believed(event.taken_at, event.offline)
            await self._ends.write(Visit(unrecognised(self.settings, event, when), ""))
            return
        await self._finish(visit, Outcome.PASSED, self._believed(event.taken_at, event.offline))

    async def _turned_back(self, event: TurnedBack) -> None:
        # A device that names the vehicle means no other, also when that one is gone already.
        visit = self._meant(event.id) if event.id else self._newest(opened=False)
        if visit is not None:
            await self._finish(visit, Outcome.TURNED_BACK, self._believed(event.taken_at, event.offline))

    def _meant(self, event_id: str) -> Visit | None:
        return next((v for v in self._visits.values() if event_id and v.event_id == event_id), None)

    async def _finish(self, visit: Visit, outcome: Outcome, when: Believed) -> None:
        self._visits.pop(visit.passage.id)
        visit.passage = msgspec.structs.replace(
            visit.passage, outcome=outcome, outcome_at=when.at, offline=visit.passage.offline or when.offline
        )
        await self._ends.end(visit)
