"""The other ends of the wire for `let_out`: cameras at the lanes of a real gateway, nine gateways that are told apart
from real ones by nobody, and what a bare message and a bare commit take meanwhile. Each runs in a process of its own.
"""

import asyncio
import contextlib
import socket
import time
import uuid
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

import aiomqtt
import msgspec
import psycopg

from cloud.kit.db import Asker, Database
from cloud.parking import service as parking
from gateway.contract import codec, topics
from gateway.contract.messages import CommandResult, CommandState, Outcome, Passage
from gateway.contract.topics import Down, Up
from gateway.drivers.barrier.dialect import decode_order, encode, topics_of
from gateway.drivers.barrier.events import Passed, Recognised, Reply
from tests.acceptance.system import PASSWORDS, PROJECT

EVERY_S: Final = 2.0
"""Between two vehicles of a lane."""
_DRIVES_S: Final = 1.0
"""From the open barrier until the vehicle is through."""
_PAYS_EVERY: Final = 5
"""One of so many vehicles that leave by a gateway that is played has something to pay: it is of the class `PAYING`."""
PAYING: Final = "large"
_WARM_UP_S: Final = 6.0
"""Vehicles of the first seconds count for nothing: processes that have run for a day have their plans and caches."""
_LOOKS_EVERY_S: Final = 0.01
_PATIENCE_S: Final = 120.0
_NO_DELAY: Final = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]


_Come = Callable[[str, bool, int, str], Coroutine[Any, Any, None]]
"""A vehicle comes: lane, whether it is an exit, which one of the lane it is, plate."""
Begin = Callable[[], float]
"""Says that one is ready, and waits for the Unix second at which the first vehicles come."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Which vehicles come where. `lanes` as (lane, whether it is an exit, plates in the order in which they come)."""

    port: int
    seconds: float
    gateway: str
    lanes: Sequence[tuple[str, bool, Sequence[str]]]


@dataclass(frozen=True, slots=True)
class Till:
    """Where vehicles pay."""

    dsn: str
    project_id: int


@dataclass(slots=True)
class Played:
    """What gateways saw that are played, in milliseconds."""

    let_out: list[float] = field(default_factory=list)
    """From the message that a vehicle stands at an exit until the order is there, when nothing is due."""
    amounts: list[float] = field(default_factory=list)
    """From that message until the amount is known to whoever asks for it, when something is due."""
    paid: list[float] = field(default_factory=list)
    """From the payment until the order is there."""


def pays(plate: str) -> bool:
    """Whether the vehicle has to pay when it leaves by a gateway that is played: never all lanes at once."""
    return int(plate[-8:]) // 1_000 % _PAYS_EVERY == 0


@dataclass(slots=True)
class _Waits:
    """Milliseconds from a vehicle at an exit until it may go, of those that came after the warm-up.

    `counts_from`: Unix seconds; nobody comes before it is set.
    """

    counts_from: float = 0.0
    taken: list[float] = field(default_factory=list)
    lost: int = 0
    _since: dict[str, float] = field(default_factory=dict)

    def begin(self, name: str) -> None:
        if time.time() >= self.counts_from:
            self._since[name] = time.perf_counter()

    def end(self, name: str) -> None:
        since = self._since.pop(name, None)
        if since is not None:
            self.taken.append((time.perf_counter() - since) * 1000)

    def all(self, patience_s: float) -> list[float]:
        """With those that wait still."""
        self.lost = len(self._since)
        return self.taken + [patience_s * 1000] * self.lost


def camera(plan: Plan, begin: Begin) -> list[float]:
    """Cameras and barriers of a gateway's lanes: from the recognition at an exit until the order to open is there."""
    return asyncio.run(_cameras(plan, begin))


async def _cameras(plan: Plan, begin: Begin) -> list[float]:
    waits = _Waits()
    leaving: dict[str, tuple[str, bool]] = {}
    by_topic = {topics_of("barriers", lane).command: lane for lane, _, _ in plan.lanes}
    async with _client(plan.port, "barriers", PASSWORDS["barriers"], "cameras") as client:
        for topic in by_topic:
            await client.subscribe(topic, qos=1)

        async def answer() -> None:
            async for message in client.messages:
                order, lane = decode_order(message.payload), by_topic[message.topic.value]
                name, is_exit = leaving.pop(lane, ("", False))
                if is_exit:
                    waits.end(name)
                told = topics_of("barriers", lane)
                await client.publish(told.reply, encode(Reply(id=order.id, code=0)), qos=1)
                await client.publish(told.event, encode(Passed(id=name, taken_at=_now_ms())), qos=1)

        async def come(lane: str, is_exit: bool, number: int, plate: str) -> None:
            name = f"{lane}-{number}"
            leaving[lane] = name, is_exit
            if is_exit:
                waits.begin(name)
            vehicle = Recognised(id=name, plate=plate, taken_at=_now_ms())
            await client.publish(topics_of("barriers", lane).event, encode(vehicle), qos=1)

        answering = asyncio.create_task(answer())
        at = await asyncio.to_thread(begin)
        waits.counts_from = at + _WARM_UP_S
        await asyncio.gather(*(_lane(plan, place, at, come) for place in range(len(plan.lanes))))
        await asyncio.sleep(EVERY_S)
        answering.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await answering
    return waits.all(EVERY_S)


async def _lane(plan: Plan, place: int, began_at: float, come: _Come) -> None:
    """Vehicles of one lane, each two seconds; when it begins has nothing to do with any other lane."""
    lane, is_exit, plates = plan.lanes[place]
    phase = Random(f"{plan.gateway} {lane}").random()
    tasks = set()
    for number, plate in enumerate(plates):
        at = began_at + EVERY_S * (number + phase)
        await asyncio.sleep(max(0.0, at - time.time()))
        task = asyncio.create_task(come(lane, is_exit, number, plate))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    if tasks:
        await asyncio.wait(tasks)


def gateways(plans: Sequence[Plan], till: Till, begin: Begin) -> Played:
    """Gateways as the cloud sees them, with drivers some of whom pay at once when they are told the amount."""

    async def together() -> Played:
        ready = [asyncio.Event() for _ in plans]
        began: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        played = Played()
        async with Database(till.dsn, "gatemeter_web", max_size=8) as db:
            cashier = _Cashier(db, till.project_id, played)
            looking = asyncio.create_task(cashier.look())
            running = [
                asyncio.create_task(_gateway(plan, one, began, cashier)) for plan, one in zip(plans, ready, strict=True)
            ]
            for one in ready:
                await one.wait()
            began.set_result(await asyncio.to_thread(begin))
            await asyncio.gather(*running)
            looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await looking
        return played

    return asyncio.run(together())


@dataclass(frozen=True, slots=True)
class _Cashier:
    """Tells what is due for a vehicle at an exit as soon as the cloud knows it, and takes it."""

    db: Database
    project_id: int
    played: Played
    """What each gateway saw, when it is over."""
    _waited_for: dict[str, asyncio.Future[int]] = field(default_factory=dict)

    async def settle(self, passage: Passage, known: _Waits, paid: _Waits) -> None:
        known.begin(passage.id)
        stored = self._waited_for[passage.id] = asyncio.get_running_loop().create_future()
        async with asyncio.timeout(_PATIENCE_S):
            session_id = await stored
        async with self.db.transaction(self._asker) as conn:
            due = (await parking.quote(conn, session_id)).due
        known.end(passage.id)
        paid.begin(passage.id)
        async with self.db.transaction(self._asker) as conn:
            await parking.pay(conn, session_id, due, "cash", "user:bench")

    @property
    def _asker(self) -> Asker:
        return Asker("staff", (self.project_id,))

    async def look(self) -> None:
        """Sees which stays the vehicles have that wait, for all of them at once: as a desk does, whoever sits there."""
        query = "SELECT id::text, session_id FROM passage WHERE id = ANY (%s::uuid[]) AND session_id IS NOT NULL"
        while True:
            await asyncio.sleep(_LOOKS_EVERY_S)
            if self._waited_for:
                async with self.db.transaction(self._asker) as conn:
                    found = await (await conn.execute(query, (list(self._waited_for),))).fetchall()
                for row in found:
                    self._waited_for.pop(row["id"]).set_result(row["session_id"])


async def _gateway(plan: Plan, ready: asyncio.Event, began: "asyncio.Future[float]", cashier: _Cashier) -> None:
    waits, known, paid = _Waits(), _Waits(), _Waits()
    epoch, seqs = str(uuid.uuid4()), iter(range(1, 1_000_000))
    standing: dict[str, Passage] = {}
    driving: set[asyncio.Task[None]] = set()
    async with _client(plan.port, f"{PROJECT}.{plan.gateway}", PASSWORDS["gateway"], plan.gateway) as client:
        await client.subscribe(topics.down(PROJECT, plan.gateway, Down.COMMAND), qos=1)

        async def tell(kind: Up, items: Sequence[Passage] | Sequence[CommandResult]) -> None:
            payload = codec.encode_envelope(epoch, next(seqs), _now_ms(), codec.encode_body(items))
            await client.publish(topics.up(PROJECT, plan.gateway, kind), payload, qos=1)

        async def drive(passage: Passage) -> None:
            await asyncio.sleep(_DRIVES_S)
            gone = {"outcome": Outcome.PASSED, "outcome_at": _now_ms(), "decision": "command"}
            await tell(Up.PASSAGES, [_changed(passage, **gone)])

        async def obey() -> None:
            async for message in client.messages:
                command = codec.decode_command(message.payload)
                passage = standing.pop(command.arguments["passage"], None)
                if passage is None:
                    continue
                waits.end(passage.id)
                paid.end(passage.id)
                begun = [
                    CommandResult(command.id, state, _now_ms())
                    for state in (CommandState.DELIVERED, CommandState.EXECUTING)
                ]
                await tell(Up.RESULTS, begun)
                await tell(Up.RESULTS, [CommandResult(command.id, CommandState.DONE, _now_ms())])
                task = asyncio.create_task(drive(passage))
                driving.add(task)
                task.add_done_callback(driving.discard)

        async def come(lane: str, is_exit: bool, number: int, plate: str) -> None:
            something_due = is_exit and pays(plate)
            passage = Passage(
                str(uuid.uuid4()), lane, plate, _now_ms(), Outcome.ARRIVED, "exit" if is_exit else "entry",
                PAYING if something_due else "small", decision="await-cloud" if is_exit else "temporary",
            )  # fmt: skip
            if something_due:
                standing[passage.id] = passage
                await tell(Up.PASSAGES, [passage])
                await cashier.settle(passage, known, paid)
            elif is_exit:
                standing[passage.id] = passage
                waits.begin(passage.id)
                await tell(Up.PASSAGES, [passage])
            else:
                await drive(passage)

        obeying = asyncio.create_task(obey())
        ready.set()
        at = await began
        waits.counts_from = paid.counts_from = known.counts_from = at + _WARM_UP_S
        await asyncio.gather(*(_lane(plan, place, at, come) for place in range(len(plan.lanes))))
        await asyncio.sleep(EVERY_S)
        obeying.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await obeying
    cashier.played.let_out += waits.all(EVERY_S)
    cashier.played.amounts += known.all(EVERY_S)
    cashier.played.paid += paid.all(EVERY_S)


def probe(plan: Plan, dsn: str, begin: Begin) -> list[float]:
    """Milliseconds of a message over the broker to oneself and one commit of one row, ten times a second."""

    async def measured() -> list[float]:
        taken = []
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute("CREATE TABLE IF NOT EXISTS bench_commit (at timestamptz NOT NULL)")
            async with _client(plan.port, "barriers", PASSWORDS["barriers"], "probe") as client:
                await client.subscribe("barriers/probe", qos=1)
                messages = aiter(client.messages)
                began_at = await asyncio.to_thread(begin)
                while time.time() < began_at + plan.seconds:
                    await asyncio.sleep(0.1)
                    started = time.perf_counter()
                    await client.publish("barriers/probe", b"{}", qos=1)
                    await anext(messages)
                    conn.execute("INSERT INTO bench_commit VALUES (now())")
                    taken.append((time.perf_counter() - started) * 1000)
        return taken

    return asyncio.run(measured())


def _changed(passage: Passage, **fields: object) -> Passage:
    return msgspec.structs.replace(passage, **fields)


def _client(port: int, username: str, password: str, identifier: str) -> aiomqtt.Client:
    client = aiomqtt.Client(
        "127.0.0.1", port, username=username, password=password, identifier=f"bench-{identifier}",
        socket_options=_NO_DELAY, max_inflight_messages=1_000,
    )  # fmt: skip
    client.pending_calls_threshold = 10_000
    return client


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
