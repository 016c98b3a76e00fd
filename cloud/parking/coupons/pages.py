"""Pages of coupons: handing one in, merchants, what was issued to each and what he owes for it."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Annotated

from fastapi import Form, Request
from starlette.responses import RedirectResponse, Response

from cloud.estate.shown import OptionalDay, OptionalId, shown
from cloud.identity.guards import Scope, allow_page
from cloud.identity.logins import merchant_logins
from cloud.kit import forms
from cloud.kit.errors import GatemeterError
from cloud.kit.paging import MAX_LIMIT, PageRequest, page_request
from cloud.kit.periods import local_day
from cloud.kit.routing import page_router
from cloud.kit.sent_forms import FormOnce
from cloud.parking.coupons import redeeming, service
from cloud.parking.coupons.records import NewBatch, Redeemed, SettlementKind
from cloud.parking.fees.circumstances import COUPON_KINDS, CouponKind
from cloud.parking.places.service import list_lots
from cloud.payments.service import METHODS

router = page_router()

_CODES_SHOWN = 100
_Collector = Annotated[Scope, allow_page("parking.collect")]
_Writer = Annotated[Scope, allow_page("parking.write")]


@router.get("/parking/coupons")
async def coupons(request: Request, scope: _Collector, cursor: str | None = None) -> Response:
    """A form to hand a coupon in; the merchants."""
    return await _start(request, scope, cursor)


@router.post("/parking/coupons")
async def redeem(
    request: Request,
    scope: _Collector,
    plate: Annotated[str, Form(max_length=64)],
    code: Annotated[str, Form(max_length=40)],
) -> Response:
    """Hands a coupon in for the vehicle that is inside."""
    page = await shown(request, scope)
    redeemed: list[Redeemed] = []

    async def hand_in() -> None:
        redeemed.append(await redeeming.redeem(scope.conn, page.project.id, plate, code, scope.caller.actor))

    problem = await forms.refused(scope.conn, hand_in)
    if problem is not None:
        return await _start(request, scope, None, refused=problem, typed={"plate": plate, "code": code})
    return RedirectResponse(f"/parking/sessions/{redeemed[0].session_id}?done=saved", 303)


@router.post("/parking/merchants")
async def create_merchant(
    request: Request,
    scope: _Writer,
    name: Annotated[str, Form(max_length=100)],
    settlement: Annotated[SettlementKind, Form()],
    contact: Annotated[str, Form(max_length=200)] = "",
) -> Response:
    """A new merchant."""
    page = await shown(request, scope)
    made = await service.create_merchant(scope.conn, page.project.id, name, settlement, contact)
    return RedirectResponse(f"/parking/merchants/{made.id}?done=saved", 303)


@router.get("/parking/merchants/{merchant_id}")
async def merchant(
    request: Request, scope: _Writer, merchant_id: int, month: OptionalDay = None, cursor: str | None = None
) -> Response:
    """A merchant: his coupons, his month, a form to issue more."""
    return await _merchant(request, scope, merchant_id, month=month, cursor=cursor)


@router.post("/parking/merchants/{merchant_id}/batches")
async def issue(
    request: Request,
    scope: _Writer,
    merchant_id: int,
    sent: FormOnce,
    kind: Annotated[CouponKind, Form()],
    price: Annotated[Decimal, Form()],
    count: Annotated[int, Form()],
    valid_from: Annotated[date, Form()],
    last_day: Annotated[date, Form()],
    value: Annotated[Decimal, Form()] = Decimal(0),
    per_plate_and_day: Annotated[OptionalId, Form()] = None,
    lot_id: Annotated[OptionalId, Form()] = None,
    alone: Annotated[bool, Form()] = False,
) -> Response:
    """Issues coupons."""
    worth = Decimal(0) if kind == "free" else value

    async def made() -> str:
        new = NewBatch(
            merchant_id, kind, worth, price, count, valid_from, last_day + timedelta(days=1), per_plate_and_day,
            stackable=not alone, lot_id=lot_id,
        )  # fmt: skip
        return f"/parking/coupon-batches/{(await service.issue(scope.conn, new, scope.caller.actor)).id}?done=saved"

    try:
        return await sent.lead(scope.conn, made)
    except GatemeterError as error:
        return await _merchant(request, scope, merchant_id, refused=error)


@router.post("/parking/merchants/{merchant_id}/payments")
async def pay(
    request: Request,
    scope: _Writer,
    merchant_id: int,
    sent: FormOnce,
    amount: Annotated[Decimal, Form()],
    method: Annotated[str, Form(max_length=40)],
) -> Response:
    """Takes a payment of a merchant, today."""
    page = await shown(request, scope)
    today = local_day(datetime.now(UTC), page.project.zone)

    async def made() -> str:
        await service.take_payment(scope.conn, merchant_id, amount, method, today, created_by=scope.caller.user_id)
        return f"/parking/merchants/{merchant_id}?done=paid"

    try:
        return await sent.lead(scope.conn, made)
    except GatemeterError as error:
        return await _merchant(request, scope, merchant_id, refused=error)


@router.get("/parking/coupon-batches/{batch_id}")
async def batch(request: Request, scope: _Writer, batch_id: int, cursor: str | None = None) -> Response:
    """The codes of a batch, to be printed or copied."""
    page = await shown(request, scope)
    found = await service.get_batch(scope.conn, batch_id)
    return page.page(
        "parking/coupon_batch.html",
        batch=found,
        merchant=await service.get_merchant(scope.conn, found.merchant_id),
        coupons=await service.list_coupons(scope.conn, page_request(_CODES_SHOWN, cursor), batch_id),
    )


@router.post("/parking/coupon-batches/{batch_id}/withdraw")
async def withdraw(scope: _Writer, batch_id: int) -> Response:
    """What is not used counts no more."""
    await service.withdraw(scope.conn, batch_id)
    return RedirectResponse(f"/parking/coupon-batches/{batch_id}?done=saved", 303)


async def _start(
    request: Request,
    scope: Scope,
    cursor: str | None,
    *,
    refused: GatemeterError | None = None,
    typed: dict[str, str] | None = None,
) -> Response:
    page = await shown(request, scope)
    return page.page(
        "parking/coupons.html",
        status=200 if refused is None else refused.status,
        merchants=await service.list_merchants(scope.conn, page_request(None, cursor), page.project.id),
        may_write=scope.caller.may("parking.write", page.project.id),
        refused=refused,
        typed=typed or {},
    )


async def _merchant(
    request: Request,
    scope: Scope,
    merchant_id: int,
    *,
    month: date | None = None,
    cursor: str | None = None,
    refused: GatemeterError | None = None,
) -> Response:
    page = await shown(request, scope)
    today = local_day(datetime.now(UTC), page.project.zone)
    found = await service.get_merchant(scope.conn, merchant_id)
    return page.page(
        "parking/merchant.html",
        status=200 if refused is None else refused.status,
        merchant=found,
        batches=await service.list_batches(scope.conn, page_request(None, cursor), merchant_id=merchant_id),
        statement=await service.statement(scope.conn, merchant_id, month or today),
        lots=(await list_lots(scope.conn, PageRequest(MAX_LIMIT), found.project_id)).items,
        kinds=COUPON_KINDS,
        methods=METHODS,
        users=await merchant_logins(scope.conn, merchant_id),
        today=today,
        refused=refused,
    )
