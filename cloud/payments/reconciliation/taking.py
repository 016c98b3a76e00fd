"""The worker's side: fetches the statements of days that are over, and compares them with what was booked."""

import asyncio
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import psycopg
import structlog
from prometheus_client import Gauge
from psycopg_pool import PoolTimeout

from cloud.kit.db import SYSTEM, Database
from cloud.kit.errors import GatemeterError
from cloud.payments.channels.base import Move, ProviderUnavailable
from cloud.payments.channels.configuration import Channels
from cloud.payments.reconciliation import repository
from cloud.payments.reconciliation.records import Statement

_log = structlog.get_logger(__name__)
_OPEN = Gauge("gatemeter_payment_differences", "Where providers and our books disagree, not looked at.", ["channel"])

_ASKER: Final = SYSTEM.named("provider-statements")
_SHANGHAI: Final = ZoneInfo("Asia/Shanghai")
_READY: Final = timedelta(hours=10)
"""Into the day after: providers have made the statement by then."""
_SURELY: Final = timedelta(hours=36)
"""Into the day after: where there is no statement by then, nothing moved, unless we know better."""
_AT_LAST: Final = timedelta(days=30)
"""Into the day after: a provider that told us of money on that day has no statement of it, and will have none."""
_OLDEST: Final = timedelta(days=60)
"""Providers hand out statements of three months."""
_POLL_S: Final = 5
_LEASE: Final = timedelta(minutes=5)
_LONGEST_S: Final = 240
"""Whatever comes drop by drop is given up before somebody else takes it, too."""
_FIRST_PAUSE: Final = timedelta(minutes=10)
_LONGEST_PAUSE: Final = timedelta(hours=2)
_OURS: Final = re.compile(r"gm[0-9a-f]{28}")
"""Numbers of our orders; a merchant may take money for other things, too."""


class Reconciler:
    """Takes statements, one at each step. Any number of them may run, beside what takes payments."""

    def __init__(
        self, db: Database, channels: Channels, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._db = db
        self._channels = channels
        self._now = clock
        self._wanted_until = date.min

    async def run(self, stop: asyncio.Event) -> None:
        """Works until `stop` is set, and then drops what it has not finished; without channels nothing is to do."""
        if not self._channels:
            return
        async with asyncio.TaskGroup() as group:
            working = group.create_task(self._work())
            await stop.wait()
            working.cancel()

    async def _work(self) -> None:
        while True:
            try:
                await self.step()
            except (psycopg.OperationalError, PoolTimeout) as error:
                _log.warning("payments.statements_without_database", error=str(error).strip())
            await asyncio.sleep(_POLL_S)

    async def step(self) -> bool:
        """Fetches the oldest statement that is wanted; whether there was one."""
        now, names = self._now(), sorted(self._channels)
        last = (now - _READY).astimezone(_SHANGHAI).date() - timedelta(days=1)
        async with self._db.transaction(_ASKER) as conn:
            if last > self._wanted_until:
                await repository.want(conn, names, last - _OLDEST, last, now)
            wanted = await repository.claim(conn, names, now, _LEASE)
        self._wanted_until = last
        if wanted is None:
            return False
        try:
            await self._take(wanted, now)
        except psycopg.OperationalError:
            raise
        except (GatemeterError, psycopg.Error) as error:
            # It is asked for again; other days do not wait for it.
            _log.warning(
                "payments.no_statement", channel=wanted.channel, day=wanted.day.isoformat(), error=str(error).strip()
            )
            code = error.code if isinstance(error, GatemeterError) else "statement-not-kept"
            await self._later(wanted, now, _storable(f"{code}: {str(error).strip()}"))
        return True

    async def _take(self, wanted: Statement, now: datetime) -> None:
        moves = await self._fetched(wanted)
        over = datetime(wanted.day.year, wanted.day.month, wanted.day.day, tzinfo=_SHANGHAI) + timedelta(days=1)
        if moves is None and now < over + _SURELY:
            await self._later(wanted, now, None)
            return
        if moves is None and now < over + _AT_LAST and await self._money_came(wanted):
            raise ProviderUnavailable("statement-missing", "the provider told us of money on that day")
        ours = [one for one in moves or () if _OURS.fullmatch(one.reference)]
        async with self._db.transaction(_ASKER) as conn:
            told = await repository.keep(conn, wanted, ours, len(moves or ()) - len(ours), now)
            open_now = await repository.open_differences(conn)
        for channel in self._channels:
            _OPEN.labels(channel).set(open_now.get(channel, 0))
        if told:
            _log.error(
                "payments.learned_from_statement", channel=wanted.channel, day=wanted.day.isoformat(), moves=told
            )

    async def _fetched(self, wanted: Statement) -> tuple[Move, ...] | None:
        try:
            async with asyncio.timeout(_LONGEST_S):
                return await self._channels[wanted.channel].statement(wanted.day)
        except TimeoutError:
            raise ProviderUnavailable("statement-too-slow", f"not whole after {_LONGEST_S} seconds") from None

    async def _money_came(self, wanted: Statement) -> bool:
        async with self._db.transaction(_ASKER) as conn:
            return await repository.money_came(conn, wanted)

    async def _later(self, wanted: Statement, now: datetime, failure: str | None) -> None:
        pause = min(_FIRST_PAUSE * 2 ** min(wanted.looks - 1, 8), _LONGEST_PAUSE)
        async with self._db.transaction(_ASKER) as conn:
            await repository.later(conn, wanted, now + pause, failure)


def _storable(told: str) -> str:
    """What a provider wrote may hold what no text of the database can."""
    return told.replace("\0", "").encode("utf-8", "replace").decode()[:200]
