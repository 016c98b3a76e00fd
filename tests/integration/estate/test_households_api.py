"""Numbers of persons through the API: ended, put right and taken back, as occupancies are."""

from typing import Any

import httpx
import pytest

from tests.integration.app import Auth, People, once


class _Home:
    """A unit of a project, and what is asked of its numbers of persons."""

    def __init__(self, client: httpx.AsyncClient, auth: Auth, project_id: int) -> None:
        self.client, self.auth, self.project_id, self.unit_id = client, auth, project_id, 0

    async def make(self, what: str, **body: Any) -> httpx.Response:
        whole = {"project_id": self.project_id, **body}
        return await self.client.post(f"/api/v1/{what}", json=whole, headers={**self.auth, **once()})

    async def file(self, persons: int, valid_from: str) -> httpx.Response:
        return await self.make("households", unit_id=self.unit_id, persons=persons, valid_from=valid_from)

    async def change(self, household_id: int, auth: Auth | None = None, **body: Any) -> httpx.Response:
        address = f"/api/v1/households/{household_id}"
        return await self.client.patch(address, json=body, headers=auth or self.auth)

    async def filed(self) -> list[tuple[int, str, str | None]]:
        answer = await self.client.get("/api/v1/households", params={"unit_id": self.unit_id}, headers=self.auth)
        return [(one["persons"], one["valid"]["start"], one["valid"]["end"]) for one in answer.json()["items"]]


@pytest.fixture
async def home(app_client: httpx.AsyncClient, people: People) -> _Home:
    """A unit in a project of its own."""
    project = await people.project()
    made = _Home(app_client, await people.staff("admin"), project.id)
    building = (await made.make("buildings", code="1", name="Tower 1")).json()
    made.unit_id = (await made.make("units", building_id=building["id"], code="0101")).json()["id"]
    return made


async def test_a_number_ends_and_another_begins(home: _Home) -> None:
    first = (await home.file(3, "2026-01-01")).json()["id"]
    refused = await home.file(6, "2026-03-01")
    assert (refused.status_code, refused.json()["code"]) == (409, "overlap")
    ended = await home.change(first, valid_until="2026-03-01")
    assert (ended.status_code, ended.json()["valid"]) == (200, {"start": "2026-01-01", "end": "2026-03-01"})
    assert (await home.file(6, "2026-03-01")).status_code == 201
    assert await home.filed() == [(3, "2026-01-01", "2026-03-01"), (6, "2026-03-01", None)]
    for body, status, code in (
        ({"valid_until": None}, 409, "overlap"),
        ({"valid_until": "2026-03-02"}, 409, "overlap"),
        ({"valid_until": "2026-01-01"}, 422, "bad-dates"),
        ({}, 422, "invalid-input"),
        ({"persons": None}, 422, "invalid-input"),
        ({"persons": 100}, 422, "invalid-input"),
    ):
        answer = await home.change(first, **body)
        assert (answer.status_code, answer.json()["code"]) == (status, code), body
        assert answer.headers["Content-Type"] == "application/problem+json"


async def test_a_number_is_put_right_and_taken_back(home: _Home) -> None:
    filed = (await home.file(3, "2026-01-01")).json()["id"]
    right = await home.change(filed, persons=4)
    assert (right.json()["persons"], right.json()["valid"]["end"]) == (4, None)
    assert (await home.change(filed, persons=5, valid_until="2026-02-01")).status_code == 200
    assert await home.filed() == [(5, "2026-01-01", "2026-02-01")]
    assert (await home.change(filed, valid_until=None)).status_code == 200
    address = f"/api/v1/households/{filed}"
    assert (await home.client.delete(address, headers=home.auth)).status_code == 204
    assert await home.filed() == []
    assert (await home.client.delete(address, headers=home.auth)).json()["code"] == "no-such-household"


async def test_only_who_may_write_people_of_the_project_changes_it(home: _Home, people: People) -> None:
    filed = (await home.file(3, "2026-01-01")).json()["id"]
    elsewhere = await people.project()
    for auth, status in (
        (await people.staff("viewer", home.project_id), 403),
        (await people.staff("cashier", home.project_id), 403),
        (await people.staff("manager", elsewhere.id), 404),
    ):
        assert (await home.change(filed, auth, persons=9)).status_code == status
        gone = await home.client.delete(f"/api/v1/households/{filed}", headers=auth)
        assert gone.status_code == status
    assert await home.filed() == [(3, "2026-01-01", None)]


async def test_an_occupancy_that_never_was_is_taken_back(home: _Home, people: People) -> None:
    person = (await home.make("people", name="Wrong")).json()["id"]
    stay = await home.make(
        "occupancies", unit_id=home.unit_id, person_id=person, role="tenant", valid_from="2026-01-01"
    )
    address = f"/api/v1/occupancies/{stay.json()['id']}"
    viewer = await people.staff("viewer", home.project_id)
    assert (await home.client.delete(address, headers=viewer)).status_code == 403
    assert (await home.client.delete(address, headers=home.auth)).status_code == 204
    assert (await home.client.delete(address, headers=home.auth)).status_code == 404
