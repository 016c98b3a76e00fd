"""A meter that cannot be worked on is tried alone and ever more rarely, and somebody is told."""

import asyncio
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest
from typer.testing import CliRunner

from cloud.commands.doctor import waiting
from cloud.kit.db import SYSTEM, Database
from cloud.kit.jobs import JobContext
from cloud.metering.checks import jobs as validation_jobs
from cloud.metering.checks import settling, standing
from cloud.metering.commands import usage_app
from cloud.metering.derivation import update as derivation
from tests.integration.app import People, once
from tests.integration.browser import Browser
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


async def test_a_life_that_cannot_be_judged_keeps_no_other_waiting(
    site: Site, worker_db: Database, owner_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who moved is judged again of all others, and of that meter once it can be."""
    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute(
            """INSERT INTO store.changed_life (project_id, meter_id, days)
               SELECT project_id, id, daterange('2026-01-01', '2026-01-05') FROM meter"""
        )
    spoilt = Spoilt(monkeypatch, settling, "judge_days", lambda _, __, spans, ___: of_spans(None, spans))
    spoilt.meter = site.meters[3]
    assert (await settle(worker_db))["failed"] == 1
    assert await table(worker_db, "SELECT meter_id FROM store.changed_life") == [{"meter_id": spoilt.meter}]
    spoilt.asked.clear()
    assert "failed" not in await settle(worker_db)
    assert spoilt.asked == []
    await due_now(owner_db)
    assert (await settle(worker_db))["failed"] == 1
    assert spoilt.asked == [{spoilt.meter}]
    assert await table(worker_db, "SELECT work, attempts FROM store.set_aside") == [{"work": "settle", "attempts": 2}]
    spoilt.meter = 0
    await due_now(owner_db)
    assert "failed" not in await settle(worker_db)
    assert await table(worker_db, "SELECT FROM store.changed_life") == []
    assert await table(worker_db, "SELECT FROM store.set_aside") == []


async def test_yesterday_is_judged_of_all_but_the_one_that_cannot_be(
    site: Site, worker_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoilt = Spoilt(monkeypatch, standing, "judge", lambda _, __, ids, ___: set(ids))
    spoilt.meter = site.meters[3]
    done = await validation_jobs.validate_standing(JobContext(1, site.project_id, {}, worker_db))
    assert (done["meters"], done["failed"]) == (METERS - 1, 1)


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


async def set_one_aside(db: Database, meter_id: int, reason: str = "ZeroDivisionError: an absurd history") -> None:
    async with db.transaction(SYSTEM) as conn:
        await conn.execute(
            """INSERT INTO store.set_aside (work, meter_id, attempts, next_at, reason)
               VALUES ('derive', %s, 6, now() + interval '32 minutes', %s)""",
            (meter_id, reason),
        )


async def test_health_shows_it_and_has_it_tried(
    site: Site, worker_db: Database, ingest_db: Database, owner_db: Database, app_client: httpx.AsyncClient,
    people: People,
) -> None:  # fmt: skip
    meter = site.meters[3]
    await come(ingest_db, 0)
    await set_one_aside(worker_db, meter)
    await table(owner_db, "DELETE FROM job RETURNING 1")
    staff = await people.staff("manager", site.project_id)
    address = "/api/v1/meter-health?only=set-aside"
    body = (await app_client.get(address, headers=staff)).json()
    assert (body["totals"]["meters"], body["totals"]["set_aside"]) == (METERS, 1)
    (found,) = body["items"]
    (why,) = found["set_aside"]
    assert (found["meter_id"], why["work"], why["attempts"]) == (meter, "derive", 6)
    assert why["reason"] == "ZeroDivisionError: an absurd history"
    whole = (await app_client.get("/api/v1/meter-health", headers=staff)).json()["items"]
    assert [one["set_aside"] for one in whole] == [[why] if one["meter_id"] == meter else [] for one in whole]
    # Tried at once: and then it is as all others are.
    asked = await app_client.post(f"/api/v1/meters/{meter}/attempts", headers=staff | once())
    assert asked.status_code == 201, asked.text
    (due,) = asked.json()["set_aside"]
    assert datetime.fromisoformat(due["next_at"]) <= datetime.now(UTC) + timedelta(minutes=1)
    assert [row["kind"] for row in await table(owner_db, "SELECT kind FROM job")] == ["metering.derive-usage"]
    assert "failed" not in await derive(worker_db)
    assert (await app_client.get(address, headers=staff)).json()["items"] == []
    again = await app_client.post(f"/api/v1/meters/{meter}/attempts", headers=staff | once())
    assert (again.status_code, again.json()) == (201, {"meter_id": meter, "set_aside": []})


async def test_metrics_tell_how_many_there_are(site: Site, owner_db: Database, app_client: httpx.AsyncClient) -> None:
    async def found() -> tuple[float, float]:
        lines = (await app_client.get("/metrics")).text.splitlines()
        told = dict(line.rsplit(" ", 1) for line in lines)
        count, age = told["gatemeter_meters_set_aside"], told["gatemeter_meter_set_aside_oldest_seconds"]
        return float(count), float(age)

    assert await found() == (0, 0)
    await set_one_aside(owner_db, site.meters[3])
    async with owner_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE store.set_aside SET since = now() - interval '3 hours'")
    count, age = await found()
    assert count == 1
    assert 10_800 <= age < 11_000


async def test_a_meter_that_is_gone_is_told_too(
    site: Site, owner_db: Database, app_client: httpx.AsyncClient, people: People
) -> None:
    """Of its last days there is no usage, and a final bill may wait for it."""
    async with owner_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE meter SET removed_on = '2026-01-31' WHERE id = ANY (%s)", (site.meters[3:5],))
    await set_one_aside(owner_db, site.meters[3])
    staff = await people.staff("viewer", site.project_id)
    body = (await app_client.get("/api/v1/meter-health?limit=100", headers=staff)).json()
    assert [one["meter_id"] for one in body["items"]] == [one for one in site.meters if one != site.meters[4]]


async def test_others_neither_see_nor_try_it(
    site: Site, worker_db: Database, owner_db: Database, app_client: httpx.AsyncClient, people: People
) -> None:
    meter = site.meters[3]
    await set_one_aside(worker_db, meter)
    [before] = await table(worker_db, "SELECT next_at FROM store.set_aside")
    stranger = await people.staff("manager", (await people.project()).id)
    body = (await app_client.get("/api/v1/meter-health", headers=stranger)).json()
    assert (body["items"], body["totals"]["set_aside"]) == ([], 0)
    asked = await app_client.post(f"/api/v1/meters/{meter}/attempts", headers=stranger | once())
    assert asked.status_code == 404
    viewer = await people.staff("viewer", site.project_id)
    asked = await app_client.post(f"/api/v1/meters/{meter}/attempts", headers=viewer | once())
    assert asked.status_code == 403
    assert await table(worker_db, "SELECT next_at FROM store.set_aside") == [before]


async def test_the_pages_show_it_and_have_it_tried(
    site: Site, worker_db: Database, ingest_db: Database, owner_db: Database, app_client: httpx.AsyncClient,
    people: People,
) -> None:  # fmt: skip
    meter = site.meters[3]
    await come(ingest_db, 0)
    await set_one_aside(worker_db, meter, "ZeroDivisionError: <an absurd history>")
    manager, viewer = [await people.staff(role, site.project_id) for role in ("manager", "viewer")]
    async with owner_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
    visitor = Browser(app_client, manager)
    listed = await visitor.see("/meter-health?only=set-aside")
    assert "ZeroDivisionError: &lt;an absurd history&gt;" in listed
    assert "6 attempts" in listed
    assert "E4" in listed
    assert "E5" not in listed
    table_file = await visitor.see("/meter-health/export.csv?only=set-aside")
    assert table_file.rstrip().endswith("ZeroDivisionError: <an absurd history>")
    assert f'action="/meters/{meter}/attempts"' in await visitor.see(f"/meters/{meter}")
    sent = await visitor.send(f"/meters/{meter}/attempts")
    assert "It is tried again within a minute." in await visitor.see(sent.headers["Location"])
    assert "failed" not in await derive(worker_db)
    shown = await visitor.see(f"/meters/{meter}")
    assert f'action="/meters/{meter}/attempts"' not in shown
    # Sent again from a page that was open meanwhile: it needs no attempt.
    assert (await visitor.send(f"/meters/{meter}/attempts")).headers["Location"] == f"/meters/{meter}"
    reader = Browser(app_client, viewer)
    await set_one_aside(worker_db, meter)
    assert "an absurd history" in (seen := await reader.see("/meter-health"))
    assert f'action="/meters/{meter}/attempts"' not in seen


def test_the_command_lists_and_tries_it(owner_dsn: str) -> None:
    async def make() -> None:
        async with Database(owner_dsn, None, max_size=2) as db:
            site = await make_site(db, meters=2)
            await store(db, [point for n in (1, 2) for point in hourly(f"m{n}", 0, [10, 15])])
            await set_one_aside(db, site.meters[0])

    asyncio.run(make())

    def run(*options: str) -> tuple[int, list[str]]:
        found = CliRunner().invoke(usage_app, ["set-aside", "--dsn", owner_dsn, *options])
        return found.exit_code, found.output.splitlines()

    code, lines = run("--json", "--project", "demo")
    assert code == 1
    (told,) = map(json.loads, lines)
    assert (told["project"], told["meter"], told["work"]) == ("demo", "E1", "derive")
    assert (told["attempts"], told["reason"]) == (6, "ZeroDivisionError: an absurd history")
    assert run()[1][0].endswith("6 attempts: ZeroDivisionError: an absurd history")
    assert run("--try-now") == (0, ["no meter is set aside"])
    assert run("--project", "nowhere") == (2, ["there is no project nowhere"])
    with psycopg.connect(owner_dsn) as conn:
        assert conn.execute("SELECT count(*) FROM store.dirty_window").fetchone() == (1,)
        assert conn.execute("SELECT count(*) FROM store.usage").fetchone() == (1,)
