"""What the application answers beside its features: health, metrics, OpenAPI, errors."""

from typing import Any

import httpx
import psycopg
import pytest
from fastapi import FastAPI, Request

from cloud.identity.guards import public
from cloud.kit.db import SYSTEM, Database
from cloud.kit.security import Keys
from tests.integration.app import Auth, People, once


async def test_health_needs_the_database(app_client: httpx.AsyncClient) -> None:
    answer = await app_client.get("/healthz")
    assert (answer.status_code, answer.json()["status"]) == (200, "ok")


async def test_metrics_tell_what_waits(app: FastAPI, app_client: httpx.AsyncClient, owner_db: Database) -> None:
    async with owner_db.transaction(SYSTEM) as conn:
        await conn.execute(
            """INSERT INTO store.dirty_window (meter_id, channel, project_id, from_at, until_at, created_at)
               SELECT n, 1, 1, now(), now(), now() - n * interval '1 hour' FROM generate_series(1, 3) AS n"""
        )
    found = dict(line.rsplit(" ", 1) for line in (await app_client.get("/metrics")).text.splitlines())
    assert found["gatemeter_dirty_windows"] == "3.0"
    assert 10_800 <= float(found["gatemeter_dirty_window_oldest_seconds"]) < 11_000
    assert found["gatemeter_unclaimed_readings"] == "0.0"
    await app.state.db.close()
    found = dict(line.rsplit(" ", 1) for line in (await app_client.get("/metrics")).text.splitlines())
    assert found["gatemeter_dirty_windows"] == "NaN"


async def test_metrics_are_for_this_machine_only(app: FastAPI, app_client: httpx.AsyncClient) -> None:
    await app_client.get("/api/v1/me")
    assert 'route="/api/v1/me",status="401"' in (await app_client.get("/metrics")).text
    elsewhere = httpx.ASGITransport(app, client=("203.0.113.5", 1234))
    async with httpx.AsyncClient(transport=elsewhere, base_url="http://gatemeter.test") as stranger:
        assert (await stranger.get("/metrics")).status_code == 404


async def test_requests_are_counted_by_the_whole_address_of_their_route(app_client: httpx.AsyncClient) -> None:
    """Also in a subject of a feature, where page and REST have the same words below `/api/v1`."""
    for address in ("/api/v1/adjustments/5", "/adjustments/5", "/nothing/5"):
        await app_client.get(address)
    counted = (await app_client.get("/metrics")).text
    assert 'method="GET",route="/api/v1/adjustments/{adjustment_id}",status="401"' in counted
    assert 'method="GET",route="/adjustments/{adjustment_id}",status="303"' in counted
    assert 'method="GET",route="unmatched",status="404"' in counted


async def test_openapi_describes_errors_and_carries_examples(app_client: httpx.AsyncClient) -> None:
    document: dict[str, Any] = (await app_client.get("/api/v1/openapi.json")).json()
    building = document["paths"]["/api/v1/buildings"]["post"]
    assert "application/problem+json" in building["responses"]["422"]["content"]
    assert building["security"] == [{"HTTPBearer": []}, {"SessionCookie": []}]
    assert building["x-permission"] == "estate.write"
    assert "`estate.write`" in building["description"]
    assert document["components"]["schemas"]["BuildingIn"]["properties"]["code"]["examples"] == ["3"]
    assert not any(not path.startswith("/api/v1/") for path in document["paths"])
    assert "HTTPValidationError" not in document["components"]["schemas"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [("GET", "/api/v1/nothing", 404, "no-such-address"), ("PUT", "/api/v1/me", 405, "method-not-allowed")],
)
async def test_errors_of_the_api_are_problem_documents(
    app_client: httpx.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    answer = await app_client.request(method, path)
    assert answer.headers["Content-Type"] == "application/problem+json"
    document = answer.json()
    assert (answer.status_code, document["status"], document["code"]) == (status, status, code)
    assert document["type"] == f"urn:gatemeter:problem:{code}"
    assert document["request_id"] == answer.headers["X-Request-ID"]


async def test_malformed_json_and_too_much_of_it(app_client: httpx.AsyncClient) -> None:
    headers = {"Content-Type": "application/json"}
    broken = await app_client.post("/api/v1/tokens", content=b'{"login": ', headers=headers)
    assert (broken.status_code, broken.json()["code"]) == (422, "invalid-input")
    large = await app_client.post("/api/v1/tokens", content=b" " * 3_000_000, headers=headers)
    assert (large.status_code, large.json()["code"]) == (413, "too-large")

    async def endless() -> Any:
        for _ in range(400):
            yield b" " * 10_000

    unannounced = await app_client.post("/api/v1/tokens", content=endless(), headers=headers)
    assert unannounced.status_code == 413


async def test_an_unexpected_error_tells_nothing_but_a_reference(app: FastAPI, app_client: httpx.AsyncClient) -> None:
    @app.get("/api/v1/broken", dependencies=[public()])
    async def broken() -> None:
        raise ZeroDivisionError("the secret of row 7")

    answer = await app_client.get("/api/v1/broken")
    assert answer.status_code == 500
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert "secret" not in answer.text
    assert answer.json()["request_id"] in answer.json()["detail"]


async def test_a_gone_database_is_503_and_no_secret(app: FastAPI, app_client: httpx.AsyncClient) -> None:
    @app.get("/api/v1/gone", dependencies=[public()])
    async def gone(request: Request) -> None:
        raise psycopg.OperationalError("connection to host=db password=secret failed")

    answer = await app_client.get("/api/v1/gone")
    assert (answer.status_code, answer.json()["code"]) == (503, "database")
    assert "secret" not in answer.text


async def test_users_are_made_within_ones_own_rights(app_client: httpx.AsyncClient, people: People, keys: Keys) -> None:
    mine, other = await people.project(), await people.project()
    admin = await people.staff("admin", mine.id)

    async def create(auth: Auth, **changes: Any) -> httpx.Response:
        body = {
            "login": "cashier.1",
            "display_name": "Cashier",
            "password": "correct horse battery",
            "grants": [{"role": "cashier", "project_id": mine.id}],
            **changes,
        }
        return await app_client.post("/api/v1/users", json=body, headers={**auth, **once()})

    assert (await create(await people.staff("manager", mine.id))).status_code == 403
    elsewhere = await create(admin, grants=[{"role": "viewer", "project_id": other.id}])
    assert (elsewhere.status_code, elsewhere.json()["code"]) == (403, "cannot-grant")
    unknown = await create(admin, grants=[{"role": "king", "project_id": mine.id}])
    assert (unknown.status_code, unknown.json()["code"]) == (422, "unknown-role")
    made = await create(admin)
    assert made.status_code == 201, made.text
    assert made.json()["grants"] == [{"role": "cashier", "project_id": mine.id}]
    taken = await create(await people.staff("admin", other.id), grants=[{"role": "viewer", "project_id": other.id}])
    assert (taken.status_code, taken.json()["code"]) == (409, "login-taken")
    listed = (await app_client.get("/api/v1/users", headers=admin)).json()["items"]
    assert "cashier.1" in [user["login"] for user in listed]
    answer = await app_client.post("/api/v1/tokens", json={"login": "cashier.1", "password": "correct horse battery"})
    assert answer.status_code == 201
    trail = await app_client.get("/api/v1/audit-entries", params={"table_name": "role_grant"}, headers=admin)
    assert trail.json()["items"][0]["after"]["role"] == "cashier"


async def test_the_audit_trail_names_who_and_what_in_ones_projects(
    app_client: httpx.AsyncClient, people: People
) -> None:
    mine, other = await people.project(), await people.project()
    auth = await people.staff("admin")
    for project in (mine, other):
        body = {"project_id": project.id, "code": "1", "name": "One"}
        made = await app_client.post("/api/v1/buildings", json=body, headers={**auth, **once()})
        request_id = made.headers["X-Request-ID"]
    me = (await app_client.get("/api/v1/me", headers=auth)).json()
    query: dict[str, str | int] = {"table_name": "building", "limit": 1}
    page = (await app_client.get("/api/v1/audit-entries", params=query, headers=auth)).json()
    (entry,) = page["items"]
    assert (entry["user_id"], entry["request_id"], entry["action"]) == (me["user_id"], request_id, "insert")
    assert (entry["project_id"], entry["after"]["name"]) == (other.id, "One")
    older = {**query, "cursor": page["next_cursor"]}
    page = (await app_client.get("/api/v1/audit-entries", params=older, headers=auth)).json()
    assert ([entry["project_id"] for entry in page["items"]], page["next_cursor"]) == ([mine.id], None)
    narrow = await people.staff("admin", mine.id)
    page = (await app_client.get("/api/v1/audit-entries", params={"table_name": "building"}, headers=narrow)).json()
    assert [entry["project_id"] for entry in page["items"]] == [mine.id]
