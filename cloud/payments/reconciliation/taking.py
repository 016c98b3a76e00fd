"""The worker's side: fetches the statements of days that are over, and compares them with what was booked."""

import re
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import psycopg
import structlog
from prometheus_client import Gauge

from cloud.kit.db import Asker, Database
from cloud.kit.errors import GatemeterError
from cloud.payments.channels.configuration import Channels
from cloud.payments.reconciliation import repository
from cloud.payments.reconciliation.records import Statement

_log = structlog.get_logger(__name__)
_OPEN = Gauge("gatemeter_payment_differences", "Where providers and our books disagree, not looked at.", ["channel"])

_SHANGHAI: Final = ZoneInfo("Asia/Shanghai")
_READY: Final = timedelta(hours=10)
"""Into the day after: providers have made the statement by then."""
_SURELY: Final = timedelta(hours=36)
"""Into the day after: where there is no statement by then, nothing moved."""
_OLDEST: Final = timedelta(days=60)
"""Providers hand out statements of three months."""
_LEASE: Final = timedelta(minutes=5)
_FIRST_PAUSE: Final = timedelta(minutes=10)
_LONGEST_PAUSE: Final = timedelta(hours=2)
_OURS: Final = re.compile(r"gm[0-9a-f]{28}")
"""Numbers of our orders; a merchant may take money for other things, too."""


class Reconciler:
    """Takes statements, one at each step. Any number of them may run."""

    def __init__(self, db: Database, channels: Channels, asker: Asker, clock: Callable[[], datetime]) -> None:
        self._db = db
        self._channels = channels
        self._asker = asker
        self._now = clock
        self._wanted_until = date.min

    async def step(self) -> bool:
        """Fetches the oldest statement that is wanted; whether there was one."""
        now, names = self._now(), sorted(self._channels)
        last = (now - _READY).astimezone(_SHANGHAI).date() - timedelta(days=1)
        async with self._db.transaction(self._asker) as conn:
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
            # Taking what is paid now never waits for a statement that cannot be kept.
            _log.warning(
                "payments.no_statement", channel=wanted.channel, day=wanted.day.isoformat(), error=str(error).strip()
            )
            code = error.code if isinstance(error, GatemeterError) else "statement-not-kept"
            await self._later(wanted, now, f"{code}: {str(error).strip()}"[:200])
        return True

    async def _take(self, wanted: Statement, now: datetime) -> None:
        moves = await self._channels[wanted.channel].statement(wanted.day)
        over = datetime(wanted.day.year, wanted.day.month, wanted.day.day, tzinfo=_SHANGHAI) + timedelta(days=1)
        if moves is None and now < over + _SURELY:
            await self._later(wanted, now, None)
            return
        ours = [one for one in moves or () if _OURS.fullmatch(one.reference)]
        async with self._db.transaction(self._asker) as conn:
            told = await repository.keep(conn, wanted, ours, len(moves or ()) - len(ours), now)
            open_now = await repository.open_differences(conn)
        for channel in self._channels:
            _OPEN.labels(channel).set(open_now.get(channel, 0))
        if told:
            _log.error(
                "payments.learned_from_statement", channel=wanted.channel, day=wanted.day.isoformat(), moves=told
            )

    async def _later(self, wanted: Statement, now: datetime, failure: str | None) -> None:
        pause = min(_FIRST_PAUSE * 2 ** min(wanted.looks - 1, 8), _LONGEST_PAUSE)
        async with self._db.transaction(self._asker) as conn:
            await repository.later(conn, wanted, now + pause, failure)
