"""SQL of reservations and of the rules they go by."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import LiteralString

from cloud.kit.db import Conn
from cloud.kit.locks import lock
from cloud.kit.paging import Page, PageRequest, newest_first
from cloud.parking.reservations.numbering import Taken
from cloud.parking.reservations.records import Reservation, ReservationFilter, ReservationRule, Times, Wanted

# Advisory locks of projects ("gm", 50): one reservation at a time is made, cancelled or told.
_LOCK_SPACE = 0x67_6D_32 << 40

_RULE: LiteralString = """
    SELECT lot_id, vehicle_class, places, hold_minutes, early_minutes, no_show_minutes, late_minutes,
           free_cancel_minutes, longest_hours, ahead_days, of_person
    FROM parking_reservation_rule
"""
# The rule of the class itself goes before the one for all.
_RULE_FOR: LiteralString = (
    _RULE
    + " WHERE lot_id = %(lot_id)s AND vehicle_class IN ('', %(vehicle_class)s) ORDER BY vehicle_class DESC LIMIT 1"
)
_SET_RULE: LiteralString = """
    INSERT INTO parking_reservation_rule
        (project_id, lot_id, vehicle_class, places, hold_minutes, early_minutes, no_show_minutes, late_minutes,
         free_cancel_minutes, longest_hours, ahead_days, of_person)
    VALUES (%(project_id)s, %(lot_id)s, %(vehicle_class)s, %(places)s, %(hold_minutes)s, %(early_minutes)s,
            %(no_show_minutes)s, %(late_minutes)s, %(free_cancel_minutes)s, %(longest_hours)s, %(ahead_days)s,
            %(of_person)s)
    ON CONFLICT (lot_id, vehicle_class) DO UPDATE SET
        places = excluded.places, hold_minutes = excluded.hold_minutes, early_minutes = excluded.early_minutes,
        no_show_minutes = excluded.no_show_minutes, late_minutes = excluded.late_minutes,
        free_cancel_minutes = excluded.free_cancel_minutes, longest_hours = excluded.longest_hours,
        ahead_days = excluded.ahead_days, of_person = excluded.of_person
"""
_RESERVATION: LiteralString = """
    SELECT r.id, r.project_id, r.lot_id, l.name AS lot_name, r.plate, r.vehicle_class, lower(r.reserved) AS since,
           upper(r.reserved) AS until, lower(r.arrival) AS arrive_from, upper(r.arrival) AS arrive_until, r.free_until,
           r.state, r.session_id, r.person_id, r.note, r.booked_by, r.created_at, r.cancelled_at, r.cancelled_by,
           r.cancel_reason
    FROM parking_reservation r JOIN parking_lot l ON l.id = r.lot_id
"""
_LIST: LiteralString = (
    _RESERVATION
    + """
    WHERE r.id < %(before)s
      AND (%(project_id)s::bigint IS NULL OR r.project_id = %(project_id)s)
      AND (%(lot_id)s::bigint IS NULL OR r.lot_id = %(lot_id)s)
      AND (%(state)s::text IS NULL OR r.state = %(state)s)
      AND (%(plate)s::text IS NULL OR r.plate = %(plate)s)
    ORDER BY r.id DESC LIMIT %(limit)s
"""
)
# Those that hold a number now or may hand one on: a new one can make others change theirs.
_TAKEN: LiteralString = """
    SELECT id, lower(taken) AS start, upper(taken) AS end, slot AS number FROM parking_reservation
    WHERE lot_id = %(lot_id)s AND pool = %(pool)s AND state IN ('booked', 'arrived') AND upper(taken) > %(since)s
"""
_NUMBER: LiteralString = """
    UPDATE parking_reservation r SET slot = n.number
    FROM unnest(%(ids)s::bigint[], %(numbers)s::int[]) AS n (id, number) WHERE r.id = n.id
"""
_INSERT: LiteralString = """
    INSERT INTO parking_reservation (project_id, lot_id, plate, vehicle_class, pool, slot, reserved, taken, arrival,
                                     free_until, person_id, note, booked_by)
    VALUES (%(project_id)s, %(lot_id)s, %(plate)s, %(vehicle_class)s, %(pool)s, %(slot)s,
            tstzrange(%(since)s, %(until)s), tstzrange(%(taken_from)s, %(taken_until)s),
            tstzrange(%(arrive_from)s, %(arrive_until)s), %(free_until)s, %(person_id)s, %(note)s, %(booked_by)s)
    RETURNING id
"""
_SAME_PLATE: LiteralString = """
    SELECT EXISTS (SELECT FROM parking_reservation WHERE lot_id = %s AND plate = %s
                   AND state IN ('booked', 'arrived') AND reserved && tstzrange(%s, %s)) AS found
"""
_CANCEL: LiteralString = """
    UPDATE parking_reservation SET state = 'cancelled', cancelled_at = %(at)s, cancelled_by = %(actor)s,
           cancel_reason = %(reason)s
    WHERE id = %(id)s AND state = 'booked'
"""
_OVERDUE: LiteralString = """
    SELECT DISTINCT plate FROM parking_reservation
    WHERE project_id = %s AND state = 'booked' AND upper(arrival) <= %s ORDER BY plate
"""
_AWAITED: LiteralString = """
    SELECT r.id, r.lot_id, l.code AS lot_code, r.plate, lower(r.arrival) AS since, upper(r.arrival) AS until
    FROM parking_reservation r JOIN parking_lot l ON l.id = r.lot_id
    WHERE r.project_id = %s AND r.state = 'booked' AND upper(r.arrival) > %s ORDER BY r.id
"""


async def lock_project(conn: Conn, project_id: int) -> None:
    """One at a time makes, cancels or tells reservations of a project."""
    await lock(conn, _LOCK_SPACE, project_id)


async def rules(conn: Conn, lot_ids: Sequence[int]) -> list[ReservationRule]:
    """Rules of lots, by lot and class."""
    query = _RULE + " WHERE lot_id = ANY (%s::bigint[]) ORDER BY lot_id, vehicle_class"
    return [ReservationRule(**row) for row in await (await conn.execute(query, (list(lot_ids),))).fetchall()]


async def rule_for(conn: Conn, lot_id: int, vehicle_class: str) -> ReservationRule | None:
    """The rule that a class of vehicles goes by in a lot."""
    row = await (await conn.execute(_RULE_FOR, {"lot_id": lot_id, "vehicle_class": vehicle_class})).fetchone()
    return None if row is None else ReservationRule(**row)


async def set_rule(conn: Conn, project_id: int, rule: ReservationRule) -> None:
    """Makes the rule of a lot and class, or takes the place of the one there is."""
    await conn.execute(_SET_RULE, {"project_id": project_id, **asdict(rule)})


async def reservations(conn: Conn, page: PageRequest, wanted: ReservationFilter) -> Page[Reservation]:
    """Reservations, the last one made first."""
    return await newest_first(conn, _LIST, asdict(wanted), page, lambda row: Reservation(**row))


async def reservation(conn: Conn, reservation_id: int, *, locked: bool = False) -> Reservation | None:
    """One reservation; `locked`: ours until the transaction ends."""
    query = _RESERVATION + " WHERE r.id = %s" + (" FOR UPDATE OF r" if locked else "")
    row = await (await conn.execute(query, (reservation_id,))).fetchone()
    return None if row is None else Reservation(**row)


async def taken(conn: Conn, lot_id: int, pool: str, since: datetime) -> list[Taken]:
    """Places of a rule that are taken at `since` or later."""
    query = {"lot_id": lot_id, "pool": pool, "since": since}
    return [Taken(**row) for row in await (await conn.execute(_TAKEN, query)).fetchall()]


async def number(conn: Conn, numbers: Mapping[int, int]) -> None:
    """Gives places other numbers, all at once."""
    if numbers:
        await conn.execute(_NUMBER, {"ids": list(numbers), "numbers": list(numbers.values())})


async def plates_of(conn: Conn, reservation_ids: Sequence[int]) -> list[str]:
    """The plates that these are for."""
    query = "SELECT DISTINCT plate FROM parking_reservation WHERE id = ANY (%s)"
    return [row["plate"] for row in await (await conn.execute(query, (list(reservation_ids),))).fetchall()]


async def insert(
    conn: Conn, project_id: int, wanted: Wanted, pool: str, slot: int, times: Times, actor: str, person_id: int | None
) -> int:
    """A new reservation; returns its id."""
    values = {
        **asdict(wanted),
        **asdict(times),
        "project_id": project_id,
        "pool": pool,
        "slot": slot,
        "booked_by": actor,
        "person_id": person_id,
    }
    row = await (await conn.execute(_INSERT, values)).fetchone()
    assert row is not None
    return int(row["id"])


async def is_reserved(conn: Conn, wanted: Wanted) -> bool:
    """Whether the plate has a reservation in the lot that overlaps this one."""
    query = (wanted.lot_id, wanted.plate, wanted.since, wanted.until)
    row = await (await conn.execute(_SAME_PLATE, query)).fetchone()
    return row is not None and bool(row["found"])


async def open_of_person(conn: Conn, lot_id: int, person_id: int) -> int:
    """How many reservations of a person in a lot are still to come or going on."""
    query = """SELECT count(*) AS open FROM parking_reservation
               WHERE lot_id = %s AND person_id = %s AND state IN ('booked', 'arrived')"""
    row = await (await conn.execute(query, (lot_id, person_id))).fetchone()
    assert row is not None
    return int(row["open"])


async def cancel(conn: Conn, reservation_id: int, actor: str, reason: str, at: datetime) -> None:
    """Cancels a reservation whose vehicle did not come."""
    await conn.execute(_CANCEL, {"id": reservation_id, "actor": actor, "reason": reason, "at": at})


async def settle(conn: Conn, project_id: int, plates: Sequence[str], at: datetime) -> None:
    """Binds reservations of these plates to the stays as they are, or finds that nobody came."""
    await conn.execute("SELECT gm.settle_reservations(%s, %s, %s)", (project_id, list(plates), at))


async def overdue(conn: Conn, project_id: int, at: datetime) -> list[str]:
    """Plates that were awaited and whose time to come is over."""
    return [row["plate"] for row in await (await conn.execute(_OVERDUE, (project_id, at))).fetchall()]


async def awaited(conn: Conn, project_id: int, at: datetime) -> list[tuple[int, int, str, str, datetime, datetime]]:
    """(id, lot, its code, plate, from, until) of the vehicles that are still to come."""
    return [tuple(row.values()) for row in await (await conn.execute(_AWAITED, (project_id, at))).fetchall()]
