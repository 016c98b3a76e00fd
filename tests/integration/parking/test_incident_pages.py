"""Pages of incidents: what is odd is seen, a plate is corrected and put back, a time repaired, a policy changed."""

import html
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import httpx
import msgspec
import pytest

from cloud.identity.guards import SESSION_COOKIE
from cloud.kit.db import SYSTEM, Database
from cloud.parking.stays import policies
from tests.integration.app import Auth, People
from tests.integration.parking.site import Site, rows, stays

PLATE = "京A12345"


class Browser:
    """Reads pages and sends their forms."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client, self._token = client, ""

    async def page(self, path: str) -> str:
        answer = await self._client.get(path, headers={"Accept-Language": "en"})
        assert answer.status_code == 200, answer.text
        found = re.search(r'name="csrf_token" value="([^"]+)"', answer.text)
        self._token = found[1] if found else self._token
        return answer.text

    async def send(self, path: str, **fields: Any) -> httpx.Response:
        return await self._client.post(path, data={"csrf_token": self._token, **fields})


@pytest.fixture
async def browser(app_client: httpx.AsyncClient, people: People, site: Site, worker_db: Database) -> Browser:
    """A manager's."""
    auth: Auth = await people.staff("manager", site.project_id)
    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
    app_client.cookies.set(SESSION_COOKIE, auth["Authorization"].removeprefix("Bearer "))
    return Browser(app_client)


async def test_an_incident_is_seen_and_resolved(browser: Browser, ingest_db: Database, site: Site) -> None:
    now = datetime.now(UTC)
    left = site.passage("exit", PLATE, now - timedelta(hours=1))
    await site.report(ingest_db, [left], now)
    listed = await browser.page("/parking/incidents")
    assert "Exit without entry" in listed
    assert f"/parking/passages/{left.id}" in listed
    await browser.page(f"/parking/passages/{left.id}")
    handled = f"/parking/passages/{left.id}/incidents/exit-without-entry"
    answer = await browser.send(handled, state="resolved", note="came in through the open barrier")
    assert answer.status_code == 303
    assert f"/parking/passages/{left.id}" not in await browser.page("/parking/incidents")
    assert "came in through the open barrier" in await browser.page("/parking/incidents?state=resolved")


async def test_many_incidents_are_paged_and_found_by_kind_state_and_every_plate_that_they_have(
    browser: Browser, ingest_db: Database, site: Site
) -> None:
    """What a driver says, and what stands on the screen, may be the plate as it was read."""
    now = datetime.now(UTC)
    unseen = [site.passage("exit", f"粤D{nth:05}", now - timedelta(hours=9, minutes=nth)) for nth in range(60)]
    entered = site.passage("entry", "京A12345", now - timedelta(hours=8))
    misread = site.passage("exit", "京A1234S", now - timedelta(hours=2))
    await site.report(ingest_db, [*unseen, entered, misread], now)

    async def listed(**query: Any) -> list[str]:
        """Passages page by page, as somebody follows the links."""
        path, found = f"/parking/incidents?{urlencode(query)}", list[str]()
        for _ in range(9):
            page = await browser.page(path)
            found += re.findall(r'class="btn btn-sm" href="/parking/passages/([0-9a-f-]{36})"', page)
            follows = re.search(r'rel="next" href="([^"]+)"', page)
            if follows is None:
                return found
            path = html.unescape(follows[1])
        raise AssertionError("pages without an end")

    everything = [misread.id, *(one.id for one in unseen)]
    assert await listed() == everything
    assert await listed(kind="exit-without-entry") == everything[1:]
    assert await listed(kind="misread", lot_id=site.lot_id) == [misread.id]
    for plate in ("京A12345", "京A1234S", "京a·1234s"):
        assert await listed(plate=plate) == [misread.id], plate
    page = await browser.page(f"/parking/passages/{misread.id}")
    assert "京A12345" in page.split("Plate of the stay")[1][:200]
    assert "Plate of the stay" not in await browser.page(f"/parking/passages/{unseen[7].id}")
    assert await listed(plate="粤D00007", kind="") == [unseen[7].id]
    assert await listed(lot_id=999) == []
    await browser.send(f"/parking/passages/{unseen[3].id}/incidents/exit-without-entry", state="seen", note="ask")
    assert await listed(state="seen") == [unseen[3].id]
    assert unseen[3].id not in await listed(state="open")
    assert await listed(state="") == everything


async def test_a_plate_is_corrected_and_put_back(browser: Browser, ingest_db: Database, site: Site) -> None:
    now = datetime.now(UTC)
    left = site.passage("exit", "京A99345", now)
    await site.report(ingest_db, [site.passage("entry", "京A12345", now - timedelta(hours=1)), left], now)
    await browser.page(f"/parking/passages/{left.id}")
    answer = await browser.send(f"/parking/passages/{left.id}/plate", plate="京A·12345", reason="dirt")
    assert answer.status_code == 303
    assert [(stay[0], stay[1]) for stay in await stays(ingest_db)] == [(PLATE, "closed")]
    (said,) = await rows(ingest_db, "SELECT id FROM plate_correction")
    await browser.send(f"/parking/plate-corrections/{said['id']}/undo", reason="another car")
    assert [(stay[0], stay[1]) for stay in await stays(ingest_db)] == [(PLATE, "open"), ("京A99345", "unmatched")]
    assert "Taken back: another car" in await browser.page(f"/parking/passages/{left.id}")


async def test_a_vehicle_without_a_plate_gets_a_ticket(browser: Browser, ingest_db: Database, site: Site) -> None:
    now = datetime.now(UTC)
    entered = site.passage("entry", "", now - timedelta(hours=1))
    waiting = site.passage("exit", "", now, "arrived")
    await site.report(ingest_db, [entered, waiting], now)
    await browser.page(f"/parking/passages/{entered.id}")
    await browser.send(f"/parking/passages/{entered.id}/ticket")
    printed = await browser.page(f"/parking/passages/{entered.id}")
    code = re.search(r">([A-Z0-9]{4}-[A-Z0-9]{4})<", printed)
    assert code is not None
    answer = await browser.send(f"/parking/passages/{waiting.id}/ticket-shown", code=code[1])
    assert re.fullmatch(r"/parking/sessions/\d+", answer.headers["location"])


async def test_a_time_is_repaired(browser: Browser, ingest_db: Database, site: Site) -> None:
    now = datetime.now(UTC)
    wrong = site.passage("entry", PLATE, datetime(2001, 1, 1, tzinfo=UTC))
    stranger = msgspec.structs.replace(site.passage("entry", "沪B1", now), device="nowhere")
    await site.report(ingest_db, [wrong, stranger], now)
    assert "/parking/set-aside" in await browser.page("/parking/incidents")
    shown = await browser.page("/parking/set-aside")
    assert shown.count("/repair") == 1
    local = (now - timedelta(hours=2) + timedelta(hours=8)).strftime("%Y-%m-%dT%H:%M")
    for impossible in ("0001-01-01T00:00", "yesterday"):
        answer = await browser.send(f"/parking/set-aside/{wrong.id}/repair", taken_at=impossible, reason="power cut")
        assert answer.status_code == 422, answer.text
    answer = await browser.send(f"/parking/set-aside/{wrong.id}/repair", taken_at=local, reason="power cut")
    assert answer.status_code == 303, answer.text
    ((plate, state, entered_at, *_),) = await stays(ingest_db)
    assert (plate, state, entered_at) == (PLATE, "open", (now - timedelta(hours=2)).replace(second=0, microsecond=0))


async def test_a_policy_is_changed(browser: Browser, worker_db: Database, owner_db: Database, site: Site) -> None:
    await browser.page(f"/parking/lots/{site.lot_id}/policy")
    fields = {
        "repeated_within_seconds": "30", "other_lane_within_seconds": "10", "reentry_within_minutes": "15",
        "tailgating_within_seconds": "15", "misread": "never", "misread_within_hours": "72", "inner_time": "included",
        "last_known_within_hours": "24", "then-": "fixed-charge", "amount-": "20.00", "then-large": "open-free",
        "amount-large": "",
    }  # fmt: skip
    answer = await browser.send(f"/parking/lots/{site.lot_id}/policy", **fields)
    assert answer.status_code == 303, answer.text
    async with worker_db.transaction(SYSTEM) as conn:
        policy = await policies.get_policy(conn, site.lot_id)
    assert (policy.reentry_within_minutes, policy.misread, policy.inner_time) == (15, "never", "included")
    assert [(one.vehicle_class, one.then, str(one.amount)) for one in policy.unseen_entry] == [
        ("", "fixed-charge", "20.00"),
        ("large", "open-free", "None"),
    ]
    assert 'value="20.00"' in await browser.page(f"/parking/lots/{site.lot_id}/policy")
    changed = await rows(owner_db, "SELECT action FROM audit_entry WHERE table_name = 'parking_lot_policy'")
    assert changed == [{"action": "insert"}]


async def test_a_viewer_sees_none_of_it(app_client: httpx.AsyncClient, people: People, site: Site) -> None:
    viewer = await people.staff("viewer", site.project_id)
    for path in ("parking-incidents", "set-aside-passages", f"parking-lots/{site.lot_id}/policy"):
        assert (await app_client.get(f"/api/v1/{path}", headers=viewer)).status_code == 403
