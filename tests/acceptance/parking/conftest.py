"""Fixtures of the promises about parking: a lot with an entry and an exit where one also pays online."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from cloud.kit.db import Database
from cloud.parking import service as parking
from cloud.payments.collecting import Collector
from cloud.settings import CloudSettings, load_settings
from tests.acceptance.parking.till import Till
from tests.integration.app import People, app, app_client, cheap_passwords, keys, owner_db, people
from tests.integration.parking.site import Site, make_site
from tests.integration.payments.providers import PUBLIC_URL, Providers, make_providers

__all__ = ["app", "app_client", "cheap_passwords", "keys", "owner_db", "people"]


@pytest.fixture
async def site(worker_db: Database) -> Site:
    """A lot with an entry and an exit, priced by the mall's rule."""
    return await make_site(worker_db)


@pytest.fixture
def providers(tmp_path: Path) -> Providers:
    """Both peers."""
    return make_providers(tmp_path / "payments")


@pytest.fixture
def settings(owner_dsn: str, tmp_path: Path, providers: Providers) -> CloudSettings:
    """Settings of an installation where one pays online."""
    return load_settings(
        database_dsn=owner_dsn, database_pool=4, keys_file=tmp_path / "keys.json", secure_cookies=False, web_port=0,
        payments_file=providers.file, public_url=PUBLIC_URL,
    )  # fmt: skip


@pytest.fixture
async def till(
    worker_db: Database, site: Site, app_client: httpx.AsyncClient, people: People, providers: Providers
) -> AsyncIterator[Till]:
    """A vehicle, who takes its money, and the providers."""
    staff = await people.staff("manager", site.project_id)
    async with providers.channels() as channels:
        collector = Collector(worker_db, channels, providers.now, takers={"parking": parking.take_paid})
        yield Till(worker_db, site, app_client, collector, providers, staff)
