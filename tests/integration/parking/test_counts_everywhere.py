"""The API, the stream and the messages for displays say the same of a car park, and what the open stays say."""

import json
from datetime import UTC, datetime, timedelta

import httpx
from fastapi import FastAPI
from msgspec.structs import replace

from cloud.kit.db import SYSTEM, Database
from cloud.parking import service as parking
from cloud.parking.counts.publishing import CountPublisher
from cloud.parking.places import service as places
from cloud.parking.records import LotClass
from cloud.parking.reservations import service as reservations
from cloud.parking.reservations.records import ReservationRule, Wanted
from tests.integration.app import People
from tests.integration.browser import Browser, text_of
from tests.integration.parking.nested import add_inner_lot
from tests.integration.parking.site import Site, minutes, rows

NUMBERS = ("capacity", "inside", "standing", "held", "free", "free_other")


async def _full_of_kinds(ingest_db: Database, worker_db: Database, site: Site, now: datetime) -> int:
    """Vehicles of two classes in an outer and an inner lot, one awaited, places kept for large ones; the inner lot."""
    inner = await add_inner_lot(worker_db, site)
    async with worker_db.transaction(SYSTEM) as conn:
        main = await places.get_lot(conn, site.lot_id)
        await conn.execute("UPDATE parking_lot SET capacity = 9 WHERE id = %s", (site.lot_id,))
        await places.change_lot(conn, await places.get_lot(conn, main.id), [LotClass("large", 3)])
        await reservations.set_rule(conn, ReservationRule(site.lot_id, "", 2))
        await reservations.book(
            conn, Wanted(site.lot_id, "粤B00009", "small", now, now + timedelta(hours=2)), "x", now=now
        )
    seen = [site.passage("entry", f"京A0000{nth}", now - minutes(30 + nth)) for nth in range(4)]
    seen[0] = replace(seen[0], vehicle_class="large")
    seen.append(replace(site.passage("inner-in", "京A00001", now - minutes(20)), direction="entry"))
    await site.report(ingest_db, seen, now)
    return inner


async def test_api_stream_and_displays_say_what_the_stays_say(
    app: FastAPI, app_client: httpx.AsyncClient, people: People, ingest_db: Database, worker_db: Database, site: Site
) -> None:
    now = datetime.now(UTC)
    await _full_of_kinds(ingest_db, worker_db, site, now)
    told: dict[str, dict[str, object]] = {}

    async def publish(topic: str, payload: bytes) -> bool:
        told[topic.rpartition("/")[2]] = json.loads(payload)
        return True

    assert await CountPublisher(ingest_db, publish, pause_s=0).publish_due() == 2
    display = await people.staff("display", site.project_id)
    url = f"/api/v1/parking-counts?project_id={site.project_id}"
    items = {one["code"]: one for one in (await app_client.get(url, headers=display)).json()["items"]}
    open_stays = {
        row["code"]: row["n"]
        for row in await rows(
            worker_db,
            """SELECT l.code, count(*) AS n FROM parking_session s JOIN parking_lot l ON l.id = s.lot_id
               WHERE s.state = 'open' GROUP BY l.code""",
        )
    }
    assert {code: one["inside"] for code, one in items.items()} == open_stays == {"main": 4, "inner": 1}
    main = items["main"]
    assert (main["standing"], main["held"], main["free"], main["free_other"]) == (3, 1, 5, 3)
    for code, one in items.items():
        assert {name: told[code][name] for name in NUMBERS} == {name: one[name] for name in NUMBERS}
        by_class = {part.pop("vehicle_class"): part for part in (dict(part) for part in one["classes"])}
        assert told[code]["classes"] == by_class
    assert {name: part["free"] for name, part in told["main"]["classes"].items()} == {"small": 3, "large": 5}  # type: ignore[attr-defined]
    async with app.state.counts.stream(1, site.project_id, None, None) as stream:
        streamed = await stream.next(10)
    assert streamed is not None
    assert {one.code: (one.inside, one.free, one.free_for()) for one in streamed.items} == {
        code: (one["inside"], one["free"], one["free_other"]) for code, one in items.items()
    }


async def test_pages_and_lots_say_the_same_where_lots_are_nested_and_places_are_held(
    app_client: httpx.AsyncClient, people: People, ingest_db: Database, worker_db: Database, site: Site
) -> None:
    """Capacity less whoever has a stay said that a lot is full whose vehicles stand in the one inside it."""
    now = datetime.now(UTC)
    await _full_of_kinds(ingest_db, worker_db, site, now)
    second = replace(site.passage("inner-in", "京A00002", now - minutes(10)), direction="entry")
    await site.report(ingest_db, [second], now)
    manager = await people.staff("manager", site.project_id)
    url = f"/api/v1/parking-counts?project_id={site.project_id}"
    counted = {one["lot_id"]: one for one in (await app_client.get(url, headers=manager)).json()["items"]}
    lots = (await app_client.get("/api/v1/parking-lots", headers=manager)).json()["items"]
    assert {lot["id"]: (lot["inside"], lot["free"]) for lot in lots} == {
        lot_id: (one["inside"], one["free"]) for lot_id, one in counted.items()
    }
    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
    browser = Browser(app_client, manager)
    main = counted[site.lot_id]
    assert (main["inside"], main["standing"], main["free"]) == (4, 2, 6)
    for page in ("/parking", "/", f"/parking-lots/{site.lot_id}"):
        said = text_of(await browser.see(page))
        assert "2 / 9" in said, page
        assert "6 free" in said, page


async def test_one_lot_is_told_of_alone_and_never_of_another_project(
    app: FastAPI, app_client: httpx.AsyncClient, people: People, worker_db: Database, site: Site
) -> None:
    inner = await add_inner_lot(worker_db, site)
    far = await people.project("far")
    async with worker_db.transaction(SYSTEM) as conn:
        elsewhere = await parking.create_lot(conn, far.id, "far", "Far lot", 3)
    both = await people.staff("display", site.project_id, far.id)
    url = f"/api/v1/parking-counts?project_id={site.project_id}"
    (one,) = (await app_client.get(f"{url}&lot_id={inner}", headers=both)).json()["items"]
    assert one["code"] == "inner"
    assert len((await app_client.get(url, headers=both)).json()["items"]) == 2
    for place in ("parking-counts", "live/parking-counts"):
        asked = f"/api/v1/{place}?project_id={site.project_id}&lot_id={elsewhere.id}"
        assert (await app_client.get(asked, headers=both)).status_code == 404
    hub = app.state.counts
    async with hub.stream(1, site.project_id, inner, None) as stream, hub.stream(1, far.id, None, None) as other:
        changed, theirs = await stream.next(10), await other.next(10)
    assert changed is not None
    assert theirs is not None
    assert [lot.code for lot in changed.items] == ["inner"]
    assert [lot.code for lot in theirs.items] == ["far"]
