"""Monthly cards: products, sale and renewal."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final

from cloud.billing import service as billing
from cloud.estate import service as estate
from cloud.estate.records import Project
from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, InvalidInput, NotFound
from cloud.kit.money import minor_digits
from cloud.kit.paging import Page, PageRequest
from cloud.kit.periods import day_start, local_day
from cloud.parking.permits import card_repository, repository
from cloud.parking.permits.months import Month, months_of
from cloud.parking.permits.records import (
    Holding,
    NewProduct,
    Offer,
    Pay,
    Period,
    Permit,
    Product,
)
from cloud.parking.permits.service import (
    check_lanes,
    check_lots,
    get_permit,
    locked_permit,
    make_permit,
    settle_change,
)
from cloud.parking.places import service as places
from cloud.parking.places.repository import lock_lanes
from cloud.parking.plates import valid_plate
from cloud.payments import service as payments

SERVICE: Final = "parking"
"""The service as which bills charge cards."""
RENEWED_BEFORE: Final = timedelta(days=3)
"""How long before its end a card is renewed by itself."""


async def create_product(conn: Conn, project_id: int, new: NewProduct) -> Product:
    """A card that is sold from now on. Raises InvalidInput, NotFound (lots), Conflict (the name is there already)."""
    project = await estate.get_project(conn, project_id)
    digits = minor_digits(project.currency)
    if new.price != round(new.price, digits):
        raise InvalidInput("bad-amount", f"expected at most {digits} decimals", field="price")
    if not new.name.strip():
        raise InvalidInput("name-missing", "expected a name", field="name")
    await lock_lanes(conn, project_id, exclusive=False)
    await check_lots(conn, project_id, new.lot_ids)
    await check_lanes(conn, new.lot_ids, new.lane_ids)
    return await get_product(conn, await card_repository.insert_product(conn, project_id, new))


async def get_product(conn: Conn, product_id: int) -> Product:
    """One product. Raises NotFound."""
    found = await card_repository.product(conn, product_id)
    if found is None:
        raise NotFound("no-product", f"there is no product {product_id}", field="product_id")
    return found


async def list_products(
    conn: Conn, page: PageRequest, project_id: int | None = None, *, withdrawn: bool = False
) -> Page[Product]:
    """Products, the newest first; those that are not sold any more only when asked for."""
    return await card_repository.products(conn, page, project_id, withdrawn=withdrawn)


async def withdraw_product(conn: Conn, product_id: int, at: datetime | None = None) -> Product:
    """Not sold any more; what was sold goes on and can be renewed. Raises NotFound."""
    await get_product(conn, product_id)
    await card_repository.withdraw_product(conn, product_id, at or datetime.now(UTC))
    return await get_product(conn, product_id)


async def sale_offer(
    conn: Conn, product_id: int, months: int, start: date | None = None, at: datetime | None = None
) -> Offer:
    """What `months` of a product cost from a local day (default: today) on.

    Raises NotFound, InvalidInput (too many months, a day in the past), Conflict when it is not sold any more.
    """
    now = at or datetime.now(UTC)
    product = await get_product(conn, product_id)
    project = await estate.get_project(conn, product.project_id)
    return _offer(_sold(product, project, months, start, now), project)


async def sell(
    conn: Conn,
    product_id: int,
    holding: Holding,
    months: int,
    pay: Pay,
    *,
    start: date | None = None,
    by: int | None = None,
    at: datetime | None = None,
) -> Permit:
    """Sells a card from the beginning of a local day (default: today) on.

    Raises like `sale_offer` and `service.create_permit`; Conflict (`amount-changed`, `params["due"]`) when it costs
    another amount, and when all lanes of the card are out of use (`lanes-out-of-use`); InvalidInput (`no-account`) for
    a bill without an account. Sold twice for the same plates it is refused: they have a permit already.
    """
    now = at or datetime.now(UTC)
    product = await get_product(conn, product_id)
    project = await estate.get_project(conn, product.project_id)
    sold = _sold(product, project, months, start, now)
    since = day_start(sold[0].days.start, project.zone)
    # The wrong card was sold and ended this morning: the plates were its until then.
    plates = [valid_plate(plate) for plate in holding.plates]
    since = await repository.last_ended(conn, project.id, plates, product.lot_ids, since, now) or since
    terms = (product.spaces, product.when_freed, product.grace_days)
    permit_id = await make_permit(
        conn,
        project.id,
        "monthly-card",
        product.id,
        product.lot_ids,
        terms,
        holding,
        since,
        vehicle_class=product.vehicle_class,
        lane_ids=await _lanes_in_use(conn, product),
        by=by,
    )
    await _add_months(conn, project, product, permit_id, holding.account_id, sold, pay, by, now)
    return await settle_change(conn, project.id, permit_id, since, now)


async def renewal_offer(conn: Conn, permit_id: int, months: int, at: datetime | None = None) -> Offer:
    """What `months` more of a card cost, from the end of its time on, or from today where that and its grace are over.

    Raises NotFound, InvalidInput, Conflict when it is no card or was ended.
    """
    now = at or datetime.now(UTC)
    permit = await get_permit(conn, permit_id, now)
    product = await _product_of(conn, permit)
    project = await estate.get_project(conn, permit.project_id)
    return _offer(await _renewed(conn, permit, product, project, months, now), project)


async def renew(
    conn: Conn,
    permit_id: int,
    months: int,
    after: datetime,
    pay: Pay,
    *,
    by: int | None = None,
    at: datetime | None = None,
) -> Permit:
    """Adds months to a card whose time ends at `after`, as the asker knows it.

    A repeated click or message finds another end and is refused with Conflict (`renewed-already`): nobody pays twice.
    Raises like `renewal_offer` and `sell`.
    """
    now = at or datetime.now(UTC)
    permit = await locked_permit(conn, permit_id, now)
    product = await _product_of(conn, permit)
    if permit.valid_until != after:
        raise Conflict(
            "renewed-already", f"this card holds until {permit.valid_until}: look at it again", field="after"
        )
    project = await estate.get_project(conn, permit.project_id)
    sold = await _renewed(conn, permit, product, project, months, now)
    await _add_months(conn, project, product, permit_id, permit.account_id, sold, pay, by, now)
    since = day_start(sold[0].days.start, project.zone)
    return await settle_change(conn, project.id, permit_id, since, now)


async def renew_by_itself(conn: Conn, permit_id: int, at: datetime) -> Permit | None:
    """One month more of a card that is renewed by itself, billed to its account; None when it is not its time.

    Raises like `renew`.
    """
    permit = await get_permit(conn, permit_id, at)
    if not permit.renews or permit.valid_until is None or permit.valid_until > at + RENEWED_BEFORE:
        return None
    offer = await renewal_offer(conn, permit_id, 1, at)
    return await renew(conn, permit_id, 1, permit.valid_until, Pay(offer.amount), at=at)


async def _add_months(
    conn: Conn,
    project: Project,
    product: Product,
    permit_id: int,
    account_id: int | None,
    sold: Sequence[Month],
    pay: Pay,
    by: int | None,
    now: datetime,
) -> None:
    """The time, its months, and the money for them."""
    amount = sum((month.amount for month in sold), Decimal(0))
    if pay.amount != amount:
        raise Conflict("amount-changed", f"it costs {amount} {project.currency} now", field="amount", due=amount)
    if pay.method is None and account_id is None:
        raise InvalidInput("no-account", "expected an account that pays the bill", field="account_id")
    payment_id = None
    if pay.method is not None:
        payment_id = await payments.record(
            conn,
            project.id,
            purpose="parking",
            method=pay.method,
            amount=amount,
            currency=project.currency,
            paid_on=local_day(now, project.zone),
            reference=pay.reference,
            created_by=by,
        )
    values = {
        "project_id": project.id,
        "permit_id": permit_id,
        "start": day_start(sold[0].days.start, project.zone),
        "end": day_start(sold[-1].days.end, project.zone),
        "paid_by": "bill" if payment_id is None else "payment",
        "amount": amount,
        "payment_id": payment_id,
        "by": by,
    }
    period_id = await repository.insert_period(conn, values)
    for month in sold:
        charged = None if payment_id is not None else await _charge(conn, project, product, account_id, month)
        days = {"start": month.days.start, "end": month.days.end}
        told = {"project_id": project.id, "period_id": period_id, "amount": month.amount, "agreement_id": charged}
        await card_repository.insert_month(conn, {**told, **days})


async def _charge(conn: Conn, project: Project, product: Product, account_id: int | None, month: Month) -> int:
    """The charge that the bill run of the month's first day, or a later one, bills."""
    assert account_id is not None, "checked before"
    last = month.days.end - timedelta(days=1)
    told = f"{product.name} {month.days.start.isoformat()} – {last.isoformat()}"
    agreement = await billing.create_one_off(
        conn, project.id, account_id, SERVICE, told, month.amount, month.days.start
    )
    return agreement.id


async def _lanes_in_use(conn: Conn, product: Product) -> list[int]:
    lanes = await places.lanes_by_id(conn, product.lane_ids)
    used = [lane_id for lane_id in product.lane_ids if lanes[lane_id].retired_at is None]
    if product.lane_ids and not used:  # none would mean all of them
        raise Conflict(
            "lanes-out-of-use", "the lanes of this card are out of use: sell another one", field="product_id"
        )
    return used


async def _product_of(conn: Conn, permit: Permit) -> Product:
    if permit.product_id is None:
        raise Conflict("no-card", "only monthly cards are renewed")
    if permit.ended_at is not None:
        raise Conflict("permit-ended", "this permit was ended: make a new one")
    return await get_product(conn, permit.product_id)


def _sold(product: Product, project: Project, months: int, start: date | None, now: datetime) -> list[Month]:
    if product.withdrawn_at is not None:
        raise Conflict("not-sold", "this card is not sold any more", field="product_id")
    today = local_day(now, project.zone)
    first = start or today
    if not today <= first <= today + timedelta(days=366):
        raise InvalidInput("bad-date", "expected today or a day within a year", field="start")
    return _priced(product, project, first, months, first.day)


async def _renewed(
    conn: Conn, permit: Permit, product: Product, project: Project, months: int, now: datetime
) -> list[Month]:
    """The months that follow, on the day of the month on which the time without a gap began."""
    assert permit.valid_until is not None, "months end"
    today = local_day(now, project.zone)
    over = now >= permit.valid_until + timedelta(days=permit.grace_days)
    if over and today > local_day(permit.valid_until, project.zone):
        return _priced(product, project, today, months, today.day)
    begun = local_day(_began(await repository.periods(conn, permit.id)), project.zone)
    return _priced(product, project, local_day(permit.valid_until, project.zone), months, begun.day)


def _began(periods: Sequence[Period]) -> datetime:
    """When the last time without a gap began."""
    began = periods[-1].valid_from
    for earlier in reversed(periods[:-1]):
        if earlier.valid_until != began:
            break
        began = earlier.valid_from
    return began


def _priced(product: Product, project: Project, first: date, months: int, anchor: int) -> list[Month]:
    if not 1 <= months <= product.most_months:
        raise InvalidInput("too-many-months", f"expected 1 to {product.most_months} months", field="months")
    digits = minor_digits(project.currency)
    return months_of(first, months, product.price, product.months_from, anchor, digits)


def _offer(sold: Sequence[Month], project: Project) -> Offer:
    amount = sum((month.amount for month in sold), Decimal(0))
    return Offer(sold[0].days.start, sold[-1].days.end, amount, project.currency)
