"""SQL of what decides beside the rule what stays cost."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

from cloud.kit.db import Conn
from cloud.parking.fees.circumstances import Charged, Coupon

# Past row-level security: a resident may not see what his vehicle did before it was his, that day.
_EARLIER: LiteralString = "SELECT * FROM gm.earlier_stays(%(ids)s::bigint[], %(zone)s)"
_COUPONS: LiteralString = """
    SELECT session_id, code, kind, value FROM coupon_redemption
    WHERE session_id = ANY (%s::bigint[]) ORDER BY redeemed_at, coupon_id
"""
_CHARGED: LiteralString = """
    SELECT session_id, sum(kwh) AS kwh, sum(minutes)::int AS minutes FROM vehicle_charging
    WHERE session_id = ANY (%s::bigint[]) GROUP BY session_id
"""


@dataclass(frozen=True, slots=True)
class Earlier:
    """A stay that is over."""

    id: int
    lot_id: int
    plate: str
    entered_at: datetime
    left_at: datetime


async def earlier_stays(conn: Conn, session_ids: Sequence[int], zone: str) -> dict[int, list[Earlier]]:
    """By session the stays of its plate that began earlier on the same local day in the same lot."""
    found: dict[int, list[Earlier]] = defaultdict(list)
    for row in await (await conn.execute(_EARLIER, {"ids": list(session_ids), "zone": zone})).fetchall():
        found[row.pop("session_id")].append(Earlier(**row))
    return found


async def coupons(conn: Conn, session_ids: Sequence[int]) -> dict[int, list[Coupon]]:
    """Coupons handed in, by session."""
    found: dict[int, list[Coupon]] = defaultdict(list)
    for row in await (await conn.execute(_COUPONS, (list(session_ids),))).fetchall():
        found[row.pop("session_id")].append(Coupon(**row))
    return found


async def charged(conn: Conn, session_ids: Sequence[int]) -> dict[int, Charged]:
    """What vehicles were charged, by session."""
    rows = await (await conn.execute(_CHARGED, (list(session_ids),))).fetchall()
    return {row["session_id"]: Charged(row["kwh"], row["minutes"]) for row in rows}
