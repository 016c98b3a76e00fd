"""Settles many meters of which one may be spoilt: that one fails alone, and what changed of it goes on waiting."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from cloud.kit.constraints import refusal
from cloud.kit.db import Asker, Database
from cloud.kit.portions import by_halves
from cloud.metering import set_aside_repository as set_aside
from cloud.metering.checks import settling
from cloud.metering.rollups import reading as rollups


@dataclass(frozen=True, slots=True)
class Judgement:
    """Of how many `meters` something was judged, how many findings `changed`, and by meter why it could not be."""

    meters: int = 0
    changed: int = 0
    failed: Mapping[int, str] = field(default_factory=dict)

    def __add__(self, other: "Judgement") -> "Judgement":
        return Judgement(self.meters + other.meters, self.changed + other.changed, {**self.failed, **other.failed})


async def fails(meter_id: int, error: Exception) -> Judgement:
    """What comes of a meter that cannot be judged."""
    return Judgement(failed={meter_id: refusal(error)[1]})


async def settle(db: Database, asker: Asker, meter_ids: Sequence[int], now: datetime, *, wait: bool) -> Judgement:
    """Settles what changed of these meters in one transaction, or in parts where one of them cannot be.

    `wait`: for other workers that are at one of them; else these meters are theirs.
    """

    async def settled(some: Sequence[int]) -> Judgement:
        async with db.transaction(asker) as conn:
            if wait:
                await settling.wait_for_meters(conn, some)
            spans = await settling.take(conn, some)
            changed = await settling.settle(conn, spans, now)
            await rollups.refresh(conn, settling.of_usage(spans))
            await set_aside.forget(conn, "settle", some)
            return Judgement(len({span.meter_id for span in spans}), changed)

    async def waits(meter_id: int, error: Exception) -> Judgement:
        async with db.transaction(asker) as conn:
            await set_aside.note(conn, "settle", meter_id, refusal(error)[1])
        return await fails(meter_id, error)

    return sum(await by_halves(meter_ids, settled, waits), Judgement())


async def settle_set_aside(db: Database, asker: Asker, now: datetime) -> Judgement:
    """Tries meters again, each alone, that could not be settled and are due, some of them."""
    async with db.transaction(asker) as conn:
        due = await set_aside.due(conn, "settle")
    done = Judgement()
    for meter_id in due:
        done += await settle(db, asker, [meter_id], now, wait=False)
    return done
