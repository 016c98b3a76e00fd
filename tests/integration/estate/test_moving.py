"""Pages about who lives where: moving in and out, wrong entries, numbers of persons, and what is left open."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import pytest

from cloud.estate import service as estate
from cloud.estate.records import Project, Unit
from cloud.identity.guards import SESSION_COOKIE
from cloud.kit.db import SYSTEM
from cloud.kit.paging import PageRequest
from cloud.kit.periods import local_day
from tests.integration.app import Auth, People
from tests.integration.browser import Browser, text_of


@dataclass
class Place:
    """A unit with an owner who lives there and pays, and a manager at his browser."""

    people: People
    browser: Browser
    project: Project
    unit: Unit
    owner_id: int
    account_id: int

    @property
    def at(self) -> str:
        return f"/estate/units/{self.unit.id}"

    async def stays(self) -> list[tuple[str, str, date, date | None]]:
        async with self.people.db.transaction(SYSTEM) as conn:
            found = await estate.list_occupancies(conn, PageRequest(), estate.EstateFilter(unit_id=self.unit.id))
        return [(one.person_name, one.role, one.valid.start, one.valid.end) for one in found.items]

    async def filed(self) -> list[tuple[int, date, date | None]]:
        async with self.people.db.transaction(SYSTEM) as conn:
            found = await estate.list_households(conn, PageRequest(), estate.EstateFilter(unit_id=self.unit.id))
        return sorted(((one.persons, one.valid.start, one.valid.end) for one in found.items), key=lambda one: one[1])

    async def stay_id(self, name: str) -> int:
        async with self.people.db.transaction(SYSTEM) as conn:
            found = await estate.list_occupancies(conn, PageRequest(), estate.EstateFilter(unit_id=self.unit.id))
        return next(one.id for one in found.items if one.person_name == name)

    def today(self) -> date:
        return local_day(datetime.now(UTC), self.project.zone)


async def _browser(client: httpx.AsyncClient, people: People, auth: Auth) -> Browser:
    async with people.db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
    return Browser(client, auth)


@pytest.fixture
async def place(app_client: httpx.AsyncClient, people: People) -> Place:
    """Li Na owns the unit since 2024, lives there and pays."""
    project = await people.project()
    browser = await _browser(app_client, people, await people.staff("manager", project.id))
    async with people.db.transaction(SYSTEM) as conn:
        building = await estate.create_building(conn, project.id, "1", "Tower 1")
        unit = await estate.create_unit(conn, project.id, building.id, "0101")
        query = "INSERT INTO person (project_id, name) VALUES (%s, 'Li Na') RETURNING id"
        row = await (await conn.execute(query, (project.id,))).fetchone()
        assert row is not None
        await estate.create_occupancy(conn, project.id, unit.id, row["id"], "owner", date(2024, 1, 1))
        account = await estate.create_account(conn, project.id, "A-1", unit.id, row["id"], date(2024, 1, 1))
    await browser.see("/estate/moves")
    return Place(people, browser, project, unit, row["id"], account.id)


async def test_a_new_person_moves_in(place: Place) -> None:
    page = text_of(await place.browser.see(place.at))
    assert "Li Na" in page
    assert "No number is filed" in page
    form = text_of(await place.browser.see(f"{place.at}/move-in"))
    assert "Living here now: Li Na (owner)" in form
    sent: dict[str, Any] = {
        "name": "Wang Wei",
        "phone": "13800138000",
        "role": "tenant",
        "first_day": "2026-03-15",
        "persons": "4",
    }
    token = "the-same-form-twice"
    done = await place.browser.send(f"{place.at}/move-in", **sent, once=token)
    again = await place.browser.send(f"{place.at}/move-in", **sent, once=token)
    assert done.headers["Location"] == again.headers["Location"] == f"{place.at}?done=moved-in"
    assert ("Wang Wei", "tenant", date(2026, 3, 15), None) in await place.stays()
    assert len(await place.stays()) == 2
    assert await place.filed() == [(4, date(2026, 3, 15), None)]
    page = text_of(await place.browser.see(place.at))
    assert "4 persons" in page
    assert "since Mar 15, 2026" in page


async def test_a_known_person_is_found_by_name_and_cannot_live_there_twice(place: Place) -> None:
    found = await place.browser.see(f"{place.at}/move-in?name=Li")
    assert f'value="{place.owner_id}"' in found
    sent: dict[str, Any] = {
        "person_id": str(place.owner_id),
        "looked_for": "Li",
        "role": "tenant",
        "first_day": "2026-03-15",
    }
    refused = await place.browser.send(f"{place.at}/move-in", 409, **sent)
    assert 'data-problem-of="valid_from"' in refused.text
    assert "Li Na is already entered here, since Jan 1, 2024." in text_of(refused.text)
    nobody = await place.browser.send(f"{place.at}/move-in", 422, role="tenant", first_day="2026-03-15")
    assert 'data-problem-of="name"' in nobody.text
    bad = await place.browser.send(f"{place.at}/move-in", 422, name="X", phone="?", role="tenant", first_day="x")
    assert "is-invalid" in bad.text
    assert len(await place.stays()) == 1
    async with place.people.db.transaction(SYSTEM) as conn:
        people = await (await conn.execute("SELECT count(*) AS n FROM person")).fetchone()
    assert people == {"n": 1}, "who was refused is not made either"


async def test_who_moves_out_leaves_an_account_that_is_pointed_at(place: Place) -> None:
    stay = await place.stay_id("Li Na")
    assert "goes on" not in text_of(await place.browser.see(place.at))
    sent = await place.browser.send(f"/estate/occupancies/{stay}/move-out", last_day="2026-03-15", persons="0")
    assert sent.headers["Location"] == f"{place.at}?done=moved-out"
    assert await place.stays() == [("Li Na", "owner", date(2024, 1, 1), date(2026, 3, 16))]
    assert await place.filed() == [(0, date(2026, 3, 16), None)]
    page = await place.browser.see(place.at)
    assert "Li Na leaves with Mar 15, 2026, and account A-1 goes on." in text_of(page)
    assert f"/accounts/{place.account_id}/final-bill?ends_on=2026-03-16" in page
    moves = await place.browser.see("/estate/moves?show=account-open")
    assert "Account A-1 still open" in text_of(moves)
    # Once the account ends with him nothing is left open.
    async with place.people.db.transaction(SYSTEM) as conn:
        await estate.end_account(conn, place.account_id, date(2026, 3, 16))
    assert "goes on" not in text_of(await place.browser.see(place.at))
    assert "No move found" in await place.browser.see("/estate/moves?show=account-open")


async def test_a_final_bill_points_at_who_still_lives_there(place: Place) -> None:
    address = f"/accounts/{place.account_id}/final-bill?ends_on=2026-03-16"
    page = await place.browser.see(address)
    assert "Li Na is entered as living in Tower 1 0101 also after this day." in text_of(page)
    assert f"{place.at}#living" in page
    async with place.people.db.transaction(SYSTEM) as conn:
        await estate.end_account(conn, place.account_id, date(2026, 3, 16))
    said = "Account A-1 ends with Mar 15, 2026, and Li Na still lives here"
    assert said in text_of(await place.browser.see(place.at))
    assert "Li Na" in await place.browser.see("/estate/moves?show=account-ended")
    stay = await place.stay_id("Li Na")
    await place.browser.send(f"/estate/occupancies/{stay}/move-out", last_day="2026-03-15")
    assert "also after this day" not in text_of(await place.browser.see(address))


async def test_wrong_entries_are_taken_back(place: Place) -> None:
    stay = await place.stay_id("Li Na")
    early = await place.browser.send(f"/estate/occupancies/{stay}/move-out", 422, last_day="2023-06-01")
    assert 'data-problem-of="last_day"' in early.text
    assert "The last day lies before the first one." in text_of(early.text)
    await place.browser.send(f"/estate/occupancies/{stay}/move-out", last_day="2025-01-31")
    await place.browser.send(f"/estate/occupancies/{stay}/return")
    assert await place.stays() == [("Li Na", "owner", date(2024, 1, 1), None)]
    await place.browser.send(f"/estate/occupancies/{stay}/move-out", last_day="2025-01-31")
    back: dict[str, Any] = {"person_id": str(place.owner_id), "role": "owner", "first_day": "2025-06-01"}
    await place.browser.send(f"{place.at}/move-in", **back)
    # He came back: the first stay cannot go on over the second.
    refused = await place.browser.send(f"/estate/occupancies/{stay}/return", 409)
    assert "Li Na is already entered here, since Jun 1, 2025." in text_of(refused.text)
    await place.browser.send(f"/estate/occupancies/{stay}/deletion")
    assert await place.stays() == [("Li Na", "owner", date(2025, 6, 1), None)]
    async with place.people.db.transaction(SYSTEM) as conn:
        trail = await (
            await conn.execute("SELECT action, user_id FROM audit_entry WHERE table_name = 'occupancy' ORDER BY id")
        ).fetchall()
    assert [row["action"] for row in trail[1:]] == ["update", "update", "update", "insert", "delete"]
    assert all(row["user_id"] for row in trail[1:])


async def test_the_number_of_persons_changes_from_a_day_and_back(place: Place) -> None:
    for persons, day in (("3", "2026-01-01"), ("6", "2026-03-01"), ("4", "2026-02-01")):
        await place.browser.send(f"{place.at}/persons", persons=persons, from_day=day)
    assert await place.filed() == [
        (3, date(2026, 1, 1), date(2026, 2, 1)),
        (4, date(2026, 2, 1), date(2026, 3, 1)),
        (6, date(2026, 3, 1), None),
    ]
    await place.browser.send(f"{place.at}/persons", persons="5", from_day="2026-02-01")
    async with place.people.db.transaction(SYSTEM) as conn:
        found = await estate.list_households(conn, PageRequest(), estate.EstateFilter(unit_id=place.unit.id))
    wrong = next(one.id for one in found.items if one.persons == 5)
    await place.browser.send(f"/estate/households/{wrong}/deletion")
    assert await place.filed() == [(3, date(2026, 1, 1), date(2026, 3, 1)), (6, date(2026, 3, 1), None)]
    bad = await place.browser.send(f"{place.at}/persons", 422, persons="100", from_day="2026-02-01")
    assert 'data-problem-of="persons"' in bad.text


async def test_moves_are_listed_by_page_building_and_month(place: Place) -> None:
    names = [f"Guest {n:02}" for n in range(60)]
    async with place.people.db.transaction(SYSTEM) as conn:
        other = await estate.create_building(conn, place.project.id, "2", "Tower 2")
        unit = await estate.create_unit(conn, place.project.id, other.id, "0201")
        for n, name in enumerate(names):
            query = "INSERT INTO person (project_id, name) VALUES (%s, %s) RETURNING id"
            row = await (await conn.execute(query, (place.project.id, name))).fetchone()
            assert row is not None
            start = date(2026, 1, 1) + timedelta(days=n // 3)
            await estate.create_occupancy(
                conn, place.project.id, unit.id, row["id"], "tenant", start, date(2026, 2, 20)
            )

    seen: list[str] = []
    address: str | None = f"/estate/moves?building_id={other.id}&show=in"
    while address:
        page = await place.browser.see(address)
        seen += re.findall(r">(Guest \d\d)</a>", page)
        following = re.search(r'rel="next" href="([^"]+)"', page)
        address = following[1].replace("&amp;", "&") if following else None
    assert sorted(seen) == names
    assert len(re.findall(">Guest", await place.browser.see("/estate/moves?month=2026-02"))) == 50
    assert "Li Na" in await place.browser.see("/estate/moves?month=2024-01")
    assert "No move found" in await place.browser.see("/estate/moves?month=2023-01")
    living = text_of(await place.browser.see("/estate/moves?show=living"))
    assert "Li Na" in living
    assert "Guest 00" not in living


async def test_moves_are_listed_for_programs_as_the_page_has_them(
    app_client: httpx.AsyncClient, place: Place, people: People
) -> None:
    async with place.people.db.transaction(SYSTEM) as conn:
        for n in range(3):
            query = "INSERT INTO person (project_id, name) VALUES (%s, %s) RETURNING id"
            row = await (await conn.execute(query, (place.project.id, f"Guest {n}"))).fetchone()
            assert row is not None
            stay = (date(2026, 1, 1 + n), date(2026, 2, 20))
            await estate.create_occupancy(conn, place.project.id, place.unit.id, row["id"], "tenant", *stay)
    auth = await people.staff("manager", place.project.id)

    async def moves(auth: Auth = auth, **wanted: str) -> list[tuple[str, str, str]]:
        found: list[tuple[str, str, str]] = []
        query = {"project_id": str(place.project.id), "limit": "2", **wanted}
        while True:
            answer = await app_client.get("/api/v1/occupancy-moves", params=query, headers=auth)
            assert answer.status_code == 200, answer.text
            told = answer.json()
            found += [(one["person_name"], one["kind"], one["day"]) for one in told["items"]]
            if told["next_cursor"] is None:
                return found
            query["cursor"] = told["next_cursor"]

    came = [(f"Guest {n}", "in", f"2026-01-{n + 1:02}") for n in (2, 1, 0)]
    left = [(f"Guest {n}", "out", "2026-02-19") for n in (2, 1, 0)]
    assert await moves() == [*left, *came, ("Li Na", "in", "2024-01-01")]
    assert await moves(show="out") == left
    days: dict[str, Any] = {"from": "2026-01-02", "to": "2026-01-03"}
    assert await moves(**days) == came[1:2]
    assert await moves(building_id="999999") == []
    assert await moves(await people.staff("manager", (await people.project()).id)) == []
    guard = await people.staff("guard", place.project.id)
    assert (
        await app_client.get("/api/v1/occupancy-moves", params={"project_id": place.project.id}, headers=guard)
    ).status_code == 403


async def test_a_persons_page_shows_where_he_lives(place: Place) -> None:
    page = await place.browser.see(f"/estate/people/{place.owner_id}")
    assert f'href="{place.at}"' in page
    assert "since Jan 1, 2024" in text_of(page)
    assert "A-1" in text_of(page)
    assert f"/estate/people/{place.owner_id}" in await place.browser.see("/estate/people?name=Na")
    assert "Nobody found" in await place.browser.see("/estate/people?name=Zhang")
    part = await place.browser.see(f"{place.at}/agreements")
    assert "No agreement goes on" in part


async def test_only_who_may_see_people_opens_these_pages(
    app_client: httpx.AsyncClient, people: People, place: Place
) -> None:
    cashier = await people.staff("cashier", place.project.id)
    elsewhere = await people.staff("manager", (await people.project()).id)
    guard = await people.staff("guard", place.project.id)
    stay = await place.stay_id("Li Na")
    looks = await _browser(app_client, people, cashier)
    page = await looks.see(place.at)
    assert "Li Na" in page
    assert "move-out" not in page
    await looks.send(f"/estate/occupancies/{stay}/move-out", 403, last_day="2026-03-15")
    other = await _browser(app_client, people, elsewhere)
    await other.see("/estate/moves")
    await other.send(f"/estate/occupancies/{stay}/move-out", 404, last_day="2026-03-15")
    await other.send(f"/estate/occupancies/{stay}/deletion", 404)
    await _browser(app_client, people, guard)
    for address in (place.at, "/estate/moves", f"/estate/people/{place.owner_id}"):
        app_client.cookies.set(SESSION_COOKIE, guard["Authorization"].removeprefix("Bearer "))
        assert (await app_client.get(address)).status_code == 403, address
