"""What surrounds every request: headers, limits of time and of connections, transactions, and what is never told."""

import asyncio
import hashlib
import json
import logging
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request

from cloud.identity.guards import Scope, allow, public
from cloud.kit.db import NOBODY, SYSTEM, Asker, Database
from cloud.kit.requests import SECURITY_HEADERS
from cloud.logs import configure_logging
from tests.integration.app import Auth, People, once
from tests.plain_logs import log_plainly


@pytest.fixture
async def admin(people: People) -> Auth:
    """Staff who may do everything."""
    await people.project("one")
    return await people.staff("admin")


async def test_every_answer_carries_the_security_headers(app: FastAPI, app_client: httpx.AsyncClient) -> None:
    async def broken() -> None:
        raise ZeroDivisionError

    for address in ("/broken", "/api/v1/broken"):
        app.add_api_route(address, broken, dependencies=[public()])
    for path in ("/healthz", "/login", "/bills", "/nothing", "/static/nothing.js", "/static/", "/static/app.css",
                 "/api/v1/me", "/broken", "/api/v1/broken"):  # fmt: skip
        answer = await app_client.get(path, headers={"X-Request-ID": "asked-by-test"})
        assert {name: answer.headers.get(name) for name in SECURITY_HEADERS} == SECURITY_HEADERS, path
        assert answer.headers["X-Request-ID"] == "asked-by-test"


async def test_no_answer_names_the_host_that_the_request_named(app_client: httpx.AsyncClient) -> None:
    for path in ("/api/v1/bills/", "/bills/", "/login/", "//evil.example/%2f.."):
        answer = await app_client.get(path, headers={"Host": "evil.example"})
        where = answer.headers.get("Location", "")
        assert "evil.example" not in where.split("?")[0], path
        assert "http" not in where


async def test_when_all_connections_are_busy_the_answer_says_so(
    app: FastAPI, app_client: httpx.AsyncClient, owner_dsn: str
) -> None:
    async with Database(owner_dsn, "gatemeter_web", max_size=1, timeout_s=0.2) as small:
        app.state.db = small
        async with small.transaction(NOBODY):
            answer = await app_client.get("/api/v1/me", headers={"Authorization": "Bearer x"})
    assert (answer.status_code, answer.json()["code"], answer.headers["Retry-After"]) == (503, "busy", "5")


async def test_the_web_waits_for_no_statement_lock_or_idle_transaction_for_ever(
    app: FastAPI, app_client: httpx.AsyncClient, web_db: Database, worker_db: Database
) -> None:
    async def limits(db: Database) -> list[str]:
        async with db.transaction(NOBODY) as conn:
            names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
            rows = [await (await conn.execute("SELECT current_setting(%s) AS v", (name,))).fetchone() for name in names]
        return [row["v"] for row in rows if row is not None]

    assert await limits(web_db) == ["20s", "10s", "1min"]
    assert await limits(worker_db) == ["0", "0", "0"]

    @app.get("/api/v1/slow", dependencies=[public()])
    async def slow(request: Request) -> None:
        async with request.app.state.db.transaction(NOBODY) as conn:
            await conn.execute("SET LOCAL statement_timeout = 20")
            await conn.execute("SELECT pg_sleep(5)")

    answer = await app_client.get("/api/v1/slow")
    assert (answer.status_code, answer.json()["code"]) == (503, "too-slow")


async def test_a_standby_and_a_transaction_that_idled_too_long_are_to_be_asked_again(
    app: FastAPI, app_client: httpx.AsyncClient
) -> None:
    @app.get("/api/v1/standby", dependencies=[public()])
    async def standby(request: Request) -> None:
        async with request.app.state.db.transaction(NOBODY) as conn:
            await conn.execute("SET LOCAL transaction_read_only = on")
            await conn.execute("DELETE FROM project")

    @app.get("/api/v1/idle", dependencies=[public()])
    async def idle(request: Request) -> None:
        async with request.app.state.db.transaction(NOBODY) as conn:
            await conn.execute("SET LOCAL idle_in_transaction_session_timeout = 20")
            async with asyncio.timeout(60):
                while await _goes_on(request.app.state.db, conn.info.backend_pid):
                    await asyncio.sleep(0.02)
            await conn.execute("SELECT 1")

    answer = await app_client.get("/api/v1/standby")
    assert (answer.status_code, answer.json()["code"], answer.headers["Retry-After"]) == (503, "database", "5")
    answer = await app_client.get("/api/v1/idle")
    assert (answer.status_code, answer.json()["code"]) == (503, "too-slow")


async def _goes_on(db: Database, backend: int) -> bool:
    """Whether the server still holds this connection."""
    async with db.transaction(NOBODY) as other:
        row = await (await other.execute("SELECT FROM pg_stat_activity WHERE pid = %s", (backend,))).fetchone()
    return row is not None


async def test_an_answer_is_sent_after_the_commit_only(
    app: FastAPI, app_client: httpx.AsyncClient, admin: Auth
) -> None:
    reading = allow("bills.read")

    @app.get("/api/v1/commits")
    async def commits(scope: Scope = reading) -> dict[str, str]:
        # An issued bill without lines and with a total: refused by a trigger that looks when the transaction commits.
        await scope.conn.execute("INSERT INTO person (project_id, name) VALUES (1, 'Li Na')")
        await scope.conn.execute(
            """INSERT INTO account (project_id, number, person_id, valid)
               SELECT 1, 'A', id, '[2026-01-01,)' FROM person"""
        )
        await scope.conn.execute(
            """INSERT INTO bill (project_id, account_id, number, period, currency, total, issued_on, due_on, state,
                                 engine_version, inputs)
               SELECT 1, id, 'B', '[2026-01-01,2026-02-01)', 'CNY', 5, now(), now(), 'issued', '1', '{}' FROM account"""
        )
        return {"state": "done"}

    answer = await app_client.get("/api/v1/commits", headers=admin)
    assert (answer.status_code, answer.json()["code"]) == (409, "refused")


async def test_who_asked_before_on_the_same_connection_is_forgotten(owner_dsn: str, people: People) -> None:
    project = await people.project()
    async with Database(owner_dsn, "gatemeter_web", max_size=1) as one:
        for failing in (False, True):
            try:
                async with one.transaction(Asker("staff", (project.id,), user_id=7, request_id="r")) as conn:
                    assert await (await conn.execute("SELECT id FROM project")).fetchall() == [{"id": project.id}]
                    if failing:
                        raise LookupError
            except LookupError:
                pass
            async with one.transaction(NOBODY) as conn:
                assert await (await conn.execute("SELECT id FROM project")).fetchall() == []
                row = await (await conn.execute("SELECT gm.kind() AS kind, gm.user_id() AS id")).fetchone()
                assert row == {"kind": "nobody", "id": None}


BAD: list[tuple[str, str, Any, int, str]] = [
    ("POST", "buildings", {"project_id": 1, "code": "1", "name": "a\0b"}, 422, "name"),
    ("POST", "buildings", {"project_id": 1, "code": "1", "name": "x" * 201}, 422, "name"),
    ("POST", "buildings", {"project_id": 2**63, "code": "1", "name": "1"}, 422, "project_id"),
    ("POST", "buildings", {"project_id": 10**400, "code": "1", "name": "1"}, 422, "project_id"),
    ("POST", "buildings", {"project_id": "one", "code": "1", "name": "1"}, 422, "project_id"),
    ("POST", "buildings", {"project_id": 1, "code": "1", "name": "1", "color": "red"}, 422, "color"),
    ("POST", "buildings", {"project_id": 1, "code": "1", "name": "1", "\ud800": 1}, 422, "body"),
    ("POST", "buildings", [], 422, "body"),
    ("POST", "commands", {"project_id": 1, "device_id": 1, "action": "read-now", "reason": "x",
                          "arguments": {"a": "b\0"}}, 422, "arguments"),
    ("POST", "occupancies", {"project_id": 1, "unit_id": 1, "person_id": 1, "role": "owner",
                             "valid_from": "2026-02-30"}, 422, "valid_from"),
    ("POST", "occupancies", {"project_id": 1, "unit_id": 1, "person_id": 1, "role": "owner",
                             "valid_from": "0001-01-01"}, 422, "valid_from"),
    ("POST", "vehicles", {"project_id": 1, "plate": "京A1", "person_id": 1,
                          "valid_from": "0001-01-01T00:00:00+14:00"}, 422, "valid_from"),
    ("POST", "vehicles", {"project_id": 1, "plate": "京A1", "person_id": 1, "valid_from": "2026-01-01T00:00:00"},
     422, "valid_from"),
    ("POST", "users", {"login": "li.na", "display_name": "Li", "password": "0123456789\0", "grants": [
        {"role": "guard", "project_id": 1}]}, 422, "password"),
    ("POST", "users", {"login": "li.na", "display_name": "Li", "password": "0123456789ab", "grants": [
        {"role": "guard", "project_id": "x"}]}, 422, "grants.0.project_id"),
    ("POST", "tokens", {"login": "a\0", "password": "x"}, 422, "login"),
    ("GET", "bills?cursor=WyJhIl0", None, 422, "cursor"),
    ("GET", "tariffs?cursor=WyJhIl0", None, 422, "cursor"),
    ("GET", "parking-lots?cursor=WyJhIl0", None, 422, "cursor"),
    ("GET", "bills?cursor=e30", None, 422, "cursor"),
    ("GET", "bills?limit=-1", None, 422, "limit"),
    ("GET", "bills?limit=501", None, 422, "limit"),
    ("GET", "bills?colour=red", None, 422, "colour"),
    ("GET", "bills?project_id=9223372036854775808", None, 422, "project_id"),
    ("GET", "bills/9223372036854775808", None, 422, "bill_id"),
    ("GET", "units?code=%00", None, 422, "code"),
    ("GET", "meters/1/usage?from=0001-01-01&to=0001-01-02", None, 422, "from"),
]  # fmt: skip


async def test_bad_input_is_named_by_its_place(app_client: httpx.AsyncClient, admin: Auth) -> None:
    wrong = []
    for method, path, body, status, field in BAD:
        headers = {**admin, **once(), "Content-Type": "application/json"}
        content = None if body is None else json.dumps(body)
        answer = await app_client.request(method, f"/api/v1/{path}", content=content, headers=headers)
        assert answer.headers["Content-Type"] == "application/problem+json", answer.text
        if (answer.status_code, answer.json()["errors"][0]["field"]) != (status, field):
            wrong.append((path, body, answer.text))
    assert wrong == []


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [("text/plain", b"{}", 415), ("application/x-www-form-urlencoded", b"a=b", 415), ("application/json", b"{", 422)],
)
async def test_what_is_no_json_is_refused_as_such(
    app_client: httpx.AsyncClient, admin: Auth, content_type: str, body: bytes, status: int
) -> None:
    headers = {**admin, **once(), "Content-Type": content_type}
    answer = await app_client.post("/api/v1/buildings", content=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert [error["field"] for error in answer.json().get("errors", [])] == (["body"] if status == 422 else [])


@pytest.fixture
def logs_as_before() -> Iterator[None]:
    """What a test logs, the tests after it do not."""
    root = logging.getLogger()
    level = root.level
    yield
    root.setLevel(level)
    log_plainly()


@pytest.mark.usefixtures("logs_as_before")
async def test_kept_requests_cannot_be_guessed_and_logs_tell_no_secret(
    app_client: httpx.AsyncClient, admin: Auth, owner_db: Database, capfd: pytest.CaptureFixture[str]
) -> None:
    configure_logging("debug")
    secrets = {"password": "correct horse battery", "phone": "13800138000", "id_number": "11010119900307741X"}
    person = {"project_id": 1, "name": "Li", "phone": secrets["phone"], "id_number": secrets["id_number"]}
    user = {"login": "li.na", "display_name": "Li", "password": secrets["password"],
            "grants": [{"role": "guard", "project_id": 1}]}  # fmt: skip
    bodies = [("people", person), ("users", user), ("users", user), ("people-searches", {"phone": secrets["phone"]}),
              ("vehicles", {"project_id": 1, "plate": "京A99999", "person_id": 404})]  # fmt: skip
    for name, body in bodies:
        await app_client.post(f"/api/v1/{name}", json=body, headers={**admin, **once()})
    signed_in = await app_client.post("/api/v1/tokens", json={"login": "li.na", "password": secrets["password"]})
    secrets["token"] = signed_in.json()["token"]
    await app_client.post("/api/v1/tokens", json={"login": "li.na", "password": secrets["password"] + "!"})
    logging.getLogger().handlers.clear()
    logged = capfd.readouterr().err
    assert "identity.sign_in_refused" in logged
    async with owner_db.transaction(SYSTEM) as conn:
        kept = await (await conn.execute("SELECT request_hash, answer::text FROM idempotency_key")).fetchall()
        audit = await (await conn.execute("SELECT before::text, after::text FROM audit_entry")).fetchall()
        tokens = await (await conn.execute("SELECT token_hash FROM access_token")).fetchall()
    for name, secret in [
        *secrets.items(),
        ("admin", admin["Authorization"].removeprefix("Bearer ")),
        ("plate", "京A9"),
    ]:
        assert secret not in logged, name
        assert secret not in str(audit) + str(kept), name
        assert secret.encode() not in [bytes(row["token_hash"]) for row in tokens]
    for name, body in bodies:
        content = httpx.Request("POST", "http://gatemeter.test", json=body).content
        plain = hashlib.sha256(f"POST /api/v1/{name}?\n".encode() + content).digest()
        assert plain not in [bytes(row["request_hash"]) for row in kept]
