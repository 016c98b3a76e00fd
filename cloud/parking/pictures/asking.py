"""Beside the jobs of the worker: asks gateways for the pictures that guards need, within seconds."""

import asyncio
from datetime import UTC, datetime
from typing import Final

import psycopg
import structlog
from psycopg_pool import PoolTimeout

from cloud.kit.db import SYSTEM, Database
from cloud.kit.locks import try_lock
from cloud.parking.pictures import service
from cloud.parking.pictures.links import Links

_log = structlog.get_logger(__name__)
_POLL_S: Final = 2.0
# One worker asks at a time: the bytes say "gm, pictures".
_LOCK_SPACE: Final = 0x67_6D_21 << 40


class PictureAsker:
    """Asks until it is told to stop. Without a public address of the cloud it does nothing."""

    def __init__(self, db: Database, links: Links, poll_s: float = _POLL_S) -> None:
        self._db = db
        self._links = links
        self._poll_s = poll_s

    async def run(self, stop: asyncio.Event) -> None:
        """Looks every two seconds; the database may be away meanwhile."""
        if not self._links.usable:
            _log.warning("pictures.no_public_url")
            return
        while not stop.is_set():
            try:
                await self.step(datetime.now(UTC))
            except (psycopg.OperationalError, PoolTimeout) as error:
                _log.warning("pictures.database_lost", error=str(error).strip())
            try:
                async with asyncio.timeout(self._poll_s):
                    await stop.wait()
            except TimeoutError:
                continue

    async def step(self, now: datetime) -> int:
        """Asks for what is wanted now; how many pictures were ordered."""
        async with self._db.transaction(SYSTEM.named("pictures")) as conn:
            if not await try_lock(conn, _LOCK_SPACE, [0]):
                return 0
            return await service.ask_wanted(conn, self._links, now)
