"""Stays cost nothing while a pass, a white list, or the other one of two nested lots says so; and only then."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from decimal import Decimal

import httpx
import pytest

from cloud.kit.db import SYSTEM, Conn, Database
from cloud.parking import service as parking
from cloud.parking.lists import service as lists
from cloud.parking.lists.records import NewEntry
from cloud.parking.permits import service as permits
from cloud.parking.permits.records import Holding, NewPermit
from cloud.parking.records import Cover
from cloud.parking.visitors import service as visitors
from cloud.parking.visitors.service import WantedPass
from tests.integration.app import People
from tests.integration.browser import Browser, text_of
from tests.integration.parking.nested import add_inner_lot, set_policy
from tests.integration.parking.permits.holder import make_permit
from tests.integration.parking.site import NOON, Site, openings, rows

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


async def _permit(conn: Conn, site: Site) -> None:
    new = NewPermit("staff", (site.lot_id,), NOON - HOUR, None, Holding((PLATE,), note="guard"))
    await permits.create_permit(conn, site.project_id, new, at=NOON - HOUR)


async def _pass(conn: Conn, site: Site) -> None:
    wanted = WantedPass(PLATE, NOON - HOUR, NOON + 9 * HOUR)
    await visitors.give_pass(conn, site.project_id, wanted, now=NOON - HOUR)


async def _white(conn: Conn, site: Site) -> None:
    entry = NewEntry(site.project_id, "white", PLATE, "fire brigade", None, NOON - HOUR, None)
    await lists.add(conn, entry, "user:1", NOON - HOUR)


@pytest.mark.parametrize("cover", [_permit, _pass, _white])
async def test_who_is_covered_where_nobody_saw_him_come_pays_no_fixed_charge(
    ingest_db: Database, worker_db: Database, site: Site, cover: Callable[[Conn, Site], Awaitable[None]]
) -> None:
    """Lanes that know of it let him out; the cloud must not ask him for money where they do not."""
    await set_policy(worker_db, site.lot_id, unseen_entry=[{"then": "fixed-charge", "amount": "20.00"}])
    async with worker_db.transaction(SYSTEM) as conn:
        await cover(conn, site)
    for plate, due in ((PLATE, Decimal(0)), (OTHER, Decimal("20.00"))):
        arrived = site.passage("exit", plate, NOON, "arrived")
        await site.report(ingest_db, [arrived], NOON)
        (stay,) = await rows(worker_db, "SELECT id FROM parking_session WHERE plate = %s", (plate,))
        async with worker_db.transaction(SYSTEM) as conn:
            assert (await parking.quote(conn, stay["id"], NOON)).due == due
        assert len(await openings(worker_db)) == 1, "he goes, the other one waits"
        await site.report(ingest_db, [site.passage("exit", plate, NOON, known=arrived)], NOON)
        (stay,) = await rows(worker_db, "SELECT id, fee FROM parking_session WHERE plate = %s", (plate,))
        async with worker_db.transaction(SYSTEM) as conn:
            quote = await parking.quote(conn, stay["id"], NOON + HOUR)
        assert (quote.due, stay["fee"]) == (due, due)
        assert len(quote.covered_by) == (plate == PLATE)
