"""REST: monthly cards: products, offers, sale and renewal."""

from typing import Annotated

from fastapi import Query

from cloud.estate import service as estate
from cloud.identity.guards import Scope, allow
from cloud.kit.db import Conn
from cloud.kit.errors import Conflict
from cloud.kit.idempotency import Once
from cloud.kit.inputs import Id, Listed
from cloud.kit.routing import rest_router
from cloud.parking.permits import cards, service
from cloud.parking.permits.cards_models import (
    OfferOut,
    OfferQuery,
    PayIn,
    ProductIn,
    ProductOut,
    ProductQuery,
    RenewalIn,
    SaleIn,
)
from cloud.parking.permits.models import PermitOut
from cloud.parking.permits.records import Pay

router = rest_router("parking")

Reader = Annotated[Scope, allow("parking.read")]
Writer = Annotated[Scope, allow("parking.write")]
Collector = Annotated[Scope, allow("parking.collect")]


@router.get("/parking-cards")
async def list_products(scope: Reader, query: Annotated[ProductQuery, Query()]) -> Listed[ProductOut]:
    """Cards that are sold, newest first."""
    page = await cards.list_products(scope.conn, query.page(), query.project_id, withdrawn=query.withdrawn)
    currencies = {project.id: project.currency for project in await estate.projects(scope.conn)}
    items = [ProductOut.of(one, currencies[one.project_id]) for one in page.items]
    return Listed(items=items, next_cursor=page.next_cursor)


@router.post("/parking-cards", status_code=201)
async def create_product(body: ProductIn, scope: Writer, once: Once) -> ProductOut:
    """A card that is sold from now on; its terms stay as they are: withdraw it and make another one."""

    async def make() -> ProductOut:
        made = await cards.create_product(scope.conn, body.project_id, body.new())
        return ProductOut.of(made, (await estate.get_project(scope.conn, made.project_id)).currency)

    return await once.answer(scope.conn, ProductOut, make)


@router.post("/parking-cards/{product_id}/withdrawals", status_code=201)
async def withdraw_product(product_id: Id, scope: Writer, once: Once) -> ProductOut:
    """Not sold any more; cards that were sold go on and can be renewed."""

    async def make() -> ProductOut:
        found = await cards.withdraw_product(scope.conn, product_id)
        return ProductOut.of(found, (await estate.get_project(scope.conn, found.project_id)).currency)

    return await once.answer(scope.conn, ProductOut, make)


@router.get("/parking-cards/{product_id}/offer")
async def sale_offer(product_id: Id, scope: Reader, query: Annotated[OfferQuery, Query()]) -> OfferOut:
    """What months of a card cost."""
    return OfferOut.of(await cards.sale_offer(scope.conn, product_id, query.months, query.start))


@router.post("/parking-card-sales", status_code=201)
async def sell(body: SaleIn, scope: Collector, once: Once) -> PermitOut:
    """Sells a card: paid at once, or billed month by month to the account."""

    async def make() -> PermitOut:
        product = await cards.get_product(scope.conn, body.product_id)
        pay = await _pay(scope.conn, product.project_id, body.pay)
        sold = await cards.sell(
            scope.conn, product.id, body.holding(), body.months, pay, start=body.start, by=scope.caller.user_id
        )
        return PermitOut.of(sold)

    return await once.answer(scope.conn, PermitOut, make)


@router.get("/parking-permits/{permit_id}/renewal-offer")
async def renewal_offer(permit_id: Id, scope: Reader, months: Annotated[int, Query(ge=1, le=36)] = 1) -> OfferOut:
    """What more months of a card cost, and from when on they are."""
    return OfferOut.of(await cards.renewal_offer(scope.conn, permit_id, months))


@router.post("/parking-permits/{permit_id}/renewals", status_code=201)
async def renew(permit_id: Id, body: RenewalIn, scope: Collector, once: Once) -> PermitOut:
    """Adds months to a card; refused when it was renewed since it was looked at."""

    async def make() -> PermitOut:
        permit = await service.get_permit(scope.conn, permit_id)
        pay = await _pay(scope.conn, permit.project_id, body.pay)
        by = scope.caller.user_id
        return PermitOut.of(await cards.renew(scope.conn, permit_id, body.months, body.after, pay, by=by))

    return await once.answer(scope.conn, PermitOut, make)


async def _pay(conn: Conn, project_id: int, told: PayIn) -> Pay:
    project = await estate.get_project(conn, project_id)
    if told.amount.currency != project.currency:
        raise Conflict("other-currency", f"cards are sold in {project.currency}", field="pay.amount.currency")
    return told.pay()
