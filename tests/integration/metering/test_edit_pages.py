"""Readings are looked through and edited on pages: the effect first, then a version with its reason, and back again."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from cloud.identity.guards import SESSION_COOKIE
from cloud.ingest.writer import Writer
from cloud.kit.db import SYSTEM, Database
from tests.integration.app import Auth, People, once
from tests.integration.browser import text_of
from tests.integration.metering.site import CHANNEL, START_MS, Site, hourly, make_site, message
from tests.integration.metering.test_derivation import derive
from tests.worlds import World, world

API = "/api/v1"
START = datetime.fromtimestamp(START_MS / 1000, UTC)


def at(hour: int) -> str:
    return (START + timedelta(hours=hour)).isoformat()


class Visit:
    """A browser of somebody."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def page(self, address: str, status: int = 200) -> str:
        """The text of a page, blanks as one."""
        answer = await self.client.get(address)
        assert answer.status_code == status, answer.text
        return text_of(answer.text)

    async def send(self, address: str, form: dict[str, str]) -> httpx.Response:
        """A form, with the token of this browser."""
        token = self.client.cookies.get("csrf_token") or ""
        return await self.client.post(address, data={**form, "csrf_token": token})

    async def edit(self, meter_id: int, form: dict[str, str], *, sure: bool = True) -> httpx.Response:
        """Checked first and, when `sure`, confirmed as a person does it."""
        answer = await self.send(f"/meters/{meter_id}/reading", form)
        seen = re.search(r'name="seen" value="([^"]*)"', answer.text)
        if not sure or seen is None:
            return answer
        return await self.send(
            f"/meters/{meter_id}/reading", {**form, "sure": "yes", "seen": seen[1].replace("&amp;", "&")}
        )


async def visit(client: httpx.AsyncClient, db: Database, auth: Auth) -> Visit:
    async with db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
    client.cookies.clear()
    client.cookies.set(SESSION_COOKIE, auth["Authorization"].removeprefix("Bearer "))
    await client.get("/")
    return Visit(client)


async def all_of(db: Database, query: str) -> list[tuple[Any, ...]]:
    async with db.transaction(SYSTEM) as conn:
        rows = await (await conn.execute(query)).fetchall()
    return [tuple(row.values()) for row in rows]


@world
async def site_world(db: Database) -> Site:
    """Six hours of 1 kWh each, but the reading of 03:00 says 900.000 kWh: refused."""
    site = await make_site(db, meters=2)
    values = [10_000, 11_000, 12_000, 900_000, 14_000, 15_000, 16_000]
    points = [*hourly("m1", 0, values), *hourly("m1", 7, [17_000], quality=3)]
    async with Database(db.dsn, "gatemeter_ingest", max_size=1) as ingest_db:
        await Writer(ingest_db).store([message(1, points)])
    await derive(db)
    return site


@pytest.fixture
def site(site_world: World[Site], worker_db: Database) -> Site:
    """That world, which only this test changes."""
    return site_world.of(worker_db)


async def test_readings_are_listed_filtered_and_paged(
    app_client: httpx.AsyncClient, owner_db: Database, people: People, site: Site
) -> None:
    user = await visit(app_client, owner_db, await people.staff("viewer", site.project_id))
    address = f"/meters/{site.meters[0]}/readings"
    text = await user.page(address)
    assert text.count("gateway's clock not set") == text.count("old answer repeated") == 1
    assert "The register advanced more than the meter can" in text
    assert "900.000 kWh" in text
    assert "Undo" not in text
    refused = await user.page(f"{address}?only=refused")
    assert ("900.000 kWh" in refused, "16.000 kWh" in refused) == (True, False)
    flagged = await user.page(f"{address}?only=flagged")
    assert ("17.000 kWh" in flagged, "16.000 kWh" in flagged) == (True, False)
    for only in ("edited", "manual"):
        assert "No readings in this time" in await user.page(f"{address}?only={only}")
    # 8 in the local zone, +08:00: all readings are of 1 January.
    assert "No readings in this time" in await user.page(f"{address}?since=2026-01-02&until=2026-01-03")
    assert "900.000 kWh" in await user.page(f"{address}?since=2026-01-01&until=2026-01-01")
    await user.page(f"{address}?channel=nothing", 422)
    await user.page(f"{address}?only=nothing", 422)


async def test_a_long_list_goes_on_at_its_cursor(
    app_client: httpx.AsyncClient, owner_db: Database, ingest_db: Database, people: People, site: Site
) -> None:
    await Writer(ingest_db).store([message(2, hourly("m2", 0, range(0, 60_000, 1_000)))])
    user = await visit(app_client, owner_db, await people.staff("viewer", site.project_id))
    first = await app_client.get(f"/meters/{site.meters[1]}/readings")
    cursor = re.search(r'rel="next" href="([^"]+)"', first.text)
    assert cursor is not None
    assert first.text.count('data-label="Received"') == 50
    rest = (await app_client.get(cursor[1].replace("&amp;", "&"))).text
    assert rest.count('data-label="Received"') == 10
    assert "9.000 kWh" in rest
    assert "10.000 kWh" not in rest
    assert user.client is app_client


async def test_an_edit_says_its_effect_is_made_and_taken_back(
    app_client: httpx.AsyncClient, owner_db: Database, worker_db: Database, people: People, site: Site
) -> None:
    user = await visit(app_client, owner_db, await people.staff("manager", site.project_id))
    meter = site.meters[0]
    form = {"channel": CHANNEL, "taken_at": at(3), "action": "set", "value": "13.25", "reason": "read on site"}
    shown = text_of((await user.edit(meter, form, sure=False)).text)
    assert "The reading does not count now. It will count as 13.250 kWh." in shown
    assert "is derived again: 2 intervals, together 2.000 kWh now" in shown
    assert "since the reading before" in shown
    assert ("1.250 kWh" in shown, "0.750 kWh" in shown) == (True, True)
    assert await all_of(owner_db, "SELECT count(*) FROM reading_edit") == [(0,)]
    done = await user.edit(meter, form)
    assert done.status_code == 303, done.text
    assert "derived again within a minute" in await user.page(done.headers["location"])
    await derive(worker_db)
    usage = f"SELECT quantity, method FROM store.usage WHERE meter_id = {meter} ORDER BY start OFFSET 2 LIMIT 2"
    assert await all_of(owner_db, usage) == [(1_250, 0), (750, 0)]
    assert "13.250 kWh" in await user.page(f"/meters/{meter}/readings?only=edited")
    # The reading itself is as it was.
    assert await all_of(owner_db, "SELECT max(value) FROM store.reading") == [(900_000,)]
    back = {**form, "action": "original", "reason": "the other meter"}
    shown = text_of((await user.edit(meter, back, sure=False)).text)
    assert "The rules will refuse it: The register advanced more than the meter can." in shown
    assert (await user.edit(meter, back)).status_code == 303
    await derive(worker_db)
    assert await all_of(owner_db, usage) == [(1_000, 3), (1_000, 3)]
    assert await all_of(owner_db, "SELECT version, action, value, reason FROM reading_edit ORDER BY id") == [
        (1, "set", 13_250, "read on site"), (2, "original", None, "the other meter")
    ]  # fmt: skip


@pytest.mark.parametrize("action", ["use", "ignore"])
async def test_a_reading_is_believed_or_left_out(
    app_client: httpx.AsyncClient, owner_db: Database, people: People, site: Site, action: str
) -> None:
    user = await visit(app_client, owner_db, await people.staff("manager", site.project_id))
    hour = 3 if action == "use" else 2
    form = {"channel": CHANNEL, "taken_at": at(hour), "action": action, "value": "1", "reason": "seen"}
    shown = text_of((await user.edit(site.meters[0], form, sure=False)).text)
    if action == "use":
        assert "It does not fit the reading before it: The register advanced more than the meter can." in shown
        assert "888.000 kWh" in shown
    else:
        assert "The reading counts as 12.000 kWh now. Usage will go without it." in shown
        # From 01:00 to 04:00, where the next reading that counts is.
        assert "3 intervals, together 3.000 kWh" in shown
    assert (await user.edit(site.meters[0], form)).status_code == 303
    assert await all_of(owner_db, "SELECT action, value FROM reading_edit") == [(action, None)]


async def test_what_changed_meanwhile_is_looked_at_first(
    app_client: httpx.AsyncClient, owner_db: Database, people: People, site: Site
) -> None:
    auth = await people.staff("manager", site.project_id)
    user = await visit(app_client, owner_db, auth)
    address = f"/meters/{site.meters[0]}/reading"
    form = {"channel": CHANNEL, "taken_at": at(3), "action": "ignore", "reason": "first"}
    checked = await user.send(address, form)
    seen = re.search(r'name="seen" value="([^"]*)"', checked.text)
    assert seen is not None
    confirmed = {**form, "sure": "yes", "seen": seen[1].replace("&amp;", "&")}
    assert (await user.send(address, {**confirmed, "reason": "another one"})).status_code == 200
    assert (await user.send(address, confirmed)).status_code == 303
    # Sent twice, or after somebody else's decision: shown again, not made again.
    assert (await user.send(address, confirmed)).status_code == 200
    assert await all_of(owner_db, "SELECT reason FROM reading_edit") == [("first",)]


@pytest.mark.parametrize(
    ("values", "status", "said"),
    [
        ({"value": "1000000"}, 422, "expected 0 to below 1000000.000 kWh"),
        ({"value": ""}, 422, "expected the value that counts instead"),
        ({"value": "1.2345"}, 422, "fewer decimals"),
        ({"reason": ""}, 422, "reason"),
        ({"taken_at": at(9)}, 404, ""),
        ({"action": "delete"}, 422, ""),
    ],
)
async def test_what_cannot_be_is_refused(
    app_client: httpx.AsyncClient, owner_db: Database, people: People, site: Site, values: dict[str, str], status: int,
    said: str,
) -> None:  # fmt: skip
    user = await visit(app_client, owner_db, await people.staff("manager", site.project_id))
    form = {"channel": CHANNEL, "taken_at": at(3), "action": "set", "value": "13", "reason": "x", **values}
    answer = await user.edit(site.meters[0], form)
    assert answer.status_code == status
    assert said.lower() in answer.text.lower()
    assert await all_of(owner_db, "SELECT count(*) FROM reading_edit") == [(0,)]


async def test_who_may_look_and_who_may_edit(
    app_client: httpx.AsyncClient, owner_db: Database, people: People, site: Site
) -> None:
    meter = site.meters[0]
    one = f"/meters/{meter}/reading?channel={CHANNEL}&at={quote(at(3))}"
    form = {"channel": CHANNEL, "taken_at": at(3), "action": "ignore", "reason": "x"}
    viewer = await visit(app_client, owner_db, await people.staff("viewer", site.project_id))
    assert "You may look at this reading" in await viewer.page(one)
    assert (await viewer.send(f"/meters/{meter}/reading", form)).status_code == 403
    await viewer.page(f"/meters/{meter}/thresholds", 403)
    stranger = await visit(app_client, owner_db, await people.staff("manager", (await people.project()).id))
    for address in (one, f"/meters/{meter}/readings", f"/meters/{meter}/edits"):
        await stranger.page(address, 404)
    assert (await stranger.send(f"/meters/{meter}/reading", form)).status_code == 404
    manager = await visit(app_client, owner_db, await people.staff("manager", site.project_id))
    answer = await app_client.post(f"/meters/{meter}/reading", data=form)
    assert answer.status_code == 403, "a form without the token of this browser"
    assert "What should count" in await manager.page(one)
    await manager.page(f"/meters/{meter}/reading?channel={CHANNEL}&at={quote(at(9))}", 404)
    await manager.page(f"/meters/{meter}/reading?channel={CHANNEL}&at=2026-01-01T03:00:00", 422)
    assert await all_of(owner_db, "SELECT count(*) FROM reading_edit") == [(0,)]


async def test_edits_are_filtered_and_paged(
    app_client: httpx.AsyncClient, owner_db: Database, people: People, site: Site
) -> None:
    async with owner_db.transaction(SYSTEM) as conn:
        for n in range(60):
            await conn.execute(
                """INSERT INTO reading_edit (project_id, meter_id, channel, taken_at, version, action, reason, actor,
                                             created_at)
                   VALUES (%s, %s, 1, %s, %s, 'use', %s, %s, %s)""",
                (site.project_id, site.meters[n % 2], START, n + 1, f"no {n}.", "user:Anna" if n % 3 else "user:ben",
                 START + timedelta(days=n)),
            )  # fmt: skip
    auth = await people.staff("viewer", site.project_id)

    async def listed(address: str, **query: str | int) -> list[int]:
        found: list[int] = []
        while True:
            answer = await app_client.get(f"{API}/{address}", params=query, headers=auth)
            assert answer.status_code == 200, answer.text
            found += [one["version"] - 1 for one in answer.json()["items"]]
            if answer.json()["next_cursor"] is None:
                return found
            query["cursor"] = answer.json()["next_cursor"]

    everything = list(range(59, -1, -1))
    of_first = f"meters/{site.meters[0]}/reading-edits"
    assert await listed("reading-edits", limit=25) == everything
    assert await listed("reading-edits", meter_id=site.meters[1]) == everything[::2]
    assert await listed("reading-edits", actor="BEN") == [n for n in everything if n % 3 == 0]
    wanted = {"from": at(24 * 10), "to": at(24 * 20)}
    assert await listed("reading-edits", **wanted) == list(range(19, 9, -1))
    assert await listed(of_first, limit=7, actor="anna") == [n for n in everything if n % 2 == 0 and n % 3]
    assert await listed(of_first, **wanted) == [18, 16, 14, 12, 10]
    elsewhere = await people.staff("manager", (await people.project()).id)
    answer = await app_client.get(f"{API}/reading-edits", headers={**elsewhere, **once()})
    assert answer.json()["items"] == []

    user = await visit(app_client, owner_db, auth)
    first = (await app_client.get("/reading-edits")).text
    assert first.count('data-label="Reason"') == 50
    following = re.search(r'rel="next" href="([^"]+)"', first)
    assert following is not None
    assert (await app_client.get(following[1].replace("&amp;", "&"))).text.count('data-label="Reason"') == 10
    text = await user.page(f"/meters/{site.meters[0]}/edits?by=ben&since=2026-01-13&until=2026-01-13")
    assert ("no 12." in text, text.count("no ")) == (True, 1)
    assert "No reading was edited" in await user.page("/reading-edits?by=nobody")


async def test_a_value_is_bounded_by_the_register_of_its_time(
    app_client: httpx.AsyncClient, owner_db: Database, people: People, site: Site
) -> None:
    async with owner_db.transaction(SYSTEM) as conn:
        await conn.execute(
            "UPDATE meter_register SET valid = tstzrange(lower(valid), %s) WHERE meter_id = %s",
            (START + timedelta(hours=5), site.meters[0]),
        )
        await conn.execute(
            """INSERT INTO meter_register (project_id, meter_id, valid, reason, modulus, max_per_hour)
               VALUES (%s, %s, tstzrange(%s, NULL), 'exchanged', 100000, 60000)""",
            (site.project_id, site.meters[0], START + timedelta(hours=5)),
        )
    auth = await people.staff("manager", site.project_id)
    for hour, status in ((3, 201), (6, 422)):
        body = {"taken_at": at(hour), "action": "set", "value": "500", "reason": "x"}
        answer = await app_client.post(
            f"{API}/meters/{site.meters[0]}/reading-edits", json=body, headers={**auth, **once()}
        )
        assert answer.status_code == status, answer.text
