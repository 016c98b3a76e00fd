"""Findings are decided with a reason, readings are edited by versions, and usage is asked to follow."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import pytest

from cloud.estate.records import Project
from cloud.identity.guards import SESSION_COOKIE
from cloud.ingest.writer import Writer
from cloud.kit.db import SYSTEM, Asker, Database
from cloud.metering import service as metering
from cloud.metering.exceptions import service as exceptions
from tests.integration.app import Auth, People, once
from tests.integration.browser import text_of
from tests.integration.metering.site import hourly, make_site, message

AT = datetime(2026, 3, 4, 5, tzinfo=UTC)
API = "/api/v1"


class Case:
    """A project with one meter, a refused reading of 12.345 kWh and a spike, both open."""

    def __init__(self, project: Project, meter_id: int, refused: int, spike: int) -> None:
        self.project, self.meter_id, self.refused, self.spike = project, meter_id, refused, spike


async def make_case(db: Database, people: People) -> Case:
    project = await people.project()
    async with db.transaction(SYSTEM) as conn:
        meter = await metering.create_meter(
            conn, project.id, "M-1", "electricity", None, 10**9, 10**5, date(2026, 1, 1)
        )
        await conn.execute(
            "INSERT INTO store.reading (meter_id, channel, taken_at, value, project_id) VALUES (%s, 1, %s, 12345, %s)",
            (meter.id, AT, project.id),
        )
        await conn.execute("INSERT INTO store.refused_reading VALUES (%s, 1, %s, 2)", (meter.id, AT))
        ids = []
        for rule, until in (("backward", AT), ("spike", AT + timedelta(days=1))):
            row = await (
                await conn.execute(
                    """INSERT INTO meter_exception (project_id, meter_id, channel, rule, from_at, until_at, found)
                       VALUES (%s, %s, 1, %s, %s, %s, 12345) RETURNING id""",
                    (project.id, meter.id, rule, AT, until),
                )
            ).fetchone()
            assert row is not None
            ids.append(row["id"])
    return Case(project, meter.id, *ids)


@pytest.fixture
async def case(owner_db: Database, people: People) -> Case:
    return await make_case(owner_db, people)


async def edits(db: Database) -> list[tuple[Any, ...]]:
    async with db.transaction(SYSTEM) as conn:
        rows = await (await conn.execute("SELECT * FROM reading_edit ORDER BY id")).fetchall()
    return [(row["version"], row["action"], row["value"]) for row in rows]


async def dirty(db: Database) -> list[tuple[Any, ...]]:
    async with db.transaction(SYSTEM) as conn:
        rows = await (await conn.execute("SELECT DISTINCT meter_id, from_at FROM store.dirty_window")).fetchall()
    return [(row["meter_id"], row["from_at"]) for row in rows]


async def decide(client: httpx.AsyncClient, auth: Auth, **body: object) -> httpx.Response:
    return await client.post(f"{API}/meter-exceptions/decisions", json=body, headers={**auth, **once()})


async def test_an_accepted_reading_is_used(
    app_client: httpx.AsyncClient, people: People, owner_db: Database, case: Case
) -> None:
    auth = await people.staff("manager", case.project.id)
    answer = await decide(app_client, auth, ids=[case.refused], decision="accept", reason="meter was reset on purpose")
    assert answer.status_code == 201, answer.text
    one = answer.json()["items"][0]
    assert (one["state"], one["reason"], one["actor"][:5]) == ("accepted", "meter was reset on purpose", "user:")
    assert one["decided_at"] is not None
    assert await edits(owner_db) == [(1, "use", None)]
    assert await dirty(owner_db) == [(case.meter_id, AT)]
    again = await decide(app_client, auth, ids=[case.refused], decision="dismiss", reason="no")
    assert (again.status_code, again.json()["code"]) == (409, "already-decided")


@pytest.mark.parametrize(("value", "edit"), [("12.5", (1, "set", 12_500)), (None, (1, "ignore", None))])
async def test_a_corrected_reading_says_something_else_or_nothing(
    app_client: httpx.AsyncClient, people: People, owner_db: Database, case: Case, value: str | None, edit: object
) -> None:
    auth = await people.staff("manager", case.project.id)
    answer = await decide(
        app_client,
        auth,
        ids=[case.refused],
        decision="correct",
        reason="read on site",
        **({"value": value} if value else {}),
    )
    assert answer.json()["items"][0]["state"] == "corrected"
    assert await edits(owner_db) == [edit]


async def test_a_decision_is_taken_back_with_its_edit(
    app_client: httpx.AsyncClient, people: People, owner_db: Database, case: Case
) -> None:
    auth = await people.staff("manager", case.project.id)
    await decide(app_client, auth, ids=[case.refused], decision="accept", reason="yes")
    address = f"{API}/meter-exceptions/{case.refused}/reopenings"
    answer = await app_client.post(address, json={"reason": "no, wrong meter"}, headers={**auth, **once()})
    assert answer.status_code == 201, answer.text
    assert (answer.json()["state"], answer.json()["decided_at"]) == ("open", None)
    assert await edits(owner_db) == [(1, "use", None), (2, "original", None)]
    twice = await app_client.post(address, json={"reason": "again"}, headers={**auth, **once()})
    assert twice.json()["code"] == "still-open"


async def test_several_are_decided_at_once_or_none(
    app_client: httpx.AsyncClient, people: People, owner_db: Database, case: Case
) -> None:
    auth = await people.staff("manager", case.project.id)
    answer = await decide(app_client, auth, ids=[case.refused, case.spike, 10**9], decision="dismiss", reason="seen")
    assert (answer.status_code, answer.json()["code"]) == (404, "no-exception")
    answer = await decide(app_client, auth, ids=[case.refused, case.spike], decision="dismiss", reason="seen")
    assert [one["state"] for one in answer.json()["items"]] == ["dismissed", "dismissed"]
    assert await edits(owner_db) == []
    listed = await app_client.get(f"{API}/meter-exceptions", params={"state": "open"}, headers=auth)
    assert listed.json()["items"] == []


async def test_values_are_checked(app_client: httpx.AsyncClient, people: People, case: Case) -> None:
    auth = await people.staff("manager", case.project.id)
    for ids, value in (([case.spike], "1"), ([case.refused], "1000000"), ([case.refused], "0.0001")):
        answer = await decide(app_client, auth, ids=ids, decision="correct", reason="x", value=value)
        assert (answer.status_code, answer.json()["code"]) == (422, "bad-value"), (ids, value)
    wrong: list[dict[str, object]] = [{"value": "-1"}, {"reason": ""}, {"decision": "maybe"}, {"ids": []}]
    for body in wrong:
        whole = {"ids": [case.refused], "decision": "correct", "reason": "x", **body}
        assert (await decide(app_client, auth, **whole)).status_code == 422


async def test_findings_are_filtered_and_paged(app_client: httpx.AsyncClient, people: People, case: Case) -> None:
    auth = await people.staff("viewer", case.project.id)

    async def found(**query: str | int) -> list[str]:
        answer = await app_client.get(f"{API}/meter-exceptions", params=query, headers=auth)
        assert answer.status_code == 200, answer.text
        return [one["rule"] for one in answer.json()["items"]]

    assert await found() == ["spike", "backward"]
    assert await found(rule="backward", meter_id=case.meter_id) == ["backward"]
    assert await found(**{"from": "2026-03-04T06:00:00Z"}) == ["spike"]
    assert await found(to="2026-03-04T05:00:00Z") == []
    first = await app_client.get(f"{API}/meter-exceptions", params={"limit": 1}, headers=auth)
    assert await found(limit=1, cursor=first.json()["next_cursor"]) == ["backward"]


async def test_who_may_only_read_decides_nothing(
    app_client: httpx.AsyncClient, people: People, owner_db: Database, case: Case
) -> None:
    viewer, stranger = (
        await people.staff("viewer", case.project.id),
        await people.staff("manager", (await people.project()).id),
    )
    assert (await decide(app_client, viewer, ids=[case.spike], decision="dismiss", reason="x")).status_code == 403
    assert (await decide(app_client, stranger, ids=[case.spike], decision="dismiss", reason="x")).status_code == 404
    body = {"taken_at": AT.isoformat(), "action": "ignore", "reason": "x"}
    for auth, status in ((viewer, 403), (stranger, 404)):
        answer = await app_client.post(
            f"{API}/meters/{case.meter_id}/reading-edits", json=body, headers={**auth, **once()}
        )
        assert answer.status_code == status
    assert await edits(owner_db) == []


async def test_edits_are_versions(
    app_client: httpx.AsyncClient, people: People, owner_db: Database, case: Case
) -> None:
    auth = await people.staff("manager", case.project.id)
    address = f"{API}/meters/{case.meter_id}/reading-edits"
    for body in ({"action": "set", "value": "12.4"}, {"action": "set", "value": "12.6"}, {"action": "original"}):
        whole = {"taken_at": AT.isoformat(), "reason": "second look", **body}
        answer = await app_client.post(address, json=whole, headers={**auth, **once()})
        assert answer.status_code == 201, answer.text
    listed = (await app_client.get(address, headers=auth)).json()["items"]
    assert [(one["version"], one["action"], one["value"], one["unit"]) for one in listed] == [
        (3, "original", None, "kWh"), (2, "set", "12.600", "kWh"), (1, "set", "12.400", "kWh")
    ]  # fmt: skip
    nothing = {"taken_at": (AT + timedelta(hours=1)).isoformat(), "action": "ignore", "reason": "x"}
    answer = await app_client.post(address, json=nothing, headers={**auth, **once()})
    assert (answer.status_code, answer.json()["code"]) == (404, "no-reading")
    async with owner_db.transaction(SYSTEM) as conn:
        row = await (await conn.execute("SELECT value FROM store.reading")).fetchone()
    assert row == {"value": 12_345}


async def test_what_is_only_informational_blocks_no_bill(owner_db: Database, web_db: Database, case: Case) -> None:
    start, end = AT - timedelta(days=1), AT + timedelta(days=9)
    async with owner_db.transaction(SYSTEM) as conn:
        await conn.execute(
            """INSERT INTO meter_exception (project_id, meter_id, channel, rule, from_at, until_at)
               VALUES (%s, %s, 1, 'gap', %s, %s)""",
            (case.project.id, case.meter_id, AT, AT + timedelta(days=1)),
        )
    async with web_db.transaction(Asker(kind="staff", projects=(case.project.id,))) as conn:
        blocking = await exceptions.open_exceptions(conn, case.project.id, [case.meter_id], start, end)
        outside = await exceptions.open_exceptions(conn, case.project.id, [case.meter_id], end, end + timedelta(days=1))
    assert [one.rule for one in blocking] == ["backward", "spike"]
    assert outside == []


async def test_thresholds_are_set_and_taken_back(app_client: httpx.AsyncClient, people: People, case: Case) -> None:
    auth = await people.staff("manager", case.project.id)
    of_class = f"{API}/projects/{case.project.id}/validation-thresholds/electricity-residential"
    of_meter = f"{API}/meters/{case.meter_id}/validation-thresholds"

    async def put(address: str, **settings: object) -> dict[str, Any]:
        answer = await app_client.put(address, json={"settings": settings}, headers=auth)
        found: dict[str, Any] = answer.json()
        return found

    await put(of_class, zero_days=7, rules={"spike": "off"})
    in_force = (await put(of_meter, zero_days=9))["in_force"]
    assert (in_force["zero_days"], in_force["rules"]["spike"]) == (9, "off")
    await put(of_meter)
    found = (await app_client.get(of_meter, headers=auth)).json()
    assert (found["settings"], found["in_force"]["zero_days"]) == ({}, 7)
    assert (await put(of_meter, zero_days=0))["code"] == "bad-threshold"
    assert (await put(of_meter, no=1))["code"] == "bad-threshold"
    assert (await put(f"{API}/projects/{case.project.id}/validation-thresholds/gas"))["code"] == "unknown-class"
    viewer = await people.staff("viewer", case.project.id)
    assert (await app_client.put(of_meter, json={"settings": {}}, headers=viewer)).status_code == 403


async def by_cookie(db: Database, auth: Auth) -> Auth:
    async with db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
    return {"Cookie": f"{SESSION_COOKIE}={auth['Authorization'].removeprefix('Bearer ')}"}


async def test_a_second_value_of_a_moment_is_a_finding(worker_db: Database, ingest_db: Database) -> None:
    site = await make_site(worker_db)
    writer = Writer(ingest_db)
    await writer.store([message(1, hourly("m1", 0, [100]))])
    await writer.store([message(2, hourly("m1", 0, [107])), message(3, hourly("m1", 0, [100]))])
    await writer.store([message(4, hourly("m1", 0, [107]))])
    async with worker_db.transaction(SYSTEM) as conn:
        rows = await (await conn.execute("SELECT meter_id, rule, found, expected FROM meter_exception")).fetchall()
    assert [tuple(row.values()) for row in rows] == [(site.meters[0], "duplicate", 107, 100)]


async def test_pages_show_findings_and_take_decisions(
    app_client: httpx.AsyncClient, people: People, owner_db: Database, case: Case
) -> None:
    auth = await by_cookie(owner_db, await people.staff("manager", case.project.id))
    listed = await app_client.get("/meter-exceptions", headers=auth)
    assert listed.status_code == 200, listed.text
    assert f"/meter-exceptions/{case.refused}" in listed.text
    for address in (f"/meters/{case.meter_id}", f"/meters/{case.meter_id}/edits", f"/meters/{case.meter_id}/thresholds",
                    "/thresholds", "/exceptions?kind=usage", f"/meter-exceptions/{case.spike}"):  # fmt: skip
        assert (await app_client.get(address, headers=auth)).status_code == 200, address
    token = app_client.cookies["csrf_token"]
    cookies = {"Cookie": f"{auth['Cookie']}; csrf_token={token}", "X-CSRF-Token": token}
    form: dict[str, str | list[str]] = {"decision": "correct", "reason": "typed", "value": "12.5"}
    answer = await app_client.post(f"/meter-exceptions/{case.refused}", data=form, headers=cookies)
    assert answer.status_code == 303, answer.text
    assert await edits(owner_db) == [(1, "set", 12_500)]
    form = {"decision": "dismiss", "reason": "seen", "ids": [str(case.spike)]}
    assert (await app_client.post("/meter-exceptions", data=form, headers=cookies)).status_code == 303
    shown = await app_client.get(f"/meter-exceptions/{case.refused}", headers=auth)
    assert "12.5" in shown.text
    assert "typed" in text_of(shown.text)
    again = await app_client.post(f"/meter-exceptions/{case.refused}/reopen", data={"reason": "no"}, headers=cookies)
    assert again.status_code == 303
