"""A meter that cannot be worked on is tried alone and ever more rarely, and somebody is told."""

from collections.abc import Callable, Sequence
from typing import Any

import psycopg
import pytest

from cloud.commands.doctor import waiting
from cloud.kit.db import SYSTEM, Database
from cloud.kit.jobs import JobContext
from cloud.metering.checks import jobs as validation_jobs
from cloud.metering.checks import settling
from cloud.metering.derivation import update as derivation
from tests.integration.metering.site import Site, hourly, make_site
from tests.integration.metering.test_derivation import derive, store, table

METERS = 8


@pytest.fixture
async def site(worker_db: Database) -> Site:
    return await make_site(worker_db, meters=METERS)


class Spoilt:
    """`name` of `module` raises for one meter; which meters it was asked for, by call."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, ids_of: Callable[..., set[int]]
    ) -> None:
        self.asked: list[set[int]] = []
        self.meter = 0
        real = getattr(module, name)

        def spoilt(*args: Any, **kwargs: Any) -> Any:
            self.asked.append(ids_of(*args))
            if self.meter in self.asked[-1]:
                raise ZeroDivisionError("an absurd history")
            return real(*args, **kwargs)

        monkeypatch.setattr(module, name, spoilt)


async def come(db: Database, hour: int) -> None:
    await store(
        db, [point for n in range(1, METERS + 1) for point in hourly(f"m{n}", hour, [hour * 10, hour * 10 + 5])]
    )


async def settle(db: Database) -> dict[str, object]:
    return await validation_jobs.settle(JobContext(1, None, {}, db))


def of_ids(_: object, ids: Sequence[int], *__: object) -> set[int]:
    return set(ids)


def of_spans(_: object, spans: Sequence[Any], *__: object) -> set[int]:
    return {span.meter_id for span in spans}


async def due_now(owner: Database) -> None:
    async with owner.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE store.set_aside SET next_at = now()")


@pytest.mark.parametrize("work", ["derive", "settle"])
async def test_it_costs_the_others_nothing_every_minute(
    site: Site, worker_db: Database, ingest_db: Database, owner_db: Database, monkeypatch: pytest.MonkeyPatch, work: str
) -> None:
    if work == "derive":
        spoilt = Spoilt(monkeypatch, derivation, "take_registers", of_ids)
    else:
        spoilt = Spoilt(monkeypatch, settling, "settle", of_spans)
    spoilt.meter = site.meters[3]

    async def run() -> dict[str, object]:
        done = await derive(worker_db)
        return done if work == "derive" else await settle(worker_db)

    await come(ingest_db, 0)
    assert (await run())["failed"] == 1
    assert len(spoilt.asked) > 2
    for hour in range(2, 8, 2):
        await come(ingest_db, hour)
        spoilt.asked.clear()
        assert "failed" not in await run()
        assert spoilt.asked == [set(site.meters) - {spoilt.meter}]
    # Its time comes: alone, and then after twice the time.
    await due_now(owner_db)
    await come(ingest_db, 8)
    spoilt.asked.clear()
    assert (await run())["failed"] == 1
    assert spoilt.asked == [{spoilt.meter}, set(site.meters) - {spoilt.meter}]
    [noted] = await table(
        worker_db,
        "SELECT work, meter_id, attempts, reason, next_at - now() > interval '1 minute' AS rarer FROM store.set_aside",
    )
    why = "ZeroDivisionError: an absurd history"
    assert noted == {"work": work, "meter_id": spoilt.meter, "attempts": 2, "reason": why, "rarer": True}
    # What waited of it is there once it is mended.
    spoilt.meter = 0
    await due_now(owner_db)
    assert "failed" not in await run()
    assert await table(worker_db, "SELECT FROM store.set_aside") == []
    assert await table(worker_db, f"SELECT FROM store.{'dirty_window' if work == 'derive' else 'changed_usage'}") == []
    assert len(await table(worker_db, "SELECT count(*) FROM store.usage GROUP BY meter_id, channel")) == METERS


async def test_the_doctor_names_it(
    site: Site, worker_db: Database, ingest_db: Database, owner_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found() -> dict[str, str]:
        with psycopg.connect(owner_dsn, autocommit=True) as conn:
            return {one.check: f"{one.state} {one.detail}" for one in waiting(conn)}

    assert found()["meters set aside"] == "fine none"
    Spoilt(monkeypatch, derivation, "take_registers", of_ids).meter = site.meters[3]
    await come(ingest_db, 0)
    await derive(worker_db)
    said = found()["meters set aside"]
    assert said.startswith("late 1 cannot be worked on, the first for 0:00:")
    assert "demo/E4: ZeroDivisionError: an absurd history" in said
