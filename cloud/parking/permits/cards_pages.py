"""Pages of monthly cards: what is sold, selling one, renewing one."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any

from fastapi import Form, Request
from starlette.responses import RedirectResponse, Response

from cloud.estate.shown import OptionalDay, OptionalId, Shown, shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit.errors import GatemeterError
from cloud.kit.forms import read, refused, typed
from cloud.kit.paging import MAX_LIMIT, PageRequest
from cloud.kit.periods import local_day
from cloud.kit.routing import page_router
from cloud.parking.permits import cards, standing
from cloud.parking.permits.cards_models import ProductIn
from cloud.parking.permits.pages import holding_typed, named, show
from cloud.parking.permits.records import Offer, Pay, Permit, Product
from cloud.parking.permits.written import numbers_in
from cloud.parking.spaces import service as spaces
from cloud.payments import service as payments

router = page_router()

Writer = Annotated[Scope, allow_page("parking.write")]
Collector = Annotated[Scope, allow_page("parking.collect")]
_Amount = Annotated[Decimal, Form(ge=0, max_digits=14, decimal_places=2)]
BILL = "bill"
"""Chosen instead of a way to pay: charged to the account."""


@router.get("/parking/cards")
async def products(request: Request, scope: Writer) -> Response:
    """Cards that are sold, and the form of a new one."""
    return await _products(await shown(request, scope), {})


@router.post("/parking/cards")
async def create_product(request: Request, scope: Writer) -> Response:
    """A card that is sold from now on."""
    page = await shown(request, scope)
    values = await typed(request)
    form = await request.form()
    chosen = {name: form.getlist(name) for name in ("lot_ids", "lane_ids")}

    async def make() -> None:
        new = read(ProductIn, {**values, **chosen, "project_id": page.project.id}).new()
        await cards.create_product(scope.conn, page.project.id, new)

    problem = await refused(scope.conn, make)
    if problem is not None:
        return await _products(page, {**values, **chosen}, problem)
    return RedirectResponse("/parking/cards?done=saved", 303)


@router.post("/parking/cards/{product_id}/withdraw")
async def withdraw_product(scope: Writer, product_id: int) -> Response:
    """Not sold any more."""
    await cards.withdraw_product(scope.conn, product_id)
    return RedirectResponse("/parking/cards?done=saved", 303)


@router.get("/parking/cards/sell")
async def sale(
    request: Request, scope: Collector, product_id: OptionalId = None, months: int = 1, start: OptionalDay = None
) -> Response:
    """The form of a sale: first which card and for how long, then what it costs and whose it is."""
    return await _sale(await shown(request, scope), product_id, months, start, {})


@router.post("/parking/cards/sell")
async def sell(
    request: Request,
    scope: Collector,
    product_id: Annotated[int, Form()],
    months: Annotated[int, Form()],
    amount: _Amount,
    method: Annotated[str, Form(max_length=32)],
    start: Annotated[OptionalDay, Form()] = None,
) -> Response:
    """Sells the card; a second click is refused, for the plates have their permit by then."""
    page = await shown(request, scope)
    values = await typed(request)
    pay = Pay(amount, None if method == BILL else method)
    sold: list[Permit] = []

    async def make() -> None:
        holding = await holding_typed(page, values)
        lot_ids = (await cards.get_product(scope.conn, product_id)).lot_ids
        space_ids = await spaces.by_numbers(scope.conn, lot_ids, numbers_in(values.get("numbers", "")))
        holding = replace(holding, space_ids=tuple(space_ids))
        by = scope.caller.user_id
        sold.append(await cards.sell(scope.conn, product_id, holding, months, pay, start=start, by=by))

    problem = await refused(scope.conn, make)
    if problem is not None:
        return await _sale(page, product_id, months, start, values, problem)
    return RedirectResponse(f"/parking/permits/{sold[0].id}?done=paid", 303)


@router.post("/parking/permits/{permit_id}/renew")
async def renew(
    request: Request,
    scope: Collector,
    permit_id: int,
    months: Annotated[int, Form()],
    after: Annotated[datetime, Form()],
    amount: _Amount,
    method: Annotated[str, Form(max_length=32)],
) -> Response:
    """Renews a card that ends when the page said; a second click finds another end and is refused."""
    page = await shown(request, scope)
    pay = Pay(amount, None if method == BILL else method)
    by = scope.caller.user_id
    problem = await refused(scope.conn, lambda: cards.renew(scope.conn, permit_id, months, after, pay, by=by))
    if problem is not None:
        return await show(page, permit_id, months, problem)
    return RedirectResponse(f"/parking/permits/{permit_id}?done=paid", 303)


async def _products(page: Shown, values: Mapping[str, Any], problem: GatemeterError | None = None) -> Response:
    known = await named(page)
    return page.page(
        "parking/cards.html",
        status=problem.status if problem else 200,
        values=values,
        problem=problem,
        listed=sorted(known["products"].values(), key=lambda one: (one.withdrawn_at is not None, -one.id)),
        **known,
    )


async def _sale(
    page: Shown,
    product_id: int | None,
    months: int,
    start: date | None,
    values: Mapping[str, str],
    problem: GatemeterError | None = None,
) -> Response:
    sold = (await cards.list_products(page.conn, PageRequest(MAX_LIMIT), page.project.id)).items
    chosen: Product | None = next((one for one in sold if one.id == product_id), None)
    offer: Offer | None = None
    if chosen is not None:
        try:
            offer = await cards.sale_offer(page.conn, chosen.id, months, start)
        except GatemeterError as error:
            problem = problem or error
    return page.page(
        "parking/card_sale.html",
        status=problem.status if problem else 200,
        sold=sold,
        chosen=chosen,
        offer=offer,
        months=months,
        start=start or local_day(datetime.now(UTC), page.project.zone),
        values=values,
        problem=problem,
        methods=payments.METHODS,
        offered=[] if chosen is None else await standing.offered_in(page.conn, chosen.lot_ids),
        **await named(page),
    )
