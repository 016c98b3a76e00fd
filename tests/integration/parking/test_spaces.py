"""Spaces: made, changed, imported, and whose they are by day."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import pytest

from cloud.estate import service as estate
from cloud.kit.db import SYSTEM, Database
from cloud.kit.errors import Conflict, NotFound
from cloud.kit.security import Keys, Sealer
from cloud.parking.spaces import service
from cloud.parking.spaces.records import NewHolder, NewSpace
from tests.integration.app import People, once
from tests.integration.parking.site import Site, rows
from tests.integration.parking.test_places import Desk


def day(days: int) -> str:
    """Asked anew each time: the tests may have begun the day before."""
    return (datetime.now(UTC).date() + timedelta(days=days)).isoformat()


@pytest.fixture
async def desk(app_client: httpx.AsyncClient, people: People, site: Site) -> Desk:
    return Desk(app_client, await people.staff("manager", site.project_id), site)


async def person(db: Database, project_id: int, name: str = "李娜") -> int:
    query = "INSERT INTO person (project_id, name) VALUES (%s, %s) RETURNING id"
    return int((await rows(db, query, (project_id, name)))[0]["id"])


async def space(desk: Desk, number: str = "B1-001", **body: Any) -> int:
    return int((await desk.post("parking-spaces", lot_id=desk.site.lot_id, number=number, **body))["id"])


async def answers(desk: Desk, content: bytes, **fields: str) -> dict[str, Any]:
    answer = await desk.client.post(
        "/api/v1/parking-space-imports",
        data={"lot_id": str(desk.site.lot_id), **fields},
        files={"file": ("spaces.csv", content)},
        headers={**desk.auth, **once()},
    )
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def test_many_spaces_are_made_at_once_or_none(desk: Desk) -> None:
    made = await desk.post("parking-space-ranges", lot_id=desk.site.lot_id, first="B1-001", last="B1-120", place="B1")
    assert (len(made["numbers"]), made["numbers"][-1]) == (120, "B1-120")
    again = await desk.post("parking-space-ranges", 409, lot_id=desk.site.lot_id, first="B1-119", last="B1-125")
    assert again["code"] == "space-exists"
    assert "2 of these spaces are there already: B1-119, B1-120" in again["detail"]
    assert len(await desk.items(f"parking-spaces?lot_id={desk.site.lot_id}&limit=500")) == 120


async def test_spaces_are_found_by_what_is_said_of_them_and_paged(desk: Desk) -> None:
    await space(desk, "A1", place="B1 north")
    await space(desk, "A2", place="B2", state="reserved", vehicle_class="large")
    await space(desk, "C1", place="B1 south", state="out-of-service")

    async def numbers(query: str) -> list[str]:
        return [one["number"] for one in await desk.items(f"parking-spaces?{query}")]

    assert await numbers("place=b1") == ["A1", "C1"]
    assert await numbers("number=a") == ["A1", "A2"]
    assert await numbers("state=reserved") == ["A2"]
    assert await numbers("vehicle_class=large") == ["A2"]
    assert await numbers("lot_id=4711") == []
    first = (await desk.client.get("/api/v1/parking-spaces?limit=2", headers=desk.auth)).json()
    assert await numbers(f"limit=2&cursor={first['next_cursor']}") == ["C1"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"number": ""}, 422, "invalid-input"),
        ({"number": "x" * 33}, 422, "invalid-input"),
        ({"number": " \t "}, 422, "bad-space-number"),
        ({"number": "A\u0000"}, 422, "invalid-input"),
        ({"place": "x" * 101}, 422, "invalid-input"),
        ({"state": "gone"}, 422, "invalid-input"),
        ({"vehicle_class": "4x4"}, 422, "invalid-input"),
        ({"lot_id": 4711}, 404, "no-lot"),
        ({"number": "B1-001"}, 409, "space-exists"),
    ],
)
async def test_spaces_that_are_refused(desk: Desk, body: dict[str, Any], status: int, code: str) -> None:
    await space(desk)
    values = {"lot_id": desk.site.lot_id, "number": "Z", **body}
    assert (await desk.post("parking-spaces", status, **values))["code"] == code


async def test_a_space_is_changed_field_by_field(desk: Desk) -> None:
    first, _ = await space(desk, "A1", place="B1"), await space(desk, "A2")
    changed = await desk.patch(f"parking-spaces/{first}", state="reserved", note="for the doctor")
    assert (changed["place"], changed["state"], changed["note"]) == ("B1", "reserved", "for the doctor")
    assert (await desk.patch(f"parking-spaces/{first}", 409, number="A2"))["code"] == "space-exists"
    assert (await desk.patch(f"parking-spaces/{first}", number="A3"))["number"] == "A3"
    assert (await desk.patch("parking-spaces/4711", 404, note="x"))["code"] == "no-space"


async def test_a_table_is_answered_row_by_row(desk: Desk) -> None:
    await space(desk, "A1", place="B1")
    await space(desk, "A2")
    content = b"number,place,state\nA1,B1,\nA2,B9,\nA3,B1,sold\n,,\nA3,,\nA4,B1,whatever\n"
    tried = await answers(desk, content, dry_run="true")
    assert (tried["created"], tried["exists"], tried["refused"]) == (1, 1, 3)
    assert len(await desk.items("parking-spaces")) == 2
    done = await answers(desk, content)
    assert [(row["line"], row["number"], row["outcome"], row["code"]) for row in done["rows"]] == [
        (2, "A1", "exists", ""),
        (3, "A2", "refused", "space-exists"),
        (4, "A3", "created", ""),
        (6, "A3", "refused", "number-twice"),
        (7, "A4", "refused", "bad-state"),
    ]
    assert [one["number"] for one in await desk.items("parking-spaces?state=sold")] == ["A3"]
    assert (await answers(desk, content))["exists"] == 2


async def test_whose_a_space_is_makes_its_state_and_is_kept(desk: Desk, owner_db: Database) -> None:
    li, wang = [await person(owner_db, desk.site.project_id, name) for name in ("李娜", "王伟")]
    one = await space(desk)

    async def state() -> str:
        return str((await desk.items("parking-spaces"))[0]["state"])

    owner = await desk.post(f"parking-spaces/{one}/holders", role="owner", person_id=li, since=day(-400))
    assert await state() == "sold"
    rented: dict[str, Any] = {"role": "tenant", "person_id": wang, "since": day(-30), "until": day(30)}
    tenant = await desk.post(f"parking-spaces/{one}/holders", **rented)
    assert await state() == "rented"
    assert [found["number"] for found in await desk.items(f"parking-spaces?person_id={wang}")] == ["B1-001"]
    ended = await desk.post(f"parking-space-holders/{tenant['id']}/end", until=day(-1))
    assert ended["until"] == day(-1)
    assert await state() == "sold"
    assert await desk.items(f"parking-spaces?person_id={wang}") == []
    await desk.patch(f"parking-spaces/{one}", state="out-of-service")
    assert await state() == "out-of-service"
    await desk.post(f"parking-space-holders/{owner['id']}/end", until=day(-2))
    await desk.patch(f"parking-spaces/{one}", state="free")
    assert await state() == "free"
    history = await desk.items(f"parking-spaces/{one}/holders")
    assert [(found["role"], found["person_id"], found["until"]) for found in history] == [
        ("tenant", wang, day(-1)),
        ("owner", li, day(-2)),
    ]


async def test_holders_that_are_refused(desk: Desk, owner_db: Database, people: People) -> None:
    li = await person(owner_db, desk.site.project_id)
    one = await space(desk)
    await desk.post(f"parking-spaces/{one}/holders", role="owner", person_id=li, since=day(0), until=day(10))

    async def code(status: int, **body: Any) -> str:
        values = {"role": "owner", "person_id": li, "since": day(20), **body}
        return str((await desk.post(f"parking-spaces/{one}/holders", status, **values))["code"])

    assert await code(409, since=day(9)) == "space-held"
    assert await code(409, since=day(-5), until=day(1)) == "space-held"
    assert await code(422, until=day(20)) == "bad-dates"
    assert await code(422, person_id=None) == "nobody-named"
    assert await code(404, person_id=4711) == "no-such-person"
    assert await code(422, unit_id=4711) == "unknown-unit"
    foreign = await person(owner_db, (await people.project("other")).id)
    assert await code(404, person_id=foreign) == "no-such-person"
    assert await code(422, since="someday") == "invalid-input"
    await desk.post(f"parking-spaces/{one}/holders", role="owner", person_id=li, since=day(10))
    first = (await desk.items(f"parking-spaces/{one}/holders"))[-1]["id"]
    for until in (day(0), day(11)):
        assert (await desk.post(f"parking-space-holders/{first}/end", 422, until=until))["code"] == "bad-dates"


async def test_a_unit_may_own_a_space(desk: Desk, owner_db: Database) -> None:
    async with owner_db.transaction(SYSTEM) as conn:
        building = await estate.create_building(conn, desk.site.project_id, "1", "1号楼")
        unit = await estate.create_unit(conn, desk.site.project_id, building.id, "0301")
    one = await space(desk)
    await desk.post(f"parking-spaces/{one}/holders", role="owner", unit_id=unit.id, since=day(0))
    assert [found["state"] for found in await desk.items(f"parking-spaces?unit_id={unit.id}")] == ["sold"]


async def test_a_resident_sees_the_spaces_that_are_his(
    app_client: httpx.AsyncClient, desk: Desk, owner_db: Database, people: People
) -> None:
    li, wang = [await person(owner_db, desk.site.project_id, name) for name in ("李娜", "王伟")]
    for number, holder in (("A1", li), ("A2", wang)):
        one = await space(desk, number)
        await desk.post(f"parking-spaces/{one}/holders", role="owner", person_id=holder, since=day(-1))
    resident = Desk(app_client, await people.resident(desk.site.project_id, li), desk.site)
    (seen,) = await resident.items("parking-spaces")
    assert (seen["number"], seen["state"]) == ("A1", "sold")
    assert [one["person_id"] for one in await resident.items(f"parking-spaces/{seen['id']}/holders")] == [li]
    other = await app_client.get(f"/api/v1/parking-spaces/{seen['id'] + 1}", headers=resident.auth)
    assert other.status_code == 404


async def test_a_table_names_owners_and_every_row_is_answered(
    desk: Desk, owner_db: Database, worker_db: Database, keys: Keys, site: Site
) -> None:
    li = await person(owner_db, site.project_id)
    for _ in range(2):
        await person(owner_db, site.project_id, "王芳")
    async with worker_db.transaction(SYSTEM) as conn:
        zhang = await estate.create_person(conn, Sealer(keys), site.project_id, "张伟", phone="13800138000")
    free = await space(desk, "A1")
    sold = await space(desk, "A2")
    await desk.post(f"parking-spaces/{sold}/holders", role="owner", person_id=zhang.id, since=day(-1))
    rows_ = ["number,owner,since", f"A1,李娜,{day(-3)}", "A2,李娜,", "A2b,13800138000,", f"A3,#{li},", "A4,王芳,",
             "A5,nobody,", "A6,,", "A7,李娜,yesterday"]  # fmt: skip
    file = "\n".join(rows_).encode()
    expected = [
        ("A1", "owner-added", ""),
        ("A2", "refused", "space-held"),
        ("A2b", "created", ""),
        ("A3", "created", ""),
        ("A4", "refused", "several-people"),
        ("A5", "refused", "unknown-person"),
        ("A6", "created", ""),
        ("A7", "refused", "bad-date"),
    ]
    for dry_run in ("true", "false"):
        found = await answers(desk, file, dry_run=dry_run)
        assert [(row["number"], row["outcome"], row["code"]) for row in found["rows"]] == expected
        assert (found["created"], found["owner_added"], found["refused"]) == (3, 1, 4)
    again = await answers(desk, file)
    assert [row["outcome"] for row in again["rows"] if row["code"] == ""] == ["exists"] * 4
    (holder,) = await desk.items(f"parking-spaces/{free}/holders")
    assert (holder["person_id"], holder["role"], holder["since"]) == (li, "owner", day(-3))
    held = {one["number"]: one["state"] for one in await desk.items(f"parking-spaces?lot_id={site.lot_id}")}
    assert held == {"A1": "sold", "A2": "sold", "A2b": "sold", "A3": "sold", "A6": "free"}


async def test_what_may_be_given_away(worker_db: Database, owner_db: Database, site: Site) -> None:
    now = datetime.now(UTC)
    li, wang = [await person(owner_db, site.project_id, name) for name in ("李娜", "王芳")]

    async def usable(space_id: int, person_id: int | None = None, lot_id: int = site.lot_id) -> str:
        async with worker_db.transaction(SYSTEM) as conn:
            one = await service.usable(conn, [lot_id], space_id, now, person_id=person_id, unit_id=None)
            return one.number

    async with worker_db.transaction(SYSTEM) as conn:
        good = await service.create(conn, site.lot_id, NewSpace("A1"), now)
        broken = await service.create(conn, site.lot_id, NewSpace("A2", state="out-of-service"), now)
        sold = await service.create(conn, site.lot_id, NewSpace("A3"), now)
        await service.add_holder(
            conn, sold.id, NewHolder("owner", li, None, now.date() - timedelta(9), None), "test", now
        )
    assert await usable(good.id) == "A1"
    with pytest.raises(Conflict, match="A2 is out of service"):
        await usable(broken.id)
    assert await usable(sold.id, li) == "A3"
    for other in (wang, None):
        with pytest.raises(Conflict) as refused:
            await usable(sold.id, other)
        assert refused.value.code == "space-of-another"
    for lot_id, space_id in ((site.lot_id + 1, good.id), (site.lot_id, 4711)):
        with pytest.raises(NotFound):
            await usable(space_id, lot_id=lot_id)


async def test_the_day_is_that_of_the_project(worker_db: Database, owner_db: Database, site: Site) -> None:
    li = await person(owner_db, site.project_id)
    evening = datetime(2026, 3, 1, 17, tzinfo=UTC)  # 01:00 on the 2nd in Shanghai
    async with worker_db.transaction(SYSTEM) as conn:
        one = await service.create(conn, site.lot_id, NewSpace("A1"), evening)
        new = NewHolder("owner", li, None, date(2026, 3, 2), None)
        await service.add_holder(conn, one.id, new, "test", evening)
        at = [(await service.get(conn, one.id, evening - timedelta(hours=hours))).state for hours in (0, 2)]
    assert at == ["sold", "free"]
