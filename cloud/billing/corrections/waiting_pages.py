"""Page of what waits to be rated again, with the reason, and the button that tries it now."""

from typing import Annotated, Final, Literal

from fastapi import Request
from starlette.responses import Response

from cloud.billing.corrections import waiting
from cloud.billing.corrections.waiting import KINDS, WaitingFilter, WaitingKind, WaitingState
from cloud.estate.shown import OptionalText, shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit.paging import page_request
from cloud.kit.routing import page_router
from cloud.kit.sent_forms import FormOnce

router = page_router()

Running = Annotated[Scope, allow_page("bills.run")]

_SHOWN: Final = 30


@router.get("/adjustments/waiting")
async def waiting_changes(
    request: Request,
    scope: Running,
    kind: Literal["", WaitingKind] = "",
    state: Literal["", WaitingState] = "",
    search: OptionalText = None,
    cursor: str | None = None,
) -> Response:
    """What came after its days were charged and is not rated again yet."""
    page = await shown(request, scope)
    wanted = WaitingFilter(page.project.id, kind or None, state or None, (search or "").strip() or None)
    return page.page(
        "billing/waiting.html",
        found=await waiting.list_waiting(scope.conn, page_request(_SHOWN, cursor, key_length=2), wanted),
        trying=await waiting.is_trying(scope.conn, page.project.id),
        wanted=wanted,
        kinds=KINDS,
    )


@router.post("/adjustments/waiting")
async def try_again(request: Request, scope: Running, sent: FormOnce) -> Response:
    """Has all of it rated again now; the worker does it."""
    page = await shown(request, scope)

    async def ask() -> str:
        await waiting.try_again(scope.conn, page.project.id, by=scope.caller.user_id)
        return "/adjustments/waiting?done=re-rating"

    return await sent.lead(scope.conn, ask)
