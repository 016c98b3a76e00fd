"""Fixtures of the promises about money: a project with two flats, and the office that runs it over HTTP."""

import httpx
import pytest

from cloud.kit.db import SYSTEM, Database
from cloud.metering.thresholds.overrides import set_of_class
from tests.acceptance.money.office import Office
from tests.integration.app import People, app, app_client, cheap_passwords, keys, owner_db, people, settings
from tests.integration.billing.site import Site, make_site

__all__ = ["app", "app_client", "cheap_passwords", "keys", "owner_db", "people", "settings"]


@pytest.fixture
async def site(worker_db: Database) -> Site:
    """Two flats of 89.50 m² with electricity, water and property fee, and readings of three months of 2026."""
    made = await make_site(worker_db)
    for flat in made.flats:
        await made.read(flat, "electricity", [300_500, 250_000, 2_500_000])
        await made.read(flat, "water", [12_000_000, 11_345_678, 9_000_000])
    async with worker_db.transaction(SYSTEM) as conn:
        # Usage leaps from month to month here, to fill tiers: what V9 says of that is shown and holds up no bill.
        await set_of_class(conn, made.project.id, "electricity-residential", {"rules": {"high-low": "info"}})
        await set_of_class(conn, made.project.id, "water-residential", {"rules": {"high-low": "info"}})
    return made


@pytest.fixture
async def office(site: Site, app_client: httpx.AsyncClient, people: People) -> Office:
    """The office of the site, with the rights of an administrator."""
    return Office(site, app_client, await people.staff("admin"))
