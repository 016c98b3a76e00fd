"""Buttons that send bills by e-mail."""

from typing import Annotated

from fastapi import Request
from starlette.responses import Response

from cloud.billing import service
from cloud.billing.mailing import service as mailing
from cloud.identity.guards import Scope, allow_page
from cloud.kit.routing import page_router
from cloud.kit.sent_forms import FormOnce

router = page_router()

Runner = Annotated[Scope, allow_page("bills.run")]


@router.post("/bill-runs/{run_id}/mailings")
async def mail_run(request: Request, scope: Runner, run_id: int, sent: FormOnce) -> Response:
    """Sends the bills of an issued run to those who were not told yet."""
    mailing.must_be_set_up(is_set_up=request.app.state.settings.mail_is_set_up)

    async def ask() -> str:
        await mailing.ask_to_mail(scope.conn, await service.get_run(scope.conn, run_id), scope.caller.user_id)
        return f"/bill-runs/{run_id}?done=mailing#mail"

    return await sent.lead(scope.conn, ask)


@router.post("/bills/{bill_id}/mailings")
async def mail_bill(request: Request, scope: Runner, bill_id: int, sent: FormOnce) -> Response:
    """Sends one bill, or sends it again."""
    mailing.must_be_set_up(is_set_up=request.app.state.settings.mail_is_set_up)

    async def mail() -> str:
        await mailing.mail_bill(scope.conn, (await service.get_bill(scope.conn, bill_id)).summary)
        return f"/bills/{bill_id}?done=sending#mail"

    return await sent.lead(scope.conn, mail)
