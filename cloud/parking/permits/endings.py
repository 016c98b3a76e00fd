"""Permits that are ended, and the months of a card that are not used: given back on the bill, or paid out."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal

from cloud.billing import service as billing
from cloud.billing.service import Journal, Posting
from cloud.estate import service as estate
from cloud.estate.records import Project
from cloud.kit.db import Conn
from cloud.kit.errors import InvalidInput
from cloud.kit.periods import day_start, local_day
from cloud.parking.permits import card_repository, repository
from cloud.parking.permits.records import Ended, SoldMonth
from cloud.parking.permits.service import locked_permit, settle_change
from cloud.payments import service as payments


async def end_permit(
    conn: Conn,
    permit_id: int,
    reason: str,
    *,
    ends_at: datetime | None = None,
    method: str | None = None,
    by: int | None = None,
    at: datetime | None = None,
) -> Ended:
    """Ends a permit at `ends_at` (default: now), without days of grace, and gives back months that did not begin.

    Months that are billed are taken back from the account, whether a bill has them already or not; what was paid at
    the desk goes out as `method` (default: as it came in) and is booked. A month that has begun is not given back.
    Raises NotFound; InvalidInput without a reason or for a time in the past; Conflict when it was ended already, or
    while a draft charges one of the months.
    """
    now = at or datetime.now(UTC)
    permit = await locked_permit(conn, permit_id, now)
    ends = max(ends_at or now, permit.valid_from)
    if ends < now:
        raise InvalidInput("bad-validity", "expected now or a time to come", field="ends_at")
    stated = billing.stated(reason)[:300]
    project = await estate.get_project(conn, permit.project_id)
    unused = [
        month
        for month in await card_repository.months(conn, permit_id)
        if not month.given_back and month.amount and day_start(month.start, project.zone) >= ends
    ]
    await repository.end_permit(conn, permit_id, ends, stated)
    await card_repository.give_back(conn, [month.id for month in unused])
    credited = await _take_back(conn, unused, stated)
    refunded = await _pay_out(conn, project, permit_id, unused, method, by, now)
    ended = await settle_change(conn, project.id, permit_id, ends, now)
    return Ended(ended, refunded, credited, project.currency)


async def _take_back(conn: Conn, months: Sequence[SoldMonth], reason: str) -> Decimal:
    billed = [month for month in months if month.agreement_id is not None]
    for month in billed:
        assert month.agreement_id is not None
        await billing.take_back(conn, month.agreement_id, reason)
    return sum((month.amount for month in billed), Decimal(0))


async def _pay_out(
    conn: Conn,
    project: Project,
    permit_id: int,
    months: Sequence[SoldMonth],
    method: str | None,
    by: int | None,
    now: datetime,
) -> Decimal:
    paid = [month for month in months if month.payment_method is not None]
    if method is not None and method not in payments.METHODS:
        raise InvalidInput("bad-method", f"expected one of {', '.join(payments.METHODS)}", field="method")
    by_method: dict[str, Decimal] = {}
    for month in paid:
        way = method or month.payment_method or ""
        by_method[way] = by_method.get(way, Decimal(0)) + month.amount
    day = local_day(now, project.zone)
    for way, amount in sorted(by_method.items()):
        refund_id = await card_repository.insert_refund(conn, (project.id, permit_id), amount, way, day, by)
        postings = (Posting("revenue:parking", amount), Posting(f"cash:{way}", -amount))
        journal = Journal(project.id, "refund", day, "permit_refund", refund_id, project.currency, postings)
        await billing.book(conn, [journal])
    return sum(by_method.values(), Decimal(0))
