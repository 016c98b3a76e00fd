"""Fixtures of the edge cases of parking: a lot, its gateway's reports, and the office over HTTP."""

import httpx
import pytest

from cloud.kit.db import Database
from tests.acceptance.parking.lot import ParkingLot
from tests.integration.app import People, app, app_client, cheap_passwords, keys, owner_db, people, settings
from tests.integration.parking.site import make_site

__all__ = ["app", "app_client", "cheap_passwords", "keys", "owner_db", "people", "settings"]


@pytest.fixture
async def lot(worker_db: Database, ingest_db: Database, app_client: httpx.AsyncClient, people: People) -> ParkingLot:
    """A lot with an entry and an exit: 1.5 h free, up to 2 h 5 yuan, then 1 yuan an hour, 20 at most in 24 h."""
    site = await make_site(worker_db)
    return ParkingLot(site, worker_db, ingest_db, app_client, await people.staff("manager", site.project_id))
