"""Live readings over a real socket: what comes, to whom, in which order, and when a stream ends."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import date

import httpx
import numpy as np
import psycopg
import pytest
from fastapi import FastAPI

from cloud.estate import service as estate
from cloud.ingest.writer import Writer
from cloud.kit.db import SYSTEM, Database
from cloud.kit.security import Keys, Sealer
from cloud.metering.live import batches as live_batches
from cloud.metering.live.hub import LiveRules
from cloud.serving import Server, server
from cloud.settings import CloudSettings
from tests.integration.app import Auth, People, equipped
from tests.integration.metering.site import Site, hourly, make_site, message

_FAST = LiveRules(poll_s=0.02, heartbeat_s=0.05, recheck_s=0.05)
_PATIENCE_S = 60.0


@dataclass
class Served:
    """A web process on a socket of its own."""

    app: FastAPI
    server: Server
    url: str

    def rules(self, rules: LiveRules) -> None:
        self.app.state.live.rules = rules


@pytest.fixture
async def served(settings: CloudSettings, keys: Keys) -> AsyncIterator[Served]:
    app = equipped(settings, keys)
    running = server(app, "127.0.0.1", 0)
    task = asyncio.create_task(running.serve())
    async with asyncio.timeout(_PATIENCE_S):
        while not running.started:
            await asyncio.sleep(0.01)
    port = running.servers[0].sockets[0].getsockname()[1]
    found = Served(app, running, f"http://127.0.0.1:{port}")
    found.rules(_FAST)
    yield found
    running.should_exit = True
    async with asyncio.timeout(_PATIENCE_S):
        await task


@dataclass
class Told:
    """One event of a stream, or a comment."""

    name: str = ""
    data: object = None
    id: str | None = None


class Client:
    """The half of EventSource that these tests need."""

    def __init__(self, lines: AsyncIterator[str]) -> None:
        self._lines = lines
        self.last_id = ""

    async def next(self, *names: str) -> Told:
        """The next event with one of these names."""
        async with asyncio.timeout(_PATIENCE_S):
            told = Told()
            async for line in self._lines:
                if line.startswith(":"):
                    told = Told(name="comment")
                elif line.startswith("event: "):
                    told.name = line[7:]
                elif line.startswith("data: "):
                    told.data = json.loads(line[6:])
                elif line.startswith("id: "):
                    told.id = line[4:]
                elif not line:
                    self.last_id = told.id or self.last_id
                    if told.name in names:
                        return told
                    told = Told()
        raise AssertionError(f"the stream ended before any of {names}")

    async def values(self, count: int) -> list[tuple[int, str]]:
        """Meter and value of the next readings."""
        found: list[tuple[int, str]] = []
        while len(found) < count:
            told = await self.next("readings")
            assert isinstance(told.data, list)
            found += [(one["meter_id"], one["value"]["quantity"]) for one in told.data]
        return found


@asynccontextmanager
async def listening(served: Served, auth: Auth, last_id: str = "", **place: int) -> AsyncIterator[Client]:
    headers = {**auth, **({"Last-Event-ID": last_id} if last_id else {})}
    async with (
        httpx.AsyncClient(base_url=served.url, timeout=_PATIENCE_S) as client,
        client.stream("GET", "/api/v1/live/readings", params=place, headers=headers) as answer,
    ):
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        yield Client(answer.aiter_lines())


@pytest.fixture
async def site(worker_db: Database) -> Site:
    return await make_site(worker_db)


async def test_readings_come_as_they_are_stored_and_late_ones_late(
    served: Served, site: Site, people: People, ingest_db: Database
) -> None:
    async with listening(served, await people.staff("viewer"), project_id=site.project_id) as client:
        assert (await client.next("position")).id
        writer = Writer(ingest_db)
        await writer.store([message(1, hourly("m1", 5, [7_000]))])
        assert await client.values(1) == [(site.meters[0], "7.000")]
        await writer.store([message(2, [*hourly("m2", 2, [1_000]), *hourly("m1", 1, [3_000])])])
        assert sorted(await client.values(2)) == [(site.meters[0], "3.000"), (site.meters[1], "1.000")]
        await client.next("comment")


async def test_a_repeated_reading_is_not_told_again(
    served: Served, site: Site, people: People, ingest_db: Database
) -> None:
    async with listening(served, await people.staff("viewer"), meter_id=site.meters[0]) as client:
        await client.next("position")
        writer = Writer(ingest_db)
        await writer.store([message(1, hourly("m1", 0, [1_000]))])
        await writer.store([message(2, hourly("m1", 0, [1_000, 2_000]))])
        assert await client.values(2) == [(site.meters[0], "1.000"), (site.meters[0], "2.000")]


async def test_what_was_stored_meanwhile_comes_after_resuming(
    served: Served, site: Site, people: People, ingest_db: Database
) -> None:
    auth, writer = await people.staff("viewer"), Writer(ingest_db)
    async with listening(served, auth, meter_id=site.meters[0]) as client:
        await client.next("position")
        await writer.store([message(1, hourly("m1", 0, [1_000]))])
        await client.values(1)
    await writer.store([message(2, hourly("m1", 1, [2_000]))])
    await writer.store([message(3, hourly("m2", 1, [9_000]))])
    async with listening(served, auth, client.last_id, meter_id=site.meters[0]) as again:
        await writer.store([message(4, hourly("m1", 2, [3_000]))])
        assert await again.values(2) == [(site.meters[0], "2.000"), (site.meters[0], "3.000")]


async def test_a_transaction_that_commits_later_than_its_successor_is_not_skipped(
    site: Site, worker_db: Database, owner_dsn: str
) -> None:
    add = "INSERT INTO live_batch (project_id, readings, points) VALUES (%s, 1, %s)"
    point = live_batches.pack([np.array([one], np.int64) for one in (1, 1, 0, 0, 0)])
    async with await psycopg.AsyncConnection.connect(owner_dsn) as slow:
        await slow.execute(add, (site.project_id, point))
        async with await psycopg.AsyncConnection.connect(owner_dsn) as quick:
            await quick.execute(add, (site.project_id, point))
        async with worker_db.transaction(SYSTEM) as conn:
            first = await live_batches.news(conn, [site.project_id], "3:3:")
        await slow.commit()
        async with worker_db.transaction(SYSTEM) as conn:
            second = await live_batches.news(conn, [site.project_id], first.position)
            third = await live_batches.news(conn, [site.project_id], second.position)
            both = await live_batches.news(conn, [site.project_id], "3:3:", second.position)
    assert [len(one.batches) for one in (first, second, third, both)] == [1, 1, 0, 2]


async def test_who_comes_back_too_late_is_told_to_begin_anew(
    served: Served, site: Site, people: People, ingest_db: Database, worker_db: Database
) -> None:
    auth, writer = await people.staff("viewer"), Writer(ingest_db)
    async with listening(served, auth, meter_id=site.meters[0]) as client:
        old = (await client.next("position")).id or ""
    await writer.store([message(1, hourly("m1", 0, [1_000]))])
    for _ in range(2):  # the first one takes the snapshot that the second one forgets
        async with worker_db.transaction(SYSTEM) as conn:
            gone = await live_batches.forget(conn, 0)
    assert gone == 1
    for unreadable in (old, "nonsense", "5:3:", "9000000000000000:9000000000000000:"):
        async with listening(served, auth, unreadable, meter_id=site.meters[0]) as late:
            told = await late.next("reset", "position")
            assert (told.name, told.data) == ("reset", {"reason": "too-old"})
            await writer.store([message(2, hourly("m1", 1, [2_000]))])


async def test_a_client_that_reads_too_slowly_loses_readings_and_is_told(
    served: Served, site: Site, people: People, ingest_db: Database
) -> None:
    served.rules(LiveRules(poll_s=0.02, heartbeat_s=5, recheck_s=60, waiting=3))
    async with listening(served, await people.staff("viewer"), meter_id=site.meters[0]) as client:
        await client.next("position")
        await Writer(ingest_db).store([message(1, hourly("m1", 0, [1_000, 2_000, 3_000, 4_000]))])
        told = await client.next("gap", "readings")
        assert (told.name, told.data) == ("gap", {"reason": "slow"})
        await Writer(ingest_db).store([message(2, hourly("m1", 9, [9_000]))])
        assert await client.values(1) == [(site.meters[0], "9.000")]


async def test_a_stream_ends_with_the_token_and_with_the_right(
    served: Served, site: Site, people: People, owner_db: Database
) -> None:
    for ending in ("UPDATE access_token SET revoked_at = now()", "UPDATE access_token SET expires_at = now()"):
        async with listening(served, await people.staff("viewer"), project_id=site.project_id) as client:
            await client.next("position")
            async with owner_db.transaction(SYSTEM) as conn:
                await conn.execute(ending)
            assert (await client.next("end")).data == {"reason": "not-signed-in"}
    async with listening(served, await people.staff("viewer", site.project_id), project_id=site.project_id) as client:
        await client.next("position")
        async with owner_db.transaction(SYSTEM) as conn:
            await conn.execute("UPDATE role_grant SET role = 'guard'")
        assert (await client.next("end")).data == {"reason": "no-permission"}


async def test_streams_end_when_the_process_does(served: Served, site: Site, people: People) -> None:
    served.rules(LiveRules(heartbeat_s=60, recheck_s=60))
    async with listening(served, await people.staff("viewer"), project_id=site.project_id) as client:
        await client.next("position")
        served.server.should_exit = True
        with suppress(httpx.RemoteProtocolError):
            assert (await client.next("end")).data == {"reason": "stopping"}


async def test_a_stream_ends_with_an_error_that_nobody_expected(
    served: Served, site: Site, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A browser comes back by itself from a stream that ended, and never from one that is silent."""
    auth = await people.staff("viewer")

    async def broken(*_: object) -> None:
        raise ValueError("a batch that nobody thought of")

    async with listening(served, auth, project_id=site.project_id) as client:
        await client.next("position")
        with monkeypatch.context() as patched:
            patched.setattr(live_batches, "news", broken)
            await client.next("end")
    async with listening(served, auth, project_id=site.project_id) as client:
        await client.next("position")
        await client.next("comment")


async def test_nobody_sees_other_projects_and_a_user_has_a_limit(served: Served, site: Site, people: People) -> None:
    other = await people.project()
    stranger = await people.staff("viewer", other.id)
    served.rules(LiveRules(of_user=1))
    async with httpx.AsyncClient(base_url=served.url, timeout=60) as client:
        for place in ({"project_id": site.project_id}, {"meter_id": site.meters[0]}):
            answer = await client.get("/api/v1/live/readings", params=place, headers=stranger)
            assert answer.status_code == 404
        for wrong in ({}, {"project_id": other.id, "meter_id": 1}, {"project_id": other.id, "what": 1}):
            answer = await client.get("/api/v1/live/readings", params=wrong, headers=stranger)
            assert answer.status_code == 422
        async with listening(served, stranger, project_id=other.id):
            answer = await client.get("/api/v1/live/readings", params={"project_id": other.id}, headers=stranger)
            assert (answer.status_code, answer.json()["code"]) == (429, "too-many-streams")


async def test_a_resident_sees_what_was_read_while_he_lived_there(
    served: Served, site: Site, people: People, owner_db: Database, ingest_db: Database, keys: Keys
) -> None:
    async with owner_db.transaction(SYSTEM) as conn:
        building = await estate.create_building(conn, site.project_id, "b", "B")
        unit = await estate.create_unit(conn, site.project_id, building.id, "u")
        person = await estate.create_person(conn, Sealer(keys), site.project_id, "Somebody")
        days = date(2026, 1, 2), date(2026, 1, 3)
        await estate.create_occupancy(conn, site.project_id, unit.id, person.id, "tenant", *days)
        await conn.execute("UPDATE meter SET unit_id = %s WHERE id = %s", (unit.id, site.meters[0]))
    auth = await people.resident(site.project_id, person.id)
    async with listening(served, auth, project_id=site.project_id) as client:
        await client.next("position")
        # In Shanghai the second of January begins at 16:00 UTC of the first.
        points = [
            *hourly("m2", 20, [1_000]),
            *hourly("m1", 10, [2_000]),
            *hourly("m1", 20, [3_000]),
            *hourly("m1", 60, [4_000]),
        ]
        await Writer(ingest_db).store([message(1, points)])
        assert await client.values(1) == [(site.meters[0], "3.000")]
    async with httpx.AsyncClient(base_url=served.url, timeout=60) as asking:
        answer = await asking.get("/api/v1/live/readings", params={"meter_id": site.meters[1]}, headers=auth)
        assert answer.status_code == 404
