"""The one owner of a physical bus or connection: one question at a time, and no answer taken for another's."""

import asyncio
import ssl
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final, TypeVar

from gateway.drivers.bus.memory import AnswerMemory
from gateway.drivers.bus.question import Question
from gateway.drivers.bus.receiver import Receiver
from gateway.drivers.bus.transport import Medium, Pipe
from gateway.drivers.turns import Turns
from gateway.errors import DeviceError, DoubtfulReply, ExceptionReply, LineDown, MalformedReply, NoAnswer

T = TypeVar("T", bound=Hashable)

_MOST_BYTES: Final = 2_048
"""No answer of any protocol is longer; what goes on without end is noise."""
_MOST_NOISE_S: Final = 5.0
"""A bus on which it is not silent for this long is broken."""
_HANG_UP_REST_S: Final = 1.0
"""Who hung up before he said anything is not called again at once."""
_TICK_S: Final = 1e-5
"""No clock wakes anybody so exactly; a wait of less would become one of a millisecond."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How time passes on a medium. The defaults are those of a network connection with a device of its own."""

    timeout_s: float
    """How long a device may take to begin its answer."""
    character_s: float = 0.0
    """Time of one byte on the wire."""
    silence_s: float = 0.0
    """Rest between any two frames."""
    late_answer_s: float = 0.0
    """Nothing arrives later than this after its question."""


class Bus:
    """Asks questions of any protocol over a medium; implements `Asks` and `Line`.

    A question that was sent is never taken back. Who waits for it may be cancelled, and the next question then still
    waits until it is answered or its time has passed. `reopens` says that the connection is closed after an answer
    that failed, so that nothing late arrives on the next one; a serial port has nothing to gain by it. `echoes` says
    that an adapter may send back what is sent, which a bus of two wires does and a network never.
    """

    def __init__(self, medium: Medium, timing: Timing, *, reopens: bool, may_echo: bool) -> None:
        self.turns = Turns(self)
        self.busy_s = 0.0
        """Time spent in transactions since the start: the line's utilisation."""
        self.stray_bytes = 0
        """Bytes that came when no question was open; all were thrown away."""
        self._medium, self._timing = medium, timing
        self._reopens, self._may_echo = reopens, may_echo
        self._memory = AnswerMemory()
        self._time: Callable[[], float] = monotonic
        """The event loop's clock, once there is one."""
        self._pipe: Pipe | None = None
        self._receiver: _Receiver | None = None
        self._echoes = self._said_something = False
        self._last_byte = self._not_before = self._clear_at = self._welcome_at = 0.0
        self._open: Question[Any] | None = None
        self._waiter: asyncio.Future[Any] | None = None
        self._next: asyncio.Future[None] | None = None
        self._received = b""
        self._started = self._sent = self._until = self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    def __str__(self) -> str:
        return str(self._medium)

    @property
    def _hang_up(self) -> str:
        return f"{self} hangs up on a new connection: {self._medium.hang_up}"

    @property
    def connected(self) -> bool:
        """Whether a question can be sent now."""
        return self._pipe is not None

    async def connect(self) -> None:
        """Opens the medium afresh. Raises LineDown."""
        self.close()
        self._time = asyncio.get_running_loop().time
        if self._time() < self._welcome_at:
            raise LineDown(self._hang_up)
        receiver = self._receiver = _Receiver(self)
        self._said_something = False
        pipe = await self._medium.open(receiver)
        if self._receiver is not receiver:  # lost as soon as it stood, or closed by us meanwhile
            pipe.abort()
            raise LineDown(self._hang_up)
        self._pipe = pipe
        self._last_byte = self._time()

    def close(self) -> None:
        """Closes the medium; anything unread is thrown away, and an open question gets NoAnswer."""
        self._fail(NoAnswer(f"{self} was closed while waiting for the answer"), closing=True)
        self._shut()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def ask(self, question: Question[T]) -> T:
        """Sends the request when the bus is silent and gives the answer.

        Raises ExceptionReply, NoAnswer, MalformedReply, DoubtfulReply; LineDown when there is no connection to be had.
        After NoAnswer and MalformedReply the connection may be closed; the next question opens it again.
        """
        look = question.look
        while True:
            if look is not None and (rest_s := self._memory.free_at(look, question.request) - self._time()) > 0:
                await asyncio.sleep(rest_s)  # without a turn: others may ask meanwhile
            async with self.turns:
                if self._open is None:
                    if look is not None or question.rest_s:
                        await self._silent(question)
                    if look is None or self._memory.free_at(look, question.request) <= self._clear_at:
                        answer: T = await self._send(question)
                        return answer
            if self._open is not None:
                await self._closed()

    def _send(self, question: Question[T]) -> "asyncio.Future[T]":
        pipe = self._pipe
        if pipe is None:
            raise LineDown(f"{self} broke the connection")
        loop = asyncio.get_running_loop()
        timing = self._timing
        self._open = question
        self._waiter = waiter = loop.create_future()
        if question.changes:
            self._memory.changed()
        pipe.write(question.request)
        now = self._time()
        self._started = now
        self._sent = sent = now + len(question.request) * timing.character_s
        begins = timing.timeout_s if question.timeout_s is None else question.timeout_s
        self._deadline = deadline = sent + begins + question.answer_bytes * timing.character_s
        self._until = max(sent + timing.late_answer_s, deadline)
        if self._timer is None or self._timer_at > deadline:
            self._arm(loop, deadline - now)
        return waiter

    async def _silent(self, question: Question[T]) -> None:
        """Waits until the bus is silent and all that had arrived by then is read. Raises LineDown."""
        patience = slept_until = 0.0
        while True:
            if self._pipe is None:
                raise LineDown(f"{self} broke the connection")
            now, seen = self._time(), self._last_byte
            silent_at = max(self._not_before, seen + max(self._timing.silence_s, question.rest_s))
            patience = patience or max(now, silent_at) + _MOST_NOISE_S
            if now > patience:
                self.close()
                raise LineDown(f"{self} is never silent")
            if now + _TICK_S < silent_at:
                await asyncio.sleep(silent_at - now)
                slept_until = silent_at
            elif slept_until == silent_at:
                # The loop reads what there is before it wakes sleepers.
                self._clear_at = silent_at
                return
            elif await self._cleared(seen):
                self._clear_at = now
                return

    async def _cleared(self, seen: float) -> bool:
        """Reads what may lie unread because the loop was busy; whether there was nothing."""
        await asyncio.sleep(0)  # the loop polls
        await asyncio.sleep(0)  # and hands over what it found
        return self._last_byte == seen

    async def _closed(self) -> None:
        """Until the open question, whose asker was cancelled, is closed."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._next)

    def _arm(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        """One timer serves many questions: it looks again when the deadline has moved on."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = self._time() + seconds
        self._timer = loop.call_later(seconds, self._look_at_clock)

    def _look_at_clock(self) -> None:
        self._timer = None
        question = self._open
        if question is None:
            return
        now = self._time()
        if now < self._deadline:
            self._arm(asyncio.get_running_loop(), self._deadline - now)
            return
        count = len(self._received)
        if count and self._received != question.request:
            self._fail(MalformedReply(f"the answer stopped after {count} bytes"))
        else:
            self._fail(NoAnswer(f"no answer within {self._deadline - self._sent:.3g} s"))

    def received(self, data: bytes) -> None:
        """Bytes that arrived."""
        self._said_something = True
        question = self._open
        if question is None:
            self.stray_bytes += len(data)
            self._last_byte = self._time()
            return
        if self._received:
            data = self._received + data
        self._received = data
        try:
            answer = self._judged(question, data) if self._may_echo else question.judge(data)
        except ExceptionReply as refusal:
            if question.look is not None:
                self._memory.unanswered(question.look, question.request, self._clear_at, self._until)
            self._settle(None, refusal)
        except MalformedReply as complaint:
            self._fail(complaint)
        else:
            if answer is not None:
                self._answered(question, answer)
            elif len(data) > _MOST_BYTES:
                self._fail(MalformedReply(f"{len(data)} bytes that are no answer"))

    def lost(self, error: Exception | None) -> None:
        """The connection is gone."""
        if isinstance(error, ssl.SSLError):
            failure: DeviceError | LineDown = LineDown(f"{self} ends the TLS connection: {error.reason or error}")
        elif self._said_something:
            failure = NoAnswer(f"{self} broke the connection while waiting for the answer")
        else:
            failure = LineDown(self._hang_up)
            self._welcome_at = self._time() + _HANG_UP_REST_S
        self._pipe = self._receiver = None
        if self._open is not None and self._open.changes:
            failure = NoAnswer(str(failure))  # it was sent, and may have been carried out
        self._fail(failure)

    def _judged(self, question: Question[T], data: bytes) -> T | None:
        """The judgement on `data` without the echo of the request, if that comes first."""
        request = question.request
        size = len(request)
        if data[:size] != request[: len(data)]:
            answer = question.judge(data)
            if answer is not None:
                self._echoes = False
            return answer
        if len(data) < size:
            return None
        # The request itself, as an echo; or as an answer, which some writes have.
        if not self._echoes:
            try:
                answer = question.judge(data)
            except MalformedReply:
                answer = None
            if answer is not None:
                return answer
        if len(data) == size:
            return None
        answer = question.judge(data[size:])
        if answer is not None:
            self._echoes = True
        return answer

    def _answered(self, question: Question[T], answer: T) -> None:
        look = question.look
        if look is None or self._memory.answered(look, question.request, answer, self._clear_at, self._until):
            self._settle(answer, None)
        else:
            self._settle(None, DoubtfulReply("the answer equals that to another request and may be a copy of it"))

    def _fail(self, error: DeviceError | LineDown, closing: bool = False) -> None:
        """Ends the open question, if there is one, and sees to it that nothing of it reaches the next."""
        question = self._open
        if question is None:
            return
        if question.look is not None:
            self._memory.unanswered(question.look, question.request, self._clear_at, self._until)
            if len(self._received) < question.answer_bytes:
                self._not_before = self._deadline  # the asked device may yet begin, and would be talked over
        self._settle(None, error)
        if self._reopens and not closing:
            self._shut()

    def _settle(self, answer: object, error: Exception | None) -> None:
        waiter, now = self._waiter, self._time()
        self._open = self._waiter = None
        if self._received:
            self._last_byte = now
            self._received = b""
        self.busy_s += now - self._started
        if waiter is not None and not waiter.done():
            if error is None:
                waiter.set_result(answer)
            else:
                waiter.set_exception(error)
        if self._next is not None:
            self._next.set_result(None)
            self._next = None

    def _shut(self) -> None:
        pipe, self._pipe, self._receiver = self._pipe, None, None
        if pipe is not None:
            pipe.abort()


class _Receiver(Receiver):
    """What one opening of the medium delivers; nothing more once the bus has another."""

    def __init__(self, bus: Bus) -> None:
        super().__init__()
        self._bus = bus

    def received(self, data: bytes) -> None:
        if self._bus._receiver is self:
            self._bus.received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._bus._receiver is self:
            self._bus.lost(exc)
