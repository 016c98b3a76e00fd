"""SQL of attempts to pay by a provider, and of what providers told us."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal, LiteralString

from psycopg.types.json import Jsonb

from cloud.kit.db import Conn
from cloud.payments.channels.base import ChannelName, Paid
from cloud.payments.intent_records import AsideReason, CallbackState, Intent, IntentBill, IntentState, KeptCallback

_COLUMNS: LiteralString = """
    id, project_id, account_id, purpose, channel, mode, host(payer_ip) AS payer_ip, reference, amount, currency,
    description, state, expires_at, pay_at, provider_id, paid_at, payment_id, failure, cancel_asked, looks, created_by,
    created_at
"""
_INTENT: LiteralString = "SELECT {columns} FROM payment_intent ".replace("{columns}", _COLUMNS)
_INSERT: LiteralString = """
    INSERT INTO payment_intent (project_id, account_id, purpose, channel, mode, payer_ip, reference, amount, currency,
                                description, expires_at, created_by)
    VALUES (%(project_id)s, %(account_id)s, %(purpose)s, %(channel)s, %(mode)s, %(payer_ip)s, %(reference)s,
            %(amount)s, %(currency)s, %(description)s, %(expires_at)s, %(created_by)s)
    RETURNING id
"""
_INSERT_BILLS: LiteralString = """
    INSERT INTO payment_intent_bill (project_id, intent_id, bill_id, principal, late_fee)
    SELECT %(project_id)s, %(intent_id)s, bill_id, principal, late_fee
    FROM jsonb_to_recordset(%(rows)s) AS new (bill_id bigint, principal numeric, late_fee numeric)
"""
_BILLS: LiteralString = "SELECT bill_id, principal, late_fee FROM payment_intent_bill WHERE intent_id = %s ORDER BY id"
_LIST: LiteralString = (
    _INTENT
    + """
    WHERE (%(project_id)s::bigint IS NULL OR project_id = %(project_id)s)
      AND (%(account_id)s::bigint IS NULL OR account_id = %(account_id)s)
      AND (%(state)s::text IS NULL OR state = %(state)s)
      AND (%(channel)s::text IS NULL OR channel = %(channel)s)
      AND id < %(before)s
    ORDER BY id DESC LIMIT %(limit)s
"""
)
_OPEN_OF: LiteralString = (
    _INTENT + "WHERE account_id = %s AND state IN ('created', 'pending') AND NOT cancel_asked ORDER BY id"
)
_ASK_CANCEL: LiteralString = """
    UPDATE payment_intent SET cancel_asked = true, look_at = now()
    WHERE id = ANY (%s) AND state IN ('created', 'pending')
"""
# The lease: whoever takes it has so long before somebody else does.
_CLAIM: LiteralString = """
    UPDATE payment_intent SET look_at = %(until)s, looks = looks + 1
    WHERE id IN (SELECT id FROM payment_intent
                 WHERE state IN ('created', 'pending') AND look_at <= %(now)s AND channel = ANY (%(channels)s)
                 ORDER BY look_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
    RETURNING {columns}
""".replace("{columns}", _COLUMNS)
_LOCK: LiteralString = _INTENT + "WHERE reference = %s FOR UPDATE"
_PLACED: LiteralString = """
    UPDATE payment_intent SET state = 'pending', pay_at = %(pay_at)s, look_at = %(look_at)s
    WHERE id = %(id)s AND state = 'created'
"""
_LATER: LiteralString = """
    UPDATE payment_intent SET look_at = %(look_at)s, failure = coalesce(%(failure)s, failure)
    WHERE id = %(id)s AND state IN ('created', 'pending')
"""
_END: LiteralString = """
    UPDATE payment_intent SET state = %(state)s, failure = %(failure)s
    WHERE id = %(id)s AND state IN ('created', 'pending')
"""
# Only what was seen to: another worker may be booking it just now.
_END_UNFIT: LiteralString = """
    UPDATE payment_intent i SET state = 'failed', failure = 'amount-differs'
    WHERE id = %s AND state IN ('created', 'pending')
      AND EXISTS (SELECT FROM payment_callback c
                  WHERE c.intent_id = i.id AND c.state IN ('aside', 'settled') AND c.reason = 'amount-differs')
"""
_PAID: LiteralString = """
    UPDATE payment_intent SET state = 'paid', provider_id = %(provider_id)s, paid_at = %(paid_at)s,
                              payment_id = %(payment_id)s, failure = NULL
    WHERE id = %(id)s
"""
_CALLBACK: LiteralString = """
    SELECT id, project_id, channel, event_id, reference, provider_id, amount, currency, paid_at, received_at, state,
           reason, intent_id, note
    FROM payment_callback
"""
_KEEP: LiteralString = """
    SELECT gm.keep_callback(%(channel)s, %(event_id)s, %(reference)s, %(provider_id)s, %(amount)s, %(currency)s,
                            %(paid_at)s) AS kept
"""
_NEXT_CALLBACK: LiteralString = (
    _CALLBACK + "WHERE state = 'received' AND id > %s ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED"
)
_SEEN_TO: LiteralString = """
    UPDATE payment_callback SET state = %(state)s, reason = %(reason)s, intent_id = %(intent_id)s WHERE id = %(id)s
"""
_BOOKED: LiteralString = "SELECT FROM payment_intent WHERE channel = %s AND provider_id = %s"
_ASIDE: LiteralString = """
    SELECT FROM payment_callback
    WHERE channel = %(channel)s AND provider_id = %(provider_id)s AND reference = %(reference)s
      AND amount = %(amount)s AND currency = %(currency)s AND state IN ('aside', 'settled') LIMIT 1
"""
_SETTLE: LiteralString = "UPDATE payment_callback SET state = 'settled', note = %s WHERE id = %s AND state = 'aside'"
_CALLBACKS: LiteralString = (
    _CALLBACK
    + """
    WHERE (%(project_id)s::bigint IS NULL OR project_id = %(project_id)s OR project_id IS NULL)
      AND (%(state)s::text IS NULL OR state = %(state)s) AND id < %(before)s
    ORDER BY id DESC LIMIT %(limit)s
"""
)
# Residents see no callbacks: only whether there is one.
_SET_ASIDE: LiteralString = "SELECT gm.money_set_aside(%s) AS state"
_KEPT: LiteralString = """
    SELECT p.amount - coalesce((SELECT sum(a.principal + a.late_fee) FROM payment_allocation a
                                WHERE a.payment_id = p.id), 0) AS amount
    FROM payment_intent i JOIN payment p ON p.id = i.payment_id WHERE i.id = %s AND i.purpose = 'bill'
"""


async def insert(conn: Conn, values: Mapping[str, object], bills: Sequence[IntentBill]) -> int:
    """A new intent with its bills."""
    row = await (await conn.execute(_INSERT, values)).fetchone()
    assert row is not None
    if bills:
        head = {"project_id": values["project_id"], "intent_id": row["id"]}
        await conn.execute(_INSERT_BILLS, {**head, "rows": Jsonb([asdict(one) for one in bills])})
    return int(row["id"])


async def intent(conn: Conn, intent_id: int) -> Intent | None:
    """One intent."""
    row = await (await conn.execute(_INTENT + "WHERE id = %s", (intent_id,))).fetchone()
    return None if row is None else Intent(**row)


async def locked(conn: Conn, reference: str) -> Intent | None:
    """The intent with this reference, locked: nobody else books it."""
    row = await (await conn.execute(_LOCK, (reference,))).fetchone()
    return None if row is None else Intent(**row)


async def by_reference(conn: Conn, reference: str) -> Intent | None:
    """The intent with this reference."""
    row = await (await conn.execute(_INTENT + "WHERE reference = %s", (reference,))).fetchone()
    return None if row is None else Intent(**row)


async def bills_of(conn: Conn, intent_id: int) -> list[IntentBill]:
    """What an intent is for; nothing where it is for the balance."""
    return [IntentBill(**row) for row in await (await conn.execute(_BILLS, (intent_id,))).fetchall()]


async def intents(conn: Conn, wanted: Mapping[str, object]) -> list[Intent]:
    """Intents, newest first; `wanted` has project_id, account_id, state, channel, before, limit."""
    return [Intent(**row) for row in await (await conn.execute(_LIST, wanted)).fetchall()]


async def open_of(conn: Conn, account_id: int) -> list[Intent]:
    """What an account may still pay."""
    return [Intent(**row) for row in await (await conn.execute(_OPEN_OF, (account_id,))).fetchall()]


async def ask_cancel(conn: Conn, intent_ids: Sequence[int]) -> None:
    """Nobody wants to pay these any more: the worker closes them at the provider."""
    await conn.execute(_ASK_CANCEL, (list(intent_ids),))


async def claim(
    conn: Conn, channels: Sequence[ChannelName], now: datetime, limit: int, lease: timedelta
) -> list[Intent]:
    """Open intents whose time to be looked at has come."""
    values = {"channels": list(channels), "now": now, "limit": limit, "until": now + lease}
    return [Intent(**row) for row in await (await conn.execute(_CLAIM, values)).fetchall()]


async def placed(conn: Conn, intent_id: int, pay_at: str, look_at: datetime) -> None:
    """The provider has the order."""
    await conn.execute(_PLACED, {"id": intent_id, "pay_at": pay_at, "look_at": look_at})


async def later(conn: Conn, intent_id: int, look_at: datetime, failure: str | None = None) -> None:
    """It is looked at again then; `failure`: why nothing came of it now."""
    await conn.execute(_LATER, {"id": intent_id, "look_at": look_at, "failure": failure})


async def end(conn: Conn, intent_id: int, state: IntentState, failure: str | None = None) -> None:
    """Nothing more comes of it."""
    await conn.execute(_END, {"id": intent_id, "state": state, "failure": failure})


async def end_unfit(conn: Conn, intent_id: int) -> None:
    """Nothing more comes of an intent that the provider holds for paid with another amount."""
    await conn.execute(_END_UNFIT, (intent_id,))


async def mark_paid(conn: Conn, intent_id: int, paid: Paid, payment_id: int) -> None:
    """The money came, and is this payment."""
    values = {"id": intent_id, "provider_id": paid.provider_id, "paid_at": paid.paid_at, "payment_id": payment_id}
    await conn.execute(_PAID, values)


async def keep_callback(conn: Conn, channel: ChannelName, event_id: str, paid: Paid) -> bool:
    """Keeps what a provider told us; whether it was new."""
    row = await (await conn.execute(_KEEP, {"channel": channel, "event_id": event_id, **asdict(paid)})).fetchone()
    assert row is not None
    return bool(row["kept"])


async def next_callback(conn: Conn, after: int) -> KeptCallback | None:
    """The next callback that nobody has seen to, locked."""
    row = await (await conn.execute(_NEXT_CALLBACK, (after,))).fetchone()
    return None if row is None else KeptCallback(**row)


async def seen_to(
    conn: Conn, callback_id: int, state: CallbackState, intent_id: int | None, reason: AsideReason | None = None
) -> None:
    """What became of a callback."""
    await conn.execute(_SEEN_TO, {"id": callback_id, "state": state, "reason": reason, "intent_id": intent_id})


async def is_booked(conn: Conn, told: KeptCallback) -> bool:
    """Whether the provider's number for this money is that of a payment."""
    return (await conn.execute(_BOOKED, (told.channel, told.provider_id))).rowcount > 0


async def was_used(conn: Conn, told: KeptCallback) -> bool:
    """Whether this very money was booked already, told by another notice."""
    query = """SELECT FROM payment_callback
               WHERE channel = %s AND provider_id = %s AND state = 'used' AND id <> %s LIMIT 1"""
    return (await conn.execute(query, (told.channel, told.provider_id, told.id))).rowcount > 0


async def was_aside(conn: Conn, told: KeptCallback) -> bool:
    """Whether the same money is or was kept aside."""
    return (await conn.execute(_ASIDE, asdict(told))).rowcount > 0


async def callback(conn: Conn, callback_id: int) -> KeptCallback | None:
    """One callback."""
    row = await (await conn.execute(_CALLBACK + "WHERE id = %s", (callback_id,))).fetchone()
    return None if row is None else KeptCallback(**row)


async def callbacks(
    conn: Conn, *, project_id: int | None, state: CallbackState | None, before: int, limit: int
) -> list[KeptCallback]:
    """Callbacks, newest first, with those that are nobody's."""
    values = {"project_id": project_id, "state": state, "before": before, "limit": limit}
    return [KeptCallback(**row) for row in await (await conn.execute(_CALLBACKS, values)).fetchall()]


async def settle(conn: Conn, callback_id: int, note: str) -> bool:
    """Somebody has dealt with a callback that was kept aside; whether there was one."""
    return (await conn.execute(_SETTLE, (note, callback_id))).rowcount > 0


async def set_aside(conn: Conn, intent_id: int) -> Literal["aside", "settled"] | None:
    """Whether money of an intent is kept aside, or was."""
    row = await (await conn.execute(_SET_ASIDE, (intent_id,))).fetchone()
    assert row is not None
    state: Literal["aside", "settled"] | None = row["state"]
    return state


async def kept(conn: Conn, intent_id: int) -> Decimal:
    """What of the payment of an intent no bill needed."""
    row = await (await conn.execute(_KEPT, (intent_id,))).fetchone()
    return Decimal(0) if row is None else row["amount"]
