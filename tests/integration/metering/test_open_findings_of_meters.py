"""What is open about some meters is found meter by meter: nothing is read of the others, however much is open there."""

from datetime import UTC, datetime
from typing import LiteralString

import numpy as np
import psycopg
import pytest

from cloud.kit.columns import Int8Column, TimeColumn
from cloud.kit.db import SYSTEM, Database
from cloud.kit.periods import in_ms
from cloud.metering.checks import findings_sql
from cloud.metering.exceptions import repository
from tests.integration.billing.site import Site, make_site
from tests.plans import rows_read
from tests.worlds import World, world

METERS, DAYS = 400, 30
_MANY: LiteralString = """
    INSERT INTO meter_exception (project_id, meter_id, channel, rule, from_at, until_at)
    SELECT m.project_id, m.id, 1, 'spike', '2026-01-01'::timestamptz + n * interval '1 day',
           '2026-01-02'::timestamptz + n * interval '1 day'
    FROM meter m CROSS JOIN generate_series(0, %s) n RETURNING 1
"""


@world
async def site_world(db: Database) -> Site:
    """A finding of each of 30 days is open for each of 400 meters."""
    made = await make_site(db, flats=METERS // 2, services=("electricity",))
    assert len(await made.rows(_MANY, DAYS - 1)) == METERS * DAYS
    return made


@pytest.fixture
def site(site_world: World[Site], worker_db: Database) -> Site:
    """That world, which only this test changes."""
    return site_world.of(worker_db)


@pytest.mark.parametrize("statistics", [False, True])
@pytest.mark.parametrize("count", [1, 10, 200])
async def test_findings_of_other_meters_are_not_read(site: Site, owner_dsn: str, statistics: bool, count: int) -> None:
    if statistics:
        with psycopg.connect(owner_dsn, autocommit=True) as owner:
            owner.execute("ANALYZE meter_exception")
    meters = [flat.meters["electricity"] for flat in site.flats][:count]
    start, end = datetime(2026, 1, 10, tzinfo=UTC), datetime(2026, 1, 12, tzinfo=UTC)
    asked = {
        "project_id": site.project.id,
        "meters": Int8Column(np.array(meters, np.int64)),
        "from": TimeColumn(np.full(count, in_ms(start))),
        "until": TimeColumn(np.full(count, in_ms(end))),
        "rules": ["spike"],
    }
    assert await rows_read(site.db, findings_sql.OPEN, asked, "meter_exception") == 2 * count
    of_bills = {"project_id": site.project.id, "meters": meters, "start": start, "end": end}
    assert await rows_read(site.db, repository._OPEN, of_bills, "meter_exception") <= DAYS * count
    async with site.db.transaction(SYSTEM) as conn:
        found = await repository.open_of(conn, site.project.id, meters, start, end)
    assert [one.meter_id for one in found] == sorted(meters * 3)
