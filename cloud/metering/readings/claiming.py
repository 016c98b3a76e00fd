"""Unclaimed readings of a project tried again, portion by portion, each in a transaction of its own."""

from collections.abc import Awaitable, Callable
from typing import Final

from cloud.devices.inbox import UnclaimedPlace
from cloud.devices.records import InboxFilter
from cloud.kit.db import Asker, Database
from cloud.metering import service
from cloud.metering.readings.intake import Claimed

_AT_ONCE: Final = 5_000


async def claim_project(
    db: Database,
    asker: Asker,
    wanted: InboxFilter,
    limit: int | None = None,
    progress: Callable[[int], Awaitable[None]] | None = None,
) -> Claimed:
    """Tries what is `wanted` of a project, at most `limit` readings; `progress` hears how many were tried so far.

    May be repeated and may end anywhere: what was not tried waits as before.
    """
    tried = placed = 0
    place: UnclaimedPlace | None = UnclaimedPlace()
    while place is not None and (limit is None or tried < limit):
        async with db.transaction(asker) as conn:
            at_once = _AT_ONCE if limit is None else min(_AT_ONCE, limit - tried)
            done = await service.claim_readings(conn, wanted, place, at_once)
            if done.placed:
                await service.ask_for_usage(conn)
        place, tried, placed = done.place, tried + done.tried, placed + done.placed
        if progress is not None:
            await progress(tried)
    return Claimed(tried, placed, place)
