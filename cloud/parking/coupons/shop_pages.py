"""Pages of a merchant's users, for the phone on the counter: give a coupon, show a code, see what it comes to."""

from datetime import UTC, datetime
from typing import Annotated, Final

from fastapi import Form, Request
from starlette.responses import RedirectResponse, Response

from cloud.estate.shown import OptionalDay, shown
from cloud.identity.guards import Scope, allow_page, for_the_project
from cloud.kit.errors import GatemeterError
from cloud.kit.paging import page_request
from cloud.kit.periods import local_day
from cloud.kit.routing import page_router
from cloud.kit.sent_forms import FormOnce
from cloud.parking.charging.public_address import Place, place_for
from cloud.parking.coupons import giving, service, shop

router = page_router()

Shop = Annotated[Scope, allow_page("coupons.give")]

_SHOWN: Final = 20


@router.get("/shop")
async def counter(request: Request, scope: Shop, batch: int | None = None, cursor: str | None = None) -> Response:
    """What can be given out, and what was used."""
    if scope.caller.kind == "staff":
        return RedirectResponse("/parking/coupons", 303)
    return await _counter(request, scope, chosen=batch, cursor=cursor)


@router.post("/shop/gifts")
async def give(
    request: Request,
    scope: Shop,
    sent: FormOnce,
    batch_id: Annotated[int, Form()],
    plate: Annotated[str, Form(max_length=64)] = "",
) -> Response:
    """Gives a coupon to the plate."""

    async def made() -> str:
        await shop.give(request, scope, batch_id, plate)
        return f"/shop?done=coupon-given&batch={batch_id}"

    try:
        return await sent.lead(scope.conn, made)
    except GatemeterError as error:
        return await _counter(request, scope, chosen=batch_id, plate=plate, refused=error)


@router.post("/shop/handouts")
async def hand_out(request: Request, scope: Shop, sent: FormOnce, batch_id: Annotated[int, Form()]) -> Response:
    """A code for a customer."""

    async def made() -> str:
        return f"/shop/handouts/{(await shop.hand_out(scope, batch_id)).id}"

    try:
        return await sent.lead(scope.conn, made)
    except GatemeterError as error:
        return await _counter(request, scope, chosen=batch_id, refused=error)


@router.get("/shop/handouts/{handout_id}")
async def handed_out(request: Request, scope: Shop, handout_id: int) -> Response:
    """The code, large enough to be scanned off the screen."""
    merchant = await shop.own_merchant(scope)
    found = await giving.handed_out(scope.conn, merchant.id, handout_id)
    page = await shown(request, scope)
    return page.page(
        "parking/shop_code.html",
        found=found,
        batch=await service.get_batch(scope.conn, found.batch_id),
        place=await place_of(request, scope, found.code),
    )


@router.get("/shop/statement")
async def statement(request: Request, scope: Shop, month: OptionalDay = None) -> Response:
    """What the coupons come to in a month."""
    page = await shown(request, scope)
    today = local_day(now(), page.project.zone)
    found = await shop.statement(scope, month or today)
    return page.page("parking/shop_statement.html", statement=found, merchant=found.merchant)


async def place_of(request: Request, scope: Scope, code: str) -> Place | None:
    """Where a customer hands a code in; None where the project has no page for that."""
    merchant = await shop.own_merchant(scope)
    async with for_the_project(scope, merchant.project_id) as conn:
        return await place_for(request, conn, merchant.project_id, coupon=code)


def now() -> datetime:
    """The time of this request."""
    return datetime.now(UTC)


async def _counter(
    request: Request,
    scope: Scope,
    *,
    chosen: int | None = None,
    cursor: str | None = None,
    plate: str = "",
    refused: GatemeterError | None = None,
) -> Response:
    page = await shown(request, scope)
    merchant = await shop.own_merchant(scope)
    return page.page(
        "parking/shop.html",
        status=200 if refused is None else refused.status,
        merchant=merchant,
        batches=await giving.to_give(scope.conn, merchant.id, merchant.project_id, now()),
        given=await giving.given(scope.conn, merchant.id, page_request(_SHOWN, cursor)),
        chosen=chosen,
        plate=plate,
        refused=refused,
    )
