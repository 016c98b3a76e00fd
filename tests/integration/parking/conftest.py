"""A site with a lot for each test."""

import pytest

from cloud.kit.db import Database
from tests.integration.parking.site import Site, make_site


@pytest.fixture
async def site(worker_db: Database) -> Site:
    """A lot with an entry and an exit, priced by the mall's rule."""
    return await make_site(worker_db)
