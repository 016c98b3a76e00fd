"""Reservations made, cancelled, bound to stays and given up when nobody comes.

Whoever changes several at once has locked the project's reservations first and then the plates: passages that are taken
in change reservations too, having locked their plates, in an order of their own.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, InvalidInput, NotFound
from cloud.kit.paging import Page, PageRequest
from cloud.parking.places.service import get_lot
from cloud.parking.plates import valid_plate
from cloud.parking.reservations import repository
from cloud.parking.reservations.numbering import NEW, numbers_with
from cloud.parking.reservations.records import Reservation, ReservationFilter, ReservationRule, Times, Wanted
from cloud.parking.reservations.telling import tell_reservations
from cloud.parking.stays.repository import lock_plates

_JUST_NOW = timedelta(minutes=5)
"""A beginning this long ago is one of now: people type times."""


async def rules_of(conn: Conn, lot_ids: Sequence[int]) -> list[ReservationRule]:
    """What may be reserved in lots, by lot and class."""
    return await repository.rules(conn, lot_ids)


async def set_rule(conn: Conn, rule: ReservationRule) -> ReservationRule:
    """Says how many places of a lot may be reserved and how; what is reserved already stays.

    Raises NotFound, and Conflict when all rules of the lot together give away more places than it has.
    """
    lot = await get_lot(conn, rule.lot_id)
    await repository.lock_project(conn, lot.project_id)
    others = [one for one in await repository.rules(conn, [lot.id]) if one.vehicle_class != rule.vehicle_class]
    places = rule.places + sum(one.places for one in others)
    if places > lot.capacity:
        detail = f"{places} places could be reserved, the lot has {lot.capacity}"
        raise Conflict("more-reserved-than-there-are", detail, field="places")
    await repository.set_rule(conn, lot.project_id, rule)
    return rule


async def book(
    conn: Conn, wanted: Wanted, actor: str, *, person_id: int | None = None, now: datetime | None = None
) -> Reservation:
    """Reserves a place. Of two who ask for the last one, one gets it.

    `person_id`: the resident whose reservation it is, bound by the rule's limit. The gateways are told in the same
    transaction. Raises NotFound, InvalidInput (times, plate), and Conflict: `not-reservable`, `only-staff-reserve`,
    `too-many-reservations`, `reserved-already`, `fully-reserved`.
    """
    at = now or datetime.now(UTC)
    lot = await get_lot(conn, wanted.lot_id)
    wanted = _checked(wanted, at)
    await repository.lock_project(conn, lot.project_id)
    rule = await repository.rule_for(conn, lot.id, wanted.vehicle_class)
    if rule is None or not rule.places:
        raise Conflict("not-reservable", "no place of this lot can be reserved for this class", field="lot_id")
    _check_rule(rule, wanted, at)
    if person_id is not None:
        await _check_person(conn, rule, person_id)
    if await repository.is_reserved(conn, wanted):
        raise Conflict("reserved-already", "this plate has a reservation for this time already", field="plate")
    times = times_of(rule, wanted.since, wanted.until)
    taken = await repository.taken(conn, lot.id, rule.vehicle_class, min(at, times.taken_from))
    numbers = numbers_with(taken, times.taken_from, times.taken_until, rule.places)
    if numbers is None:
        raise Conflict("fully-reserved", "all places are reserved for some of this time", field="since")
    renumbered = {id_: number for id_, number in numbers.items() if id_ != NEW}
    await lock_plates(conn, lot.project_id, [wanted.plate, *await repository.plates_of(conn, list(renumbered))])
    await repository.number(conn, renumbered)
    pool, slot = rule.vehicle_class, numbers[NEW]
    made = await repository.insert(conn, lot.project_id, wanted, pool, slot, times, actor, person_id)
    await repository.settle(conn, lot.project_id, [wanted.plate], at)
    await tell_reservations(conn, lot.project_id, at)
    return await get_reservation(conn, made)


def times_of(rule: ReservationRule, since: datetime, until: datetime) -> Times:
    """What a rule makes of a time: when the place is taken, and when the vehicle may come."""
    arrive_until = until
    if rule.no_show_minutes is not None:
        arrive_until = min(until, since + timedelta(minutes=rule.no_show_minutes))
    return Times(
        taken_from=since - timedelta(minutes=max(rule.hold_minutes, rule.early_minutes)),
        taken_until=until + timedelta(minutes=rule.late_minutes),
        arrive_from=since - timedelta(minutes=rule.early_minutes),
        arrive_until=arrive_until,
        free_until=since - timedelta(minutes=rule.free_cancel_minutes),
    )


async def cancel(
    conn: Conn, reservation_id: int, actor: str, reason: str = "", now: datetime | None = None
) -> Reservation:
    """Gives a reservation up before its vehicle came; once is enough. Gateways are told in the same transaction.

    Raises NotFound, and Conflict when the vehicle came or its time is over (`not-awaited`).
    """
    at = now or datetime.now(UTC)
    known = await get_reservation(conn, reservation_id)
    project_id = known.project_id
    await repository.lock_project(conn, project_id)
    await lock_plates(conn, project_id, [known.plate])  # it may be coming in at this moment
    found = await repository.reservation(conn, reservation_id, locked=True)
    assert found is not None, "reservations are never deleted"
    if found.state == "cancelled":
        return found
    if found.state != "booked" or found.arrive_until <= at:
        raise Conflict("not-awaited", "the vehicle is not awaited any more")
    await repository.cancel(conn, reservation_id, actor, reason.strip(), at)
    await tell_reservations(conn, project_id, at)
    return await get_reservation(conn, reservation_id)


async def settle(conn: Conn, project_id: int, now: datetime) -> int:
    """Gives up places of those who did not come, and tells gateways who is awaited; returns how many did not come."""
    await repository.lock_project(conn, project_id)
    plates = await repository.overdue(conn, project_id, now)
    if plates:
        await lock_plates(conn, project_id, plates)
        await repository.settle(conn, project_id, plates, now)
    await tell_reservations(conn, project_id, now)
    return len(plates)


async def get_reservation(conn: Conn, reservation_id: int) -> Reservation:
    """One reservation; residents see their own. Raises NotFound."""
    found = await repository.reservation(conn, reservation_id)
    if found is None:
        raise NotFound("no-reservation", f"there is no reservation {reservation_id}", field="reservation_id")
    return found


async def list_reservations(conn: Conn, page: PageRequest, wanted: ReservationFilter) -> Page[Reservation]:
    """Reservations, the last one made first; residents see their own."""
    return await repository.reservations(conn, page, wanted)


def _checked(wanted: Wanted, at: datetime) -> Wanted:
    plate = valid_plate(wanted.plate)
    if wanted.until <= wanted.since:
        raise InvalidInput("bad-times", "expected an end after the beginning", field="until")
    if wanted.since < at - _JUST_NOW:
        raise InvalidInput("in-the-past", "expected a beginning that is not over", field="since")
    return Wanted(wanted.lot_id, plate, wanted.vehicle_class, wanted.since, wanted.until, wanted.note.strip())


def _check_rule(rule: ReservationRule, wanted: Wanted, at: datetime) -> None:
    if wanted.until - wanted.since > timedelta(hours=rule.longest_hours):
        detail = f"a place can be reserved for {rule.longest_hours} hours at most"
        raise InvalidInput("reserved-too-long", detail, field="until", hours=rule.longest_hours)
    if wanted.since > at + timedelta(days=rule.ahead_days):
        detail = f"a place can be reserved {rule.ahead_days} days ahead at most"
        raise InvalidInput("too-far-ahead", detail, field="since", days=rule.ahead_days)


async def _check_person(conn: Conn, rule: ReservationRule, person_id: int) -> None:
    if not rule.of_person:
        raise Conflict("only-staff-reserve", "only staff reserve places here", field="lot_id")
    if await repository.open_of_person(conn, rule.lot_id, person_id) >= rule.of_person:
        detail = f"one person has {rule.of_person} reservations at once at most"
        raise Conflict("too-many-reservations", detail, most=rule.of_person)
