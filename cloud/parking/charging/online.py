"""Paying for a stay by a provider: what is due is fixed in an intent, and what was paid is booked once."""

from collections.abc import Collection
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal

from cloud.estate import service as estate
from cloud.kit.db import Conn
from cloud.kit.errors import Conflict
from cloud.parking.charging import intent_repository as repository
from cloud.parking.charging.assessing import price_again, takes
from cloud.parking.charging.debts import owing
from cloud.parking.charging.following import money_follows
from cloud.parking.charging.intent_repository import IntentStay
from cloud.parking.charging.service import let_out_alone, quote
from cloud.parking.charging.taking import Money, Part, found_again, take
from cloud.parking.records import Quote, Session
from cloud.parking.stays.reading_repository import sessions_by_id
from cloud.parking.stays.repository import lock_name, lock_plates
from cloud.parking.stays.service import find_session, locked_session
from cloud.payments import intents
from cloud.payments.channels.base import ChannelName
from cloud.payments.channels.base import Paid as ProviderPaid
from cloud.payments.intent_records import Intent
from cloud.payments.intents import WantedPayment
from cloud.payments.refunds import RefundReason


async def ask_to_pay(
    conn: Conn,
    session_id: int,
    wanted: WantedPayment,
    available: Collection[ChannelName],
    now: datetime,
    *,
    with_debts: bool = True,
    by: int | None = None,
) -> Intent:
    """An intent for what is due now for the stay and, unless not wanted, the plate's earlier ones.

    The amount and the time up to which the stay is paid are fixed; `wanted.amount` counts for nothing. The same asked
    again gives the same intent while that can be paid. Raises what `quote` raises, Conflict when nothing is due, and
    InvalidInput for a channel that is not set up and another currency than CNY.
    """
    session = await locked_session(conn, session_id)
    price = await quote(conn, session_id, now)
    stays = [IntentStay(session.id, session.lot_id, session.plate, price.due, price.until)] if price.due else []
    if with_debts:
        stays += [IntentStay(debt.session_id, debt.lot_id, debt.plate, debt.due, debt.left_at) for debt in price.debts]
    return await _ask(conn, session.project_id, stays, session.plate, wanted, available, now, by)


async def ask_to_pay_plate(
    conn: Conn, project_id: int, plate: str, wanted: WantedPayment, available: Collection[ChannelName], now: datetime
) -> Intent:
    """An intent for all that a plate owes now: for the stays of a vehicle that is inside, and for those that are over.

    A stay that nobody can price is left out. Raises like `ask_to_pay`.
    """
    await lock_plates(conn, project_id, [plate])
    stays = [
        IntentStay(session.id, session.lot_id, plate, price.due, price.until)
        for session, price in await due_inside(conn, project_id, plate, now)
    ]
    owed = (await owing(conn, project_id, [plate])).get(plate, [])
    stays += [IntentStay(debt.session_id, debt.lot_id, plate, debt.due, debt.left_at) for debt in owed]
    return await _ask(conn, project_id, stays, plate, wanted, available, now, None)


async def due_inside(conn: Conn, project_id: int, plate: str, now: datetime) -> list[tuple[Session, Quote]]:
    """The stays of a vehicle that is inside, as far as something is due for them and they can be priced."""
    found: list[tuple[Session, Quote]] = []
    for session_id in await repository.open_stays(conn, project_id, plate):
        try:
            price = await quote(conn, session_id, now)
        except Conflict:
            continue
        if price.due:
            found.append((await find_session(conn, session_id), price))
    return found


async def take_paid(conn: Conn, intent: Intent, told: ProviderPaid, paid_on: date, now: datetime) -> int:
    """Books what a provider says was paid for an intent, lets out who waits, and returns the payment's id.

    The money goes to the stays of the intent, up to what each still costs. A stay that is no more gives its part to
    the one of the plate that it turned out to be part of, and then to the plate's debts. What is left is to be given
    back: somebody paid twice, or too late. Called once for what was paid, in time or not.
    """
    stays = await _locked_stays(conn, intent)
    parts: list[Part] = []
    left = told.amount
    gone = False
    wanted: dict[int, tuple[Session, Decimal, datetime]] = {}
    for stay in stays:
        session = await found_again(conn, intent.project_id, stay.session_id, stay.lot_id, stay.plate, stay.paid_until)
        gone = gone or stay.session_id is None
        if session is not None:
            # Several may have turned out to be one stay: it gets what was paid for each of them.
            _, amount, until = wanted.get(session.id, (session, Decimal(0), stay.paid_until))
            wanted[session.id] = session, amount + stay.amount, max(until, stay.paid_until)
    for session, amount, until in wanted.values():
        part = await _part(conn, session, min(left, amount), until)
        parts += part
        left -= sum(one.amount for one in part)
    if gone and left:
        more = await _debts(conn, intent.project_id, stays[0].plate, left, {part.session.id for part in parts})
        parts += more
        left -= sum(part.amount for part in more)
    money = Money(told.amount, told.currency, intent.channel, paid_on, told.provider_id, intent.created_by)
    over = not intent.open and intent.state != "paid"
    reason: RefundReason = "stay-gone" if gone else "order-over" if over else "paid-twice"
    plate = stays[0].plate if stays else ""
    payment_id = await take(conn, intent.project_id, money, parts, reason, plate)
    await _settle(conn, parts, plate, intent.project_id, now)
    return payment_id


async def _ask(
    conn: Conn,
    project_id: int,
    stays: list[IntentStay],
    plate: str,
    wanted: WantedPayment,
    available: Collection[ChannelName],
    now: datetime,
    by: int | None,
) -> Intent:
    amount = sum((stay.amount for stay in stays), Decimal(0))
    if not amount:
        raise Conflict("nothing-due", "nothing is due for this stay", due=amount)
    for intent_id in await repository.open_of_stays(conn, [stay.session_id for stay in stays if stay.session_id]):
        one = await intents.get_intent(conn, intent_id)
        same = (one.channel, one.mode, one.amount) == (wanted.channel, wanted.mode, amount)
        if same and intents.payable_still(one, now) and await repository.stays_of(conn, one.id) == stays:
            return one
    project = await estate.get_project(conn, project_id)
    description = f"{project.name[:40]} {plate}".strip()
    asked = replace(wanted, amount=amount, bill_ids=())
    made = await intents.ask_to_pay_for_parking(conn, project, asked, available, description, by=by, now=now)
    await repository.insert_stays(conn, made, stays)
    return made


async def _locked_stays(conn: Conn, intent: Intent) -> list[IntentStay]:
    """The stays of an intent, with the plates locked that they had when it was made and those that they have now.

    Looked at again after each lock: until then a stay may become part of another, or get another plate.
    """
    locked: set[str] = set()
    while True:
        stays = await repository.stays_of(conn, intent.id)
        known = await sessions_by_id(conn, [stay.session_id for stay in stays if stay.session_id is not None])
        names = {lock_name(stay.plate, stay.session_id) for stay in stays}
        names |= {lock_name(session.plate, session.id) for session in known}
        if names <= locked:
            return stays
        await lock_plates(conn, intent.project_id, names)
        locked |= names


async def _part(conn: Conn, session: Session, amount: Decimal, paid_until: datetime) -> list[Part]:
    taken = await takes(conn, session, amount, paid_until) if amount else amount
    return [Part(session, taken, paid_until)] if taken else []


async def _debts(conn: Conn, project_id: int, plate: str, amount: Decimal, but: set[int]) -> list[Part]:
    """The oldest debts of a plate that an amount pays."""
    parts: list[Part] = []
    for debt in (await owing(conn, project_id, [plate])).get(plate, []) if plate else []:
        paid = min(amount, debt.due)
        if debt.session_id not in but and paid:
            parts.append(Part(await find_session(conn, debt.session_id), paid, debt.left_at))
            amount -= paid
    return parts


async def _settle(conn: Conn, parts: list[Part], plate: str, project_id: int, now: datetime) -> None:
    """Stays that are over cost what they cost with this money; the vehicle at an exit goes, whichever stay was paid."""
    for part in parts:
        await price_again(conn, part.session)
    await money_follows(conn, project_id, {part.session.plate for part in parts})
    inside = {part.session.id for part in parts if part.session.state == "open"}
    inside |= set(await repository.open_stays(conn, project_id, plate)) if plate else set()
    for session_id in sorted(inside):
        await let_out_alone(conn, session_id, now)
