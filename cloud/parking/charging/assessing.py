"""What one stay costs with what was paid for it, whatever else its plate owes."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from cloud.kit.db import Conn
from cloud.parking.charging import repository
from cloud.parking.charging.circumstances import circumstances
from cloud.parking.charging.covering import covering_unseen
from cloud.parking.charging.ended_repository import PricedRow, store_fees
from cloud.parking.fees.pricing import Assessment, FeeStep
from cloud.parking.fees.steps import covered_step, step_as_json, step_of_json
from cloud.parking.fees.versions import pricing
from cloud.parking.records import Quote, RuleVersion, Session, SessionPayment
from cloud.parking.stays import reading_repository


async def takes(conn: Conn, session: Session, amount: Decimal, paid_until: datetime) -> Decimal:
    """How much of an amount that was to pay the stay up to `paid_until` it takes; the rest is too much.

    A stay that ended meanwhile is priced with this payment: who left in time owes nothing for the time to leave. A
    stay that nobody can price takes nothing.
    """
    until = session.left_at or max(paid_until, session.entered_at or paid_until)
    fixed = fixed_fee(session)
    if fixed is not None:
        owed = (await fixed_price(conn, session, fixed, until)).due
    else:
        assessed = await assess_stay(conn, session, until, [SessionPayment(0, amount, paid_until)])
        if assessed is None:
            return Decimal(0)
        _, result = assessed
        owed = result.fee.amount - (result.paid - amount)
    return min(amount, max(owed - await repository.waived(conn, session.id), Decimal(0)))


async def price_again(conn: Conn, session: Session) -> None:
    """Stores what a stay that is over costs by all that was paid for it."""
    if session.state != "closed" or session.left_at is None or session.fixed_fee is not None:
        return
    assessed = await assess_stay(conn, session, session.left_at)
    if assessed is not None:
        version, result = assessed
        steps = [step_as_json(step) for step in result.fee.steps]
        row = PricedRow(session.id, result.fee.amount, result.priced_until, steps, version.id)
        await store_fees(conn, [row], as_told=True)


async def assess_stay(
    conn: Conn, session: Session, until: datetime, beside: Sequence[SessionPayment] = ()
) -> tuple[RuleVersion, Assessment] | None:
    """What the stay costs when it ends at `until`, after what was paid and what is `beside` it; None: nobody knows."""
    if session.entered_at is None or session.state == "unmatched":
        return None
    rates = await pricing(conn, session.project_id, [session.lot_id])
    version = rates.rule_for(session.lot_id, session.entered_at)
    if version is None:
        return None
    paid = [*(await reading_repository.payments(conn, [session.id])).get(session.id, []), *beside]
    given = (await circumstances(conn, session.project_id, [session]))[session.id]
    result = rates.assess(version, session.entered_at, until, session.vehicle_class, paid, given)
    return None if result is None else (version, result)


def fixed_fee(session: Session) -> Decimal | None:
    """What the stay costs whatever its length, by the policy of the lot; None: its rule prices it, or nobody can."""
    if session.state == "open":
        return session.fixed_fee
    return session.fee if session.fixed_fee is not None else None


async def fixed_price(conn: Conn, session: Session, fee: Decimal, until: datetime) -> Quote:
    """The same of a stay whose entry nobody saw, at the price that the lot's policy has for it."""
    payments_made = (await reading_repository.payments(conn, [session.id])).get(session.id, [])
    paid = sum((payment.amount for payment in payments_made), Decimal("0.00"))
    if session.state != "open":
        return told_price(session, fee, until, paid, tuple(step_of_json(step) for step in session.fee_steps))
    cover = (await covering_unseen(conn, session.project_id, [session])).get(session.id)
    if cover is None:
        return told_price(session, fee, until, paid)
    return told_price(session, Decimal("0.00"), until, paid, (covered_step(until, cover.name),))


def told_price(
    session: Session, fee: Decimal, until: datetime, paid: Decimal, steps: tuple[FeeStep, ...] = ()
) -> Quote:
    """The quote of a stay whose price is known."""
    zero = Decimal("0.00")
    return Quote(
        session_id=session.id,
        until=until,
        fee=fee,
        paid=paid,
        due=max(fee - paid, zero),
        surplus=max(paid - fee, zero),
        currency=session.currency,
        steps=steps,
        leave_by=None,
        rule_version_id=session.rule_version_id if steps else None,
    )
