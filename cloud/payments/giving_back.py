"""The worker's side of refunds: providers are asked to give back what somebody decided, once each."""

from datetime import datetime, timedelta
from typing import Final, LiteralString

import structlog

from cloud.estate import service as estate
from cloud.kit.db import Asker, Conn, Database
from cloud.kit.periods import local_day
from cloud.payments import refunds
from cloud.payments.channels.base import Paid, ProviderRefused, ProviderUnavailable
from cloud.payments.channels.configuration import Channels
from cloud.payments.refunds import Refund

_log = structlog.get_logger(__name__)

_AT_ONCE: Final = 16
_LEASE: Final = timedelta(seconds=60)
_LONGEST_PAUSE: Final = timedelta(hours=1)

# The lease: whoever takes it has so long before somebody else asks again, by the same reference.
_CLAIM: LiteralString = """
    UPDATE payment_refund SET look_at = %(until)s, looks = looks + 1
    WHERE id IN (SELECT id FROM payment_refund
                 WHERE state = 'asked' AND look_at <= %(now)s AND method = ANY (%(channels)s)
                 ORDER BY look_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
    RETURNING id
"""
# The order as the provider knows it: money that came too late or twice has no order of its own any more.
_ORDER: LiteralString = """
    SELECT c.reference, c.provider_id, c.amount, c.currency, c.paid_at FROM payment_callback c
    WHERE c.channel = %s AND c.provider_id = %s AND c.state = 'used' ORDER BY c.id LIMIT 1
"""
_LATER: LiteralString = """
    UPDATE payment_refund SET look_at = %s, failure = %s WHERE id = %s AND state = 'asked'
"""


async def give_back(db: Database, channels: Channels, asker: Asker, now: datetime) -> int:
    """Asks for all refunds whose time has come and returns how many those were."""
    values = {"now": now, "until": now + _LEASE, "channels": sorted(channels), "limit": _AT_ONCE}
    async with db.transaction(asker) as conn:
        rows = await (await conn.execute(_CLAIM, values)).fetchall()
        due = [await refunds.get_refund(conn, row["id"]) for row in rows]
        orders = {one.id: await _order(conn, one) for one in due}
    for one in due:
        await _ask(db, channels, asker, one, orders[one.id], now)
    return len(due)


async def _ask(db: Database, channels: Channels, asker: Asker, one: Refund, order: Paid | None, now: datetime) -> None:
    """The same reference is refunded once by the provider, however often it is asked."""
    try:
        if order is None:
            raise ProviderRefused("no-such-payment", "nothing that the provider told us fits this payment")
        provider_id = await channels[one.paid_by].refund(  # type: ignore[index]  # claimed by channel
            order, one.reference, one.amount, one.note
        )
    except ProviderUnavailable as error:
        pause = min(timedelta(seconds=10) * 2 ** min(one.looks, 12), _LONGEST_PAUSE)
        async with db.transaction(asker) as conn:
            await conn.execute(_LATER, (now + pause, error.code, one.id))
    except ProviderRefused as error:
        _log.warning("payments.refund_refused", refund=one.id, code=error.code)
        async with db.transaction(asker) as conn:
            await refunds.refused(conn, one.id, error.code)
    else:
        async with db.transaction(asker) as conn:
            zone = (await estate.get_project(conn, one.project_id)).zone
            await conn.execute("SELECT FROM payment_refund WHERE id = %s FOR UPDATE", (one.id,))
            if (await refunds.get_refund(conn, one.id)).state == "asked":
                await refunds.given_back(conn, one, provider_id, local_day(now, zone))


async def _order(conn: Conn, one: Refund) -> Paid | None:
    row = await (await conn.execute(_ORDER, (one.paid_by, one.paid_reference))).fetchone()
    return None if row is None else Paid(**row)
