"""Handing a coupon in for a stay, before its vehicle leaves, and noting what a vehicle was charged."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Final

from cloud.estate import service as estate
from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, InvalidInput, NotFound
from cloud.kit.paging import PageRequest
from cloud.kit.periods import local_day
from cloud.parking.charging.service import let_out_if_settled
from cloud.parking.coupons import repository
from cloud.parking.coupons.records import Batch, Redeemed
from cloud.parking.coupons.repository import RedemptionRow
from cloud.parking.coupons.service import get_batch
from cloud.parking.plates import valid_plate
from cloud.parking.records import Session, SessionFilter
from cloud.parking.stays import repository as stays_repository
from cloud.parking.stays.service import list_sessions, locked_session

_OPEN_STAYS: Final = PageRequest(20)
"""A plate is inside one lot, or in lots inside one another."""


async def redeem(
    conn: Conn, project_id: int, plate: str, code: str, redeemed_by: str, at: datetime | None = None
) -> Redeemed:
    """Hands a coupon in for the stay of a plate; a vehicle that waits at an exit and owes nothing any more is let out.

    Raises InvalidInput for what is no plate, NotFound for an unknown code or a plate that is not inside where the
    coupon counts, Conflict when it is used, not valid today, or limited.
    """
    return await redeem_for(conn, project_id, valid_plate(plate), code, redeemed_by, at)


async def redeem_for(
    conn: Conn, project_id: int, plate: str, code: str, redeemed_by: str, at: datetime | None = None
) -> Redeemed:
    """The same for a plate as it is kept, or what stands for one: a ticket. Raises NotFound and Conflict."""
    now = at or datetime.now(UTC)
    found = await repository.coupon_of_code(conn, project_id, bare_code(code))
    if found is None:
        raise NotFound("no-coupon", "there is no coupon with this code", field="code")
    coupon_id, batch_id = found
    batch = await get_batch(conn, batch_id)
    await stays_repository.lock_plates(conn, project_id, [plate])
    session = await _stay(conn, project_id, plate, batch)
    zone = (await estate.get_project(conn, project_id)).zone
    await _check_limits(conn, batch, session, plate, local_day(now, zone))
    row = RedemptionRow(
        coupon_id=coupon_id,
        project_id=project_id,
        session_id=session.id,
        merchant_id=batch.merchant_id,
        batch_id=batch_id,
        code=bare_code(code),
        kind=batch.kind,
        value=batch.value,
        stackable=batch.stackable,
        plate=plate,
        redeemed_on=local_day(now, zone),
        redeemed_by=redeemed_by,
        redeemed_at=now,
    )
    redemption_id = await repository.redeem(conn, row)
    if redemption_id is None:
        raise Conflict("coupon-used", "this coupon was handed in before", field="code")
    command_id = await let_out_if_settled(conn, session.id, now)
    return Redeemed(redemption_id, coupon_id, session.id, plate, row.code, batch.kind, batch.value, command_id)


async def note_charging(
    conn: Conn, session_id: int, kwh: Decimal, minutes: int, entered_by: str, at: datetime | None = None
) -> None:
    """Notes what a vehicle was charged during its stay, beside what was noted before; rules may give free time for it.

    Raises NotFound, InvalidInput for nothing or an impossible amount, Conflict when the stay is over.
    """
    if not (kwh.is_finite() and 0 <= kwh < 100_000 and kwh == round(kwh, 3) and 0 <= minutes <= 20_000):
        raise InvalidInput("bad-charging", "expected 0 or more kWh with at most 3 decimals, and 0 or more minutes")
    if not kwh and not minutes:
        raise InvalidInput("bad-charging", "expected kWh or minutes above 0")
    session = await locked_session(conn, session_id)
    if session.state != "open":
        raise Conflict("not-open", "the stay is over already")
    await repository.insert_charging(conn, session.project_id, session_id, kwh, minutes, entered_by)
    await let_out_if_settled(conn, session_id, at or datetime.now(UTC))


def bare_code(text: str) -> str:
    """A code as it is kept: capitals without the dashes and spaces between its groups."""
    return "".join(sign for sign in text.upper() if sign.isalnum())[:40]


async def _stay(conn: Conn, project_id: int, plate: str, batch: Batch) -> Session:
    """The stay that the coupon is for: where it counts, the lot that was entered last."""
    wanted = SessionFilter(project_id=project_id, plate=plate, state="open")
    stays = (await list_sessions(conn, _OPEN_STAYS, wanted)).items
    found = [stay for stay in stays if batch.lot_id in (None, stay.lot_id)]
    if not found:
        raise NotFound("not-inside", "this plate is not inside where the coupon counts", field="plate")
    return found[0]


async def _check_limits(conn: Conn, batch: Batch, session: Session, plate: str, today: date) -> None:
    if batch.withdrawn_at is not None or not batch.valid_from <= today < batch.valid_until:
        raise Conflict("coupon-not-valid", "this coupon is not valid today", field="code")
    others = await repository.stackable_of_session(conn, session.id)
    if others and not (batch.stackable and all(others)):
        raise Conflict("coupon-alone", "one of the coupons counts only alone", field="code")
    limit = batch.per_plate_and_day
    if limit is not None and await repository.used_that_day(conn, batch.id, plate, today) >= limit:
        raise Conflict("coupon-limit", "this plate had as many of these coupons today as it may", field="plate")
