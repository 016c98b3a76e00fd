"""Giving coupons of a merchant to those who park: for a plate at once, or by a code that the customer scans."""

from datetime import UTC, datetime
from typing import LiteralString

from cloud.estate import service as estate
from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, NotFound
from cloud.kit.paging import Page, PageRequest, newest_first
from cloud.kit.periods import local_day
from cloud.parking.coupons import redeeming
from cloud.parking.coupons.records import Batch, Given, HandedOut, Redeemed
from cloud.parking.coupons.service import get_batch
from cloud.parking.plates import valid_plate
from cloud.parking.stays.repository import lock_plates

_UNUSED: LiteralString = """
    SELECT c.id, c.code FROM coupon c
    WHERE NOT EXISTS (SELECT FROM coupon_redemption r WHERE r.coupon_id = c.id)
      AND NOT EXISTS (SELECT FROM coupon_handout h WHERE h.coupon_id = c.id)
"""
# The last ones first: those on paper are used from the beginning. Whoever asks beside gets another one.
_FREE: LiteralString = _UNUSED + " AND c.batch_id = %s ORDER BY c.id DESC LIMIT 1 FOR UPDATE OF c SKIP LOCKED"
_STILL_FREE: LiteralString = _UNUSED + " AND c.id = %s"
_LEFT: LiteralString = """
    SELECT b.id, b.count - (SELECT count(*) FROM coupon c WHERE c.batch_id = b.id AND (
               EXISTS (SELECT FROM coupon_redemption r WHERE r.coupon_id = c.id)
               OR EXISTS (SELECT FROM coupon_handout h WHERE h.coupon_id = c.id)))::int AS left
    FROM coupon_batch b WHERE b.merchant_id = %(merchant_id)s AND b.valid @> %(day)s::date AND b.withdrawn_at IS NULL
    ORDER BY b.id
"""
_HAND_OUT: LiteralString = """
    INSERT INTO coupon_handout (project_id, merchant_id, coupon_id, handed_by, handed_at)
    VALUES (%(project_id)s, %(merchant_id)s, %(coupon_id)s, %(by)s, %(at)s) RETURNING id
"""
_HANDED_OUT: LiteralString = """
    SELECT h.id, h.merchant_id, c.batch_id, c.code, h.handed_at,
           EXISTS (SELECT FROM coupon_redemption r WHERE r.coupon_id = c.id) AS used
    FROM coupon_handout h JOIN coupon c ON c.id = h.coupon_id WHERE h.id = %s
"""
_GIVEN: LiteralString = """
    SELECT r.id, r.batch_id, r.kind, r.value, r.plate, r.redeemed_at AS at, r.redeemed_by AS by
    FROM coupon_redemption r
    WHERE r.merchant_id = %(merchant_id)s AND r.id < %(before)s ORDER BY r.id DESC LIMIT %(limit)s
"""


async def to_give(conn: Conn, merchant_id: int, project_id: int, now: datetime) -> list[tuple[Batch, int]]:
    """What a merchant can give out today, with how many of each are left, those without any too."""
    day = local_day(now, (await estate.get_project(conn, project_id)).zone)
    rows = await (await conn.execute(_LEFT, {"merchant_id": merchant_id, "day": day})).fetchall()
    return [(await get_batch(conn, row["id"]), row["left"]) for row in rows]


async def give(
    conn: Conn, merchant_id: int, batch_id: int, plate: str, by: str, at: datetime | None = None
) -> Redeemed:
    """Hands one of the merchant's coupons in for a vehicle that is inside.

    Raises what `redeem` raises; NotFound for a batch that is not this merchant's, Conflict when none is left.
    """
    batch = await _own(conn, merchant_id, batch_id)
    bare = valid_plate(plate)
    # Before the coupon, as when its customer hands it in himself: else each of the two waits for the other.
    await lock_plates(conn, batch.project_id, [bare])
    _, code = await _free(conn, batch)
    return await redeeming.redeem(conn, batch.project_id, bare, code, by, at)


async def hand_out(conn: Conn, merchant_id: int, batch_id: int, by: str, at: datetime | None = None) -> HandedOut:
    """A code of the merchant for somebody who hands it in himself; no other gets it.

    Raises NotFound for a batch that is not this merchant's; Conflict when none is left or it is not valid today.
    """
    now = at or datetime.now(UTC)
    batch = await _own(conn, merchant_id, batch_id)
    today = local_day(now, (await estate.get_project(conn, batch.project_id)).zone)
    if batch.withdrawn_at is not None or not batch.valid_from <= today < batch.valid_until:
        raise Conflict("coupon-not-valid", "this coupon is not valid today", field="batch_id")
    coupon_id, _ = await _free(conn, batch)
    values = {"project_id": batch.project_id, "merchant_id": merchant_id, "coupon_id": coupon_id, "by": by, "at": now}
    row = await (await conn.execute(_HAND_OUT, values)).fetchone()
    assert row is not None
    return await handed_out(conn, merchant_id, row["id"])


async def handed_out(conn: Conn, merchant_id: int, handout_id: int) -> HandedOut:
    """A code that the merchant gave to somebody. Raises NotFound."""
    row = await (await conn.execute(_HANDED_OUT, (handout_id,))).fetchone()
    if row is None or row["merchant_id"] != merchant_id:
        raise NotFound("no-coupon", f"there is no coupon {handout_id} that was given out", field="handout_id")
    return HandedOut(**row)


async def given(conn: Conn, merchant_id: int, page: PageRequest) -> Page[Given]:
    """What the merchant's customers used, the latest first."""
    return await newest_first(conn, _GIVEN, {"merchant_id": merchant_id}, page, lambda row: Given(**row))


async def _own(conn: Conn, merchant_id: int, batch_id: int) -> Batch:
    batch = await get_batch(conn, batch_id)
    if batch.merchant_id != merchant_id:
        raise NotFound("no-batch", f"there is no batch of coupons {batch_id}", field="batch_id")
    return batch


async def _free(conn: Conn, batch: Batch) -> tuple[int, str]:
    """A coupon that nobody else gets before this transaction ends.

    Looked at again once it is locked: the search sees nothing of who was done with it while it searched.
    """
    while row := await (await conn.execute(_FREE, (batch.id,))).fetchone():
        if await (await conn.execute(_STILL_FREE, (row["id"],))).fetchone() is not None:
            return row["id"], row["code"]
    raise Conflict("no-coupon-left", "all of these coupons are given out", field="batch_id")
