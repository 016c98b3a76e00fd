"""The estate through the API: what staff of two projects and residents see, and what is refused."""

from typing import Any

import httpx
import pytest

from cloud.kit.db import SYSTEM, Database
from tests.integration.app import Auth, People, once

FLAT_DATES = {"valid_from": "2024-01-01"}


async def _post(client: httpx.AsyncClient, auth: Auth, what: str, **body: Any) -> Any:
    answer = await client.post(f"/api/v1/{what}", json=body, headers={**auth, **once()})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def _get(client: httpx.AsyncClient, auth: Auth, what: str, **query: Any) -> list[dict[str, Any]]:
    answer = await client.get(f"/api/v1/{what}", params=query, headers=auth)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def _flat(client: httpx.AsyncClient, auth: Auth, project_id: int, who: str) -> dict[str, int]:
    """A building with one flat, in which `who` lives and pays."""
    building = await _post(client, auth, "buildings", project_id=project_id, code="1", name="Tower 1")
    unit = await _post(
        client, auth, "units", project_id=project_id, building_id=building["id"], code="0101", area="89.50", floor=1
    )
    person = await _post(client, auth, "people", project_id=project_id, name=who, phone="+86 138 0013 8000")
    both = {"project_id": project_id, "unit_id": unit["id"], "person_id": person["id"], **FLAT_DATES}
    await _post(client, auth, "occupancies", role="owner", **both)
    account = await _post(client, auth, "accounts", number="A-0101", **both)
    assert (unit["label"], unit["area"], account["unit_label"]) == ("Tower 1 0101", "89.50", "Tower 1 0101")
    return {"unit": unit["id"], "person": person["id"], "account": account["id"], "building": building["id"]}


@pytest.fixture
async def admin(people: People) -> Auth:
    """Staff of all projects that were there when asked."""
    return await people.staff("admin")


async def test_staff_of_one_project_and_residents_see_only_theirs(
    app_client: httpx.AsyncClient, people: People, admin: Auth
) -> None:
    first, second = await people.project(), await people.project()
    flats = {
        project.id: await _flat(app_client, admin, project.id, f"Owner of {project.code}")
        for project in (first, second)
    }
    staff = await people.staff("manager", first.id)
    resident = await people.resident(second.id, flats[second.id]["person"])
    for what in ("buildings", "units", "people", "occupancies", "accounts"):
        assert [row["project_id"] for row in await _get(app_client, admin, what)] == [first.id, second.id], what
        assert [row["project_id"] for row in await _get(app_client, staff, what)] == [first.id], what
        assert await _get(app_client, staff, what, project_id=second.id) == [], what
        assert [row["project_id"] for row in await _get(app_client, resident, what)] == [second.id], what
    refused = await app_client.post(
        "/api/v1/buildings",
        json={"project_id": second.id, "code": "2", "name": "2"},
        headers={**staff, **once()},
    )
    assert (refused.status_code, refused.json()["code"]) == (404, "no-such-project")


async def test_neighbours_are_invisible(app_client: httpx.AsyncClient, people: People, admin: Auth) -> None:
    project = await people.project()
    flat = await _flat(app_client, admin, project.id, "First")
    neighbour = await _post(app_client, admin, "people", project_id=project.id, name="Neighbour")
    unit = await _post(app_client, admin, "units", project_id=project.id, building_id=flat["building"], code="0102")
    both = {"project_id": project.id, "unit_id": unit["id"], "person_id": neighbour["id"], **FLAT_DATES}
    await _post(app_client, admin, "occupancies", role="tenant", **both)
    resident = await people.resident(project.id, neighbour["id"])
    assert [row["code"] for row in await _get(app_client, resident, "units")] == ["0102"]
    assert [row["name"] for row in await _get(app_client, resident, "people")] == ["Neighbour"]
    assert await _get(app_client, resident, "accounts") == []
    refused = await app_client.post(
        "/api/v1/people", json={"project_id": project.id, "name": "X"}, headers={**resident, **once()}
    )
    assert refused.status_code == 403


async def test_a_role_reaches_only_the_projects_it_was_given_in(app_client: httpx.AsyncClient, people: People) -> None:
    mine, other = await people.project(), await people.project()
    auth = await people.staff("manager", mine.id)
    viewer_too = await people.staff("viewer", mine.id, other.id)
    for who, seen in ((auth, [mine.id]), (viewer_too, [mine.id, other.id])):
        assert [row["id"] for row in await _get(app_client, who, "projects")] == seen
    answer = await app_client.post(
        "/api/v1/buildings",
        json={"project_id": mine.id, "code": "1", "name": "1"},
        headers={**viewer_too, **once()},
    )
    assert answer.status_code == 403


async def test_personal_data_is_sealed_found_by_index_and_masked(
    app_client: httpx.AsyncClient, people: People, admin: Auth, owner_db: Database
) -> None:
    project = await people.project()
    number = "11010119900307741X"
    made = await _post(
        app_client, admin, "people", project_id=project.id, name="李娜", phone="138 0013 8000", id_number=number
    )
    assert (made["phone"], made["id_number"]) == ("138******8000", "1101**********741X")
    viewer = await people.staff("viewer", project.id)
    (seen,) = await _get(app_client, viewer, "people", name="李")
    assert (seen["id"], seen["phone"], seen["id_number"]) == (made["id"], "138******8000", "1101**********741X")

    async def search(auth: Auth, **body: str) -> httpx.Response:
        return await app_client.post("/api/v1/people-searches", json=body, headers=auth)

    (full,) = (await search(admin, id_number=number.lower())).json()["items"]
    assert (full["phone"], full["id_number"]) == ("138 0013 8000", "1101**********741X")
    assert (await search(admin, phone="13800138001")).json()["items"] == []
    assert len((await search(admin, phone="+86 13800138000")).json()["items"]) == 1
    # A mask that a search sees through is none; and addresses end up in logs.
    assert (await search(viewer, phone="13800138000")).status_code == 403
    in_address = await app_client.get("/api/v1/people", params={"phone": "13800138000"}, headers=admin)
    assert in_address.status_code == 422
    async with owner_db.transaction(SYSTEM) as conn:
        stored = await (await conn.execute("SELECT person::text FROM person")).fetchone()
        trail = await (await conn.execute("SELECT after::text FROM audit_entry")).fetchall()
    # The end of the number with its quotation mark: digits alone stand in some time of day, too.
    for clear in ("8000", number):
        assert clear.encode().hex() not in str(stored)
        assert f'{clear}"' not in str(trail)


async def test_overlapping_occupancies_name_the_other(
    app_client: httpx.AsyncClient, people: People, admin: Auth
) -> None:
    project = await people.project()
    flat = await _flat(app_client, admin, project.id, "First")
    body = {"project_id": project.id, "unit_id": flat["unit"], "person_id": flat["person"], "role": "tenant"}
    answer = await app_client.post(
        "/api/v1/occupancies", json={**body, "valid_from": "2025-05-01"}, headers={**admin, **once()}
    )
    assert answer.status_code == 409
    assert answer.json()["detail"] == "occupancy 1 already holds from 2024-01-01/.."


async def test_who_moves_out_may_come_back(app_client: httpx.AsyncClient, people: People, admin: Auth) -> None:
    project = await people.project()
    flat = await _flat(app_client, admin, project.id, "First")
    (stay,) = await _get(app_client, admin, "occupancies", unit_id=flat["unit"])

    async def until(day: str | None, auth: Auth = admin, stay_id: int = stay["id"]) -> httpx.Response:
        body = {"valid_until": day}
        return await app_client.patch(f"/api/v1/occupancies/{stay_id}", json=body, headers=auth)

    left = await until("2025-03-01")
    assert (left.status_code, left.json()["valid"]) == (200, {"start": "2024-01-01", "end": "2025-03-01"})
    assert await _get(app_client, admin, "occupancies", unit_id=flat["unit"], valid_on="2025-03-01") == []
    again = {"project_id": project.id, "unit_id": flat["unit"], "person_id": flat["person"], "role": "owner"}
    await _post(app_client, admin, "occupancies", **again, valid_from="2025-06-01")
    # The end may be put right, but not over the second stay.
    assert (await until("2025-06-01")).status_code == 200
    for day, code in (("2025-06-02", "overlap"), (None, "overlap"), ("2024-01-01", "bad-dates")):
        assert (await until(day)).json()["code"] == code
    assert (await until("2025-02-01", stay_id=stay["id"] + 99)).status_code == 404
    assert (await until("2025-02-01", await people.staff("viewer", project.id))).status_code == 403
    assert (await until("2025-02-01", await people.resident(project.id, flat["person"]))).status_code == 403
    other = await people.project()
    assert (await until("2025-02-01", await people.staff("manager", other.id))).status_code == 404


async def test_bad_input_names_the_field(app_client: httpx.AsyncClient, people: People, admin: Auth) -> None:
    project, other = await people.project(), await people.project()
    flat = await _flat(app_client, admin, other.id, "Elsewhere")
    cases: list[tuple[str, dict[str, Any], str]] = [
        ("units", {"project_id": project.id, "building_id": flat["building"], "code": "1"}, "building_id"),
        ("units", {"project_id": project.id, "building_id": 1, "code": "1", "colour": "red"}, "colour"),
        ("units", {"project_id": project.id, "building_id": 1, "code": ""}, "code"),
        (
            "accounts",
            {"project_id": project.id, "number": "1", "person_id": 1, "valid_from": "2024-02-30"},
            "valid_from",
        ),
        (
            "households",
            {
                "project_id": other.id,
                "unit_id": flat["unit"],
                "persons": 3,
                "valid_from": "2024-02-02",
                "valid_until": "2024-02-02",
            },
            "valid_until",
        ),
    ]
    for what, body, field in cases:
        answer = await app_client.post(f"/api/v1/{what}", json=body, headers={**admin, **once()})
        assert answer.status_code == 422, (what, body)
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert [error["field"] for error in answer.json()["errors"]] == [field]


async def test_lists_are_paged_without_gaps_or_repetitions(
    app_client: httpx.AsyncClient, people: People, admin: Auth
) -> None:
    project = await people.project()
    made = [
        (await _post(app_client, admin, "buildings", project_id=project.id, code=str(n), name=str(n)))["id"]
        for n in range(5)
    ]
    seen, cursor = [], None
    while True:
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await app_client.get("/api/v1/buildings", params=query, headers=admin)).json()
        seen += [row["id"] for row in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == made
    for bad in ({"limit": 0}, {"cursor": "x"}, {"cursor": "WyJhIl0"}, {"unknown": 1}):
        assert (await app_client.get("/api/v1/buildings", params=bad, headers=admin)).status_code == 422


async def test_a_repeated_request_gets_the_first_answer(
    app_client: httpx.AsyncClient, people: People, admin: Auth, owner_db: Database
) -> None:
    project = await people.project()
    body = {"project_id": project.id, "code": "1", "name": "One"}
    headers = {**admin, **once()}
    first = await app_client.post("/api/v1/buildings", json=body, headers=headers)
    again = await app_client.post("/api/v1/buildings", json=body, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    other = await app_client.post("/api/v1/buildings", json={**body, "code": "2"}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (409, "key-reused")
    without = await app_client.post("/api/v1/buildings", json=body, headers=admin)
    assert (without.status_code, without.json()["errors"][0]["field"]) == (422, "header.idempotency-key")
    async with owner_db.transaction(SYSTEM) as conn:
        count = await (await conn.execute("SELECT count(*) AS n FROM building")).fetchone()
    assert count == {"n": 1}


async def test_a_failed_request_keeps_no_answer(app_client: httpx.AsyncClient, people: People, admin: Auth) -> None:
    project = await people.project()
    await _post(app_client, admin, "buildings", project_id=project.id, code="1", name="One")
    headers = {**admin, **once()}
    body = {"project_id": project.id, "code": "1", "name": "Again"}
    taken = await app_client.post("/api/v1/buildings", json=body, headers=headers)
    assert (taken.status_code, taken.json()["code"]) == (409, "already-exists")
    free = await app_client.post("/api/v1/buildings", json={**body, "code": "2"}, headers=headers)
    assert free.status_code == 201
