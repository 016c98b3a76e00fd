"""Signing in by API: tokens, their end, and what the answers tell."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest

from cloud.identity import service
from cloud.identity.policy import Grant
from cloud.identity.sign_in import LOCK_AFTER
from cloud.kit.db import SYSTEM, Database
from tests.integration.app import People

PASSWORD = "correct horse battery"


@pytest.fixture
async def li_na(owner_db: Database, people: People) -> int:
    """A manager of one project with a real password; her user id."""
    project = await people.project("home")
    async with owner_db.transaction(SYSTEM) as conn:
        return await service.create_user(conn, "Li.Na", "李娜", PASSWORD, grants=[Grant("manager", project.id)])


async def _sign_in(client: httpx.AsyncClient, login: str = "li.na", password: str = PASSWORD) -> httpx.Response:
    return await client.post("/api/v1/tokens", json={"login": login, "password": password})


async def test_a_token_opens_what_its_user_may_do(app_client: httpx.AsyncClient, li_na: int) -> None:
    answer = await _sign_in(app_client)
    assert answer.status_code == 201
    headers = {"Authorization": f"Bearer {answer.json()['token']}"}
    me = (await app_client.get("/api/v1/me", headers=headers)).json()
    assert (me["user_id"], me["login"], me["kind"]) == (li_na, "Li.Na", "staff")
    assert "bills.run" in me["permissions"]
    refused = await app_client.get("/api/v1/users", headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (403, "no-permission")


async def test_a_revoked_token_opens_nothing(app_client: httpx.AsyncClient, li_na: int) -> None:
    token = (await _sign_in(app_client)).json()
    headers = {"Authorization": f"Bearer {token['token']}"}
    assert (await app_client.delete(f"/api/v1/tokens/{token['id']}", headers=headers)).status_code == 204
    answer = await app_client.get("/api/v1/me", headers=headers)
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")


async def test_nobody_revokes_the_token_of_another(app_client: httpx.AsyncClient, li_na: int, people: People) -> None:
    token = (await _sign_in(app_client)).json()
    other = await people.staff("admin")
    assert (await app_client.delete(f"/api/v1/tokens/{token['id']}", headers=other)).status_code == 404
    headers = {"Authorization": f"Bearer {token['token']}"}
    assert (await app_client.get("/api/v1/me", headers=headers)).status_code == 200


async def test_an_expired_token_opens_nothing(app_client: httpx.AsyncClient, li_na: int, owner_db: Database) -> None:
    async with owner_db.transaction(SYSTEM) as conn:
        past = datetime.now(UTC) - timedelta(seconds=1)
        token = await service.issue_token(conn, li_na, "bearer", "old", past)
    answer = await app_client.get("/api/v1/me", headers={"Authorization": f"Bearer {token.secret}"})
    assert answer.status_code == 401


async def test_a_closed_user_is_out_at_once(app_client: httpx.AsyncClient, li_na: int, owner_db: Database) -> None:
    headers = {"Authorization": f"Bearer {(await _sign_in(app_client)).json()['token']}"}
    async with owner_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE app_user SET active = false WHERE id = %s", (li_na,))
    assert (await app_client.get("/api/v1/me", headers=headers)).status_code == 401
    assert (await _sign_in(app_client)).status_code == 401


async def test_a_session_secret_is_no_bearer_token(
    app_client: httpx.AsyncClient, li_na: int, owner_db: Database
) -> None:
    async with owner_db.transaction(SYSTEM) as conn:
        later = datetime.now(UTC) + timedelta(hours=1)
        session = await service.issue_token(conn, li_na, "session", "browser", later)
    answer = await app_client.get("/api/v1/me", headers={"Authorization": f"Bearer {session.secret}"})
    assert answer.status_code == 401


async def test_wrong_passwords_lock_the_user_and_look_like_an_unknown_login(
    app_client: httpx.AsyncClient, li_na: int, owner_db: Database
) -> None:
    unknown = (await _sign_in(app_client, login="nobody")).json()
    for _ in range(LOCK_AFTER):
        wrong = await _sign_in(app_client, password="wrong horse")
        assert wrong.status_code == 401
        assert {**wrong.json(), "request_id": ""} == {**unknown, "request_id": ""}
    locked = await _sign_in(app_client)
    assert {**locked.json(), "request_id": ""} == {**unknown, "request_id": ""}
    async with owner_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE app_user SET locked_until = now() WHERE id = %s", (li_na,))
    assert (await _sign_in(app_client)).status_code == 201


async def test_attempts_are_throttled(app_client: httpx.AsyncClient) -> None:
    answers = [await _sign_in(app_client, login="guess") for _ in range(11)]
    assert [answer.status_code for answer in answers] == [401] * 10 + [429]
    assert answers[-1].headers["Retry-After"] == "60"


async def test_passwords_and_tokens_are_nowhere_in_the_audit_trail(
    app_client: httpx.AsyncClient, li_na: int, owner_db: Database
) -> None:
    token = (await _sign_in(app_client)).json()["token"]
    async with owner_db.transaction(SYSTEM) as conn:
        rows = await (await conn.execute("SELECT before::text, after::text FROM audit_entry")).fetchall()
        hashes = await (await conn.execute("SELECT encode(token_hash, 'hex') AS h FROM access_token")).fetchall()
    text = str(rows)
    assert "argon2" not in text
    assert token not in text
    assert hashes
    assert not any(row["h"] in text for row in hashes)
