"""The web application over the test database, and users to ask it with. Fixtures reach tests through conftest.py."""

import itertools
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from cloud.app import create_app, equip
from cloud.estate import service as estate
from cloud.estate.records import Project
from cloud.identity import passwords, repository, service
from cloud.identity.policy import Grant
from cloud.kit.db import SYSTEM, Conn, Database
from cloud.kit.security import Keys
from cloud.settings import CloudSettings, load_settings

Auth = dict[str, str]
"""Headers that make a request somebody's."""


@pytest.fixture(autouse=True)
def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashes that cost a millisecond: these tests ask whether passwords are checked, not how slowly."""
    monkeypatch.setattr(passwords, "_hasher", PasswordHash((Argon2Hasher(time_cost=1, memory_cost=64),)))
    passwords._nobodys_hash.cache_clear()


@pytest.fixture
def keys() -> Keys:
    """Fresh keys."""
    return Keys.generate()


@pytest.fixture
def settings(owner_dsn: str, tmp_path: Path) -> CloudSettings:
    """Settings for plain HTTP over the test database."""
    return load_settings(
        database_dsn=owner_dsn, database_pool=4, keys_file=tmp_path / "keys.json", secure_cookies=False, web_port=0
    )


@cache
def assembled(*, docs: bool = True, tls: bool = False, twin: bool = False) -> FastAPI:
    """The application with all its routes, which take a second and more to make, for one test after another.

    Not started and without a database: what its routes say. A test that runs two at once has the `twin` for the second.
    """
    return create_app(
        load_settings(database_dsn="host=nowhere", keys_file="unused", docs=docs, secure_cookies=tls), Keys.generate()
    )


def equipped(settings: CloudSettings, keys: Keys, *, twin: bool = False) -> FastAPI:
    """The application with these settings, as `create_app` gives it; whoever had it before must have ended."""
    made = assembled(docs=settings.docs, tls=settings.secure_cookies, twin=twin)
    equip(made, settings, keys)
    return made


def nobody_answers(request: httpx.Request) -> httpx.Response:
    """For a client that must not leave the process."""
    raise httpx.ConnectError("tests ask no provider of payments", request=request)


@pytest.fixture
async def app(settings: CloudSettings, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FastAPI]:
    """The started application. Routes that a test adds are gone after it."""
    monkeypatch.setattr(
        "cloud.app.new_client", lambda: httpx.AsyncClient(transport=httpx.MockTransport(nobody_answers))
    )
    made = equipped(settings, keys)
    routes = list(made.router.routes)
    async with made.router.lifespan_context(made):
        yield made
    made.router.routes[:] = routes


@pytest.fixture
async def app_client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client that speaks to the application without a socket; it keeps cookies and follows no redirect."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://gatemeter.test") as client:
        yield client


@pytest.fixture
async def owner_db(owner_dsn: str) -> AsyncIterator[Database]:
    """The database as its owner sees it: everything, past row-level security."""
    async with Database(owner_dsn, None, max_size=2) as db:
        yield db


@dataclass
class People:
    """Makes projects and signed-in users, the short way: no password is ever hashed."""

    db: Database
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    async def project(self, code: str | None = None, currency: str = "CNY") -> Project:
        """A new project in Asia/Shanghai."""
        name = code or f"project-{next(self._numbers)}"
        async with self.db.transaction(SYSTEM) as conn:
            return await estate.create_project(conn, name, name.upper(), "Asia/Shanghai", currency)

    async def staff(self, role: str = "admin", *project_ids: int) -> Auth:
        """Headers of a new member of staff with `role` in the projects; in all when none is named."""
        grants = [Grant(role, project_id) for project_id in project_ids] or [Grant(role, None)]
        return await self._signed_in(grants, [])

    async def resident(self, project_id: int, person_id: int) -> Auth:
        """Headers of a new resident who is this person."""
        return await self._signed_in([], [(project_id, person_id)])

    async def merchant(self, project_id: int, merchant_id: int) -> Auth:
        """Headers of a new user of this merchant."""
        return await self._signed_in([], [], (project_id, merchant_id))

    async def _signed_in(
        self, grants: list[Grant], links: list[tuple[int, int]], merchant: tuple[int, int] | None = None
    ) -> Auth:
        async with self.db.transaction(SYSTEM) as conn:
            user_id = await self._user(conn)
            await repository.insert_grants(conn, user_id, grants)
            for project_id, person_id in links:
                await service.link_resident(conn, user_id, project_id, person_id)
            if merchant is not None:
                await repository.insert_merchant_link(conn, user_id, *merchant)
            expires_at = datetime.now(UTC) + timedelta(hours=1)
            token = await service.issue_token(conn, user_id, "bearer", "test", expires_at)
        return {"Authorization": f"Bearer {token.secret}"}

    async def _user(self, conn: Conn) -> int:
        login = f"user{next(self._numbers)}-{secrets.token_hex(3)}"
        user_id, _ = await repository.insert_user(conn, login, login, "no password opens this", "en")
        return user_id


@pytest.fixture
def people(owner_db: Database) -> People:
    """Makes projects and signed-in users."""
    return People(owner_db)


def once() -> Auth:
    """A fresh Idempotency-Key header."""
    return {"Idempotency-Key": secrets.token_hex(16)}
