"""Webhooks through the API: who may, what is told once, what is refused."""

import httpx
import pytest

from cloud.settings import CloudSettings
from tests.integration.app import People, once

_KINDS = ["usage.changed", "exception.opened"]


async def test_a_webhook_is_made_changed_tested_and_deleted(app_client: httpx.AsyncClient, people: People) -> None:
    project, auth = await people.project(), await people.staff("admin")
    body = {"project_id": project.id, "url": "https://example.com/hook", "kinds": _KINDS, "name": "Accounting"}
    key = once()
    made = (await app_client.post("/api/v1/webhooks", json=body, headers=auth | key)).json()
    assert made["secret"].startswith("whsec_")
    assert "secret" not in made["webhook"]
    repeated = (await app_client.post("/api/v1/webhooks", json=body, headers=auth | key)).json()
    assert (repeated["webhook"]["id"], repeated["secret"]) == (made["webhook"]["id"], "")
    at = f"/api/v1/webhooks/{made['webhook']['id']}"
    rotated = (await app_client.post(f"{at}/secrets", headers=auth | once())).json()
    assert rotated["secret"] not in ("", made["secret"])
    tested = await app_client.post(f"{at}/tests", headers=auth | once())
    assert (tested.status_code, tested.json()["kind"], tested.json()["state"]) == (201, "webhook.test", "waiting")
    again = await app_client.post(
        f"/api/v1/webhook-deliveries/{tested.json()['id']}/repetitions", headers=auth | once()
    )
    assert (again.status_code, again.json()["code"]) == (409, "still-waiting")
    stopped = (await app_client.patch(at, json={"active": False}, headers=auth)).json()
    assert (stopped["active"], stopped["stopped_because"], stopped["kinds"]) == (False, "person", sorted(_KINDS))
    refused = await app_client.post(f"{at}/tests", headers=auth | once())
    assert (refused.status_code, refused.json()["code"]) == (409, "webhook-stopped")
    for query, count in ({"state": "waiting"}, 1), ({"state": "dead"}, 0), ({"kind": "webhook.test"}, 1):
        listed = (await app_client.get("/api/v1/webhook-deliveries", params=query, headers=auth)).json()
        assert len(listed["items"]) == count
    assert (await app_client.delete(at, headers=auth)).status_code == 204
    assert (await app_client.get(at, headers=auth)).status_code == 404


async def test_only_admins_of_the_project_see_its_webhooks(app_client: httpx.AsyncClient, people: People) -> None:
    project, other = await people.project(), await people.project()
    body = {"project_id": project.id, "url": "https://example.com/hook", "kinds": _KINDS}
    made = await app_client.post(
        "/api/v1/webhooks", json=body, headers=await people.staff("admin", project.id) | once()
    )
    at = f"/api/v1/webhooks/{made.json()['webhook']['id']}"
    stranger = await people.staff("admin", other.id)
    assert (await app_client.get("/api/v1/webhooks", headers=stranger)).json()["items"] == []
    assert (await app_client.get(at, headers=stranger)).status_code == 404
    assert (await app_client.post("/api/v1/webhooks", json=body, headers=stranger | once())).status_code == 404
    manager = await people.staff("manager", project.id)
    assert (await app_client.get("/api/v1/webhooks", headers=manager)).status_code == 403


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"url": "http://example.com/hook"}, "bad-url"),
        ({"url": "https://169.254.169.254/latest"}, "bad-url"),
        ({"kinds": ["weather.changed"]}, "unknown-kind"),
    ],
)
async def test_what_could_not_be_delivered_is_refused(
    app_client: httpx.AsyncClient, people: People, wrong: dict[str, object], code: str
) -> None:
    project = await people.project()
    body = {"project_id": project.id, "url": "https://example.com/hook", "kinds": _KINDS, **wrong}
    answer = await app_client.post("/api/v1/webhooks", json=body, headers=await people.staff("admin") | once())
    assert (answer.status_code, answer.json()["code"]) == (422, code)


def test_private_addresses_are_refused_unless_a_setting_says_otherwise(settings: CloudSettings) -> None:
    assert settings.webhooks_private is False
