"""Settles many meters of which one may be spoilt: that one fails alone, and what changed of it goes on waiting."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from cloud.kit.constraints import refusal
from cloud.kit.db import Asker, Conn, Database, commit_without_waiting
from cloud.kit.portions import by_halves
from cloud.metering import set_aside_repository as set_aside
from cloud.metering.checks import lives, settling
from cloud.metering.rollups import reading as rollups


@dataclass(frozen=True, slots=True)
class Judgement:
    """Of how many `meters` something was judged, how many findings `changed`, and by meter why it could not be."""

    meters: int = 0
    changed: int = 0
    failed: Mapping[int, str] = field(default_factory=dict)

    def __add__(self, other: "Judgement") -> "Judgement":
        return Judgement(self.meters + other.meters, self.changed + other.changed, {**self.failed, **other.failed})


Work = Callable[[Conn, Sequence[int]], Awaitable[Judgement]]
"""What is done with some meters in a transaction."""


async def fails(meter_id: int, error: Exception) -> Judgement:
    """What comes of a meter that cannot be judged."""
    return Judgement(failed={meter_id: refusal(error)[1]})


async def settle(db: Database, asker: Asker, meter_ids: Sequence[int], now: datetime, *, wait: bool) -> Judgement:
    """Settles what changed of these meters in one transaction, or in parts where one of them cannot be.

    `wait`: for other workers that are at one of them; else these meters are theirs.
    """

    async def settled(conn: Conn, some: Sequence[int]) -> Judgement:
        if wait:
            await settling.wait_for_meters(conn, some)
        return await _settle(conn, some, now)

    return await _apart(db, asker, meter_ids, settled)


async def judge_lives(db: Database, asker: Asker, meter_ids: Sequence[int], now: datetime) -> Judgement:
    """Judges days again of these meters since somebody moved, as `settle` does what changed of usage."""

    async def judged(conn: Conn, some: Sequence[int]) -> Judgement:
        return Judgement(changed=await lives.judge(conn, some, now))

    return await _apart(db, asker, meter_ids, judged)


async def settle_set_aside(db: Database, asker: Asker, now: datetime) -> Judgement:
    """Tries meters again, each alone, that could not be settled and are due, some of them."""

    async def settled(conn: Conn, some: Sequence[int]) -> Judgement:
        return await _settle(conn, some, now) + Judgement(changed=await lives.judge(conn, some, now))

    async with db.transaction(asker) as conn:
        due = await set_aside.due(conn, "settle")
    done = Judgement()
    for meter_id in due:
        done += await _apart(db, asker, [meter_id], settled)
    return done


async def _settle(conn: Conn, meter_ids: Sequence[int], now: datetime) -> Judgement:
    spans = await settling.take(conn, meter_ids)
    changed = await settling.settle(conn, spans, now)
    await rollups.refresh(conn, settling.of_usage(spans))
    return Judgement(len({span.meter_id for span in spans}), changed)


async def _apart(db: Database, asker: Asker, meter_ids: Sequence[int], work: Work) -> Judgement:
    """Does `work` in transactions; a meter with which that cannot be done is set aside."""

    async def done(some: Sequence[int]) -> Judgement:
        async with db.transaction(asker) as conn:
            await commit_without_waiting(conn)
            judged = await work(conn, some)
            await set_aside.forget(conn, "settle", some)
            return judged

    async def waits(meter_id: int, error: Exception) -> Judgement:
        async with db.transaction(asker) as conn:
            await set_aside.note(conn, "settle", meter_id, refusal(error)[1])
        return await fails(meter_id, error)

    done.__qualname__ = work.__qualname__
    return sum(await by_halves(meter_ids, done, waits), Judgement())
