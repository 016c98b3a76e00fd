"""Webhooks on pages: a form that is sent twice makes one, and its secret is shown once."""

import re
from typing import Any, Final, LiteralString

import httpx

from cloud.kit.db import SYSTEM
from tests.integration.app import People
from tests.integration.browser import Browser

_HOOK: Final[dict[str, Any]] = {"url": "https://example.com/hook", "kinds": ["usage.changed"], "name": "Accounting"}
_SECRET: Final = re.compile(r"whsec_[A-Za-z0-9+/=]+")


async def _admin(client: httpx.AsyncClient, people: People) -> Browser:
    auth = await people.staff("admin", (await people.project()).id)
    async with people.db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
    admin = Browser(client, auth)
    await admin.see("/webhooks")
    return admin


async def _rows(people: People, query: LiteralString) -> list[dict[str, Any]]:
    async with people.db.transaction(SYSTEM) as conn:
        return await (await conn.execute(query)).fetchall()


async def test_a_form_that_is_sent_twice_makes_one_webhook(app_client: httpx.AsyncClient, people: People) -> None:
    admin = await _admin(app_client, people)
    first = await admin.send("/webhooks", 200, **_HOOK, once="a-form-of-today")
    assert _SECRET.search(first.text)
    second = await admin.send("/webhooks", **_HOOK, once="a-form-of-today")
    (made,) = await _rows(people, "SELECT id FROM webhook")
    assert second.headers["Location"] == f"/webhooks/{made['id']}?done=saved"
    await admin.send("/webhooks", 200, **_HOOK, once="another-form")
    assert len(await _rows(people, "SELECT id FROM webhook")) == 2


async def test_a_new_secret_and_a_test_are_made_once(app_client: httpx.AsyncClient, people: People) -> None:
    """Two new secrets in a row would leave receivers with none that anything is signed with."""
    admin = await _admin(app_client, people)
    await admin.send("/webhooks", 200, **_HOOK)
    (made,) = await _rows(people, "SELECT id FROM webhook")
    at = f"/webhooks/{made['id']}"
    rotated = await admin.send(f"{at}/secrets", 200, once="a-new-secret")
    assert _SECRET.search(rotated.text)
    assert (await admin.send(f"{at}/secrets", once="a-new-secret")).headers["Location"] == f"{at}?done=saved"
    for _ in range(2):
        assert (await admin.send(f"{at}/tests", once="a-test-event")).headers["Location"] == f"{at}?done=sending"
    assert len(await _rows(people, "SELECT id FROM webhook_delivery")) == 1
