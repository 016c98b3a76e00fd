"""Rules of webhooks: who is told what, secrets, sending again; and the door through which other features tell."""

from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

from cloud.estate import service as estate
from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, InvalidInput, NotFound
from cloud.kit.paging import Page, PageRequest
from cloud.kit.security import Sealer
from cloud.webhooks import repository, signing
from cloud.webhooks.addresses import check_url
from cloud.webhooks.records import KINDS, TEST_KIND, Delivery, DeliveryFilter, Webhook

SEALED_IN: Final = "webhook.secret"
"""Column that sealed secrets are bound to."""
MOST_OF_PROJECT: Final = 50
OLD_SECRET_H: Final = 24
"""After a rotation deliveries carry signatures of both secrets for so long."""


async def emit(conn: Conn, project_id: int, kind: str, payload: Mapping[str, object]) -> UUID | None:
    """Tells what happened to all who subscribed to `kind`, in the transaction in which it happened.

    `payload` is JSON: amounts and quantities as strings, times as ISO 8601. Returns the id of the event, None when
    nobody in the project wants to know.
    """
    if kind not in KINDS:
        raise ValueError(f"there is no kind of event {kind}")
    return await repository.emit(conn, project_id, kind, payload)


async def projects_wanting(conn: Conn, kind: str) -> list[int]:
    """Projects in which somebody subscribed to `kind`."""
    return await repository.projects_wanting(conn, kind)


async def list_webhooks(conn: Conn, page: PageRequest, project_id: int | None) -> Page[Webhook]:
    """Webhooks by id."""
    return await repository.webhooks(conn, page, project_id)


async def get_webhook(conn: Conn, webhook_id: int) -> Webhook:
    """Raises NotFound."""
    found = await repository.webhook(conn, webhook_id)
    if found is None:
        raise NotFound("no-webhook", f"there is no webhook {webhook_id}", field="webhook_id")
    return found


async def create_webhook(
    conn: Conn,
    sealer: Sealer,
    project_id: int,
    url: str,
    kinds: Sequence[str],
    name: str,
    created_by: int | None,
    *,
    private: bool = False,
) -> tuple[Webhook, str]:
    """A new webhook and its secret, which nobody gets to see again. `private`: see `check_url`.

    Raises NotFound (project), InvalidInput, Conflict when the project has as many as it may.
    """
    await estate.get_project(conn, project_id)
    check_url(url, private=private)
    if await repository.count(conn, project_id) >= MOST_OF_PROJECT:
        raise Conflict("too-many-webhooks", f"a project has at most {MOST_OF_PROJECT} webhooks")
    secret = signing.new_secret()
    made = await repository.insert(
        conn,
        {
            "project_id": project_id,
            "name": name,
            "url": url,
            "kinds": _checked(kinds),
            "secret": sealer.seal(secret, SEALED_IN),
            "created_by": created_by,
        },
    )
    return made, secret


async def change_webhook(
    conn: Conn,
    webhook_id: int,
    *,
    name: str | None = None,
    url: str | None = None,
    kinds: Sequence[str] | None = None,
    active: bool | None = None,
    private: bool = False,
) -> Webhook:
    """Changes what is given. One that is active again starts without its failures. Raises NotFound, InvalidInput."""
    known = await get_webhook(conn, webhook_id)
    if url is not None:
        check_url(url, private=private)
    return await repository.update(
        conn,
        {
            "id": webhook_id,
            "name": known.name if name is None else name,
            "url": known.url if url is None else url,
            "kinds": list(known.kinds) if kinds is None else _checked(kinds),
            "active": known.active if active is None else active,
        },
    )


async def rotate_secret(conn: Conn, sealer: Sealer, webhook_id: int) -> str:
    """A new secret; the old one signs too for a day. Raises NotFound."""
    await get_webhook(conn, webhook_id)
    secret = signing.new_secret()
    await repository.rotate(conn, webhook_id, sealer.seal(secret, SEALED_IN), OLD_SECRET_H)
    return secret


async def delete_webhook(conn: Conn, webhook_id: int) -> None:
    """Deletes it with what it was told and waits to be told. Raises NotFound."""
    await get_webhook(conn, webhook_id)
    await repository.delete(conn, webhook_id)


async def send_test(conn: Conn, webhook_id: int) -> Delivery:
    """Sends an event that says nothing, whatever the webhook subscribed to. Raises NotFound, Conflict when stopped."""
    found = await _active(conn, webhook_id)
    delivery_id = await repository.send_to_one(conn, found, TEST_KIND, {"webhook_id": webhook_id})
    return await get_delivery(conn, delivery_id)


async def list_deliveries(conn: Conn, page: PageRequest, wanted: DeliveryFilter) -> Page[Delivery]:
    """Deliveries, newest first."""
    return await repository.deliveries(conn, page, wanted)


async def get_delivery(conn: Conn, delivery_id: int) -> Delivery:
    """Raises NotFound."""
    found = await repository.delivery(conn, delivery_id)
    if found is None:
        raise NotFound("no-delivery", f"there is no delivery {delivery_id}", field="delivery_id")
    return found


async def send_again(conn: Conn, delivery_id: int) -> Delivery:
    """Sends an ended delivery once more, with its first id. Raises NotFound, Conflict while it waits or is stopped."""
    found = await get_delivery(conn, delivery_id)
    await _active(conn, found.webhook_id)
    if not await repository.again(conn, delivery_id):
        raise Conflict("still-waiting", "it has not ended yet: it is tried again by itself")
    return await get_delivery(conn, delivery_id)


async def _active(conn: Conn, webhook_id: int) -> Webhook:
    found = await get_webhook(conn, webhook_id)
    if not found.active:
        raise Conflict("webhook-stopped", "the webhook is stopped: start it first")
    return found


def _checked(kinds: Sequence[str]) -> list[str]:
    unknown = set(kinds) - set(KINDS)
    if unknown or not kinds:
        raise InvalidInput("unknown-kind", f"expected some of {', '.join(KINDS)}", field="kinds")
    return sorted(set(kinds))
