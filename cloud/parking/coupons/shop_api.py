"""REST: what a merchant's users do with its coupons, and the logins that staff make for them."""

from typing import Annotated

from fastapi import Query, Request

from cloud.identity import logins
from cloud.identity.guards import Scope, allow
from cloud.kit.idempotency import Once
from cloud.kit.inputs import Day, Id, Listed, PageQuery
from cloud.kit.routing import rest_router
from cloud.parking.coupons import giving, service, shop
from cloud.parking.coupons.models import MerchantOut, StatementOut
from cloud.parking.coupons.records import HandedOut
from cloud.parking.coupons.shop_models import (
    EndedLoginOut,
    GiftIn,
    GiftOut,
    GivenOut,
    HandoutIn,
    HandoutOut,
    LoginIn,
    LoginOut,
    MadeLoginOut,
    ToGiveOut,
)
from cloud.parking.coupons.shop_pages import now, place_of

router = rest_router("parking")

Shop = Annotated[Scope, allow("coupons.give")]
Writer = Annotated[Scope, allow("parking.write")]


@router.get("/shop")
async def own_merchant(scope: Shop) -> MerchantOut:
    """The merchant whose user you are, with what is open."""
    return MerchantOut.of(await shop.own_merchant(scope))


@router.get("/shop/coupon-batches")
async def to_give(scope: Shop) -> Listed[ToGiveOut]:
    """What can be given out today."""
    merchant = await shop.own_merchant(scope)
    found = await giving.to_give(scope.conn, merchant.id, merchant.project_id, now())
    return Listed(items=[ToGiveOut.of_left(batch, left) for batch, left in found], next_cursor=None)


@router.get("/shop/coupons")
async def given(scope: Shop, query: Annotated[PageQuery, Query()]) -> Listed[GivenOut]:
    """Coupons that customers used, the latest first."""
    merchant = await shop.own_merchant(scope)
    page = await giving.given(scope.conn, merchant.id, query.page())
    return Listed(items=[GivenOut.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.get("/shop/statement")
async def statement(month: Annotated[Day, Query()], scope: Shop) -> StatementOut:
    """What the coupons come to in the month around a day."""
    return StatementOut.of(await shop.statement(scope, month))


@router.post("/shop/gifts", status_code=201)
async def give(request: Request, body: GiftIn, scope: Shop, once: Once) -> GiftOut:
    """Gives a coupon to a vehicle that is inside; it counts at once."""

    async def make() -> GiftOut:
        return GiftOut.of(body.batch_id, await shop.give(request, scope, body.batch_id, body.plate))

    return await once.answer(scope.conn, GiftOut, make)


@router.post("/shop/handouts", status_code=201)
async def hand_out(request: Request, body: HandoutIn, scope: Shop, once: Once) -> HandoutOut:
    """A code for a customer, who scans it and says his plate himself."""

    async def make() -> HandoutOut:
        return await _handout(request, scope, await shop.hand_out(scope, body.batch_id))

    return await once.answer(scope.conn, HandoutOut, make)


@router.get("/shop/handouts/{handout_id}")
async def handed_out(request: Request, handout_id: Id, scope: Shop) -> HandoutOut:
    """A code that was given out, and whether it was used."""
    merchant = await shop.own_merchant(scope)
    return await _handout(request, scope, await giving.handed_out(scope.conn, merchant.id, handout_id))


@router.get("/parking-merchants/{merchant_id}/users")
async def list_logins(merchant_id: Id, scope: Writer) -> Listed[LoginOut]:
    """Who may give out the coupons of a merchant."""
    await service.get_merchant(scope.conn, merchant_id)
    found = await logins.merchant_logins(scope.conn, merchant_id)
    return Listed(items=[LoginOut.of(one) for one in found], next_cursor=None)


@router.post("/parking-merchants/{merchant_id}/users", status_code=201)
async def make_login(merchant_id: Id, body: LoginIn, scope: Writer, once: Once) -> MadeLoginOut:
    """A login for somebody at the merchant's; he sees this merchant's coupons and nothing else."""
    password = ""

    async def make() -> MadeLoginOut:
        nonlocal password
        merchant = await service.get_merchant(scope.conn, merchant_id)
        whose = (merchant.project_id, merchant.id)
        made = await logins.make_merchant_login(
            scope.conn, scope.caller, scope.request_id, whose, body.login, body.display_name
        )
        password = made.password
        return MadeLoginOut(user_id=made.user_id, login=made.login, password="")

    made = await once.answer(scope.conn, MadeLoginOut, make)
    return made.model_copy(update={"password": password})


@router.post("/parking-merchants/{merchant_id}/users/{user_id}/passwords", status_code=201)
async def renew_password(merchant_id: Id, user_id: Id, scope: Writer, once: Once) -> MadeLoginOut:
    """A new password for a login, told this once; whoever is signed in with it is signed out."""
    password = ""

    async def make() -> MadeLoginOut:
        nonlocal password
        await service.get_merchant(scope.conn, merchant_id)
        made = await logins.renew_merchant_password(scope.conn, scope.caller, scope.request_id, merchant_id, user_id)
        password = made.password
        return MadeLoginOut(user_id=made.user_id, login=made.login, password="")

    made = await once.answer(scope.conn, MadeLoginOut, make)
    return made.model_copy(update={"password": password})


@router.post("/parking-merchants/{merchant_id}/users/{user_id}/endings", status_code=201)
async def end_login(merchant_id: Id, user_id: Id, scope: Writer, once: Once) -> EndedLoginOut:
    """Ends a login at once and everywhere."""

    async def make() -> EndedLoginOut:
        await service.get_merchant(scope.conn, merchant_id)
        await logins.end_merchant_login(scope.conn, scope.caller, scope.request_id, merchant_id, user_id)
        return EndedLoginOut(user_id=user_id)

    return await once.answer(scope.conn, EndedLoginOut, make)


async def _handout(request: Request, scope: Scope, found: HandedOut) -> HandoutOut:
    return HandoutOut.of(found, await place_of(request, scope, found.code))
