"""Pictures of vehicles: ordered from gateways, handed in by links that are good once, shown, forgotten."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit
from uuid import UUID

import httpx
import msgspec
import pytest

from cloud.kit.db import SYSTEM, Database
from cloud.kit.jobs import JobContext
from cloud.kit.security import Keys
from cloud.parking.pictures import jobs
from cloud.parking.pictures.asking import PictureAsker
from cloud.parking.pictures.links import MAX_BYTES, PATH, Links
from cloud.serving import server
from cloud.settings import CloudSettings
from gateway.contract.messages import Action, Outcome, Passage
from gateway.contract.orders import arguments_flaw
from gateway.drivers.barrier.pictures import Pictures
from gateway.drivers.barrier.sending import NotTaken, put_picture
from tests.integration.app import People, equipped, once
from tests.integration.parking.site import Site, minutes, rows

JPEG = b"\xff\xd8\xff\xe0a vehicle"
HERE = "https://park.example"


@pytest.fixture
def links(keys: Keys) -> Links:
    return Links(keys, HERE)


async def waiting(db: Database, site: Site, now: datetime, plate: str = "京A12345") -> Passage:
    """A vehicle at the exit of which the gateway has a picture."""
    arrived = msgspec.structs.replace(site.passage("exit", plate, now, "arrived"), image="here")
    await site.report(db, [arrived], now)
    return arrived


async def orders(db: Database) -> list[dict[str, Any]]:
    query = "SELECT arguments FROM command WHERE action = 'send-picture' ORDER BY issued_at"
    return [row["arguments"] for row in await rows(db, query)]


async def put(client: httpx.AsyncClient, link: str, content: bytes = JPEG) -> int:
    assert link.startswith(f"{HERE}{PATH}?")
    answer = await client.put(link.removeprefix(HERE), content=content, headers={"Content-Type": "image/jpeg"})
    return answer.status_code


async def test_who_waits_at_an_exit_is_seen_without_anybody_asking(
    app_client: httpx.AsyncClient, ingest_db: Database, worker_db: Database, site: Site, links: Links, people: People
) -> None:
    now = datetime.now(UTC)
    arrived = await waiting(ingest_db, site, now)
    await site.report(ingest_db, [msgspec.structs.replace(site.passage("entry", "粤B00001", now), image="here")], now)
    asker = PictureAsker(worker_db, links)
    assert await asker.step(now) == 1
    assert await asker.step(now + timedelta(seconds=5)) == 0
    (order,) = await orders(ingest_db)
    assert order["passage"] == arrived.id
    assert arguments_flaw(Action.SEND_PICTURE, order) is None
    guard = await people.staff("guard", site.project_id)
    address = f"/api/v1/passage-pictures/{arrived.id}"
    assert (await app_client.get(address, headers=guard)).status_code == 404
    assert await put(app_client, order["link"]) == 204
    shown = await app_client.get(address, headers=guard)
    assert (shown.content, shown.headers["Content-Type"]) == (JPEG, "image/jpeg")
    assert shown.headers["Content-Security-Policy"].endswith("sandbox")
    assert await asker.step(now + minutes(5)) == 0
    stranger = await people.staff("guard", (await people.project()).id)
    assert (await app_client.get(address, headers=stranger)).status_code == 404


async def test_who_is_not_let_in_is_seen_too(
    ingest_db: Database, worker_db: Database, site: Site, links: Links
) -> None:
    now = datetime.now(UTC)
    arrived = site.passage("entry", "京F90417", now, "arrived")
    refused = msgspec.structs.replace(arrived, image="here", decision="blacklist")
    await site.report(ingest_db, [refused], now)
    assert await PictureAsker(worker_db, links).step(now) == 1
    assert (await orders(ingest_db))[0]["passage"] == refused.id


async def test_a_link_is_good_once_for_its_picture_and_for_a_while(
    app_client: httpx.AsyncClient, ingest_db: Database, worker_db: Database, site: Site, links: Links
) -> None:
    now = datetime.now(UTC)
    await waiting(ingest_db, site, now)
    await PictureAsker(worker_db, links).step(now)
    link = (await orders(ingest_db))[0]["link"]
    said = {name: values[0] for name, values in parse_qs(urlsplit(link).query).items()}
    for name, other in [
        ("passage", str(UUID(int=5))),
        ("project", str(site.project_id + 1)),
        ("request", "77"),
        ("expires", str(int(said["expires"]) + 3600)),
        ("most", str(int(said["most"]) - 1)),
        ("signature", "0" * 64),
    ]:
        assert await put(app_client, f"{HERE}{PATH}?{urlencode({**said, name: other})}") == 403, name
    assert await put(app_client, link, b"<svg>") == 422
    assert await put(app_client, link, JPEG + b"x" * MAX_BYTES) == 413
    assert await put(app_client, link) == 204
    assert await put(app_client, link) == 403
    assert await put(app_client, link, JPEG + b"another") == 403


async def test_a_gateway_hands_its_picture_in(
    settings: CloudSettings, keys: Keys, ingest_db: Database, worker_db: Database, site: Site, tmp_path: Path
) -> None:
    """What the gateway does with the order, over a socket."""
    now = datetime.now(UTC)
    arrived = await waiting(ingest_db, site, now)
    content = JPEG + bytes(2_900_000)
    pictures = Pictures(tmp_path, 1 << 24, lambda: asyncio.sleep(0, ()))
    assert await pictures.keep(arrived.id, content)
    running = server(equipped(settings, keys), "127.0.0.1", 0)
    task = asyncio.create_task(running.serve())
    async with asyncio.timeout(60):
        while not running.started:
            await asyncio.sleep(0.01)
        url = f"http://127.0.0.1:{running.servers[0].sockets[0].getsockname()[1]}"
        await PictureAsker(worker_db, Links(keys, url)).step(now)
        (order,) = await orders(ingest_db)
        kept = await pictures.read(order["passage"])
        assert kept is not None
        await asyncio.to_thread(put_picture, order["link"], kept)
        with pytest.raises(NotTaken, match="403"):
            await asyncio.to_thread(put_picture, order["link"], kept)
        running.should_exit = True
        await task
    (stored,) = await rows(ingest_db, "SELECT passage_id, content FROM passage_picture")
    assert (stored["passage_id"], bytes(stored["content"])) == (UUID(arrived.id), content)


async def test_a_link_is_over_when_its_time_is(
    app_client: httpx.AsyncClient, ingest_db: Database, worker_db: Database, site: Site, links: Links
) -> None:
    now = datetime.now(UTC) - minutes(20)
    await waiting(ingest_db, site, now)
    await PictureAsker(worker_db, links).step(now)
    assert await put(app_client, (await orders(ingest_db))[0]["link"]) == 403


async def test_what_does_not_come_is_asked_for_some_times_and_not_for_ever(
    ingest_db: Database, worker_db: Database, site: Site, links: Links
) -> None:
    now = datetime.now(UTC)
    await waiting(ingest_db, site, now)
    asker = PictureAsker(worker_db, links)
    assert [await asker.step(now + minutes(2 * nth)) for nth in range(5)] == [1, 1, 1, 0, 0]


async def test_incidents_and_openings_by_hand_have_pictures(
    app_client: httpx.AsyncClient, ingest_db: Database, worker_db: Database, site: Site, links: Links, people: People
) -> None:
    now = datetime.now(UTC)
    entered = msgspec.structs.replace(site.passage("entry", "粤B00001", now - minutes(3)), image="here")
    await site.report(ingest_db, [entered], now)
    asker = PictureAsker(worker_db, links)
    assert await asker.step(now) == 0
    again = msgspec.structs.replace(site.passage("entry", "京A12345", now - minutes(2), "arrived"), image="here")
    await site.report(ingest_db, [again], now)
    guard = await people.staff("guard", site.project_id)
    opening = {"code": "delivery", "reason": "piano"}
    answer = await app_client.post(
        f"/api/v1/parking-lanes/{site.entry.id}/openings", json=opening, headers={**guard, **once()}
    )
    assert answer.status_code == 201, answer.text
    (kept,) = await rows(ingest_db, "SELECT passage_id, code, reason FROM manual_opening")
    assert kept == {"passage_id": UUID(again.id), "code": "delivery", "reason": "piano"}
    through = msgspec.structs.replace(again, outcome=Outcome.PASSED, outcome_at=again.outcome_at + 5_000)
    await site.report(ingest_db, [through], now)
    assert await asker.step(now) == 1
    third = msgspec.structs.replace(site.passage("exit", "沪C99999", now - minutes(1)), image="here")
    await site.report(ingest_db, [third], now)
    assert await asker.step(now) == 1
    why = await rows(ingest_db, "SELECT why FROM picture_request ORDER BY id")
    assert [one["why"] for one in why] == ["opened", "incident"]


async def test_a_guard_asks_for_a_picture(
    app_client: httpx.AsyncClient, ingest_db: Database, worker_db: Database, site: Site, people: People
) -> None:
    now = datetime.now(UTC)
    arrived = await waiting(ingest_db, site, now)
    guard = await people.staff("guard", site.project_id)

    async def ask(passage_id: str) -> tuple[int, Any]:
        answer = await app_client.post(
            "/api/v1/passage-picture-requests", json={"passage_id": passage_id}, headers={**guard, **once()}
        )
        return answer.status_code, answer.json().get("code")

    assert await ask(str(UUID(int=9))) == (404, "no-picture")
    # This test's web process has no public address.
    assert await ask(arrived.id) == (409, "no-public-url")
    assert await PictureAsker(worker_db, Links(Keys.generate(), None)).step(now) == 0


async def test_pictures_are_forgotten_when_their_project_says_so(
    app_client: httpx.AsyncClient, ingest_db: Database, worker_db: Database, site: Site, people: People
) -> None:
    now = datetime.now(UTC)
    old, new = [await waiting(ingest_db, site, now, plate) for plate in ("京A12345", "粤B00001")]
    manager = await people.staff("manager", site.project_id)
    address = f"/api/v1/passage-picture-policies/{site.project_id}"
    assert (await app_client.get(address, headers=manager)).json()["kept_days"] == 90
    async with worker_db.transaction(SYSTEM) as conn:
        for passage, days in ((old, 8), (new, 6)):
            await conn.execute(
                """INSERT INTO passage_picture (passage_id, project_id, content, sha256, stored_at)
                   VALUES (%s, %s, 'x', 'y', now() - make_interval(days => %s))""",
                (passage.id, site.project_id, days),
            )
    context = JobContext(1, None, {}, worker_db, 1)
    assert await jobs.forget(context) == {"gone": 0}
    assert (await app_client.put(address, json={"kept_days": 7}, headers=manager)).status_code == 200
    assert await jobs.forget(context) == {"gone": 1}
    assert [row["passage_id"] for row in await rows(ingest_db, "SELECT passage_id FROM passage_picture")] == [
        UUID(new.id)
    ]
