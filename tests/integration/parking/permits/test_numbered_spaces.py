"""Numbered spaces of permits: one permit a space at a time; what was written becomes spaces where it is clear."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from cloud.kit.db import SYSTEM, Asker, Database
from cloud.kit.errors import Conflict
from cloud.parking.permits import endings, service, space_repository, standing
from cloud.parking.permits.records import Holding, NewPermit, Permit
from cloud.parking.spaces import service as spaces
from cloud.parking.spaces.records import NewHolder, NewSpace
from tests.integration.app import Auth, People, once
from tests.integration.browser import Browser
from tests.integration.parking.permits.holder import DAY, FIRST, SECOND, THIRD, Home, make_home, make_permit
from tests.integration.parking.site import NOON, Site, rows

PERMITS = "/api/v1/parking-permits"


@pytest.fixture
async def home(worker_db: Database, site: Site) -> Home:
    return await make_home(worker_db, site)


async def make_spaces(db: Database, site: Site, *numbers: str) -> list[int]:
    async with db.transaction(SYSTEM) as conn:
        return [(await spaces.create(conn, site.lot_id, NewSpace(one), datetime.now(UTC))).id for one in numbers]


async def written(db: Database, site: Site, plate: str, text: str, **times: Any) -> Permit:
    """A permit as it was made before spaces had numbers."""
    since, until = times.get("since", NOON - DAY), times.get("until")
    holding = Holding((plate,), note="test", space=text)
    async with db.transaction(SYSTEM) as conn:
        return await service.create_permit(
            conn, site.project_id, NewPermit("owner-space", (site.lot_id,), since, until, holding)
        )


async def give(db: Database, permit: Permit, space_id: int) -> Permit:
    async with db.transaction(SYSTEM) as conn:
        return await standing.give_space(conn, permit.id, space_id)


async def refused(db: Database, permit: Permit, space_id: int) -> str:
    with pytest.raises(Conflict) as caught:
        await give(db, permit, space_id)
    return caught.value.code


async def test_a_space_is_one_permits_at_a_time(worker_db: Database, site: Site) -> None:
    (space_id,) = await make_spaces(worker_db, site, "A1")
    now = datetime.now(UTC)
    first = await make_permit(worker_db, site, (FIRST,), since=now - DAY, until=now + 10 * DAY)
    later = await make_permit(worker_db, site, (SECOND,), since=now + 10 * DAY, until=None)
    beside = await make_permit(worker_db, site, (THIRD,), since=now, until=None)
    assert (await give(worker_db, first, space_id)).space_numbers == ["A1"]
    assert await refused(worker_db, first, space_id) == "space-there"
    assert await refused(worker_db, beside, space_id) == "space-has-permit"
    await give(worker_db, later, space_id)
    async with worker_db.transaction(SYSTEM) as conn:
        # Suspended it keeps its space; ended it does not.
        await service.suspend(conn, first.id, "unpaid")
        assert await standing.offered(conn, beside.id) == []
        await endings.end_permit(conn, first.id, "moved out")
        await endings.end_permit(conn, later.id, "moved out")
        assert [one.number for one in await standing.offered(conn, beside.id)] == ["A1"]
    await give(worker_db, beside, space_id)
    async with worker_db.transaction(SYSTEM) as conn:
        held = [one.id for one in await standing.permits_of_space(conn, space_id)]
        assert held == [beside.id, later.id, first.id]
        assert (await standing.take_space_back(conn, beside.id, space_id)).space_numbers == []


async def test_of_two_who_are_given_a_space_at_once_one_gets_it(worker_db: Database, site: Site) -> None:
    ids = await make_spaces(worker_db, site, *(f"A{nth}" for nth in range(8)))
    permits = [await make_permit(worker_db, site, (plate,), until=None) for plate in (FIRST, SECOND)]
    for space_id in ids:
        answers = await asyncio.gather(
            *(give(worker_db, permit, space_id) for permit in permits), return_exceptions=True
        )
        assert sorted(type(one).__name__ for one in answers) == ["Conflict", "Permit"]


async def test_the_database_itself_refuses_a_second_permit(worker_db: Database, site: Site) -> None:
    (space_id,) = await make_spaces(worker_db, site, "A1")
    permits = [await make_permit(worker_db, site, (plate,), until=None) for plate in (FIRST, SECOND)]
    await give(worker_db, permits[0], space_id)
    with pytest.raises(psycopg.errors.ExclusionViolation):
        async with worker_db.transaction(SYSTEM) as conn:
            await conn.execute(
                """INSERT INTO permit_space (project_id, permit_id, space_id, valid)
                   VALUES (%s, %s, %s, gm.permit_time(%s, now()))""",
                (site.project_id, permits[1].id, space_id, permits[1].id),
            )


async def test_a_card_cannot_be_renewed_over_the_permit_that_has_its_space_now(worker_db: Database, site: Site) -> None:
    """A period more is another time: it must not take what was given away when the first was over."""
    (space_id,) = await make_spaces(worker_db, site, "A1")
    now = datetime.now(UTC)
    over = await make_permit(worker_db, site, (FIRST,), since=now - 9 * DAY, until=now - DAY)
    await give(worker_db, over, space_id)
    follower = await make_permit(worker_db, site, (SECOND,), since=now, until=None)
    await give(worker_db, follower, space_id)
    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute(
            "UPDATE permit_period SET valid = tstzrange(lower(valid), NULL) WHERE permit_id = %s", (over.id,)
        )
        with pytest.raises(Conflict, match=f"space A1 is of permit {follower.id}"):
            await service.settle_change(conn, site.project_id, over.id, now)


async def test_spaces_of_others_and_out_of_service_are_neither_offered_nor_given(
    worker_db: Database, site: Site, home: Home
) -> None:
    own, others, broken, free = await make_spaces(worker_db, site, "Z1", "A2", "A3", "A4")
    now = datetime.now(UTC)
    today = now.date()
    async with worker_db.transaction(SYSTEM) as conn:
        since = today - timedelta(days=365)
        await spaces.add_holder(conn, own, NewHolder("owner", None, home.unit_id, since, None), "test", now)
        await conn.execute("INSERT INTO person (project_id, name) VALUES (%s, 'B')", (site.project_id,))
        other = NewHolder("owner", home.person_id + 1, None, since, None)
        await spaces.add_holder(conn, others, other, "test", now)
        await conn.execute("UPDATE parking_space SET state = 'out-of-service' WHERE id = %s", (broken,))
        new = NewPermit("owner-space", (site.lot_id,), NOON, None, home.holds(FIRST))
        permit = await service.create_permit(conn, site.project_id, new)
        assert [one.id for one in await standing.offered(conn, permit.id)] == [own, free], "his own first"
        assert [one.id for one in await standing.offered(conn, permit.id, "a")] == [free]
    assert await refused(worker_db, permit, others) == "space-of-another"
    assert await refused(worker_db, permit, broken) == "space-out-of-service"
    await give(worker_db, permit, own)


async def test_what_was_written_becomes_spaces_where_it_is_clear(worker_db: Database, site: Site) -> None:
    await make_spaces(worker_db, site, "B1-001", "B1-002", "B1 003", "b2-1", "B2-1")
    ended = await written(worker_db, site, "京A00001", "B1-001", until=NOON + 400 * DAY)
    async with worker_db.transaction(SYSTEM) as conn:
        await endings.end_permit(conn, ended.id, "moved out")
    now = datetime.now(UTC)
    clear = await written(worker_db, site, FIRST, "b1-001、B1 003", since=now)
    blanks = await written(worker_db, site, SECOND, "B1-002 next to the pillar", since=now)
    unclear = await written(worker_db, site, THIRD, "B2-1, C9", since=now)
    taken = await written(worker_db, site, "京A00002", "B1-002", since=now)
    before = {one.id: one.space for one in (clear, blanks, unclear, taken)}
    async with worker_db.transaction(SYSTEM) as conn:
        assert await standing.match_written(conn, site.project_id) == 4
        assert await standing.match_written(conn, site.project_id) == 0, "what is left stays as it is"
        found = {one: await service.get_permit(conn, one) for one in (*before, ended.id)}
    told = {one: (permit.space_numbers, permit.space) for one, permit in found.items()}
    assert told[clear.id] == (["B1 003", "B1-001"], "")
    assert told[blanks.id] == (["B1-002"], "next, to, the, pillar")
    assert told[unclear.id] == ([], before[unclear.id]), "two are called so, or none"
    assert told[taken.id] == ([], before[taken.id])
    assert told[ended.id] == (["B1-001"], ""), "at another time"


async def test_nobody_matches_what_is_written_in_a_project_of_others(
    worker_db: Database, web_db: Database, site: Site
) -> None:
    """The function looks at whose project it is by itself: it reads past row-level security."""
    await make_spaces(worker_db, site, "A1")
    permit = await written(worker_db, site, FIRST, "A1")
    others = (Asker("staff", (site.project_id + 1,)), Asker("resident", (site.project_id,), (1,)), Asker())
    for asker, found in (*((one, 0) for one in others), (Asker("staff", (site.project_id,)), 1)):
        async with web_db.transaction(asker) as conn:
            assert await space_repository.match_written(conn, site.project_id) == found
    async with worker_db.transaction(SYSTEM) as conn:
        assert (await service.get_permit(conn, permit.id)).space_numbers == ["A1"]


async def test_the_migration_matches_what_was_there(worker_db: Database, site: Site) -> None:
    """The same function runs at its end, for every project."""
    text = (Path(service.__file__).parents[2] / "migrations/0056_permits_of_classes_and_spaces.sql").read_text()
    assert text.rstrip().endswith("SELECT gm.match_permit_spaces(id) FROM project ORDER BY id;")


async def test_a_permit_with_spaces_over_http(
    app_client: httpx.AsyncClient, people: People, worker_db: Database, site: Site, home: Home
) -> None:
    first, second = await make_spaces(worker_db, site, "A1", "A2")
    manager, guard = await people.staff("manager", site.project_id), await people.staff("guard", site.project_id)

    async def post(path: str, body: dict[str, Any], status: int = 201, auth: Auth = manager) -> dict[str, Any]:
        answer = await app_client.post(path, json=body, headers={**auth, **once()})
        assert answer.status_code == status, answer.text
        return dict(answer.json())

    body = {"project_id": site.project_id, "kind": "owner-space", "lot_ids": [site.lot_id], "plates": [FIRST],
            "person_id": home.person_id, "from_day": "2026-05-01", "space_ids": [first]}  # fmt: skip
    made = await post(PERMITS, {**body, "vehicle_class": "small"})
    assert (made["space_numbers"], made["vehicle_class"]) == (["A1"], "small")
    assert (await post(PERMITS, {**body, "plates": [SECOND]}, 409))["code"] == "space-has-permit"
    assert (await post(PERMITS, {**body, "plates": [SECOND], "space_ids": [4711]}, 404))["code"] == "no-space"
    one = f"{PERMITS}/{made['id']}"
    offered = await app_client.get(f"{one}/free-spaces", headers=manager)
    assert [space["number"] for space in offered.json()["items"]] == ["A2"]
    await post(f"{one}/spaces", {"space_id": second}, 403, guard)
    assert (await post(f"{one}/spaces", {"space_id": second}))["space_numbers"] == ["A1", "A2"]
    assert (await post(f"{one}/space-removals", {"space_id": first}))["space_numbers"] == ["A2"]
    await post(f"{one}/space-removals", {"space_id": first}, 404)
    detail = (await app_client.get(one, headers=manager)).json()
    assert [space["number"] for space in detail["numbered_spaces"]] == ["A2"]
    resident = await people.resident(site.project_id, home.person_id)
    (mine,) = (await app_client.get(PERMITS, headers=resident)).json()["items"]
    assert mine["space_numbers"] == ["A2"], "where he may stand, although the space is not his"
    await app_client.put(f"{one}/holding", json={"person_id": home.person_id, "space": "A1"}, headers=manager)
    (only,) = (await app_client.get(f"{PERMITS}?written=true", headers=manager)).json()["items"]
    assert only["id"] == made["id"]
    assert await post("/api/v1/parking-permit-space-matches", {"project_id": site.project_id}) == {"matched": 1}
    assert (await app_client.get(f"{PERMITS}?written=true", headers=manager)).json()["items"] == []


async def test_spaces_are_chosen_repaired_and_taken_back_on_the_pages(
    app_client: httpx.AsyncClient, people: People, worker_db: Database, site: Site, home: Home
) -> None:
    manager = await people.staff("manager", site.project_id)
    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
    first, _ = await make_spaces(worker_db, site, "A1", "A2")
    permit = await written(worker_db, site, SECOND, "A-1")
    browser = Browser(app_client, manager)
    assert '<option value="A1">' in await browser.see("/parking/permits/new")
    form: dict[str, Any] = {"kind": "staff", "plates": FIRST, "lot_ids": [str(site.lot_id)], "note": "guard",
                            "from_day": "2026-05-01", "numbers": "a2"}  # fmt: skip
    made = await browser.send("/parking/permits/new", **form)
    assert "A2" in await browser.see(made.headers["location"])
    await browser.send("/parking/permits/new", 409, **{**form, "plates": THIRD})
    assert len(await rows(worker_db, "SELECT id FROM permit")) == 2, "what is refused leaves nothing behind"
    one = f"/parking/permits/{permit.id}"
    assert "A-1" in await browser.see("/parking/permits?written=true")
    await browser.send("/parking/permits/spaces/matching")
    await browser.send(f"{one}/spaces", 422, number="A-1")
    await browser.send(f"{one}/spaces", 409, number="A2")
    await browser.send(f"{one}/spaces", number="Main lot A1")
    page = await browser.see(f"/parking-spaces/{first}")
    assert f'href="/parking/permits/{permit.id}"' in page
    await browser.send(f"{one}/holding", note="test")
    assert await rows(worker_db, "SELECT id FROM permit WHERE space <> ''") == []
    await browser.send(f"{one}/spaces/{first}/removal")
    await browser.send(f"{one}/spaces/{first}/removal", 404)
