"""The loop of a worker that sends deliveries: at least once, each by one worker at a time, in no promised order."""

import asyncio
import secrets
import time
from collections import Counter as Tally
from dataclasses import dataclass
from typing import Final

import httpcore
import orjson
import psycopg
import structlog
from prometheus_client import Counter
from psycopg_pool import PoolTimeout

from cloud.kit.db import SYSTEM, Database
from cloud.kit.security import Sealer, SealError
from cloud.webhooks import delivery_repository as repository
from cloud.webhooks import signing
from cloud.webhooks.addresses import GuardedBackend
from cloud.webhooks.records import Due
from cloud.webhooks.service import SEALED_IN
from gateway.contract import __version__

_log = structlog.get_logger(__name__)
_SENT = Counter("gatemeter_webhook_attempts", "Attempts to deliver an event to a webhook, by outcome.", ["outcome"])

_ASKER: Final = SYSTEM.named("webhooks")
_GONE: Final = 410
_MOST_ERROR_CHARS: Final = 300
_MOST_ANSWER_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True)
class DeliveryRules:
    """Limits of the sending; times in seconds."""

    private: bool = False
    """Whether http and addresses of one's own network will do."""
    timeout_s: float = 15.0
    poll_s: float = 1.0
    at_once: int = 32
    of_webhook: int = 4
    give_up_days: int = 5
    """A webhook that nothing came through to for so long is stopped."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a receiver answered, or why he did not."""

    code: int | None
    error: str

    @property
    def ok(self) -> bool:
        """Whether he has it. A redirection is no acceptance and is not followed."""
        return self.code is not None and 200 <= self.code < 300


class Deliverer:
    """Sends what is due. Any number of them may run."""

    def __init__(self, db: Database, sealer: Sealer, rules: DeliveryRules) -> None:
        self._db = db
        self._sealer = sealer
        self._rules = rules
        self._running: dict[asyncio.Task[None], int] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Sends until `stop` is set; attempts under way are finished first, which their timeout bounds."""
        async with httpcore.AsyncConnectionPool(
            network_backend=GuardedBackend(private=self._rules.private),
            max_connections=self._rules.at_once,
            max_keepalive_connections=self._rules.at_once,
            keepalive_expiry=15,
        ) as pool:
            while not stop.is_set():
                try:
                    await self._start_due(pool)
                except (psycopg.OperationalError, PoolTimeout) as error:
                    _log.warning("webhooks.database_lost", error=str(error).strip())
                await self._wait(stop)
            if self._running:
                await asyncio.wait(self._running)

    async def _start_due(self, pool: httpcore.AsyncConnectionPool) -> None:
        free = self._rules.at_once - len(self._running)
        if free <= 0:
            return
        under_way = Tally(self._running.values())
        busy = [webhook_id for webhook_id, count in under_way.items() if count >= self._rules.of_webhook]
        lease_s = int(self._rules.timeout_s) + 30
        async with self._db.transaction(_ASKER) as conn:
            found = await repository.claim(conn, free, self._rules.of_webhook, busy, lease_s)
        for due in found:
            task = asyncio.create_task(self._deliver(pool, due), name=f"webhook-delivery-{due.id}")
            self._running[task] = due.webhook_id
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            # Its lease ends, and somebody tries again.
            _log.error("webhooks.outcome_not_written", error=str(error))

    async def _wait(self, stop: asyncio.Event) -> None:
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait(
                [stopping, *self._running], timeout=self._rules.poll_s, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            stopping.cancel()

    async def _deliver(self, pool: httpcore.AsyncConnectionPool, due: Due) -> None:
        try:
            known = [self._sealer.open(one, SEALED_IN) for one in (due.secret, due.old_secret) if one is not None]
        except SealError as error:
            outcome = Outcome(None, str(error))
        else:
            outcome = await self._send(pool, due, known)
        async with self._db.transaction(_ASKER) as conn:
            if outcome.ok:
                assert outcome.code is not None
                await repository.delivered(conn, due, outcome.code)
                _SENT.labels("delivered").inc()
                return
            _SENT.labels("failed").inc()
            delay_s = signing.delay_s(due.attempts, secrets.randbelow(1000))
            await repository.failed(conn, due, outcome.code, outcome.error, delay_s)
            if outcome.code == _GONE:
                stopped = await repository.stop(conn, due.webhook_id, "gone")
            else:
                stopped = await repository.stop(conn, due.webhook_id, "failing", self._rules.give_up_days)
        if stopped:
            _log.warning("webhooks.stopped", webhook=due.webhook_id, project=due.project_id, code=outcome.code)

    async def _send(self, pool: httpcore.AsyncConnectionPool, due: Due, known: list[str]) -> Outcome:
        body = body_of(due)
        message_id = f"evt_{due.event_id.hex}"
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"gatemeter/{__version__}",
            **signing.headers(message_id, int(time.time()), body, known),
        }
        timeout_s = self._rules.timeout_s
        patience = dict.fromkeys(("connect", "read", "write", "pool"), timeout_s)
        try:
            async with (
                asyncio.timeout(timeout_s),
                pool.stream(
                    "POST", due.url, headers=list(headers.items()), content=body, extensions={"timeout": patience}
                ) as answer,
            ):
                read = 0
                async for part in answer.aiter_stream():
                    read += len(part)
                    if read > _MOST_ANSWER_BYTES:
                        break
                return Outcome(answer.status, "" if 200 <= answer.status < 300 else f"HTTP {answer.status}")
        except (httpcore.TimeoutException, TimeoutError):
            return Outcome(None, f"no answer within {timeout_s:g} s")
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.UnsupportedProtocol, OSError) as error:
            return Outcome(None, f"{type(error).__name__}: {error}"[:_MOST_ERROR_CHARS])


def body_of(due: Due) -> bytes:
    """What is sent: the same bytes at every attempt."""
    content = {
        "type": due.kind,
        "timestamp": due.happened_at,
        "project_id": due.project_id,
        "data": due.payload,
    }
    return orjson.dumps(content, option=orjson.OPT_UTC_Z | orjson.OPT_SORT_KEYS)
