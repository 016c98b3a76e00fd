"""What one stay takes of money that was paid for it, and what it costs after that, whatever else its plate owes."""

from datetime import datetime
from decimal import Decimal

from cloud.kit.db import Conn
from cloud.parking.charging import repository
from cloud.parking.charging.ended_repository import PricedRow, store_fees
from cloud.parking.charging.quoting import assessed, fixed_fee, fixed_price, prices_of
from cloud.parking.fees.steps import step_as_json
from cloud.parking.records import Session, SessionPayment


async def takes(conn: Conn, session: Session, amount: Decimal, paid_until: datetime) -> Decimal:
    """How much of an amount that was to pay the stay up to `paid_until` it takes; the rest is too much.

    A stay that ended meanwhile is priced with this payment: who left in time owes nothing for the time to leave. A
    stay that nobody can price takes nothing.
    """
    until = session.left_at or max(paid_until, session.entered_at or paid_until)
    prices = await prices_of(conn, session.project_id, [session])
    fixed = fixed_fee(session)
    if fixed is not None:
        owed = fixed_price(prices, session, fixed, until).due
    else:
        found = assessed(prices, session, until, [SessionPayment(0, amount, paid_until)])
        if found is None:
            return Decimal(0)
        _, result = found
        owed = result.fee.amount - (result.paid - amount)
    waived = (await repository.waived(conn, [session.id])).get(session.id, Decimal(0))
    return min(amount, max(owed - waived, Decimal(0)))


async def price_again(conn: Conn, session: Session) -> None:
    """Stores what a stay that is over costs by all that was paid for it."""
    if session.state != "closed" or session.left_at is None or session.fixed_fee is not None:
        return
    found = assessed(await prices_of(conn, session.project_id, [session]), session, session.left_at)
    if found is not None:
        version, result = found
        steps = [step_as_json(step) for step in result.fee.steps]
        row = PricedRow(session.id, result.fee.amount, result.priced_until, steps, version.id)
        await store_fees(conn, [row], as_told=True)
