"""Pages of webhooks: making one, its secret shown once, what was delivered and what was not."""

from collections.abc import Sequence
from typing import Annotated, Final, Literal

from fastapi import Form, Request
from starlette.responses import RedirectResponse, Response

from cloud.estate.shown import OptionalText, Shown, shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit.paging import page_request
from cloud.kit.routing import page_router
from cloud.kit.sent_forms import FormOnce
from cloud.webhooks import service
from cloud.webhooks.addresses import LONGEST_URL
from cloud.webhooks.records import KINDS, TEST_KIND, DeliveryFilter, DeliveryState, Webhook

router = page_router()

Writing = Annotated[Scope, allow_page("webhooks.write")]

_SHOWN: Final = 25
_STATES: Final[tuple[DeliveryState, ...]] = ("waiting", "delivered", "dead")
_OptionalState = DeliveryState | Literal[""]


@router.get("/webhooks")
async def webhooks(request: Request, scope: Writing, cursor: str | None = None) -> Response:
    """Webhooks of the project."""
    page = await shown(request, scope)
    found = await service.list_webhooks(scope.conn, page_request(_SHOWN, cursor), page.project.id)
    return page.page("webhooks/list.html", found=found, kinds=KINDS)


@router.post("/webhooks")
async def create(
    request: Request,
    scope: Writing,
    sent: FormOnce,
    url: Annotated[str, Form(max_length=LONGEST_URL)],
    kinds: Annotated[list[str], Form(max_length=len(KINDS))],
    name: Annotated[str, Form(max_length=100)] = "",
) -> Response:
    """Makes a webhook and shows its secret, this once: the same form sent again leads to the webhook it made."""
    page = await shown(request, scope)
    state = request.app.state
    made: list[tuple[Webhook, str]] = []

    async def make() -> str:
        webhook, secret = await service.create_webhook(
            scope.conn, state.sealer, page.project.id, url.strip(), kinds, name.strip(), scope.caller.user_id,
            private=state.settings.webhooks_private,
        )  # fmt: skip
        made.append((webhook, secret))
        return f"/webhooks/{webhook.id}?done=saved"

    led = await sent.lead(scope.conn, make)
    return _told(page, made, rotated=False) or led


@router.get("/webhooks/{webhook_id}")
async def webhook(
    request: Request,
    scope: Writing,
    webhook_id: int,
    state: _OptionalState = "",
    kind: OptionalText = None,
    cursor: str | None = None,
) -> Response:
    """One webhook and its deliveries, newest first."""
    page = await shown(request, scope)
    found = await service.get_webhook(scope.conn, webhook_id)
    wanted = DeliveryFilter(found.project_id, webhook_id, state or None, kind)
    deliveries = await service.list_deliveries(scope.conn, page_request(_SHOWN, cursor), wanted)
    return page.page(
        "webhooks/show.html", webhook=found, deliveries=deliveries, wanted=wanted, states=_STATES,
        kinds=(*KINDS, TEST_KIND),
    )  # fmt: skip


@router.post("/webhooks/{webhook_id}/state")
async def set_state(
    request: Request, scope: Writing, webhook_id: int, active: Annotated[Literal["yes", "no"], Form()]
) -> Response:
    """Stops or starts it."""
    await service.change_webhook(
        scope.conn, webhook_id, active=active == "yes", private=request.app.state.settings.webhooks_private
    )
    return RedirectResponse(f"/webhooks/{webhook_id}?done=saved", 303)


@router.post("/webhooks/{webhook_id}/secrets")
async def rotate(request: Request, scope: Writing, webhook_id: int, sent: FormOnce) -> Response:
    """A new secret, shown this once. Made twice, the one that receivers know would sign nothing any more."""
    page = await shown(request, scope)
    made: list[tuple[Webhook, str]] = []

    async def make() -> str:
        secret = await service.rotate_secret(scope.conn, request.app.state.sealer, webhook_id)
        made.append((await service.get_webhook(scope.conn, webhook_id), secret))
        return f"/webhooks/{webhook_id}?done=saved"

    led = await sent.lead(scope.conn, make)
    return _told(page, made, rotated=True) or led


@router.post("/webhooks/{webhook_id}/tests")
async def send_test(scope: Writing, webhook_id: int, sent: FormOnce) -> Response:
    """Sends a test event."""

    async def make() -> str:
        await service.send_test(scope.conn, webhook_id)
        return f"/webhooks/{webhook_id}?done=sending"

    return await sent.lead(scope.conn, make)


@router.post("/webhooks/{webhook_id}/deletion")
async def delete(scope: Writing, webhook_id: int) -> Response:
    """Deletes it with its deliveries."""
    await service.delete_webhook(scope.conn, webhook_id)
    return RedirectResponse("/webhooks?done=saved", 303)


@router.post("/webhook-deliveries/{delivery_id}/repetitions")
async def send_again(scope: Writing, delivery_id: int, sent: FormOnce) -> Response:
    """Sends an ended delivery once more."""

    async def make() -> str:
        found = await service.send_again(scope.conn, delivery_id)
        return f"/webhooks/{found.webhook_id}?done=sending"

    return await sent.lead(scope.conn, make)


def _told(page: Shown, made: Sequence[tuple[Webhook, str]], *, rotated: bool) -> Response | None:
    """The page with a secret that was just made; None where the form had made it before, and nobody is told again."""
    for webhook, secret in made:
        return page.page("webhooks/secret.html", webhook=webhook, secret=secret, rotated=rotated)
    return None
