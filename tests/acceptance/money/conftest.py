"""Fixtures of the promises about money: a project with two flats, and the office that runs it over HTTP."""

import httpx
import pytest

from cloud.kit.db import Database
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
    return await made.may_leap()


@pytest.fixture
async def office(site: Site, app_client: httpx.AsyncClient, people: People) -> Office:
    """The office of the site, with the rights of an administrator."""
    return Office(site, app_client, await people.staff("admin"))


@pytest.fixture
async def chief(site: Site, app_client: httpx.AsyncClient, people: People) -> Office:
    """Somebody else in the same office, who approves what it asks for."""
    return Office(site, app_client, await people.staff("manager", site.project.id))
