"""SQL of providers' statements and of differences."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import date, datetime, timedelta
from typing import Final, LiteralString

from psycopg.types.json import Jsonb

from cloud.kit.db import Conn
from cloud.kit.paging import Page, PageRequest, newest_first
from cloud.payments.channels.base import ChannelName, Move
from cloud.payments.reconciliation.records import Difference, DifferenceState, Statement, StatementState

_STATEMENT: Final[LiteralString] = "id, channel, day, state, looks, failure, kept_at, moves, others"
# From the first money that came that way; nothing was there to be compared before.
_WANT: LiteralString = """
    INSERT INTO provider_statement (channel, day, look_at)
    SELECT f.channel, d::date, %(now)s
    FROM (SELECT channel, greatest(min((paid_at AT TIME ZONE 'Asia/Shanghai')::date), %(oldest)s::date) AS day
          FROM payment_callback WHERE channel = ANY (%(channels)s) GROUP BY channel) f,
         generate_series(f.day, %(last)s::date, interval '1 day') AS d
    ORDER BY d, f.channel
    ON CONFLICT DO NOTHING
"""
# The lease: whoever takes it has so long before somebody else does.
_CLAIM: LiteralString = """
    UPDATE provider_statement SET look_at = %(until)s, looks = looks + 1
    WHERE id = (SELECT id FROM provider_statement
                WHERE state = 'wanted' AND look_at <= %(now)s AND channel = ANY (%(channels)s)
                ORDER BY day LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING {columns}
""".replace("{columns}", _STATEMENT)
_LATER: LiteralString = """
    UPDATE provider_statement SET look_at = %(look_at)s, failure = %(failure)s
    WHERE id = %(id)s AND state = 'wanted'
"""
_KEPT: LiteralString = """
    UPDATE provider_statement
    SET state = 'kept', kept_at = %(now)s, moves = %(moves)s, others = %(others)s, failure = NULL
    WHERE id = %(id)s AND state = 'wanted'
"""
# A refund that was on its way may turn out not to have reached the payer, days after or in the same statement.
_MOVES: LiteralString = """
    INSERT INTO provider_move (project_id, channel, day, kind, reference, provider_id, refund_reference, amount,
                               currency, at, failed)
    SELECT DISTINCT ON (m.provider_id, m.refund_reference)
           i.project_id, %(channel)s, %(day)s, m.kind, m.reference, m.provider_id, m.refund_reference, m.amount,
           m.currency, m.at, m.failed
    FROM jsonb_to_recordset(%(rows)s) AS m (kind text, reference text, provider_id text, refund_reference text,
                                            amount numeric, currency text, at timestamptz, failed boolean)
    LEFT JOIN payment_intent i ON i.reference = m.reference
    ORDER BY m.provider_id, m.refund_reference, m.failed DESC
    ON CONFLICT (channel, provider_id, refund_reference) DO UPDATE SET failed = true, day = excluded.day
    WHERE excluded.failed AND NOT provider_move.failed
"""
# Days are kept one after the other: of two at the same time neither would find the other kept, and judge it.
_ALONE: LiteralString = """
    SELECT FROM provider_statement WHERE channel = %(channel)s AND day BETWEEN %(day)s::date - 1 AND %(day)s::date + 1
    ORDER BY day FOR UPDATE
"""
# Money that nobody told us of goes the way of what is told: it is booked, or kept aside for somebody.
_TELL: LiteralString = """
    SELECT gm.keep_callback(m.channel, 'statement:' || m.reference || ':' || m.provider_id, m.reference, m.provider_id,
                            m.amount, m.currency, m.at) AS kept
    FROM provider_move m
    WHERE m.channel = %(channel)s AND m.day = %(day)s AND m.kind = 'payment'
      AND NOT EXISTS (SELECT FROM payment_callback c WHERE c.channel = m.channel AND c.provider_id = m.provider_id)
"""
# What the lines of a day say otherwise than we do.
_OTHERWISE: LiteralString = """
    INSERT INTO provider_difference (project_id, channel, day, kind, reference, provider_id, refund_reference, here,
                                     there, currency)
    SELECT m.project_id, m.channel, m.day, 'payment-differs', m.reference, m.provider_id, '', c.amount, m.amount,
           m.currency
    FROM provider_move m
    JOIN payment_callback c ON c.channel = m.channel AND c.provider_id = m.provider_id AND c.state = 'used'
    WHERE m.channel = %(channel)s AND m.day = %(day)s AND m.kind = 'payment' AND c.amount <> m.amount
    UNION
    SELECT coalesce(r.project_id, m.project_id), m.channel, m.day,
           CASE WHEN r.id IS NULL THEN 'refund-missing-here'
                WHEN m.failed THEN 'refund-failed' ELSE 'refund-differs' END,
           m.reference, m.provider_id, m.refund_reference, r.amount, m.amount, m.currency
    FROM provider_move m
    LEFT JOIN payment_refund r ON r.reference = m.refund_reference AND r.state IN ('asked', 'refunded')
    WHERE m.channel = %(channel)s AND m.day = %(day)s AND m.kind = 'refund'
      AND (r.id IS NULL OR m.failed OR r.amount <> m.amount)
    ON CONFLICT DO NOTHING
"""
# A clock apart from ours may put what was before midnight into the next day: a day is judged once that one is known.
_MISSING: LiteralString = """
    WITH judged AS (
        SELECT s.channel, s.day FROM provider_statement s
        JOIN provider_statement n ON n.channel = s.channel AND n.day = s.day + 1 AND n.state = 'kept'
        WHERE s.channel = %(channel)s AND s.day IN (%(day)s, %(day)s - 1) AND s.state = 'kept')
    INSERT INTO provider_difference (project_id, channel, day, kind, reference, provider_id, refund_reference, here,
                                     there, currency)
    SELECT c.project_id, c.channel, j.day, 'payment-missing-there', c.reference, c.provider_id, '', c.amount,
           NULL::numeric, c.currency
    FROM judged j
    JOIN payment_callback c ON c.channel = j.channel AND c.state = 'used'
     AND c.paid_at >= j.day::timestamp AT TIME ZONE 'Asia/Shanghai'
     AND c.paid_at < (j.day + 1)::timestamp AT TIME ZONE 'Asia/Shanghai'
    WHERE NOT EXISTS (SELECT FROM provider_move m
                      WHERE m.channel = c.channel AND m.provider_id = c.provider_id AND m.kind = 'payment')
    UNION
    SELECT r.project_id, j.channel, j.day, 'refund-missing-there', coalesce(i.reference, p.reference), p.reference,
           r.reference, r.amount, NULL::numeric, r.currency
    FROM judged j
    JOIN payment_refund r ON r.method = j.channel AND r.state = 'refunded' AND r.provider_id IS NOT NULL
     AND r.done_on = j.day
    JOIN payment p ON p.id = r.payment_id
    LEFT JOIN payment_intent i ON i.payment_id = p.id
    WHERE NOT EXISTS (SELECT FROM provider_move m WHERE m.channel = j.channel AND m.refund_reference = r.reference)
    ON CONFLICT DO NOTHING
"""
_GONE: LiteralString = """
    UPDATE provider_difference d SET state = 'gone'
    WHERE d.state = 'open' AND d.channel = %(channel)s AND d.kind IN ('payment-missing-there', 'refund-missing-there')
      AND EXISTS (SELECT FROM provider_move m WHERE m.channel = d.channel AND m.refund_reference = d.refund_reference
                  AND (m.refund_reference <> '' OR m.provider_id = d.provider_id))
"""
_DIFFERENCE: LiteralString = """
    SELECT id, project_id, channel, day, kind, reference, provider_id, refund_reference, here, there, currency, state,
           note, found_at
    FROM provider_difference
"""
_DIFFERENCES: LiteralString = (
    _DIFFERENCE
    + """
    WHERE (%(project_id)s::bigint IS NULL OR project_id = %(project_id)s OR project_id IS NULL)
      AND (%(state)s::text IS NULL OR state = %(state)s) AND (%(channel)s::text IS NULL OR channel = %(channel)s)
      AND id < %(before)s
    ORDER BY id DESC LIMIT %(limit)s
"""
)
_SETTLE: LiteralString = """
    UPDATE provider_difference SET state = 'settled', note = %s, settled_by = %s WHERE id = %s AND state = 'open'
"""
_STATEMENTS: LiteralString = """
    SELECT {columns} FROM provider_statement
    WHERE (%(channel)s::text IS NULL OR channel = %(channel)s) AND (%(state)s::text IS NULL OR state = %(state)s)
      AND id < %(before)s
    ORDER BY id DESC LIMIT %(limit)s
""".replace("{columns}", _STATEMENT)
_MONEY_CAME: LiteralString = """
    SELECT FROM payment_callback
    WHERE channel = %(channel)s AND paid_at >= %(day)s::timestamp AT TIME ZONE 'Asia/Shanghai'
      AND paid_at < (%(day)s + 1)::timestamp AT TIME ZONE 'Asia/Shanghai' LIMIT 1
"""
_OPEN: LiteralString = "SELECT channel, count(*) AS n FROM provider_difference WHERE state = 'open' GROUP BY channel"


async def want(conn: Conn, channels: Sequence[ChannelName], oldest: date, last: date, now: datetime) -> None:
    """Notes that statements of all days from the first money to `last` are wanted, none older than `oldest`."""
    await conn.execute(_WANT, {"channels": list(channels), "oldest": oldest, "last": last, "now": now})


async def claim(conn: Conn, channels: Sequence[ChannelName], now: datetime, lease: timedelta) -> Statement | None:
    """The oldest statement that is wanted and whose time to be asked for has come."""
    values = {"channels": list(channels), "now": now, "until": now + lease}
    row = await (await conn.execute(_CLAIM, values)).fetchone()
    return None if row is None else Statement(**row)


async def later(conn: Conn, wanted: Statement, look_at: datetime, failure: str | None) -> None:
    """It is asked for again then."""
    await conn.execute(_LATER, {"id": wanted.id, "look_at": look_at, "failure": failure})


async def keep(conn: Conn, wanted: Statement, moves: Sequence[Move], others: int, now: datetime) -> int:
    """Keeps the lines of our orders, tells what nobody told us, notes differences; returns how many were not told."""
    of_day = {"channel": wanted.channel, "day": wanted.day}
    rows = Jsonb([asdict(one) | {"amount": str(one.amount), "at": one.at.isoformat()} for one in moves])
    await conn.execute(_ALONE, of_day)
    await conn.execute(_MOVES, of_day | {"rows": rows})
    await conn.execute(_KEPT, {"id": wanted.id, "now": now, "moves": len(moves), "others": others})
    told = await (await conn.execute(_TELL, of_day)).fetchall()
    await conn.execute(_OTHERWISE, of_day)
    await conn.execute(_MISSING, of_day)
    await conn.execute(_GONE, {"channel": wanted.channel})
    return sum(row["kept"] for row in told)


async def money_came(conn: Conn, wanted: Statement) -> bool:
    """Whether the provider told us of a payment on the day of a statement."""
    of_day = {"channel": wanted.channel, "day": wanted.day}
    return (await conn.execute(_MONEY_CAME, of_day)).rowcount > 0


async def open_differences(conn: Conn) -> dict[ChannelName, int]:
    """How many differences nobody has looked at, by channel."""
    return {row["channel"]: row["n"] for row in await (await conn.execute(_OPEN)).fetchall()}


async def difference(conn: Conn, difference_id: int) -> Difference | None:
    """One difference."""
    row = await (await conn.execute(_DIFFERENCE + "WHERE id = %s", (difference_id,))).fetchone()
    return None if row is None else Difference(**row)


async def differences(
    conn: Conn,
    page: PageRequest,
    project_id: int | None,
    state: DifferenceState | None,
    channel: ChannelName | None,
) -> Page[Difference]:
    """Differences, newest first, with those of which nobody knows whose they are."""
    wanted = {"project_id": project_id, "state": state, "channel": channel}
    return await newest_first(conn, _DIFFERENCES, wanted, page, lambda row: Difference(**row))


async def settle(conn: Conn, difference_id: int, note: str, by: int | None) -> bool:
    """Somebody has looked at an open difference; whether it was open."""
    return (await conn.execute(_SETTLE, (note, by, difference_id))).rowcount > 0


async def statements(
    conn: Conn, page: PageRequest, state: StatementState | None, channel: ChannelName | None
) -> Page[Statement]:
    """Statements, newest first."""
    wanted = {"state": state, "channel": channel}
    return await newest_first(conn, _STATEMENTS, wanted, page, lambda row: Statement(**row))
