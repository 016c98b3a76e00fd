"""SQL of permits: what they are, their plates, periods and suspensions, and what follows from them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, LiteralString

import psycopg
from psycopg.types.multirange import TimestamptzMultirange
from psycopg.types.range import TimestamptzRange

from cloud.kit.constraints import meaning_of
from cloud.kit.db import Conn
from cloud.kit.errors import Conflict
from cloud.kit.paging import MAX_ID, Page, PageRequest, newest_first
from cloud.parking.permits.coverage import Stay
from cloud.parking.permits.records import LanePeriod, Period, Permit, PermitFilter, PlatePeriod
from cloud.parking.permits.terms import EVER, FOREVER, ClassUntil, LaneTime, PlateTime, Span, Terms

# `at` is now. The plates are those of now, or of the first day of a permit that has not begun.
_PERMITS: LiteralString = """
    SELECT * FROM (
        SELECT p.id, p.project_id, p.kind, p.product_id, p.spaces, p.when_freed, p.grace_days, p.vehicle_class,
               p.space, p.person_id, p.unit_id, p.account_id, p.note, p.renews, p.ended_at, p.ended_reason,
               d.valid_from, d.valid_until,
               CASE WHEN p.ended_at <= %(at)s THEN 'ended' WHEN s.reason IS NOT NULL THEN 'suspended'
                    WHEN d.valid_from > %(at)s THEN 'future' WHEN d.valid_until <= %(at)s THEN 'expired'
                    ELSE 'active' END AS state,
               s.reason AS suspended_reason,
               (SELECT array_agg(lot_id ORDER BY lot_id) FROM permit_lot l WHERE l.permit_id = p.id) AS lot_ids,
               ARRAY(SELECT lane_id FROM permit_lane l
                     WHERE l.permit_id = p.id AND l.valid @> %(at)s::timestamptz ORDER BY lane_id) AS lane_ids,
               ARRAY(SELECT plate FROM permit_plate t
                     WHERE t.permit_id = p.id AND t.valid @> greatest(%(at)s, d.valid_from) ORDER BY plate) AS plates,
               ARRAY(SELECT n.number FROM permit_space m JOIN parking_space n ON n.id = m.space_id
                     WHERE m.permit_id = p.id ORDER BY n.number, n.id) AS space_numbers
        FROM permit p
        CROSS JOIN LATERAL (
            SELECT min(lower(valid)) AS valid_from,
                   nullif(max(coalesce(upper(valid), 'infinity')), 'infinity') AS valid_until
            FROM permit_period WHERE permit_id = p.id) d
        LEFT JOIN LATERAL (
            SELECT reason FROM permit_suspension
            WHERE permit_id = p.id AND valid @> %(at)s::timestamptz) s ON true
        WHERE (%(id)s::bigint IS NULL OR p.id = %(id)s)
          AND (%(plate)s::text IS NULL OR p.id IN (SELECT permit_id FROM permit_plate WHERE plate = %(plate)s))
    ) AS one
    WHERE (%(project_id)s::bigint IS NULL OR project_id = %(project_id)s)
      AND (%(kind)s::text IS NULL OR kind = %(kind)s) AND (%(state)s::text IS NULL OR state = %(state)s)
      AND (%(lot_id)s::bigint IS NULL OR %(lot_id)s = ANY (lot_ids))
      AND (%(lane_id)s::bigint IS NULL OR %(lane_id)s = ANY (lane_ids))
      AND (%(person_id)s::bigint IS NULL OR person_id = %(person_id)s)
      AND (%(unit_id)s::bigint IS NULL OR unit_id = %(unit_id)s)
      AND (%(account_id)s::bigint IS NULL OR account_id = %(account_id)s)
      AND (%(ends_before)s::timestamptz IS NULL OR valid_until < %(ends_before)s)
      AND (%(written)s::boolean IS NULL OR (space <> '') = %(written)s) AND id < %(before)s
    ORDER BY id DESC LIMIT %(limit)s
"""
_INSERT: LiteralString = """
    INSERT INTO permit (project_id, kind, product_id, spaces, when_freed, grace_days, vehicle_class, space, person_id,
                        unit_id, account_id, note, created_by)
    VALUES (%(project_id)s, %(kind)s, %(product_id)s, %(spaces)s, %(when_freed)s, %(grace_days)s, %(vehicle_class)s,
            %(space)s, %(person_id)s, %(unit_id)s, %(account_id)s, %(note)s, %(by)s)
    RETURNING id
"""
_INSERT_LANES: LiteralString = """
    INSERT INTO permit_lane (project_id, permit_id, lane_id, valid)
    SELECT p.project_id, p.id, unnest(%(lanes)s::bigint[]), tstzrange(%(since)s, NULL)
    FROM permit p WHERE p.id = %(permit_id)s
"""
_FORGET_LANES: LiteralString = """
    DELETE FROM permit_lane
    WHERE permit_id = ANY (%(permits)s::bigint[]) AND (%(lane_id)s::bigint IS NULL OR lane_id = %(lane_id)s)
      AND lower(valid) >= %(at)s
"""
_END_LANES: LiteralString = """
    UPDATE permit_lane SET valid = valid * tstzrange(NULL, %(at)s)
    WHERE permit_id = ANY (%(permits)s::bigint[]) AND (%(lane_id)s::bigint IS NULL OR lane_id = %(lane_id)s)
      AND valid @> %(at)s::timestamptz
"""
# What each plate may stand under, without suspensions: a permit that is suspended keeps its place.
_COVER: LiteralString = """
    INSERT INTO permit_cover (project_id, permit_id, lot_id, plate, valid)
    SELECT p.project_id, p.id, l.lot_id, t.plate, d.valid * t.valid * tstzrange(NULL, p.ended_at)
    FROM permit p JOIN permit_lot l ON l.permit_id = p.id JOIN permit_period d ON d.permit_id = p.id
    JOIN permit_plate t ON t.permit_id = p.id
    WHERE p.id = %s AND NOT isempty(d.valid * t.valid * tstzrange(NULL, p.ended_at))
"""
# Another permit that covers one of the plates at a lot of this one while this one does.
_IN_THE_WAY: LiteralString = """
    SELECT c.plate, c.permit_id, o.code AS lot_code
    FROM permit p JOIN permit_lot l ON l.permit_id = p.id JOIN permit_period d ON d.permit_id = p.id
    JOIN permit_plate t ON t.permit_id = p.id
    JOIN permit_cover c ON c.lot_id = l.lot_id AND c.plate = t.plate AND c.permit_id <> p.id
                           AND c.valid && (d.valid * t.valid * tstzrange(NULL, p.ended_at))
    JOIN parking_lot o ON o.id = c.lot_id
    WHERE p.id = %s ORDER BY c.plate, c.permit_id, o.code LIMIT 1
"""
# Changed twice in one moment, what held before both counts.
_CLASS_BEFORE: LiteralString = """
    INSERT INTO permit_class (project_id, permit_id, until, vehicle_class)
    SELECT p.project_id, p.id,
           greatest(%(at)s::timestamptz, (SELECT max(o.until) FROM permit_class o WHERE o.permit_id = p.id)),
           p.vehicle_class
    FROM permit p WHERE p.id = %(permit_id)s
    ON CONFLICT (permit_id, until) DO NOTHING
"""
_TERMS: LiteralString = """
    SELECT * FROM gm.permit_terms(%(project_id)s, %(plates)s::text[], %(permits)s::bigint[]) ORDER BY permit_id, plate
"""
_STAYS: LiteralString = """
    SELECT * FROM gm.stays_of_plates(%(project_id)s, %(plates)s::text[], %(since)s, %(until)s, %(with_lanes)s)
"""


async def insert_permit(conn: Conn, values: Mapping[str, object], lot_ids: Sequence[int]) -> int:
    """A new permit of these lots; it holds at no time yet. Raises what the database refuses, in our words."""
    try:
        async with conn.transaction():
            row = await (await conn.execute(_INSERT, values)).fetchone()
            assert row is not None
            query = "INSERT INTO permit_lot (project_id, permit_id, lot_id) SELECT %s, %s, unnest(%s::bigint[])"
            await conn.execute(query, (values["project_id"], row["id"], sorted(set(lot_ids))))
    except psycopg.IntegrityError as error:
        meaning = meaning_of(error)
        if meaning is None:
            raise
        raise meaning from error
    return int(row["id"])


async def insert_lanes(conn: Conn, permit_id: int, lane_ids: Collection[int], since: datetime | None) -> None:
    """Lanes by which vehicles of a permit have to come in from then on (None: ever since)."""
    await conn.execute(_INSERT_LANES, {"permit_id": permit_id, "lanes": sorted(lane_ids), "since": since})


async def copy_lane(conn: Conn, old_id: int, new_id: int) -> None:
    """Permits that name the old lane name the new one as well, since when they named the old one."""
    query = """INSERT INTO permit_lane (project_id, permit_id, lane_id, valid)
               SELECT project_id, permit_id, %s, valid FROM permit_lane WHERE lane_id = %s AND upper_inf(valid)"""
    await conn.execute(query, (new_id, old_id))


async def end_lanes(conn: Conn, permit_ids: Sequence[int], at: datetime, lane_id: int | None = None) -> None:
    """None of their lanes count any more from then on; or this one does not."""
    values = {"permits": list(permit_ids), "lane_id": lane_id, "at": at}
    await conn.execute(_FORGET_LANES, values)
    await conn.execute(_END_LANES, values)


async def lanes(conn: Conn, permit_id: int) -> list[LanePeriod]:
    """All lanes that a permit ever named, in order of time."""
    query = """SELECT lane_id, lower(valid) AS valid_from, upper(valid) AS valid_until FROM permit_lane
               WHERE permit_id = %s ORDER BY valid, lane_id"""
    return [LanePeriod(**row) for row in await (await conn.execute(query, (permit_id,))).fetchall()]


async def of_lane(conn: Conn, lane_id: int) -> list[int]:
    """Permits that name a lane, or did."""
    rows = await conn.execute("SELECT DISTINCT permit_id FROM permit_lane WHERE lane_id = %s ORDER BY 1", (lane_id,))
    return [row["permit_id"] async for row in rows]


async def naming(conn: Conn, lane_id: int) -> list[int]:
    """Permits that name a lane now."""
    query = "SELECT permit_id FROM permit_lane WHERE lane_id = %s AND upper_inf(valid) ORDER BY 1"
    return [row["permit_id"] async for row in await conn.execute(query, (lane_id,))]


async def insert_period(conn: Conn, values: Mapping[str, object]) -> int:
    """A time in which a permit holds."""
    query: LiteralString = """
        INSERT INTO permit_period (project_id, permit_id, valid, paid_by, amount, payment_id, created_by)
        VALUES (%(project_id)s, %(permit_id)s, tstzrange(%(start)s, %(end)s), %(paid_by)s, %(amount)s, %(payment_id)s,
                %(by)s)
        RETURNING id
    """
    row = await (await conn.execute(query, values)).fetchone()
    assert row is not None
    return int(row["id"])


async def insert_plates(
    conn: Conn, permit: tuple[int, int], plates: Sequence[str], since: datetime, until: datetime | None = None
) -> None:
    """Plates of a permit (project, permit) from then on."""
    query = """INSERT INTO permit_plate (project_id, permit_id, plate, valid)
               SELECT %s, %s, unnest(%s::text[]), tstzrange(%s, %s)"""
    await conn.execute(query, (*permit, list(plates), since, until))


async def remove_plate(conn: Conn, permit_id: int, plate: str, at: datetime) -> bool:
    """A plate is one of the permit no more from then on; whether it was. What had not begun is as if it never was."""
    ended = await conn.execute(
        "DELETE FROM permit_plate WHERE permit_id = %s AND plate = %s AND lower(valid) >= %s", (permit_id, plate, at)
    )
    query = """UPDATE permit_plate SET valid = tstzrange(lower(valid), %s)
               WHERE permit_id = %s AND plate = %s AND valid @> %s::timestamptz AND lower(valid) < %s"""
    cut = await conn.execute(query, (at, permit_id, plate, at, at))
    return ended.rowcount + cut.rowcount > 0


async def insert_suspension(conn: Conn, permit: tuple[int, int], since: datetime, reason: str) -> None:
    """A permit (project, permit) covers nothing from then on."""
    query = """INSERT INTO permit_suspension (project_id, permit_id, valid, reason)
               VALUES (%s, %s, tstzrange(%s, NULL), %s)"""
    await conn.execute(query, (*permit, since, reason))


async def end_suspension(conn: Conn, permit_id: int, at: datetime) -> bool:
    """It covers again from then on; whether it was suspended."""
    query = """UPDATE permit_suspension SET valid = tstzrange(lower(valid), greatest(lower(valid), %s))
               WHERE permit_id = %s AND upper_inf(valid)"""
    return (await conn.execute(query, (at, permit_id))).rowcount > 0


async def end_permit(conn: Conn, permit_id: int, at: datetime, reason: str) -> None:
    """It holds no longer from then on."""
    query = "UPDATE permit SET ended_at = %s, ended_reason = %s, renews = false WHERE id = %s"
    await conn.execute(query, (at, reason, permit_id))


async def last_ended(
    conn: Conn, project_id: int, plates: Sequence[str], lot_ids: Sequence[int], since: datetime, until: datetime
) -> datetime | None:
    """When the last permit of these plates at these lots was ended, after `since` and up to `until`."""
    query: LiteralString = """
        SELECT max(p.ended_at) AS ended_at
        FROM permit p JOIN permit_plate t ON t.permit_id = p.id JOIN permit_lot l ON l.permit_id = p.id
        WHERE p.project_id = %s AND t.plate = ANY (%s::text[]) AND l.lot_id = ANY (%s::bigint[])
          AND p.ended_at > %s AND p.ended_at <= %s
    """
    values = (project_id, list(plates), list(lot_ids), since, until)
    row = await (await conn.execute(query, values)).fetchone()
    return None if row is None else row["ended_at"]


async def change_permit(conn: Conn, permit_id: int, values: Mapping[str, object]) -> None:
    """Who holds it, who pays, where it stands. Raises what the database refuses, in our words."""
    query: LiteralString = """
        UPDATE permit SET person_id = %(person_id)s, unit_id = %(unit_id)s, account_id = %(account_id)s,
                          space = %(space)s, note = %(note)s, renews = %(renews)s
        WHERE id = %(id)s
    """
    try:
        async with conn.transaction():
            await conn.execute(query, {**values, "id": permit_id})
    except psycopg.IntegrityError as error:
        meaning = meaning_of(error)
        if meaning is None:
            raise
        raise meaning from error


async def write_cover(conn: Conn, permit_id: int) -> None:
    """Writes anew which plates stand under it where. Raises Conflict when one stands under another permit then."""
    row = await (await conn.execute(_IN_THE_WAY, (permit_id,))).fetchone()
    if row is not None:
        raise _taken(row)
    await conn.execute("DELETE FROM permit_cover WHERE permit_id = %s", (permit_id,))
    try:
        async with conn.transaction():
            await conn.execute(_COVER, (permit_id,))
    except psycopg.errors.ExclusionViolation as error:  # somebody was faster: their permit is not seen yet
        detail = "another permit for one of these plates is being made: try again"
        raise Conflict("plate-has-permit", detail, field="plates") from error


def _taken(row: Mapping[str, Any]) -> Conflict:
    detail = f"{row['plate']} has permit {row['permit_id']} at lot {row['lot_code']} in this time"
    return Conflict("plate-has-permit", detail, field="plates", plate=row["plate"], permit=row["permit_id"])


async def lock(conn: Conn, permit_ids: Sequence[int]) -> None:
    """Nobody else changes these permits before this transaction ends."""
    await conn.execute("SELECT FROM permit WHERE id = ANY (%s::bigint[]) ORDER BY id FOR UPDATE", (list(permit_ids),))


async def permit(conn: Conn, permit_id: int, at: datetime) -> Permit | None:
    """One permit as it stands."""
    query = {**asdict(PermitFilter()), "id": permit_id, "at": at, "before": MAX_ID, "limit": 1}
    row = await (await conn.execute(_PERMITS, query)).fetchone()
    return None if row is None else Permit(**row)


async def permits(conn: Conn, page: PageRequest, wanted: PermitFilter, at: datetime) -> Page[Permit]:
    """Permits, the newest first."""
    query = {**asdict(wanted), "id": None, "at": at}
    return await newest_first(conn, _PERMITS, query, page, lambda row: Permit(**row))


async def plates(conn: Conn, permit_id: int) -> list[PlatePeriod]:
    """All plates that a permit ever had, in order of time."""
    query = """SELECT plate, lower(valid) AS valid_from, upper(valid) AS valid_until FROM permit_plate
               WHERE permit_id = %s ORDER BY valid, plate"""
    return [PlatePeriod(**row) for row in await (await conn.execute(query, (permit_id,))).fetchall()]


async def periods(conn: Conn, permit_id: int) -> list[Period]:
    """Times in which a permit holds, in order."""
    query = """SELECT id, lower(valid) AS valid_from, upper(valid) AS valid_until, paid_by, amount, payment_id,
                      created_at FROM permit_period WHERE permit_id = %s ORDER BY valid"""
    return [Period(**row) for row in await (await conn.execute(query, (permit_id,))).fetchall()]


async def terms(conn: Conn, project_id: int, plates: Sequence[str] = (), permits: Sequence[int] = ()) -> list[Terms]:
    """Permits with any of these plates, and these permits, with all that decides what they cover."""
    query = {"project_id": project_id, "plates": list(plates), "permits": list(permits)}
    by_permit: dict[int, list[dict[str, Any]]] = {}
    for row in await (await conn.execute(_TERMS, query)).fetchall():
        by_permit.setdefault(row["permit_id"], []).append(row)
    return [_terms(rows) for rows in by_permit.values()]


async def plates_like(conn: Conn, project_id: int, plates: Sequence[str]) -> set[str]:
    """Plates of permits that a camera may take for one of these, and those of these that permits have."""
    rows = await conn.execute(
        "SELECT * FROM gm.permit_plates_like(%s, %s::text[]) AS plate", (project_id, list(plates))
    )  # fmt: skip
    return {row["plate"] async for row in rows}


async def classes_before(conn: Conn, permit_id: int) -> list[ClassUntil]:
    """The classes that a permit was for before, in order of time."""
    query = "SELECT until, vehicle_class FROM permit_class WHERE permit_id = %s ORDER BY until"
    return [ClassUntil(**row) for row in await (await conn.execute(query, (permit_id,))).fetchall()]


async def change_class(conn: Conn, permit_id: int, vehicle_class: str, at: datetime) -> None:
    """From then on it is for another class; never before it last became one."""
    await conn.execute(_CLASS_BEFORE, {"permit_id": permit_id, "at": at})
    await conn.execute("UPDATE permit SET vehicle_class = %s WHERE id = %s", (vehicle_class, permit_id))


async def stays(
    conn: Conn, project_id: int, plates: Sequence[str], since: datetime, until: datetime, *, with_lanes: bool
) -> list[Stay]:
    """Stays of vehicles whose entry was seen and that touch a time; by which lane they came, only when asked."""
    query = {"project_id": project_id, "plates": list(plates), "since": since, "until": until, "with_lanes": with_lanes}
    rows = await (await conn.execute(_STAYS, query)).fetchall()
    return [
        Stay(row["plate"], row["lot_id"], row["entered_at"], row["left_at"], row["vehicle_class"], row["lane_id"])
        for row in rows
    ]


def _terms(rows: Sequence[Mapping[str, Any]]) -> Terms:
    first = rows[0]
    return Terms(
        permit_id=first["permit_id"],
        lots=frozenset(first["lots"]),
        spaces=first["spaces"],
        when_freed=first["when_freed"],
        grace=timedelta(days=first["grace_days"]),
        ended_at=first["ended_at"],
        periods=_spans(first["periods"]),
        suspended=_spans(first["suspended"]),
        plates=tuple(PlateTime(row["plate"], _spans(row["plate_valid"])) for row in rows),
        vehicle_class=first["vehicle_class"],
        classes_before=tuple(map(ClassUntil, first["classes_until"], first["classes"])),
        lanes=tuple(map(_lane_time, first["lanes"], first["lanes_valid"])),
    )


def _lane_time(lane_id: int, valid: TimestamptzRange) -> LaneTime:
    return LaneTime(lane_id, Span(valid.lower or EVER, valid.upper or FOREVER))


def _spans(times: TimestamptzMultirange | None) -> tuple[Span, ...]:
    return tuple(Span(one.lower, one.upper or FOREVER) for one in times or () if one.lower is not None)
