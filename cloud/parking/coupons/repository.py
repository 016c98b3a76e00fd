"""SQL of merchants, their coupons, and handing coupons in."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import LiteralString

from cloud.kit.db import Conn
from cloud.kit.paging import Page, PageRequest, after_id, cut
from cloud.parking.coupons.records import Batch, IssuedCoupon, Merchant, NewBatch, SettlementKind

# Who pays ahead owes for what was issued, others for what was used.
_MERCHANT: LiteralString = """
    SELECT m.id, m.project_id, m.name, m.settlement, m.contact, m.closed_at,
           CASE m.settlement
           WHEN 'balance' THEN (SELECT coalesce(sum(b.price * b.count), 0.00) FROM coupon_batch b
                                WHERE b.merchant_id = m.id)
           ELSE (SELECT coalesce(sum(b.price), 0.00) FROM coupon_redemption r JOIN coupon_batch b ON b.id = r.batch_id
                 WHERE r.merchant_id = m.id) END
           - (SELECT coalesce(sum(p.amount), 0.00) FROM merchant_payment p WHERE p.merchant_id = m.id) AS open
    FROM parking_merchant m
"""
_MERCHANTS: LiteralString = (
    _MERCHANT
    + """
    WHERE (%(project_id)s::bigint IS NULL OR m.project_id = %(project_id)s) AND m.id > %(after)s
    ORDER BY m.id LIMIT %(limit)s
"""
)
_BATCH: LiteralString = """
    SELECT b.id, b.project_id, b.merchant_id, b.lot_id, b.kind, b.value, b.price, b.count, lower(b.valid) AS valid_from,
           upper(b.valid) AS valid_until, b.per_plate_and_day, b.stackable, b.issued_on, b.issued_by, b.withdrawn_at,
           (SELECT count(*) FROM coupon_redemption r WHERE r.batch_id = b.id)::int AS used
    FROM coupon_batch b
"""
_BATCHES: LiteralString = (
    _BATCH
    + """
    WHERE (%(project_id)s::bigint IS NULL OR b.project_id = %(project_id)s)
      AND (%(merchant_id)s::bigint IS NULL OR b.merchant_id = %(merchant_id)s) AND b.id > %(after)s
    ORDER BY b.id LIMIT %(limit)s
"""
)
_INSERT_BATCH: LiteralString = """
    INSERT INTO coupon_batch (project_id, merchant_id, lot_id, kind, value, price, count, valid, per_plate_and_day,
                              stackable, issued_on, issued_by)
    VALUES (%(project_id)s, %(merchant_id)s, %(lot_id)s, %(kind)s, %(value)s, %(price)s, %(count)s,
            daterange(%(valid_from)s, %(valid_until)s), %(per_plate_and_day)s, %(stackable)s, %(issued_on)s,
            %(issued_by)s)
    RETURNING id
"""
# A code that is there already is left out: the caller makes others.
_INSERT_CODES: LiteralString = """
    INSERT INTO coupon (project_id, batch_id, code) SELECT %(project_id)s, %(batch_id)s, code
    FROM unnest(%(codes)s::text[]) AS code ON CONFLICT (project_id, code) DO NOTHING
"""
_COUPONS: LiteralString = """
    SELECT c.id, c.batch_id, c.code, r.redeemed_at AS used_at, coalesce(r.plate, '') AS plate
    FROM coupon c LEFT JOIN coupon_redemption r ON r.coupon_id = c.id
    WHERE c.batch_id = %(batch_id)s AND c.id > %(after)s ORDER BY c.id LIMIT %(limit)s
"""
# Whoever is the second waits for the first and finds that the coupon is used.
_REDEEM: LiteralString = """
    INSERT INTO coupon_redemption (coupon_id, project_id, session_id, merchant_id, batch_id, code, kind, value,
                                   stackable, plate, redeemed_on, redeemed_by, redeemed_at)
    VALUES (%(coupon_id)s, %(project_id)s, %(session_id)s, %(merchant_id)s, %(batch_id)s, %(code)s, %(kind)s, %(value)s,
            %(stackable)s, %(plate)s, %(redeemed_on)s, %(redeemed_by)s, %(redeemed_at)s)
    ON CONFLICT (coupon_id) DO NOTHING RETURNING id
"""


@dataclass(frozen=True, slots=True)
class RedemptionRow:
    """A coupon to hand in."""

    coupon_id: int
    project_id: int
    session_id: int
    merchant_id: int
    batch_id: int
    code: str
    kind: str
    value: Decimal
    stackable: bool
    plate: str
    redeemed_on: date
    redeemed_by: str
    redeemed_at: datetime


async def insert_merchant(conn: Conn, project_id: int, name: str, settlement: SettlementKind, contact: str) -> int:
    """A new merchant."""
    query = "INSERT INTO parking_merchant (project_id, name, settlement, contact) VALUES (%s, %s, %s, %s) RETURNING id"
    row = await (await conn.execute(query, (project_id, name, settlement, contact))).fetchone()
    assert row is not None
    return int(row["id"])


async def merchant(conn: Conn, merchant_id: int) -> Merchant | None:
    """One merchant."""
    row = await (await conn.execute(_MERCHANT + " WHERE m.id = %s", (merchant_id,))).fetchone()
    return None if row is None else Merchant(**row)


async def merchants(conn: Conn, page: PageRequest, project_id: int | None) -> Page[Merchant]:
    """Merchants by id."""
    query = {"project_id": project_id, "after": after_id(page), "limit": page.limit + 1}
    rows = await (await conn.execute(_MERCHANTS, query)).fetchall()
    return cut([Merchant(**row) for row in rows], page, lambda found: (found.id,))


async def lock_merchant(conn: Conn, merchant_id: int) -> None:
    """One at a time spends what a merchant paid ahead."""
    await conn.execute("SELECT FROM parking_merchant WHERE id = %s FOR UPDATE", (merchant_id,))


async def insert_payment(
    conn: Conn, project_id: int, merchant_id: int, payment_id: int, amount: Decimal, paid_on: date
) -> None:
    """Notes which merchant a payment is of."""
    query = """INSERT INTO merchant_payment (project_id, merchant_id, payment_id, amount, paid_on)
               VALUES (%s, %s, %s, %s, %s)"""
    await conn.execute(query, (project_id, merchant_id, payment_id, amount, paid_on))


async def insert_batch(conn: Conn, project_id: int, new: NewBatch, issued_on: date, issued_by: str) -> int:
    """A batch without its coupons."""
    query = {**asdict(new), "project_id": project_id, "issued_on": issued_on, "issued_by": issued_by}
    row = await (await conn.execute(_INSERT_BATCH, query)).fetchone()
    assert row is not None
    return int(row["id"])


async def insert_codes(conn: Conn, project_id: int, batch_id: int, codes: Sequence[str]) -> int:
    """Makes coupons; returns how many of the codes were new."""
    query = {"project_id": project_id, "batch_id": batch_id, "codes": list(codes)}
    return (await conn.execute(_INSERT_CODES, query)).rowcount


async def batch(conn: Conn, batch_id: int) -> Batch | None:
    """One batch."""
    row = await (await conn.execute(_BATCH + " WHERE b.id = %s", (batch_id,))).fetchone()
    return None if row is None else Batch(**row)


async def batches(conn: Conn, page: PageRequest, project_id: int | None, merchant_id: int | None) -> Page[Batch]:
    """Batches by id."""
    query = {"project_id": project_id, "merchant_id": merchant_id, "after": after_id(page), "limit": page.limit + 1}
    rows = await (await conn.execute(_BATCHES, query)).fetchall()
    return cut([Batch(**row) for row in rows], page, lambda found: (found.id,))


async def withdraw(conn: Conn, batch_id: int, at: datetime) -> bool:
    """What is not used of a batch counts no more; False when that was so before."""
    query = "UPDATE coupon_batch SET withdrawn_at = %s WHERE id = %s AND withdrawn_at IS NULL"
    return (await conn.execute(query, (at, batch_id))).rowcount == 1


async def coupons(conn: Conn, page: PageRequest, batch_id: int) -> Page[IssuedCoupon]:
    """Coupons of a batch by id."""
    query = {"batch_id": batch_id, "after": after_id(page), "limit": page.limit + 1}
    rows = await (await conn.execute(_COUPONS, query)).fetchall()
    return cut([IssuedCoupon(**row) for row in rows], page, lambda found: (found.id,))


async def coupon_of_code(conn: Conn, project_id: int, code: str) -> tuple[int, int] | None:
    """(coupon, batch) of a code."""
    query = "SELECT id, batch_id FROM coupon WHERE project_id = %s AND code = %s"
    row = await (await conn.execute(query, (project_id, code))).fetchone()
    return None if row is None else (row["id"], row["batch_id"])


async def used_that_day(conn: Conn, batch_id: int, plate: str, day: date) -> int:
    """How many coupons of a batch were handed in for a plate on a local day."""
    query = "SELECT count(*) FROM coupon_redemption WHERE batch_id = %s AND plate = %s AND redeemed_on = %s"
    row = await (await conn.execute(query, (batch_id, plate, day))).fetchone()
    assert row is not None
    return int(row["count"])


async def stackable_of_session(conn: Conn, session_id: int) -> list[bool]:
    """For each coupon that was handed in for a stay whether others may join it."""
    rows = await (
        await conn.execute("SELECT stackable FROM coupon_redemption WHERE session_id = %s", (session_id,))
    ).fetchall()
    return [row["stackable"] for row in rows]


async def redeem(conn: Conn, row: RedemptionRow) -> int | None:
    """Hands a coupon in and returns the id of that; None when somebody did before."""
    found = await (await conn.execute(_REDEEM, asdict(row))).fetchone()
    return None if found is None else int(found["id"])


async def insert_charging(
    conn: Conn, project_id: int, session_id: int, kwh: Decimal, minutes: int, entered_by: str
) -> None:
    """Notes what a vehicle was charged."""
    query = """INSERT INTO vehicle_charging (project_id, session_id, kwh, minutes, entered_by)
               VALUES (%s, %s, %s, %s, %s)"""
    await conn.execute(query, (project_id, session_id, kwh, minutes, entered_by))
