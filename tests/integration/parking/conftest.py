"""A site with a lot for each test."""

import pytest

from cloud.kit.db import Database
from tests.integration.parking.site import Site, make_site
from tests.worlds import World, world


@world
async def site_world(db: Database) -> Site:
    """A lot with an entry and an exit, priced by the mall's rule."""
    return await make_site(db)


@pytest.fixture
def site(site_world: World[Site], worker_db: Database) -> Site:
    """That world, which only this test changes."""
    return site_world.of(worker_db)
