"""Merchants, the coupons that are issued to them, and what they owe and pay for these."""

import secrets
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Final

from cloud.estate import service as estate
from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, InvalidInput, NotFound
from cloud.kit.money import minor_digits
from cloud.kit.paging import Page, PageRequest
from cloud.kit.periods import local_day, month_of
from cloud.parking.coupons import report_repository, repository
from cloud.parking.coupons.records import Batch, IssuedCoupon, Merchant, NewBatch, SettlementKind, Statement
from cloud.parking.places.service import get_lot
from cloud.payments import service as payments

MOST_COUPONS: Final = 10_000
"""In one batch."""

_SIGNS: Final = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"
"""Nothing that is read as something else."""
_LENGTH: Final = 10
"""31 to the power of 10 codes: nobody guesses one that was issued."""


async def create_merchant(
    conn: Conn, project_id: int, name: str, settlement: SettlementKind, contact: str = ""
) -> Merchant:
    """A new merchant, his name unique in the project. Raises InvalidInput without a name."""
    if not name.strip():
        raise InvalidInput("no-name", "expected a name", field="name")
    await estate.get_project(conn, project_id)
    return await get_merchant(
        conn, await repository.insert_merchant(conn, project_id, name.strip(), settlement, contact.strip())
    )


async def get_merchant(conn: Conn, merchant_id: int) -> Merchant:
    """Raises NotFound."""
    found = await repository.merchant(conn, merchant_id)
    if found is None:
        raise NotFound("no-merchant", f"there is no merchant {merchant_id}", field="merchant_id")
    return found


async def list_merchants(conn: Conn, page: PageRequest, project_id: int | None = None) -> Page[Merchant]:
    """Merchants by id."""
    return await repository.merchants(conn, page, project_id)


async def issue(conn: Conn, new: NewBatch, issued_by: str, at: datetime | None = None) -> Batch:
    """Issues coupons to a merchant, each with a code of its own.

    Raises NotFound, InvalidInput for impossible values, Conflict when he pays ahead and has not paid enough.
    """
    await repository.lock_merchant(conn, new.merchant_id)
    merchant = await get_merchant(conn, new.merchant_id)
    project = await estate.get_project(conn, merchant.project_id)
    _check(new, minor_digits(project.currency))
    if new.lot_id is not None and (await get_lot(conn, new.lot_id)).project_id != project.id:
        raise NotFound("no-lot", f"there is no parking lot {new.lot_id}", field="lot_id")
    costs = new.price * new.count
    if merchant.settlement == "balance" and costs > -merchant.open:
        detail = f"these coupons cost {costs} {project.currency}, and {-merchant.open} is paid ahead"
        raise Conflict("balance-too-low", detail, field="count", due=costs + merchant.open)
    today = local_day(at or datetime.now(UTC), project.zone)
    batch_id = await repository.insert_batch(conn, project.id, new, today, issued_by)
    missing = new.count
    while missing:
        codes = {"".join(secrets.choice(_SIGNS) for _ in range(_LENGTH)) for _ in range(missing)}
        missing -= await repository.insert_codes(conn, project.id, batch_id, sorted(codes))
    return await get_batch(conn, batch_id)


async def get_batch(conn: Conn, batch_id: int) -> Batch:
    """Raises NotFound."""
    found = await repository.batch(conn, batch_id)
    if found is None:
        raise NotFound("no-batch", f"there is no batch of coupons {batch_id}", field="batch_id")
    return found


async def list_batches(
    conn: Conn, page: PageRequest, project_id: int | None = None, merchant_id: int | None = None
) -> Page[Batch]:
    """Batches by id."""
    return await repository.batches(conn, page, project_id, merchant_id)


async def list_coupons(conn: Conn, page: PageRequest, batch_id: int) -> Page[IssuedCoupon]:
    """Coupons of a batch by id. Raises NotFound."""
    await get_batch(conn, batch_id)
    return await repository.coupons(conn, page, batch_id)


async def withdraw(conn: Conn, batch_id: int, at: datetime | None = None) -> Batch:
    """What is not used of a batch counts no more. Raises NotFound, Conflict when that is so already."""
    await get_batch(conn, batch_id)
    if not await repository.withdraw(conn, batch_id, at or datetime.now(UTC)):
        raise Conflict("already-withdrawn", "these coupons are withdrawn already")
    return await get_batch(conn, batch_id)


async def take_payment(
    conn: Conn,
    merchant_id: int,
    amount: Decimal,
    method: str,
    paid_on: date,
    *,
    reference: str = "",
    created_by: int | None = None,
) -> Merchant:
    """Takes what a merchant pays ahead or for coupons that were used. Raises NotFound, InvalidInput."""
    merchant = await get_merchant(conn, merchant_id)
    project = await estate.get_project(conn, merchant.project_id)
    payment_id = await payments.record(
        conn,
        project.id,
        purpose="parking",
        method=method,
        amount=amount,
        currency=project.currency,
        paid_on=paid_on,
        reference=reference,
        created_by=created_by,
    )
    await repository.insert_payment(conn, project.id, merchant_id, payment_id, amount, paid_on)
    return await get_merchant(conn, merchant_id)


async def statement(conn: Conn, merchant_id: int, month: date) -> Statement:
    """What a merchant's coupons come to in the month around a local day. Raises NotFound."""
    merchant = await get_merchant(conn, merchant_id)
    project = await estate.get_project(conn, merchant.project_id)
    period = month_of(month)
    uses = await report_repository.uses(conn, merchant, period.start, period.end)
    return Statement(
        merchant=merchant,
        month=period.start,
        currency=project.currency,
        before=await report_repository.open_before(conn, merchant, period.start),
        uses=uses,
        owed=sum((use.owed for use in uses), Decimal("0.00")),
        paid=await report_repository.paid(conn, merchant, period.start, period.end),
    )


def _check(new: NewBatch, digits: int) -> None:
    if not 1 <= new.count <= MOST_COUPONS:
        raise InvalidInput("bad-count", f"expected 1 to {MOST_COUPONS} coupons, got {new.count}", field="count")
    if new.valid_until <= new.valid_from:
        raise InvalidInput("bad-period", "coupons are valid for one day at least", field="valid_until")
    if not _within(new.price, Decimal(0), Decimal(999999), digits):
        raise InvalidInput("bad-amount", f"expected a price of 0 or more, got {new.price}", field="price")
    if new.per_plate_and_day is not None and new.per_plate_and_day < 1:
        raise InvalidInput("bad-count", "expected 1 or more for a plate and day", field="per_plate_and_day")
    expected = {
        "hours": ("0.25 to 168 hours", _within(new.value, Decimal("0.25"), Decimal(168), 2)),
        "percentage": ("1 to 100 percent", _within(new.value, Decimal(1), Decimal(100), 2)),
        "money": ("an amount above 0", new.value > 0 and _within(new.value, Decimal(0), Decimal(99999), digits)),
        "free": ("0: the whole stay is free", new.value == 0),
    }
    words, right = expected[new.kind]
    if not right:
        raise InvalidInput("bad-coupon-value", f"expected {words}, got {new.value}", field="value")


def _within(value: Decimal, least: Decimal, most: Decimal, digits: int) -> bool:
    return value.is_finite() and least <= value <= most and value == round(value, digits)
