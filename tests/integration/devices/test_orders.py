"""Orders to devices in the cloud: only what a device can do, asked twice before a supply is cut, given once."""

import re
import uuid
from datetime import timedelta
from typing import Any

import httpx
import pytest

from cloud.devices import service
from cloud.devices.records import CommandFilter
from cloud.identity.guards import SESSION_COOKIE
from cloud.kit.db import SYSTEM, Database
from cloud.kit.errors import Conflict
from cloud.kit.paging import PageRequest
from gateway.contract.messages import Action, DeviceHealth, Health
from tests.integration.app import Auth, People, once
from tests.integration.metering.site import Site, make_site, now_ms


@pytest.fixture
async def site(worker_db: Database, ingest_db: Database) -> Site:
    """m1 can be read, its valve be moved and its clock be set; m2 can be read; of m3 nothing is known."""
    made = await make_site(worker_db)
    devices = (
        DeviceHealth("m1", now_ms(), 1, 0, 0, 0, 0, ("read-now", "open-valve", "close-valve", "set-clock", "dance")),
        DeviceHealth("m2", now_ms(), 1, 0, 0, 0, 0, ("read-now",)),
        DeviceHealth("m3", now_ms(), 1, 0, 0, 0, 0),
    )
    async with ingest_db.transaction(SYSTEM) as conn:
        await service.apply_health(conn, made.gateway_id, Health(now_ms(), "0", 1, 0, 0, 0, 0, devices))
    return made


class Browser:
    """A signed-in member of staff who looks at pages and sends their forms."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def sees(self, address: str, status: int = 200) -> str:
        answer = await self._client.get(address, headers={"Accept-Language": "en"})
        assert answer.status_code == status, answer.text
        return answer.text

    async def sends(self, page: str, address: str, **fields: str) -> httpx.Response:
        token = re.search(r'name="csrf_token" value="([^"]+)"', page)
        assert token is not None
        data = {"csrf_token": token[1], **fields}
        return await self._client.post(address, data=data, headers={"Accept-Language": "en"})


async def browser(client: httpx.AsyncClient, db: Database, auth: Auth) -> Browser:
    async with db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
    client.cookies.set(SESSION_COOKIE, auth["Authorization"].removeprefix("Bearer "))
    return Browser(client)


async def commands(db: Database) -> list[Any]:
    async with db.transaction(SYSTEM) as conn:
        return list((await service.list_commands(conn, PageRequest(50), CommandFilter())).items)


def row_of(page: str, device: str) -> str:
    start = page.index(f"<span>{device} ")
    return page[start : page.index("</tr>", start)]


async def test_a_device_is_offered_what_it_can_do(
    app_client: httpx.AsyncClient, owner_db: Database, people: People, site: Site
) -> None:
    visitor = await browser(app_client, owner_db, await people.staff("manager", site.project_id))
    page = await visitor.sees("/devices")
    assert re.findall(r'name="action" value="([^"]+)"', row_of(page, "m1")) == [
        "read-now", "open-valve", "set-clock", "close-valve",
    ]  # fmt: skip
    assert "btn-outline-danger" in row_of(page, "m1")
    assert "btn-outline-danger" not in row_of(page, "m2")
    assert re.findall(r'name="action" value="([^"]+)"', row_of(page, "m2")) == ["read-now"]
    assert "<form" not in row_of(page, "m3")
    viewer = await browser(app_client, owner_db, await people.staff("viewer", site.project_id))
    assert '/orders" class' not in await viewer.sees("/devices")


async def test_a_reading_is_ordered_at_once_and_sent_twice_it_is_one(
    app_client: httpx.AsyncClient, owner_db: Database, people: People, site: Site
) -> None:
    visitor = await browser(app_client, owner_db, await people.staff("manager", site.project_id))
    page = await visitor.sees("/devices")
    address = f"/devices/{site.devices[0]}/orders"
    order_id = re.search(r'name="order_id" value="([^"]+)"', row_of(page, "m1"))
    assert order_id is not None
    for _ in range(2):
        answer = await visitor.sends(page, address, action="read-now", reason="asked", order_id=order_id[1])
        assert (answer.status_code, answer.headers["Location"]) == (
            303,
            f"/devices/orders?device={site.devices[0]}&done=ordered",
        )
    (made,) = await commands(owner_db)
    assert (made.action, made.reason, made.device_code, made.state) == ("read-now", "asked", "m1", "queued")
    shown = await visitor.sees(answer.headers["Location"])
    assert "The order is on its way" in shown
    assert "Waiting to be sent" in shown


async def test_another_button_of_the_same_form_is_another_order(
    app_client: httpx.AsyncClient, owner_db: Database, people: People, site: Site
) -> None:
    """The page is still there when one goes back to it: what its form orders next must not be swallowed."""
    visitor = await browser(app_client, owner_db, await people.staff("manager", site.project_id))
    page = await visitor.sees("/devices")
    form = {"reason": "asked", "order_id": str(uuid.uuid4())}
    for action in ("read-now", "open-valve", "read-now"):
        answer = await visitor.sends(page, f"/devices/{site.devices[0]}/orders", action=action, **form)
        assert answer.status_code == 303
    assert sorted(made.action for made in await commands(owner_db)) == ["open-valve", "read-now"]


async def test_an_order_with_the_id_of_another_one_is_refused(owner_db: Database, site: Site) -> None:
    async with owner_db.transaction(SYSTEM) as conn:

        async def order(device: int, action: Action) -> uuid.UUID:
            return await service.queue_command(
                conn, site.project_id, site.devices[device], action, {}, "a", "r", timedelta(minutes=1),
                order_id=uuid.UUID(int=5),
            )  # fmt: skip

        assert await order(0, Action.READ_NOW) == await order(0, Action.READ_NOW)
        with pytest.raises(Conflict, match="another order"):
            await order(0, Action.SET_CLOCK)
        with pytest.raises(Conflict, match="another order"):
            await order(1, Action.READ_NOW)


async def test_what_cuts_a_supply_is_asked_for_once_more(
    app_client: httpx.AsyncClient, owner_db: Database, people: People, site: Site
) -> None:
    visitor = await browser(app_client, owner_db, await people.staff("manager", site.project_id))
    page = await visitor.sees("/devices")
    address = f"/devices/{site.devices[0]}/orders"
    wanted = {"action": "close-valve", "reason": "leak <b>", "order_id": str(uuid.uuid4())}
    question = await visitor.sends(page, address, **wanted)
    assert question.status_code == 200
    assert "This cuts the supply" in question.text
    assert await commands(owner_db) == []
    fields = dict(re.findall(r'name="(action|reason|order_id|sure)" value="([^"]+)"', question.text))
    assert fields == {**wanted, "reason": "leak &lt;b&gt;", "sure": "yes"}
    answer = await visitor.sends(question.text, address, **wanted, sure="yes")
    assert answer.status_code == 303
    (made,) = await commands(owner_db)
    assert (made.action, made.reason) == ("close-valve", "leak <b>")


async def test_orders_are_filtered_and_paged(
    app_client: httpx.AsyncClient, owner_db: Database, people: People, site: Site
) -> None:
    auth = await people.staff("manager", site.project_id)
    for number in range(60):
        async with owner_db.transaction(SYSTEM) as conn:
            await service.queue_command(
                conn,
                site.project_id,
                site.devices[number % 2],
                Action.READ_NOW,
                {},
                "a",
                f"r{number}",
                timedelta(minutes=1),
            )
    async with owner_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE command SET state = 'failed', detail = 'no answer' WHERE reason = 'r7'")
    answer = await app_client.get("/api/v1/commands", params={"state": "failed"}, headers=auth)
    assert [one["reason"] for one in answer.json()["items"]] == ["r7"]
    answer = await app_client.get(
        "/api/v1/commands", params={"action": "close-valve", "project_id": site.project_id}, headers=auth
    )
    assert answer.json()["items"] == []
    assert (await app_client.get("/api/v1/commands", params={"state": "?"}, headers=auth)).status_code == 422
    visitor = await browser(app_client, owner_db, auth)
    page = await visitor.sees("/devices/orders")
    assert page.count("Read now</td>") == 25
    following = re.search(r'rel="next" href="([^"]+)"', page)
    assert following is not None
    assert (await visitor.sees(following[1].replace("&amp;", "&"))).count("Read now</td>") == 25
    page = await visitor.sees(f"/devices/orders?device={site.devices[1]}&state=failed")
    assert page.count("Read now</td>") == 1
    assert "no answer" in page


async def test_the_service_refuses_what_the_gateway_says_cannot_be_done(owner_db: Database, site: Site) -> None:
    async with owner_db.transaction(SYSTEM) as conn:

        async def order(device: int, action: Action) -> uuid.UUID:
            return await service.queue_command(
                conn, site.project_id, site.devices[device], action, {}, "a", "r", timedelta(minutes=1)
            )

        with pytest.raises(Conflict, match="m2 cannot close-valve"):
            await order(1, Action.CLOSE_VALVE)
        await order(2, Action.CLOSE_VALVE)  # nothing is known: the gateway decides


async def test_the_api_takes_known_arguments_only_and_an_order_once(
    app_client: httpx.AsyncClient, people: People, site: Site
) -> None:
    auth = await people.staff("manager", site.project_id)
    body = {"project_id": site.project_id, "device_id": site.devices[0], "action": "close-valve", "reason": "leak"}
    answer = await app_client.post(
        "/api/v1/commands", json={**body, "arguments": {"slowly": "yes"}}, headers={**auth, **once()}
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "bad-arguments")
    key = once()
    first, again = [await app_client.post("/api/v1/commands", json=body, headers={**auth, **key}) for _ in range(2)]
    assert (first.status_code, first.json()) == (201, again.json())


async def test_the_page_of_configurations_shows_what_changed_and_leads_back(
    app_client: httpx.AsyncClient, owner_db: Database, people: People, site: Site
) -> None:
    visitor = await browser(app_client, owner_db, await people.staff("manager", site.project_id))
    address = f"/devices/gateways/{site.gateway_id}/configurations"
    page = await visitor.sees(address)
    assert "No configuration yet" in page
    answer = await visitor.sends(page, address, site="periods: {billing_s: 900}\r\n", reason="first", newest="0")
    assert answer.status_code == 303, answer.text
    page = await visitor.sees(answer.headers["Location"])
    assert '<span class="new">periods: {billing_s: 900}' in page
    wrong = await visitor.sends(page, address, site="periods: <5>\n", reason="second", newest="1")
    assert wrong.status_code == 422
    assert "site.yaml:1: periods" in wrong.text
    assert "periods: &lt;5&gt;" in wrong.text, "what was typed is not lost"
    answer = await visitor.sends(page, address, site="periods: {billing_s: 60}\n", reason="second", newest="1")
    page = await visitor.sees(answer.headers["Location"])
    assert '<span class="gone">periods: {billing_s: 900}' in page
    answer = await visitor.sends(page, address, site="{}", reason="late", newest="1")
    assert answer.status_code == 409
    answer = await visitor.sends(page, f"{address}/1/restore", reason="back", newest="2")
    assert answer.headers["Location"] == f"{address}?number=3&done=configured"
    again = await visitor.sends(page, f"{address}/1/restore", reason="back", newest="2")
    assert again.status_code == 409, "pressed twice it is made once"
    page = await visitor.sees(answer.headers["Location"])
    assert "content of 1" in page
    assert "Replaced before it was sent" in page
    viewer = await browser(app_client, owner_db, await people.staff("viewer", site.project_id))
    page = await viewer.sees(address)
    assert "Send to the gateway" not in page
