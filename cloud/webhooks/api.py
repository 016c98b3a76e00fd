"""REST: webhooks of projects and their deliveries."""

from typing import Annotated

from fastapi import Query, Request

from cloud.identity.guards import Scope, allow
from cloud.kit.idempotency import Once
from cloud.kit.inputs import Id, Listed, ListQuery
from cloud.kit.routing import rest_router
from cloud.webhooks import service
from cloud.webhooks.models import (
    DeliveryOut,
    DeliveryQuery,
    NewWebhookOut,
    SecretOut,
    WebhookChange,
    WebhookIn,
    WebhookOut,
)

router = rest_router("webhooks")

Writing = Annotated[Scope, allow("webhooks.write")]


@router.get("/webhooks")
async def list_webhooks(scope: Writing, query: Annotated[ListQuery, Query()]) -> Listed[WebhookOut]:
    """Webhooks by id."""
    page = await service.list_webhooks(scope.conn, query.page(), query.project_id)
    return Listed(items=[WebhookOut.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.post("/webhooks", status_code=201)
async def create_webhook(request: Request, body: WebhookIn, scope: Writing, once: Once) -> NewWebhookOut:
    """A new webhook with its secret. A repetition with the same key tells its id, and no secret."""
    secret = ""

    async def make() -> WebhookOut:
        nonlocal secret
        made, secret = await service.create_webhook(
            scope.conn, request.app.state.sealer, body.project_id, body.url, body.kinds, body.name,
            scope.caller.user_id, private=request.app.state.settings.webhooks_private,
        )  # fmt: skip
        return WebhookOut.of(made)

    webhook = await once.answer(scope.conn, WebhookOut, make)
    return NewWebhookOut(webhook=webhook, secret=secret)


@router.get("/webhooks/{webhook_id}")
async def get_webhook(scope: Writing, webhook_id: Id) -> WebhookOut:
    """One webhook."""
    return WebhookOut.of(await service.get_webhook(scope.conn, webhook_id))


@router.patch("/webhooks/{webhook_id}")
async def change_webhook(request: Request, scope: Writing, webhook_id: Id, body: WebhookChange) -> WebhookOut:
    """Changes what is given; stops and starts it."""
    changed = await service.change_webhook(
        scope.conn, webhook_id, **body.model_dump(), private=request.app.state.settings.webhooks_private
    )
    return WebhookOut.of(changed)


@router.delete("/webhooks/{webhook_id}", status_code=204)
async def delete_webhook(scope: Writing, webhook_id: Id) -> None:
    """Deletes it with its deliveries."""
    await service.delete_webhook(scope.conn, webhook_id)


@router.post("/webhooks/{webhook_id}/secrets", status_code=201)
async def rotate_secret(request: Request, scope: Writing, webhook_id: Id, once: Once) -> SecretOut:
    """A new secret. A repetition with the same key tells none."""
    secret = ""

    async def make() -> WebhookOut:
        nonlocal secret
        secret = await service.rotate_secret(scope.conn, request.app.state.sealer, webhook_id)
        return WebhookOut.of(await service.get_webhook(scope.conn, webhook_id))

    webhook = await once.answer(scope.conn, WebhookOut, make)
    return SecretOut(webhook_id=webhook.id, secret=secret)


@router.post("/webhooks/{webhook_id}/tests", status_code=201)
async def send_test(scope: Writing, webhook_id: Id, once: Once) -> DeliveryOut:
    """Sends an event of kind `webhook.test`."""

    async def make() -> DeliveryOut:
        return DeliveryOut.of(await service.send_test(scope.conn, webhook_id))

    return await once.answer(scope.conn, DeliveryOut, make)


@router.get("/webhook-deliveries")
async def list_deliveries(scope: Writing, query: Annotated[DeliveryQuery, Query()]) -> Listed[DeliveryOut]:
    """Deliveries, newest first."""
    page = await service.list_deliveries(scope.conn, query.page(), query.wanted())
    return Listed(items=[DeliveryOut.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.get("/webhook-deliveries/{delivery_id}")
async def get_delivery(scope: Writing, delivery_id: Id) -> DeliveryOut:
    """One delivery."""
    return DeliveryOut.of(await service.get_delivery(scope.conn, delivery_id))


@router.post("/webhook-deliveries/{delivery_id}/repetitions", status_code=201)
async def send_again(scope: Writing, delivery_id: Id, once: Once) -> DeliveryOut:
    """Sends an ended delivery once more, with the same event id."""

    async def make() -> DeliveryOut:
        return DeliveryOut.of(await service.send_again(scope.conn, delivery_id))

    return await once.answer(scope.conn, DeliveryOut, make)
