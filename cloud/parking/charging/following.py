"""Money follows what it was paid for: where stays come out differently than they were paid, others of the plate get it.

A late passage may make two stays of one that was paid, or show that it was shorter. What was paid beyond the fee of a
stay pays, in this order: the stay that was going on at the time up to which it was paid; what the plate owes, the
oldest first. What nobody needs stays, and is given back. So no plate has a debt beside money that was paid too much.
"""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from cloud.kit.db import Conn
from cloud.parking.charging import following_repository as repository
from cloud.parking.charging.assessing import price_again, takes
from cloud.parking.charging.debt_repository import PaidPart, parts_of
from cloud.parking.charging.following_repository import Giver
from cloud.parking.charging.policy import tax_in
from cloud.parking.records import Session
from cloud.parking.stays.service import find_session


async def money_follows(conn: Conn, project_id: int, plates: Collection[str], changed: Collection[int] = ()) -> None:
    """Lets what was paid too much for stays of these plates pay their other ones. The caller has locked the plates.

    `changed`: stays whose ends may have changed. Nobody can price one of which an end is missing: of it only what was
    paid for time after its end goes to the stay of that time. What was booked stays booked: it is the same payment.
    """
    for giver in await repository.givers(conn, project_id, sorted(plates), sorted(changed)):
        left = giver.surplus
        for part in await parts_of(conn, giver.id):
            if left is None:
                await _give(conn, giver, part, part.amount if part.paid_until > giver.left_at else Decimal(0))
            else:
                left -= await _give(conn, giver, part, min(left, part.amount))


async def _give(conn: Conn, giver: Giver, part: PaidPart, amount: Decimal) -> Decimal:
    """Lets up to `amount` of a part pay other stays; returns how much they took."""
    given = Decimal(0)
    for session_id in await repository.takers(conn, giver, part.paid_until) if amount else ():
        session = await find_session(conn, session_id)
        until = _until(session, part.paid_until)
        taken = await takes(conn, session, amount - given, until)
        if taken:
            part = await _move(conn, part, session, taken, until)
            given += taken
            await price_again(conn, session)
    if given:
        await price_again(conn, await find_session(conn, giver.id))
    return given


async def _move(conn: Conn, part: PaidPart, session: Session, amount: Decimal, until: datetime) -> PaidPart:
    """Makes `amount` of a part one of another stay; returns what is left of it."""
    tax = part.tax - tax_in(part.amount - amount, part.tax_percent, session.currency)
    await repository.move_part(conn, part, session.id, amount, tax, until)
    return replace(part, amount=part.amount - amount, tax=part.tax - tax)


def _until(session: Session, paid_until: datetime) -> datetime:
    """Up to when money pays a stay that was paid up to `paid_until`: its end, where that was not within it."""
    if session.left_at is None:
        return paid_until
    within = session.entered_at is not None and session.entered_at <= paid_until <= session.left_at
    return paid_until if within else session.left_at
