"""Each night the planner learns of tables that autovacuum passes over: small ones, and partitions as a whole."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from cloud.kit.db import Database
from cloud.kit.jobs import JobContext
from cloud.metering.rollups import maintenance
from tests.integration.metering.site import Site, make_site
from tests.worlds import World, world

START = datetime(2026, 3, 1, tzinfo=UTC)


@world
async def site_world(db: Database) -> Site:
    """Three meters."""
    return await make_site(db)


@pytest.fixture
def site(site_world: World[Site], worker_db: Database) -> Site:
    """That world, which only this test changes."""
    return site_world.of(worker_db)


def known(owner: "psycopg.Connection[tuple[object, ...]]") -> set[str]:
    """Tables of which the planner knows what is in them, `…*` for partitions as a whole."""
    query = "SELECT DISTINCT tablename || CASE WHEN inherited THEN '*' ELSE '' END FROM pg_stats"
    return {str(name) for (name,) in owner.execute(query + " WHERE schemaname IN ('public', 'store')")}


async def test_small_tables_and_whole_series_are_learnt_once(site: Site, owner_dsn: str, worker_db: Database) -> None:
    context = JobContext(1, None, {}, worker_db)
    with psycopg.connect(owner_dsn, autocommit=True) as owner:
        for hour in range(48):
            owner.execute(
                """INSERT INTO store.usage (meter_id, channel, start, length_s, quantity, project_id)
                   VALUES (%s, 1, %s, 3600, %s, %s)""",
                (site.meters[0], START + timedelta(hours=hour), hour, site.project_id),
            )
        assert not known(owner) & {"meter", "project", "device", "usage*"}
        learnt = (await maintenance.maintain(context))["learnt"]
        assert isinstance(learnt, int)
        assert learnt >= 4
        assert known(owner) >= {"meter", "project", "device"}
        (partitioned,) = owner.execute("SELECT NOT gm.has_timescale()").fetchone() or (None,)
        assert not partitioned or "usage*" in known(owner)
    assert (await maintenance.maintain(context))["learnt"] == 0
