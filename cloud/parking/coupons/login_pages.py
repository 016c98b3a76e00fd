"""Pages on which staff make, renew and end the logins of a merchant's users."""

from typing import Annotated

from fastapi import Form, Request
from starlette.responses import RedirectResponse, Response

from cloud.estate.shown import shown
from cloud.identity import logins
from cloud.identity.guards import Scope, allow_page
from cloud.identity.logins import MadeLogin
from cloud.kit.routing import page_router
from cloud.kit.sent_forms import FormOnce
from cloud.parking.coupons import service

router = page_router()

_Writer = Annotated[Scope, allow_page("parking.write")]


@router.post("/parking/merchants/{merchant_id}/users")
async def make_login(
    request: Request,
    scope: _Writer,
    merchant_id: int,
    sent: FormOnce,
    login: Annotated[str, Form(max_length=100)],
    display_name: Annotated[str, Form(max_length=100)] = "",
) -> Response:
    """Makes a login and shows its password, this once: the same form sent again leads to the merchant's logins."""
    page = await shown(request, scope)
    merchant = await service.get_merchant(scope.conn, merchant_id)
    made: list[MadeLogin] = []

    async def make() -> str:
        whose = (merchant.project_id, merchant.id)
        made.append(
            await logins.make_merchant_login(
                scope.conn, scope.caller, scope.request_id, whose, login.strip(), display_name
            )
        )
        return f"/parking/merchants/{merchant_id}?done=login-made#users"

    led = await sent.lead(scope.conn, make)
    return page.page("parking/merchant_login.html", merchant=merchant, made=made[0]) if made else led


@router.post("/parking/merchants/{merchant_id}/users/{user_id}/password")
async def renew_password(request: Request, scope: _Writer, merchant_id: int, user_id: int) -> Response:
    """A new password, shown this once."""
    page = await shown(request, scope)
    merchant = await service.get_merchant(scope.conn, merchant_id)
    made = await logins.renew_merchant_password(scope.conn, scope.caller, scope.request_id, merchant_id, user_id)
    return page.page("parking/merchant_login.html", merchant=merchant, made=made)


@router.post("/parking/merchants/{merchant_id}/users/{user_id}/end")
async def end_login(scope: _Writer, merchant_id: int, user_id: int) -> Response:
    """The login opens nothing any more."""
    await service.get_merchant(scope.conn, merchant_id)
    await logins.end_merchant_login(scope.conn, scope.caller, scope.request_id, merchant_id, user_id)
    return RedirectResponse(f"/parking/merchants/{merchant_id}?done=saved", 303)
