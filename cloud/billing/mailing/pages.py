"""Buttons that send bills by e-mail."""

from typing import Annotated

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from cloud.billing import service
from cloud.billing.mailing import service as mailing
from cloud.identity.guards import Scope, allow_page

router = APIRouter(include_in_schema=False)

Runner = Annotated[Scope, allow_page("bills.run")]


@router.post("/bill-runs/{run_id}/mailings")
async def mail_run(request: Request, scope: Runner, run_id: int) -> Response:
    """Sends the bills of an issued run to those who were not told yet."""
    mailing.must_be_set_up(is_set_up=request.app.state.settings.mail_is_set_up)
    run = await service.get_run(scope.conn, run_id)
    await mailing.ask_to_mail(scope.conn, run, scope.caller.user_id)
    return RedirectResponse(f"/bill-runs/{run_id}?done=mailing#mail", 303)


@router.post("/bills/{bill_id}/mailings")
async def mail_bill(request: Request, scope: Runner, bill_id: int) -> Response:
    """Sends one bill, or sends it again."""
    mailing.must_be_set_up(is_set_up=request.app.state.settings.mail_is_set_up)
    bill = await service.get_bill(scope.conn, bill_id)
    await mailing.mail_bill(scope.conn, bill.summary)
    return RedirectResponse(f"/bills/{bill_id}?done=sending#mail", 303)
