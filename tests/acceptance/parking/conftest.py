"""Fixtures of the edge cases of parking: a lot, its gateway's reports, the office over HTTP, who takes the money."""

from collections.abc import AsyncIterator

import httpx
import pytest

from cloud.kit.db import Database
from cloud.parking import service as parking
from cloud.payments.collecting import Collector
from tests.acceptance.parking.lot import ParkingLot
from tests.acceptance.parking.till import Till
from tests.integration.app import People, app, app_client, cheap_passwords, keys, owner_db, people
from tests.integration.parking.site import Site, make_site, where_it_is_morning
from tests.integration.payments.providers import Providers, providers, settings

__all__ = ["app", "app_client", "cheap_passwords", "keys", "owner_db", "people", "providers", "settings"]


@pytest.fixture
async def site(worker_db: Database) -> Site:
    """A lot with an entry and an exit, priced by the mall's rule; money is taken today."""
    return await make_site(worker_db, zone=where_it_is_morning())


@pytest.fixture
async def till(
    worker_db: Database, site: Site, app_client: httpx.AsyncClient, people: People, providers: Providers
) -> AsyncIterator[Till]:
    """A vehicle, who takes its money, and the providers."""
    staff = await people.staff("manager", site.project_id)
    async with providers.channels() as channels:
        collector = Collector(worker_db, channels, providers.now, takers={"parking": parking.take_paid})
        yield Till(worker_db, site, app_client, collector, providers, staff)


@pytest.fixture
async def lot(worker_db: Database, ingest_db: Database, app_client: httpx.AsyncClient, people: People) -> ParkingLot:
    """A lot with an entry and an exit: 1.5 h free, up to 2 h 5 yuan, then 1 yuan an hour, 20 at most in 24 h."""
    site = await make_site(worker_db)
    return ParkingLot(site, worker_db, ingest_db, app_client, await people.staff("manager", site.project_id))
