"""The page of the comparison with payment providers."""

from typing import Annotated, Final

from fastapi import Form, Request
from starlette.responses import RedirectResponse, Response

from cloud.estate.shown import OptionalText, shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit.paging import PageRequest, page_request
from cloud.kit.routing import page_router
from cloud.payments.intent_api import channels_of
from cloud.payments.reconciliation import service
from cloud.payments.reconciliation.records import DIFFERENCE_STATES

router = page_router()

Writing = Annotated[Scope, allow_page("payments.write")]

_SHOWN: Final = 30
_LAST_DAYS: Final = 14


@router.get("/provider-differences")
async def list_differences(
    request: Request, scope: Writing, state: OptionalText = "open", cursor: str | None = None
) -> Response:
    """Where providers and our books disagree, and the statements day by day."""
    page = await shown(request, scope)
    found = await service.list_differences(
        scope.conn,
        page_request(_SHOWN, cursor),
        project_id=page.project.id,
        state=next((one for one in DIFFERENCE_STATES if one == state), None),
    )
    # A day that was not compared is shown first, however long ago it was.
    missing = await service.list_statements(scope.conn, PageRequest(_SHOWN), state="wanted")
    compared = await service.list_statements(scope.conn, PageRequest(_LAST_DAYS), state="kept")
    return page.page(
        "payments/differences.html",
        found=found,
        statements=[*missing.items, *compared.items],
        states=DIFFERENCE_STATES,
        state=state or "",
        zone=page.project.zone,
        online=bool(channels_of(request)),
    )


@router.post("/provider-differences/{difference_id}/settle")
async def settle(scope: Writing, difference_id: int, note: Annotated[str, Form(max_length=1000)]) -> Response:
    """Somebody has looked at it."""
    await service.settle_difference(scope.conn, difference_id, note, by=scope.caller.user_id)
    return RedirectResponse("/provider-differences?done=saved", 303)
