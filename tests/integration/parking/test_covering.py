"""Stays cost nothing while a pass, a white list, or the other one of two nested lots says so; and only then."""

from datetime import timedelta
from decimal import Decimal

from cloud.kit.db import SYSTEM, Database
from cloud.parking.lists import service as lists
from cloud.parking.lists.records import NewEntry
from cloud.parking.visitors import service as visitors
from cloud.parking.visitors.service import WantedPass
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
