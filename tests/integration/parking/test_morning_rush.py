"""A morning rush in disorder gives the right stays and fees; the long one is a benchmark (`parking`)."""

from datetime import timedelta
from random import Random

from cloud.kit.db import Database
from gateway.contract.messages import Passage
from tests.integration.parking.site import NOON, Site, rows, stays

VEHICLES = 300


async def test_a_rush_in_disorder(ingest_db: Database, site: Site) -> None:
    chance, told = Random(4), list[Passage]()
    for number in range(VEHICLES):
        plate, came = f"沪{number:06}", NOON + timedelta(seconds=chance.randrange(3 * 3600))
        entered = site.passage("entry", plate, came, "arrived")
        left = site.passage("exit", plate, came + timedelta(hours=5), "arrived")
        told += [entered, site.passage("entry", plate, came, "passed", entered)]
        told += [left, site.passage("exit", plate, came + timedelta(hours=5), "passed", left)]
    told += chance.sample(told, VEHICLES)
    chance.shuffle(told)
    for start in range(0, len(told), 100):
        await site.report(ingest_db, told[start : start + 100], NOON + timedelta(days=1))
    found = await stays(ingest_db)
    assert len(found) == VEHICLES
    assert {(state, str(fee)) for _, state, _, _, fee, _ in found} == {("closed", "8.00")}
    assert await rows(ingest_db, "SELECT DISTINCT incident FROM passage") == [{"incident": None}]
