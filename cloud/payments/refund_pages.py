"""Pages of the refund queue."""

from typing import Annotated, Final, Literal

from fastapi import Form, Request
from starlette.responses import RedirectResponse, Response

from cloud.estate.shown import OptionalText, shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit.paging import page_request
from cloud.kit.routing import page_router
from cloud.payments import refunds
from cloud.payments.refunds import STATES, RefundDecision

router = page_router()

Writing = Annotated[Scope, allow_page("payments.write")]

_SHOWN: Final = 30


@router.get("/payment-refunds")
async def list_refunds(
    request: Request,
    scope: Writing,
    state: OptionalText = "open",
    subject: OptionalText = None,
    cursor: str | None = None,
) -> Response:
    """Money to be given back, newest first."""
    page = await shown(request, scope)
    found = await refunds.list_refunds(
        scope.conn,
        page_request(_SHOWN, cursor),
        project_id=page.project.id,
        state=next((one for one in STATES if one == state), None),
        subject=subject,
    )
    return page.page("payments/refunds.html", found=found, states=STATES, state=state or "", subject=subject or "")


@router.post("/payment-refunds/{refund_id}/decide")
async def decide(
    scope: Writing,
    refund_id: int,
    way: Annotated[Literal["provider", "keep", "cash", "transfer", "card"], Form()],
    note: Annotated[str, Form(max_length=1000)],
) -> Response:
    """Gives it back or keeps it."""
    decision: RefundDecision = "keep" if way == "keep" else "refund"
    method = None if way in ("provider", "keep") else way
    await refunds.decide(scope.conn, refund_id, decision, note, method=method, by=scope.caller.user_id)
    return RedirectResponse("/payment-refunds?done=saved", 303)
