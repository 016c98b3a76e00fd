"""The ingest worker: a session with the broker, a queue, a writer; acknowledgements only after COMMIT.

Any number of workers may run. What one has not acknowledged when it dies is sent again by the gateways; what it has
committed and not acknowledged is recognised when it comes again.
"""

import asyncio
import contextlib
import functools
import random
import secrets
import socket
import time

import aiomqtt
import psycopg
import structlog

from cloud.devices.downlink import Downlink
from cloud.ingest import metrics
from cloud.ingest.line import Line
from cloud.ingest.messages import Incoming, Refused, Sender, now_ms, read
from cloud.ingest.settings import Broker, IngestSettings
from cloud.ingest.writer import Answers, Asked, Writer
from cloud.kit.db import SYSTEM, Database
from cloud.kit.security import Keys
from cloud.kit.tasks import end
from cloud.metering import service as metering
from cloud.parking.counts.publishing import PAUSE_S, CountPublisher
from gateway.contract import WIRE_VERSION, codec, limits, topics
from gateway.contract.messages import Ack, Rejection
from gateway.contract.topics import Down

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.2, 15.0
_DRAIN_S = 5.0
_LACKING_TRIES = 3
"""A group for which the database lacks something is tried so often, and left to its gateways to be sent again."""
_LAG_IS_RECENT_S = 60.0
"""A worker to whom nothing has come for so long lags behind nothing."""
_WAKE_EVERY_S = 5.0
"""Deriving usage is asked for at most so often."""

_log = structlog.get_logger(__name__)


class Worker:
    """One ingest worker. `run` ends cleanly when `stop` is set: what is queued is stored and acknowledged first."""

    def __init__(self, db: Database, broker: Broker, settings: IngestSettings, keys: Keys | None) -> None:
        self._db = db
        self._broker = broker
        self._settings = settings
        # Its own connection: each of a pool's would have to plan all statements, and take turns with warm ones.
        self._writing = db.alone()
        self._writer = Writer(self._writing)
        self._line = Line(settings.waiting_messages, settings.group_messages, settings.linger_ms / 1000)
        self._client: aiomqtt.Client | None = None
        self._woken_at = 0.0
        self._answering: asyncio.Task[None] | None = None
        self._lag_s = self._committed_at = 0.0
        self._stopping = False
        self._downlink = None if keys is None else Downlink(db, keys, self._publish)
        self._counts = CountPublisher(db, functools.partial(self._publish, retain=True))

    async def run(self, stop: asyncio.Event) -> None:
        """Works until `stop` is set."""
        metrics.WAITING.set_function(lambda: self._line.unanswered)
        metrics.OLDEST_WAITING_SECONDS.set_function(lambda: self._line.longest_wait_s)
        metrics.LAG_SECONDS.set_function(self._recent_lag_s)
        async with self._writing, asyncio.TaskGroup() as tasks:
            receiving = tasks.create_task(self._receive_for_ever())
            writing = tasks.create_task(self._write_for_ever())
            counting = tasks.create_task(self._count_for_ever())
            commanding = None if self._downlink is None else tasks.create_task(self._downlink.run())
            await stop.wait()
            self._stopping = True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_DRAIN_S):
                    await self._line.all_answered()
            working = (receiving, writing, counting, commanding, self._answering)
            await end(*(task for task in working if task is not None))

    def _recent_lag_s(self) -> float:
        return self._lag_s if time.monotonic() - self._committed_at < _LAG_IS_RECENT_S else 0.0

    # Receiving

    async def _receive_for_ever(self) -> None:
        failures = 0
        while True:
            started = time.monotonic()
            try:
                await self._session()
            except aiomqtt.MqttError as error:
                _log.warning("ingest.broker_lost", error=str(error))
            finally:
                self._client = None
            failures = 0 if time.monotonic() - started > _LONGEST_WAIT_S else failures + 1
            await asyncio.sleep(_back_off(failures))

    async def _session(self) -> None:
        """A fresh client each time: the library must not resend what belongs to an old connection."""
        async with aiomqtt.Client(
            self._broker.host,
            self._broker.port,
            username=self._broker.username,
            password=self._broker.password,
            tls_context=self._broker.tls_context(),
            identifier=f"ingest-{secrets.token_hex(6)}",
            protocol=aiomqtt.ProtocolVersion.V311,
            clean_session=True,
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        ) as client:
            client.pending_calls_threshold = 1_000
            await client.subscribe(self._settings.subscription, qos=1)
            self._client = client
            metrics.SESSIONS.inc()
            _log.info("ingest.listening", subscription=self._settings.subscription)
            if self._settings.ready_file is not None:
                self._settings.ready_file.write_text("listening\n")
            if self._downlink is not None:
                self._downlink.wake()
            async for message in client.messages:
                self._take(message)

    def _take(self, message: aiomqtt.Message) -> None:
        if self._stopping or self._line.full:
            metrics.DROPPED.inc()
            return
        self._line.put(read(message.topic.value, message.payload, now_ms()))

    # Writing

    async def _write_for_ever(self) -> None:
        while True:
            group = await self._line.next_group()
            started = time.monotonic()
            answers = await self._store(group)
            metrics.GROUP_SECONDS.observe(time.monotonic() - started)
            created = [message.created_ms for message in group if isinstance(message, Incoming)]
            self._lag_s, self._committed_at = max((now_ms() - ms for ms in created), default=0) / 1000, time.monotonic()
            if self._answering is not None:
                await self._answering
            self._answering = asyncio.create_task(self._answer(answers))

    async def _answer(self, answers: Answers) -> None:
        """While the next group is stored: the one after it waits when this one is not answered by then."""
        await asyncio.gather(self._acknowledge(answers), self._tell_time(answers))
        self._line.answered()
        await self._ask_for_usage()

    async def _store(self, group: list[Incoming | Refused]) -> Answers:
        """Tries until the database takes it; the queue fills meanwhile, and the gateways keep what is not queued.

        A group that the database will not take as it is (no table, no right) gets no answer, so that others go on.
        """
        failures = 0
        while True:
            try:
                return await self._writer.store(group)
            except psycopg.Error as error:
                metrics.GROUPS.labels("retried").inc()
                failures += 1
                _log.warning("ingest.database_refuses", error=str(error).strip(), attempt=failures)
                if failures >= _LACKING_TRIES and not isinstance(error, psycopg.OperationalError):
                    return Answers()
            await asyncio.sleep(_back_off(failures))

    async def _acknowledge(self, answers: Answers) -> None:
        """All gateways at once."""
        sending = []
        for sender in answers.accepted.keys() | answers.rejected.keys():
            accepted, rejected = answers.accepted.get(sender, []), answers.rejected.get(sender, [])
            for start in range(0, max(len(accepted), len(rejected)), limits.MAX_ITEMS_PER_BATCH):
                part = slice(start, start + limits.MAX_ITEMS_PER_BATCH)
                sending.append(self._send_ack(sender, accepted[part], rejected[part]))
        await asyncio.gather(*sending)

    async def _send_ack(self, sender: Sender, accepted: list[int], rejected: list[Rejection]) -> None:
        ack = Ack(WIRE_VERSION, sender.epoch, tuple(accepted), tuple(rejected))
        topic = topics.down(sender.project, sender.gateway, Down.ACK)
        await self._publish(topic, codec.encode_ack(ack))

    async def _tell_time(self, answers: Answers) -> None:
        """A gateway whose clock is wrong would take no order; without keys nobody would believe us."""
        if self._downlink is not None:
            await asyncio.gather(*(self._send_time(self._downlink, asked) for asked in answers.asked))

    async def _send_time(self, downlink: Downlink, asked: Asked) -> None:
        payload = downlink.signed_time(asked.project, asked.gateway, asked.challenge, asked.at)
        await self._publish(topics.down(asked.project, asked.gateway, Down.TIME), payload)

    async def _publish(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        """Hands a message to the broker, if there is one now. What is lost here is asked for again by the gateway."""
        client = self._client
        if client is None:
            return False
        try:
            await client.publish(topic, payload, qos=1, retain=retain, timeout=10)
        except aiomqtt.MqttError as error:
            _log.warning("ingest.not_published", topic=topic, error=str(error))
            return False
        return True

    async def _count_for_ever(self) -> None:
        """Tells displays how full lots are. A lost database is waited for."""
        while True:
            try:
                if self._client is not None:
                    await self._counts.publish_due()
            except psycopg.OperationalError as error:
                _log.warning("ingest.counts_not_told", error=str(error).strip())
            except Exception:  # noqa: BLE001 - displays are worth less than what gateways tell, which is taken in beside
                _log.exception("ingest.counts_failed")
            await asyncio.sleep(PAUSE_S)

    async def _ask_for_usage(self) -> None:
        if time.monotonic() - self._woken_at < _WAKE_EVERY_S:
            return
        self._woken_at = time.monotonic()
        try:
            async with self._db.transaction(SYSTEM.named("ingest")) as conn:
                await metering.ask_for_usage(conn)
        except psycopg.OperationalError as error:
            # The schedule asks every minute anyway.
            _log.warning("ingest.usage_not_asked_for", error=str(error).strip())


def _back_off(failures: int) -> float:
    """Seconds to wait: doubling, up to half of it taken off at random so that workers do not come at once."""
    full = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2.0 ** min(failures, 16))
    return full * random.SystemRandom().uniform(0.5, 1.0)
