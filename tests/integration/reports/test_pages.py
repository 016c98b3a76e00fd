"""The pages of what needs attention, of the audit trail and of the units: rows, words, pages and walls."""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

import httpx

from cloud.devices import service as devices
from cloud.devices.inbox import Letter
from cloud.estate import service as estate
from cloud.estate.records import Project
from cloud.identity.guards import SESSION_COOKIE
from cloud.kit.db import SYSTEM, Asker, Conn, Database
from cloud.kit.jobs import enqueue
from cloud.kit.security import Keys, Sealer
from cloud.metering import service as metering
from cloud.parking import service as parking
from cloud.web.words import choices
from gateway.contract.messages import DeviceHealth, Gap, GapReason, Health
from tests.integration.app import Auth, People
from tests.integration.browser import text_of

_FOUND = """
    INSERT INTO meter_exception (meter_id, channel, rule, from_at, until_at, found, project_id, state, reason)
    SELECT %s, 1, 'backward', at, at, n, %s, CASE WHEN n = 60 THEN 'dismissed' ELSE 'open' END, 'looked at'
    FROM generate_series(1, 60) n, LATERAL (SELECT now() - n * interval '1 hour' AS at) AS taken
"""


async def _text(client: httpx.AsyncClient, address: str, auth: Auth, **query: str) -> str:
    answer = await client.get(address, params=query or None, headers=auth)
    assert answer.status_code == 200, answer.text
    return answer.text


async def _by_cookie(db: Database, auth: Auth) -> Auth:
    """The same signed-in user with a browser's session: pages take no bearer tokens."""
    async with db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
    return {"Cookie": f"{SESSION_COOKIE}={auth['Authorization'].removeprefix('Bearer ')}"}


def _rows(html: str) -> int:
    return len(re.findall(r"<tr>\s*<td", html))


def _next_page(html: str) -> str:
    found = re.search(r'href="([^"]+)" rel="next"|rel="next" href="([^"]+)"', html)
    assert found is not None
    return (found[1] or found[2]).replace("&amp;", "&")


async def _trouble(conn: Conn, project: Project) -> None:
    """A project with 59 open findings of one meter, a letter, a failed job and a command of unknown outcome."""
    meter = await metering.create_meter(
        conn, project.id, f"M-{project.code}", "electricity", None, 10**9, 10**5, date(2026, 1, 1)
    )
    await conn.execute(_FOUND, (meter.id, project.id))
    await devices.keep_dead_letters(conn, [Letter(project.id, f"gm/{project.code}", b"x", "bad-json", "line 1")])
    job_id = await enqueue(conn, "billing.run", {}, project_id=project.id)
    await conn.execute("UPDATE job SET state = 'failed', error = 'ledger: 3 sums disagree' WHERE id = %s", (job_id,))
    gateway = await devices.create_gateway(conn, project.id, "g1", "G 1")
    lost = Gap("e-1", "energy_import_total", 1_764_000_000_000, 1_764_003_600_000, 1_234, GapReason.OUTBOX_FULL)
    await devices.keep_gaps(conn, project.id, gateway.id, [lost])
    device = await devices.create_device(conn, project.id, gateway.id, "lane-1", "barrier")
    await conn.execute(
        "INSERT INTO command (id, project_id, device_id, action, actor, expires_at, state, detail)"
        " VALUES (gen_random_uuid(), %s, %s, 'open-barrier', 'x', now() + interval '1 minute', 'uncertain', 'silence')",
        (project.id, device.id),
    )


async def test_exceptions_are_shown_kind_by_kind_in_the_readers_words(
    app_client: httpx.AsyncClient, people: People, owner_db: Database
) -> None:
    mine, other = await people.project(), await people.project()
    async with owner_db.transaction(SYSTEM) as conn:
        await _trouble(conn, mine)
        await _trouble(conn, other)
    viewer = await _by_cookie(owner_db, await people.staff("viewer", mine.id))
    async with owner_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE app_user SET locale = 'zh-CN'")

    shown: Mapping[str, tuple[str, ...]] = {
        "letters": ("报文不是有效的 JSON", f"gm/{mine.code}"),
        "jobs": ("出账", "账目不平"),
        "commands": ("开闸", "结果未知", "lane-1"),
        "gaps": ("网关的存储已满", "g1/e-1/energy_import_total", "1,234", "2025"),
    }
    for kind, words in shown.items():
        html = await _text(app_client, "/exceptions", viewer, kind=kind)
        assert all(word in html for word in words), kind
        assert _rows(html) == 1, kind
        assert other.code not in html

    first = await _text(app_client, "/exceptions", viewer)
    assert "读数倒退" in first
    rest = await _text(app_client, _next_page(first), viewer)
    assert (_rows(first), _rows(rest)) == (50, 9)
    starts = re.findall(r"(/meter-exceptions/\d+)", first)
    assert len(starts) == 50
    assert (await app_client.get(starts[0].replace("&amp;", "&"), headers=viewer)).status_code == 200

    overview = await _text(app_client, "/", viewer)
    assert "× 59" in overview
    assert 'href="/exceptions?kind=jobs"' in overview
    assert 'href="/exceptions?kind=gaps"' in overview


async def test_faults_that_a_gateway_counts_are_shown_beside_the_device(
    app_client: httpx.AsyncClient, people: People, owner_db: Database
) -> None:
    project = await people.project()
    at = int(datetime.now(UTC).timestamp() * 1000)
    told = (DeviceHealth("faulty", at, 90, 3, 2, 1, 900), DeviceHealth("sound", at, 90, 0, 0, 0, 900))
    async with owner_db.transaction(SYSTEM) as conn:
        gateway = await devices.create_gateway(conn, project.id, "g1", "G 1")
        for code in ("faulty", "sound"):
            await devices.create_device(conn, project.id, gateway.id, code, "electricity")
        await devices.apply_health(conn, gateway.id, Health(at, "0.1", 60, 7, 900, at, 2, told))
    viewer = await _by_cookie(owner_db, await people.staff("viewer", project.id))
    async with owner_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE app_user SET locale = 'en'")
    html = await _text(app_client, "/devices", viewer)
    assert "7 batches" in html
    assert "2 rejected" in html
    faulty, sound = re.findall(r"<tr>\s*<td[^>]*><span>(?:faulty|sound).*?</tr>", html, re.DOTALL)
    assert all(words in faulty for words in ("3 without answer", "2 refused by the device", "1 malformed"))
    assert "without answer" not in sound
    assert "none" in sound


async def test_exceptions_need_the_permission_of_their_kind(
    app_client: httpx.AsyncClient, people: People, owner_db: Database
) -> None:
    project = await people.project()
    guard = await _by_cookie(owner_db, await people.staff("guard", project.id))
    assert (await app_client.get("/exceptions", headers=guard)).status_code == 403
    assert (await app_client.get("/exceptions?kind=jobs", headers=guard)).status_code == 403
    admin = await _by_cookie(owner_db, await people.staff("admin", project.id))
    for kind in ("usage", "letters", "unclaimed", "gaps", "commands", "jobs"):
        assert "Nothing to do" in await _text(app_client, "/exceptions", admin, kind=kind)
        wrong = await app_client.get("/exceptions", params={"kind": kind, "cursor": "WyJ4Il0"}, headers=admin)
        assert wrong.status_code == 422, kind


async def test_the_audit_trail_names_people_and_kinds_and_knows_days(
    app_client: httpx.AsyncClient, people: People, owner_db: Database, web_db: Database
) -> None:
    project = await people.project()
    admin = await _by_cookie(owner_db, await people.staff("admin", project.id))
    async with owner_db.transaction(SYSTEM) as conn:
        row = await (await conn.execute("SELECT max(id) AS id FROM app_user")).fetchone()
        assert row is not None
        await conn.execute("UPDATE app_user SET display_name = 'Li Lei' WHERE id = %s", (row["id"],))
    async with web_db.transaction(Asker("staff", (project.id,), user_id=row["id"])) as conn:
        await estate.create_building(conn, project.id, "b1", "Building 1")

    everything = await _text(app_client, "/audit", admin)
    assert "Li Lei" in everything
    buildings = await _text(app_client, "/audit", admin, table="building")
    assert _rows(buildings) == 1
    today = datetime.now(UTC).astimezone(project.zone).date()
    inside = await _text(app_client, "/audit", admin, table="building", since=str(today), until=str(today))
    assert _rows(inside) == 1
    before = await _text(app_client, "/audit", admin, until=str(today - timedelta(days=1)))
    assert "Nothing was changed" in before
    assert (await app_client.get("/audit?since=yesterday", headers=admin)).status_code == 422


async def test_units_tell_who_lives_there_only_to_those_who_may_know(
    app_client: httpx.AsyncClient, people: People, owner_db: Database, keys: Keys
) -> None:
    project = await people.project()
    async with owner_db.transaction(SYSTEM) as conn:
        building = await estate.create_building(conn, project.id, "b1", "Building 1")
        unit = await estate.create_unit(conn, project.id, building.id, "0101")
        person = await estate.create_person(conn, Sealer(keys), project.id, "Han Meimei")
        gone = await estate.create_person(conn, Sealer(keys), project.id, "Jim Green")
        await estate.create_occupancy(conn, project.id, unit.id, person.id, "owner", date(2026, 1, 1))
        await estate.create_occupancy(conn, project.id, unit.id, gone.id, "tenant", date(2020, 1, 1), date(2021, 1, 1))
        await estate.create_household(conn, project.id, unit.id, 5, date(2026, 1, 1))
    html = await _text(
        app_client, "/estate/units", await _by_cookie(owner_db, await people.staff("manager", project.id)), code="01"
    )
    assert "Han Meimei" in html
    assert "Jim Green" not in html
    assert f'href="/bills?unit_id={unit.id}"' in html
    assert re.search(r'data-label="Persons filed">5<', html)
    guarded = await _text(
        app_client, "/estate/units", await _by_cookie(owner_db, await people.staff("guard", project.id))
    )
    assert "Han Meimei" not in guarded


async def test_every_column_whose_changes_are_kept_has_words(owner_db: Database) -> None:
    query = """
        SELECT DISTINCT a.attname AS name FROM pg_trigger t
        JOIN pg_proc p ON p.oid = t.tgfoid AND p.proname = 'audit'
        JOIN pg_attribute a ON a.attrelid = t.tgrelid AND a.attnum > 0 AND NOT a.attisdropped
    """
    async with owner_db.transaction(SYSTEM) as conn:
        found = {row["name"] for row in await (await conn.execute(query)).fetchall()}
    assert {"entered_at", "due_on", "plate"} <= found
    assert found - {code for code, _ in choices("column")} == set()


async def test_the_audit_trail_names_what_was_changed(
    app_client: httpx.AsyncClient, people: People, worker_db: Database
) -> None:
    project = await people.project()
    admin = await _by_cookie(people.db, await people.staff("admin", project.id))
    async with worker_db.transaction(SYSTEM) as conn:
        lot = await parking.create_lot(conn, project.id, "main", "Main lot", 2)
        await conn.execute("UPDATE parking_lot SET capacity = 3 WHERE id = %s", (lot.id,))
    said = text_of(await _text(app_client, "/audit", admin, table="parking_lot"))
    assert "Capacity: 2 → 3" in said
    assert "Around it: –" in said
