"""Live counts: the open stays after any history, nested lots, the stream and what displays are told."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from dataclasses import replace as replace_lot
from datetime import UTC, datetime, timedelta
from random import Random

import httpx
import pytest
from fastapi import FastAPI
from msgspec.structs import replace

from cloud.devices import service as devices
from cloud.ingest.process import Worker
from cloud.ingest.settings import Broker, IngestSettings
from cloud.kit.db import SYSTEM, Database
from cloud.kit.paging import PageRequest
from cloud.kit.security import Keys
from cloud.parking import service as parking
from cloud.parking.counts.counting import LotCounts, counts
from cloud.parking.counts.hub import CountStream
from cloud.parking.counts.publishing import CountPublisher
from cloud.parking.places import service as places
from cloud.parking.records import LotClass, SessionFilter
from cloud.parking.snapshots import StreamRules
from cloud.serving import server
from cloud.settings import CloudSettings
from gateway.contract.messages import Passage
from tests.integration.app import Auth, People, equipped
from tests.integration.parking.site import GATEWAY, Site, minutes, rows

PLATES = ["京A00001", "京A00002", "粤B00003", "沪C00004", ""]
_FAST = StreamRules(poll_s=0.02, heartbeat_s=0.05, recheck_s=0.05)
_PATIENCE_S = 60.0


async def counted(db: Database, site: Site) -> dict[str, LotCounts]:
    async with db.transaction(SYSTEM) as conn:
        return {one.code: one for one in await counts(conn, [site.project_id], datetime.now(UTC))}


async def inner_lot(db: Database, site: Site) -> int:
    """A lot inside the main one, with lanes of its own."""
    async with db.transaction(SYSTEM) as conn:
        lot = await parking.create_lot(conn, site.project_id, "inner", "Inner lot", 1, site.lot_id)
        device = await devices.get_device(conn, site.entry.device_id)
        for code, direction in (("inner-in", "entry"), ("inner-out", "exit")):
            made = await devices.create_device(conn, site.project_id, device.gateway_id, code, "barrier")
            await parking.create_lane(conn, lot.id, code, code, direction, made.id)  # type: ignore[arg-type]
    return lot.id


def histories(site: Site, random: Random, now: datetime) -> list[Passage]:
    """Passages that make no sense together: repeated, without an entry, in disorder, of several classes."""
    found: list[Passage] = []
    for _ in range(40):
        made = site.passage(
            random.choice(["entry", "exit"]),
            random.choice(PLATES),
            now - minutes(random.randrange(600)),
            random.choice(["passed", "passed", "passed", "turned-back"]),
        )
        found.append(replace(made, vehicle_class=random.choice(["small", "large"])))
    random.shuffle(found)
    return found


async def test_lot_full_the_count_is_the_open_stays_after_any_history(
    ingest_db: Database, web_db: Database, worker_db: Database, site: Site
) -> None:
    """In any order of passages, with stays that merge, split and are closed by hand, at every step, by class."""
    random, now = Random(11), datetime.now(UTC)
    async with worker_db.transaction(SYSTEM) as conn:
        lot = replace_lot(await places.get_lot(conn, site.lot_id), capacity=6)
        await places.change_lot(conn, lot, [LotClass("large", 2), LotClass("new-energy", 1, 1)])
    passages = histories(site, random, now)
    while passages:
        batch, passages = passages[:5], passages[5:]
        await site.report(ingest_db, batch, now)
        if random.random() < 0.3:
            async with web_db.transaction(site.staff) as conn:
                wanted = SessionFilter(project_id=site.project_id, state="open")
                inside = (await parking.list_sessions(conn, PageRequest(1), wanted)).items
                if inside:
                    await parking.close_session(conn, inside[0].id, "gone", "user:guard")
        stays = await rows(worker_db, "SELECT vehicle_class FROM parking_session WHERE state = 'open'")
        expected = Counter(row["vehicle_class"] for row in stays)
        found = (await counted(worker_db, site))["main"]
        assert Counter({one.vehicle_class: one.inside for one in found.classes}) == expected
        assert (found.inside, found.standing) == (len(stays), len(stays))
        assert found.free == max(0, 6 - len(stays))
        # Three common places, two that only large vehicles take, one of another class that nobody is.
        common = max(0, 3 - expected["small"] - max(0, expected["large"] - 2))
        free = {name: found.free_for(name) for name in ("small", "large", "new-energy", "")}
        of_large = common + max(0, 2 - expected["large"])
        assert free == {"small": common, "large": of_large, "new-energy": 1, "": common}


async def test_anti_passback_nested_lots_a_vehicle_counts_where_it_stands(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    await inner_lot(worker_db, site)
    now = datetime.now(UTC)
    one, other = "京A00001", "京A00002"
    await site.report(ingest_db, [site.passage("entry", one, now - minutes(9))], now)
    await site.report(ingest_db, [site.passage("entry", other, now - minutes(8))], now)
    assert (await counted(worker_db, site))["main"].free == 0
    inner = replace(site.passage("inner-in", one, now - minutes(7)), direction="entry")
    await site.report(ingest_db, [inner], now)
    found = await counted(worker_db, site)
    assert [(lot.inside, lot.standing, lot.free) for lot in (found["main"], found["inner"])] == [(2, 1, 1), (1, 1, 0)]


async def test_who_may_read_counts_and_who_may_not(
    app_client: httpx.AsyncClient, people: People, ingest_db: Database, owner_db: Database, site: Site
) -> None:
    now = datetime.now(UTC)
    await site.report(ingest_db, [site.passage("entry", "京A00001", now)], now)
    url = f"/api/v1/parking-counts?project_id={site.project_id}"
    display = await people.staff("display", site.project_id)
    (lot,) = (await app_client.get(url, headers=display)).json()["items"]
    assert (lot["code"], lot["inside"], lot["free"], lot["held"]) == ("main", 1, 1, 0)
    assert lot["classes"] == [{"vehicle_class": "small", "inside": 1, "standing": 1, "held": 0, "free": 1}]
    async with owner_db.transaction(SYSTEM) as conn:
        main = await places.get_lot(conn, site.lot_id)
        await places.change_lot(conn, main, [LotClass("large", 1)])
    assert (await app_client.get("/api/v1/parking-sessions", headers=display)).status_code == 403
    stranger = await people.staff("admin", (await people.project("other")).id)
    assert (await app_client.get(url, headers=stranger)).status_code == 404
    (person,) = await rows(
        owner_db, "INSERT INTO person (project_id, name) VALUES (%s, '李娜') RETURNING id", (site.project_id,)
    )
    resident = await people.resident(site.project_id, person["id"])
    (lot,) = (await app_client.get(url, headers=resident)).json()["items"]
    assert (lot["free"], lot["free_other"]) == (1, 0), "numbers, nothing personal"
    assert {one["vehicle_class"]: one["free"] for one in lot["classes"]} == {"small": 0, "large": 1}


@dataclass
class Told:
    """One event."""

    name: str = ""
    data: object = None
    id: str = ""


@pytest.fixture
async def served(settings: CloudSettings, keys: Keys) -> AsyncIterator[tuple[FastAPI, str]]:
    """A web process on a socket of its own."""
    app = equipped(settings, keys)
    running = server(app, "127.0.0.1", 0)
    task = asyncio.create_task(running.serve())
    async with asyncio.timeout(_PATIENCE_S):
        while not running.started:
            await asyncio.sleep(0.01)
    app.state.counts.rules = _FAST
    yield app, f"http://127.0.0.1:{running.servers[0].sockets[0].getsockname()[1]}"
    running.should_exit = True
    async with asyncio.timeout(_PATIENCE_S):
        await task


@asynccontextmanager
async def listening(url: str, auth: Auth, project_id: int, last_id: str = "") -> AsyncIterator[AsyncIterator[Told]]:
    headers = {**auth, **({"Last-Event-ID": last_id} if last_id else {})}
    async with (
        httpx.AsyncClient(base_url=url, timeout=_PATIENCE_S) as client,
        client.stream("GET", f"/api/v1/live/parking-counts?project_id={project_id}", headers=headers) as answer,
    ):
        assert answer.status_code == 200, await answer.aread()
        yield _events(answer.aiter_lines())


async def _events(lines: AsyncIterator[str]) -> AsyncIterator[Told]:
    told = Told()
    async for line in lines:
        if line.startswith("event: "):
            told.name = line[7:]
        elif line.startswith("data: "):
            told.data = json.loads(line[6:])
        elif line.startswith("id: "):
            told.id = line[4:]
        elif not line:
            if told.name:
                yield told
            told = Told()


async def test_the_stream_tells_all_at_first_then_changes_and_resumes(
    served: tuple[FastAPI, str], people: People, ingest_db: Database, site: Site
) -> None:
    _, url = served
    display = await people.staff("display", site.project_id)
    now = datetime.now(UTC)
    async with asyncio.timeout(_PATIENCE_S), listening(url, display, site.project_id) as events:
        first = await anext(events)
        assert (first.name, [lot["free"] for lot in first.data]) == ("counts", [2])  # type: ignore[attr-defined]
        await site.report(ingest_db, [site.passage("entry", "京A00001", now)], now)
        second = await anext(events)
        assert [(lot["code"], lot["free"]) for lot in second.data] == [("main", 1)]  # type: ignore[attr-defined]
    async with asyncio.timeout(_PATIENCE_S), listening(url, display, site.project_id, second.id) as events:
        assert await anext(events) == Told("position", {}, second.id), "he knows that already"
        await site.report(ingest_db, [site.passage("exit", "京A00001", now + timedelta(seconds=40))], now + minutes(1))
        assert [lot["free"] for lot in (await anext(events)).data] == [2]  # type: ignore[attr-defined]
    async with asyncio.timeout(_PATIENCE_S), listening(url, display, site.project_id, second.id) as events:
        assert [lot["free"] for lot in (await anext(events)).data] == [2]  # type: ignore[attr-defined]


async def test_a_stream_ends_with_the_right_to_it(
    served: tuple[FastAPI, str], people: People, owner_db: Database, site: Site
) -> None:
    _, url = served
    display = await people.staff("display", site.project_id)
    async with asyncio.timeout(_PATIENCE_S), listening(url, display, site.project_id) as events:
        await anext(events)
        async with owner_db.transaction(SYSTEM) as conn:
            await conn.execute("DELETE FROM role_grant")
        assert (await anext(events)).name == "end"


async def test_slow_readers_get_what_is_true_now_not_what_happened() -> None:
    stream = CountStream(1, 7, None, None)
    for inside in range(50):
        stream.offer([LotCounts(1, 7, "main", "Main", None, 2 + inside, ())])
    changed = await stream.next(1)
    assert changed is not None
    assert [lot.capacity for lot in changed.items] == [51]
    assert await stream.next(0.01) is None


async def test_displays_are_told_what_changed_once_by_any_number_of_workers(ingest_db: Database, site: Site) -> None:
    told: list[tuple[str, dict[str, object]]] = []

    async def publish(topic: str, payload: bytes) -> bool:
        told.append((topic, json.loads(payload)))
        return True

    async def no_broker(topic: str, payload: bytes) -> bool:
        return False

    workers = [CountPublisher(ingest_db, publish, pause_s=0) for _ in range(3)]

    async def all_look() -> list[dict[str, object]]:
        told.clear()
        await asyncio.gather(*(worker.publish_due() for worker in workers))
        return [said for _, said in told]

    assert await CountPublisher(ingest_db, no_broker, pause_s=0).publish_due() == 0
    assert [said["free"] for said in await all_look()] == [2]
    assert told[0][0] == "gm/v1/p/_counts/main"
    assert await all_look() == []
    now = datetime.now(UTC)
    await site.report(ingest_db, [site.passage("entry", "京A00001", now)], now)
    (said,) = await all_look()
    assert (said["inside"], said["free"]) == (1, 1)
    assert said["classes"] == {"small": {"inside": 1, "standing": 1, "held": 0, "free": 1}}
    assert said["free_other"] == 1
    await CountPublisher(ingest_db, publish, pause_s=3600).publish_due()
    patient = CountPublisher(ingest_db, publish, pause_s=3600)
    await site.report(ingest_db, [site.passage("exit", "京A00001", now + minutes(1))], now + minutes(1))
    assert await patient.publish_due() == 0, "not more often than that"
    assert await CountPublisher(ingest_db, publish, pause_s=0, again_s=0).publish_due() == 1, "told again in time"
    assert GATEWAY not in told[0][0]


async def test_an_error_while_counting_does_not_end_what_takes_in_passages(
    ingest_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both run in one process: displays are worth less than lanes."""
    tried = asyncio.Event()

    async def breaks(_: CountPublisher) -> int:
        tried.set()
        raise ArithmeticError("bad lot")

    monkeypatch.setattr(CountPublisher, "publish_due", breaks)
    monkeypatch.setattr("cloud.ingest.process.PAUSE_S", 0)
    worker = Worker(ingest_db, Broker("nowhere", 1), IngestSettings(), None)
    monkeypatch.setattr(worker, "_client", object())
    counting = asyncio.create_task(worker._count_for_ever())
    for _ in range(2):
        async with asyncio.timeout(60):
            await tried.wait()
        tried.clear()
    assert not counting.done()
    counting.cancel()
    await asyncio.gather(counting, return_exceptions=True)
