"""SQL of what merchants owe for their coupons."""

from datetime import date
from decimal import Decimal
from typing import LiteralString

from cloud.kit.db import Conn
from cloud.parking.coupons.records import BatchUse, Merchant

# What was issued, used and taken off in the time; the line of a coupon in the steps of a fee has its code as label.
_USES: LiteralString = """
    SELECT b.id AS batch_id, b.kind, b.value, b.price,
           CASE WHEN b.issued_on >= %(start)s AND b.issued_on < %(end)s THEN b.count ELSE 0 END AS issued,
           coalesce(r.used, 0)::int AS used, coalesce(r.taken_off, 0.00) AS taken_off
    FROM coupon_batch b
    LEFT JOIN (
        SELECT r.batch_id, count(*) AS used, sum(line.taken_off) AS taken_off
        FROM coupon_redemption r JOIN parking_session s ON s.id = r.session_id
        CROSS JOIN LATERAL (
            SELECT coalesce(-sum((step ->> 'amount')::numeric), 0.00) AS taken_off
            FROM jsonb_array_elements(s.fee_steps) AS step WHERE step ->> 'label' = r.code) AS line
        WHERE r.merchant_id = %(merchant_id)s AND r.redeemed_on >= %(start)s AND r.redeemed_on < %(end)s
        GROUP BY r.batch_id) AS r ON r.batch_id = b.id
    WHERE b.merchant_id = %(merchant_id)s AND (r.used > 0 OR b.issued_on >= %(start)s AND b.issued_on < %(end)s)
    ORDER BY b.id
"""
_BEFORE: LiteralString = """
    SELECT CASE %(settlement)s
        WHEN 'balance' THEN (SELECT coalesce(sum(price * count), 0.00) FROM coupon_batch
                             WHERE merchant_id = %(merchant_id)s AND issued_on < %(start)s)
        ELSE (SELECT coalesce(sum(b.price), 0.00) FROM coupon_redemption r JOIN coupon_batch b ON b.id = r.batch_id
              WHERE r.merchant_id = %(merchant_id)s AND r.redeemed_on < %(start)s) END
        - (SELECT coalesce(sum(amount), 0.00) FROM merchant_payment
           WHERE merchant_id = %(merchant_id)s AND paid_on < %(start)s) AS open
"""
_PAID: LiteralString = """
    SELECT coalesce(sum(amount), 0.00) AS paid FROM merchant_payment
    WHERE merchant_id = %(merchant_id)s AND paid_on >= %(start)s AND paid_on < %(end)s
"""


async def uses(conn: Conn, merchant: Merchant, start: date, end: date) -> tuple[BatchUse, ...]:
    """What each batch comes to on the local days from `start` to before `end`."""
    values = {"merchant_id": merchant.id, "start": start, "end": end}
    rows = await (await conn.execute(_USES, values)).fetchall()
    counted = "issued" if merchant.settlement == "balance" else "used"
    return tuple(BatchUse(**row, owed=row["price"] * row[counted]) for row in rows)


async def open_before(conn: Conn, merchant: Merchant, start: date) -> Decimal:
    """What was owed and not paid before a day."""
    values = {"merchant_id": merchant.id, "settlement": merchant.settlement, "start": start}
    row = await (await conn.execute(_BEFORE, values)).fetchone()
    assert row is not None
    return Decimal(row["open"])


async def paid(conn: Conn, merchant: Merchant, start: date, end: date) -> Decimal:
    """What was paid on the days from `start` to before `end`."""
    row = await (await conn.execute(_PAID, {"merchant_id": merchant.id, "start": start, "end": end})).fetchone()
    assert row is not None
    return Decimal(row["paid"])
