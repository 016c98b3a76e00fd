"""REST: merchants, coupons, handing them in, and what vehicles were charged."""

from typing import Annotated

from fastapi import Query

from cloud.estate import service as estate
from cloud.identity.guards import Scope, allow
from cloud.kit.errors import Conflict
from cloud.kit.idempotency import Once
from cloud.kit.inputs import Day, Id, Listed, ListQuery, PageQuery
from cloud.kit.routing import rest_router
from cloud.parking.coupons import redeeming, service
from cloud.parking.coupons.models import (
    BatchIn,
    BatchOut,
    BatchQuery,
    ChargingIn,
    ChargingOut,
    CouponOut,
    MerchantIn,
    MerchantOut,
    MerchantPaymentIn,
    RedemptionIn,
    RedemptionOut,
    StatementOut,
)

router = rest_router("parking")

# Codes of coupons are worth money: reading them needs more than looking at stays.
Writer = Annotated[Scope, allow("parking.write")]
Collector = Annotated[Scope, allow("parking.collect")]


@router.get("/parking-merchants")
async def list_merchants(scope: Writer, query: Annotated[ListQuery, Query()]) -> Listed[MerchantOut]:
    """Merchants by id."""
    page = await service.list_merchants(scope.conn, query.page(), query.project_id)
    return Listed(items=[MerchantOut.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.post("/parking-merchants", status_code=201)
async def create_merchant(body: MerchantIn, scope: Writer, once: Once) -> MerchantOut:
    """A new merchant."""

    async def make() -> MerchantOut:
        made = await service.create_merchant(scope.conn, body.project_id, body.name, body.settlement, body.contact)
        return MerchantOut.of(made)

    return await once.answer(scope.conn, MerchantOut, make)


@router.post("/parking-merchants/{merchant_id}/payments", status_code=201)
async def pay(merchant_id: Id, body: MerchantPaymentIn, scope: Writer, once: Once) -> MerchantOut:
    """Takes a payment of a merchant; the answer tells what is open then."""

    async def make() -> MerchantOut:
        merchant = await service.get_merchant(scope.conn, merchant_id)
        currency = (await estate.get_project(scope.conn, merchant.project_id)).currency
        if currency != body.amount.currency:
            raise Conflict("other-currency", f"this project is in {currency}", field="amount.currency")
        paid = await service.take_payment(
            scope.conn,
            merchant_id,
            body.amount.amount,
            body.method,
            body.paid_on,
            reference=body.reference,
            created_by=scope.caller.user_id,
        )
        return MerchantOut.of(paid)

    return await once.answer(scope.conn, MerchantOut, make)


@router.get("/parking-merchants/{merchant_id}/statement")
async def statement(merchant_id: Id, month: Annotated[Day, Query()], scope: Writer) -> StatementOut:
    """What the merchant's coupons come to in the month around a day."""
    return StatementOut.of(await service.statement(scope.conn, merchant_id, month))


@router.get("/coupon-batches")
async def list_batches(scope: Writer, query: Annotated[BatchQuery, Query()]) -> Listed[BatchOut]:
    """Batches of coupons by id."""
    page = await service.list_batches(scope.conn, query.page(), query.project_id, query.merchant_id)
    return Listed(items=[BatchOut.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.post("/coupon-batches", status_code=201)
async def issue(body: BatchIn, scope: Writer, once: Once) -> BatchOut:
    """Issues coupons to a merchant."""

    async def make() -> BatchOut:
        return BatchOut.of(await service.issue(scope.conn, body.new(), scope.caller.actor))

    return await once.answer(scope.conn, BatchOut, make)


@router.get("/coupon-batches/{batch_id}/coupons")
async def list_coupons(batch_id: Id, scope: Writer, query: Annotated[PageQuery, Query()]) -> Listed[CouponOut]:
    """The coupons of a batch with their codes."""
    page = await service.list_coupons(scope.conn, query.page(), batch_id)
    return Listed(items=[CouponOut.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.post("/coupon-batches/{batch_id}/withdrawals", status_code=201)
async def withdraw(batch_id: Id, scope: Writer, once: Once) -> BatchOut:
    """What is not used of a batch counts no more."""

    async def make() -> BatchOut:
        return BatchOut.of(await service.withdraw(scope.conn, batch_id))

    return await once.answer(scope.conn, BatchOut, make)


@router.post("/coupon-redemptions", status_code=201)
async def redeem(body: RedemptionIn, scope: Collector, once: Once) -> RedemptionOut:
    """Hands a coupon in for a vehicle that is inside; one that waits at an exit and owes nothing more is let out."""

    async def make() -> RedemptionOut:
        found = await redeeming.redeem(scope.conn, body.project_id, body.plate, body.code, scope.caller.actor)
        return RedemptionOut.of(found)

    return await once.answer(scope.conn, RedemptionOut, make)


@router.post("/vehicle-charging", status_code=201)
async def note_charging(body: ChargingIn, scope: Collector, once: Once) -> ChargingOut:
    """Notes what a vehicle that is inside was charged; its lot's rule may give free time for it."""

    async def make() -> ChargingOut:
        await redeeming.note_charging(scope.conn, body.session_id, body.kwh, body.minutes, scope.caller.actor)
        return ChargingOut(session_id=body.session_id, kwh=str(body.kwh), minutes=body.minutes)

    return await once.answer(scope.conn, ChargingOut, make)
