"""Waits until the worker has turned the delivered readings into usage."""

import asyncio
from collections.abc import Collection
from datetime import datetime
from typing import Final

from cloud.kit.db import Asker, Database
from cloud.kit.paging import MAX_LIMIT, PageRequest, page_request
from cloud.metering import service as metering
from cloud.metering.records import Meter
from simulators.demo.options import DemoError
from simulators.demo.progress import Step

_POLL_S: Final = 0.5


async def all_meters(db: Database, asker: Asker, project_id: int) -> list[Meter]:
    """Every meter of the project."""
    meters: list[Meter] = []
    request: PageRequest | None = PageRequest(MAX_LIMIT)
    while request is not None:
        async with db.transaction(asker) as conn:
            page = await metering.list_meters(conn, request, project_id)
        meters.extend(page.items)
        request = None if page.next_cursor is None else page_request(MAX_LIMIT, page.next_cursor)
    return meters


async def usage_is_derived(
    db: Database, asker: Asker, meters: Collection[Meter], start: datetime, end: datetime, step: Step, patience_s: float
) -> None:
    """Returns when usage covers [start, end] of every meter. Raises DemoError when nothing moves for `patience_s`."""
    loop = asyncio.get_running_loop()
    waiting = list(meters)
    deadline = loop.time() + patience_s
    while waiting:
        still: list[Meter] = []
        async with db.transaction(asker) as conn:
            for meter in waiting:
                # The first that is not covered tells that the worker is not further yet.
                total = None
                if not still:
                    total = await metering.usage_between(conn, meter.id, meter.main_channel.number, start, end)
                if total is None or not total.complete:
                    still.append(meter)
        if len(still) < len(waiting):
            step.advance(len(waiting) - len(still))
            deadline = loop.time() + patience_s
        elif loop.time() > deadline:
            raise DemoError(f"the worker derives no usage of meter {still[0].code}: see its log")
        waiting = still
        if waiting:
            # Ingest asks for the same now and then; here somebody waits for the last batch's share.
            async with db.transaction(asker) as conn:
                await metering.ask_for_usage(conn)
            await asyncio.sleep(_POLL_S)
