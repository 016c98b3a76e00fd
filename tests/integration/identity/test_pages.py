"""Signing in with a browser: cookies, forms that prove their origin, the way back, the language."""

import re

import httpx
import pytest
from fastapi import FastAPI

from cloud.identity import service
from cloud.identity.policy import Grant
from cloud.kit.db import SYSTEM, Database
from cloud.kit.security import Keys
from cloud.settings import CloudSettings
from tests.integration.app import equipped

PASSWORD = "correct horse battery"


@pytest.fixture
async def admin(owner_db: Database) -> int:
    """An administrator with a real password; the user id."""
    async with owner_db.transaction(SYSTEM) as conn:
        return await service.create_user(conn, "admin", "Admin", PASSWORD, grants=[Grant("admin", None)], locale="en")


async def _csrf(client: httpx.AsyncClient) -> str:
    page = await client.get("/login")
    assert page.status_code == 200
    found = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
    assert found is not None
    again = re.search(r'name="csrf_token" value="([^"]+)"', (await client.get("/login")).text)
    assert again is not None
    # Never twice the same and never the cookie itself: the length of compressed pages tells nothing of it.
    assert len({client.cookies["csrf_token"], found[1], again[1]}) == 3
    return found[1]


async def _sign_in(client: httpx.AsyncClient, password: str = PASSWORD, next_path: str = "/") -> httpx.Response:
    form = {"csrf_token": await _csrf(client), "login": "admin", "password": password, "next": next_path}
    return await client.post("/login", data=form)


async def test_sign_in_sets_a_safe_cookie_and_leads_back(app_client: httpx.AsyncClient, admin: int) -> None:
    answer = await _sign_in(app_client, next_path="/bills?limit=5")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/bills?limit=5")
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert (await app_client.get("/api/v1/me")).json()["user_id"] == admin


@pytest.mark.parametrize("elsewhere", ["https://evil.test/", "//evil.test", "/\\evil.test", "javascript:x", "/\tx"])
async def test_sign_in_never_leads_to_another_site(app_client: httpx.AsyncClient, admin: int, elsewhere: str) -> None:
    assert (await _sign_in(app_client, next_path=elsewhere)).headers["Location"] == "/"


async def test_a_wrong_password_shows_the_form_again(app_client: httpx.AsyncClient, admin: int) -> None:
    answer = await _sign_in(app_client, password="wrong")
    assert answer.status_code == 401
    assert 'value="admin"' in answer.text
    assert "gm_session" not in app_client.cookies


async def test_forms_from_elsewhere_are_refused(app_client: httpx.AsyncClient, admin: int) -> None:
    for form in ({}, {"csrf_token": "x" * 43}):
        answer = await app_client.post("/login", data={"login": "admin", "password": PASSWORD, **form})
        assert answer.status_code == 403


async def test_the_session_cookie_alone_changes_nothing_through_the_api(
    app_client: httpx.AsyncClient, admin: int
) -> None:
    await _sign_in(app_client)
    refused = await app_client.delete("/api/v1/tokens/999")
    assert (refused.status_code, refused.json()["code"]) == (403, "csrf")
    token = app_client.cookies["csrf_token"]
    allowed = await app_client.delete("/api/v1/tokens/999", headers={"X-CSRF-Token": token})
    assert (allowed.status_code, allowed.json()["code"]) == (404, "no-such-token")


async def test_signing_out_ends_the_session_in_the_database(app_client: httpx.AsyncClient, admin: int) -> None:
    await _sign_in(app_client)
    secret = app_client.cookies["gm_session"]
    answer = await app_client.post("/logout", data={"csrf_token": app_client.cookies["csrf_token"]})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/login")
    assert (await app_client.get("/api/v1/me", headers={"Cookie": f"gm_session={secret}"})).status_code == 401


async def test_the_language_follows_browser_cookie_and_user(
    app_client: httpx.AsyncClient, app: FastAPI, admin: int, owner_db: Database
) -> None:
    page = await app_client.get("/login", headers={"Accept-Language": "fr, zh;q=0.8, en;q=0.5"})
    expected = "zh-CN" if "zh-CN" in app.state.catalogues else "en"
    assert page.headers["Content-Language"] == expected
    await _sign_in(app_client)
    form = {"csrf_token": app_client.cookies["csrf_token"], "locale": "en", "next": "/"}
    assert (await app_client.post("/locale", data=form)).status_code == 303
    page = await app_client.get("/login", headers={"Accept-Language": "zh-CN"})
    assert page.headers["Content-Language"] == "en"
    async with owner_db.transaction(SYSTEM) as conn:
        row = await (await conn.execute("SELECT locale FROM app_user WHERE id = %s", (admin,))).fetchone()
    assert row == {"locale": "en"}


async def test_security_headers_are_on_every_answer(app_client: httpx.AsyncClient) -> None:
    for path in ("/login", "/api/v1/me", "/no-such-page", "/static/app.css"):
        headers = (await app_client.get(path)).headers
        assert "script-src 'self'" in headers["Content-Security-Policy"], path
        assert "unsafe-eval" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert re.fullmatch(r"[0-9a-f]{16}", headers["X-Request-ID"])


async def test_over_tls_cookies_are_bound_to_the_host(settings: CloudSettings, keys: Keys) -> None:
    app = equipped(settings.model_copy(update={"secure_cookies": True}), keys)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://gatemeter.test") as client:
        answer = await client.get("/login")
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("__Host-csrf_token=")
    assert "Secure" in cookie
    assert "max-age" in answer.headers["Strict-Transport-Security"]
