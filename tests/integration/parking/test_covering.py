"""Stays cost nothing while a pass, a white list, or the other one of two nested lots says so; and only then."""

from datetime import timedelta
from decimal import Decimal

import httpx

from cloud.kit.db import SYSTEM, Database
from cloud.parking import service as parking
from cloud.parking.lists import service as lists
from cloud.parking.lists.records import NewEntry
from cloud.parking.records import Cover
from cloud.parking.visitors import service as visitors
from cloud.parking.visitors.service import WantedPass
from tests.integration.app import People
from tests.integration.browser import Browser, text_of
from tests.integration.parking.nested import add_inner_lot
from tests.integration.parking.permits.holder import make_permit
from tests.integration.parking.site import NOON, Site, rows

HOUR = timedelta(hours=1)
PLATE, OTHER = "京A12345", "粤B67890"


async def visit(db: Database, site: Site, plate: str = PLATE) -> None:
    left = NOON + 5 * HOUR
    await site.report(db, [site.passage("entry", plate, NOON), site.passage("exit", plate, left)], left)


async def fees(db: Database) -> list[Decimal]:
    return [row["fee"] for row in await rows(db, "SELECT fee FROM parking_session ORDER BY id")]


async def test_a_vehicle_of_the_white_list_owes_nothing_for_that_time(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        since = NOON + 3 * HOUR
        entry = NewEntry(site.project_id, "white", PLATE, "fire brigade", None, since, None)
        await lists.add(conn, entry, "user:1", since)
    await visit(ingest_db, site)
    # Three hours before it was on the list.
    assert await fees(worker_db) == [Decimal("6.00")]


async def test_a_visitor_with_a_free_pass_owes_nothing_and_with_another_one_all(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        for plate, free in ((PLATE, True), (OTHER, False)):
            wanted = WantedPass(plate, NOON - HOUR, NOON + 9 * HOUR, free=free, lot_ids=(site.lot_id,))
            await visitors.give_pass(conn, site.project_id, wanted, now=NOON - HOUR)
    await visit(ingest_db, site)
    await visit(ingest_db, site, OTHER)
    assert await fees(worker_db) == [Decimal("0.00"), Decimal("8.00")]


async def test_a_quote_names_what_covers_the_stay(
    ingest_db: Database, worker_db: Database, app_client: httpx.AsyncClient, people: People, site: Site
) -> None:
    """While it goes on and afterwards, by number and never by name, for whoever is asked at the desk."""
    permit = await make_permit(worker_db, site, (PLATE,), since=NOON, until=NOON + HOUR)
    async with worker_db.transaction(SYSTEM) as conn:
        wanted = WantedPass(PLATE, NOON + HOUR, NOON + 3 * HOUR, note="for Mrs Wang")
        given = await visitors.give_pass(conn, site.project_id, wanted, now=NOON)
        entry = NewEntry(site.project_id, "white", PLATE, "doctor", None, NOON + 3 * HOUR, None)
        listed = await lists.add(conn, entry, "user:1", NOON)
    await site.report(ingest_db, [site.passage("entry", PLATE, NOON)], NOON)
    (stay,) = await rows(worker_db, "SELECT id FROM parking_session")
    auth = await people.staff("guard", site.project_id)
    named = [
        {"kind": "permit", "id": permit.id}, {"kind": "pass", "id": given.id}, {"kind": "list", "id": listed.id},
    ]  # fmt: skip
    address = f"/api/v1/parking-sessions/{stay['id']}/quote"
    assert (await app_client.get(address, headers=auth)).json()["covered_by"] == named
    left = NOON + 5 * HOUR
    await site.report(ingest_db, [site.passage("exit", PLATE, left)], left)
    answer = (await app_client.get(address, headers=auth)).json()
    assert (answer["covered_by"], answer["due"]["amount"]) == (named, "0.00")
    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
    page = text_of(await Browser(app_client, auth).see(f"/parking/sessions/{stay['id']}"))
    for words in (f"Permit {permit.id}", f"Visitor pass {given.id}", f"White list, entry {listed.id}"):
        assert words in page


async def test_what_covers_nothing_is_not_named_and_what_another_lot_prices_is(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    await add_inner_lot(worker_db, site)
    await make_permit(worker_db, site, (PLATE,), since=NOON - 2 * HOUR, until=NOON - HOUR)
    passages = [site.passage("entry", PLATE, NOON), site.passage("inner-in", PLATE, NOON + HOUR)]
    await site.report(ingest_db, passages, NOON + HOUR)
    async with worker_db.transaction(SYSTEM) as conn:
        found = await rows(worker_db, "SELECT id FROM parking_session WHERE lot_id = %s", (site.lot_id,))
        quote = await parking.quote(conn, found[0]["id"], NOON + 5 * HOUR)
    assert quote.covered_by == (Cover("other-lot"),)
