"""What gateways know of vehicles: steps are made here, published by the downlink, and told again until they are held.

Whoever changes permits, lists, reservations, lots or stays tells it in the same transaction, so that a lane never knows
what is not true; the number that a gateway holds comes with its health report.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString, cast

import msgspec
import structlog
from psycopg.types.json import Jsonb

from cloud.devices import orders
from cloud.kit.db import Conn
from cloud.kit.locks import try_lock
from gateway.contract.access import AccessEntry, GoneEntry, entry_name
from gateway.contract.limits import MAX_TIME_MS, MIN_TIME_MS

_log = structlog.get_logger(__name__)
_TIMES: Final = ("since", "until", "valid_from", "valid_to", "entered_at", "paid_until")

# Gateways in the order of their ids: two who tell the same ones never wait for each other in a circle.
_BEGIN: LiteralString = """
    INSERT INTO gateway_access (gateway_id, project_id)
    SELECT id, project_id FROM gateway WHERE id = ANY(%s::bigint[]) AND project_id = %s ORDER BY id
    ON CONFLICT (gateway_id) DO NOTHING
"""
_LOCK: LiteralString = """
    SELECT gateway_id FROM gateway_access WHERE gateway_id = ANY(%s::bigint[]) AND project_id = %s
    ORDER BY gateway_id FOR UPDATE
"""
# What is told already is no change, and its row is left alone: every minute all is compared, and a conflict would lock
# each row. Nobody else writes them, as the gateways are locked. Of what was never told nobody needs to hear that it is
# gone, except of a stay: the gateway may have opened it by itself.
_CHANGE: LiteralString = """
    INSERT INTO gateway_access_entry (gateway_id, project_id, kind, key, number, entry)
    SELECT a.gateway_id, a.project_id, n.kind, n.key, a.number + 1, n.entry
    FROM gateway_access a
    CROSS JOIN (SELECT e ->> 0 AS kind, e ->> 1 AS key, nullif(e -> 2, 'null') AS entry
                FROM jsonb_array_elements(%(entries)s) AS e) AS n
    LEFT JOIN gateway_access_entry o ON o.gateway_id = a.gateway_id AND o.kind = n.kind AND o.key = n.key
    WHERE a.gateway_id = ANY(%(gateways)s::bigint[])
      AND CASE WHEN o.key IS NULL THEN n.entry IS NOT NULL OR n.kind = 'stay'
               ELSE o.entry IS DISTINCT FROM n.entry END
    ON CONFLICT (gateway_id, kind, key)
    DO UPDATE SET number = excluded.number, entry = excluded.entry, changed_at = now()
    RETURNING gateway_id
"""
_STEP: LiteralString = "UPDATE gateway_access SET number = number + 1 WHERE gateway_id = ANY(%s::bigint[])"
_FORGET: LiteralString = """
    WITH gone AS (
        DELETE FROM gateway_access_entry
        WHERE entry IS NULL AND changed_at < now() - interval '30 days'
        RETURNING gateway_id, number),
    reached AS (
        UPDATE gateway_access a SET forgotten = greatest(a.forgotten, g.number)
        FROM (SELECT gateway_id, max(number) AS number FROM gone GROUP BY gateway_id) g
        WHERE g.gateway_id = a.gateway_id)
    SELECT count(*) AS forgotten FROM gone
"""
_LOCK_SPACE: Final = 0x67_6D_0F << 40
"""Whoever tells a gateway a step holds its number there, and no row."""
_BEHIND: LiteralString = "SELECT gateway_id FROM gateway_access WHERE number > sent ORDER BY gateway_id LIMIT %s"
_DUE: LiteralString = """
    SELECT a.gateway_id, a.project_id, g.code AS gateway_code, a.number, a.sent,
           CASE WHEN a.sent >= a.forgotten THEN a.sent ELSE 0 END AS base, now() AS at
    FROM gateway_access a JOIN gateway g ON g.id = a.gateway_id
    WHERE a.number > a.sent AND a.gateway_id = ANY (%s::bigint[]) ORDER BY a.gateway_id
"""
_SINCE: LiteralString = """
    SELECT kind, key, entry FROM gateway_access_entry
    WHERE gateway_id = %(gateway_id)s AND number > %(base)s AND (entry IS NOT NULL OR %(base)s > 0)
    ORDER BY number, kind, key
"""
# Not when the gateway told meanwhile that it holds another step than it was believed to.
_SENT: LiteralString = """
    UPDATE gateway_access SET sent = %(number)s, sent_at = now()
    WHERE gateway_id = %(gateway_id)s AND sent = %(sent)s AND held <= %(number)s
"""
# A gateway that lacks what was sent some time ago has not got it: it is sent again from what it holds, after 10, 20,
# 40 … seconds, at least once an hour. One that holds more than was ever made here remembers what a restored backup does
# not: it is told everything, with a number above.
# Not while somebody tells it something: ingest, which has locked plates and for which vehicles wait, waits for nobody
# here, and the next report tells the same.
_HELD: LiteralString = """
    UPDATE gateway_access SET
        held = %(held)s,
        number = CASE WHEN %(held)s > number THEN %(held)s + 1 ELSE number END,
        sent = CASE WHEN %(held)s > number THEN 0
                    WHEN %(held)s < sent
                         AND sent_at < now() - least(interval '10 seconds' * 2 ^ least(times, 10), interval '1 hour')
                    THEN %(held)s ELSE sent END,
        times = CASE WHEN %(held)s >= sent THEN 0
                     WHEN sent_at < now() - least(interval '10 seconds' * 2 ^ least(times, 10), interval '1 hour')
                     THEN times + 1 ELSE times END
    WHERE gateway_id = (
        SELECT gateway_id FROM gateway_access WHERE gateway_id = %(gateway_id)s FOR NO KEY UPDATE SKIP LOCKED)
"""


@dataclass(frozen=True, slots=True)
class Due:
    """A step that a gateway has to be told: from `base` (0: everything) to `number`, as of `at`.

    `sent`: up to where it was told before.
    """

    gateway_id: int
    project_id: int
    gateway_code: str
    number: int
    base: int
    sent: int
    at: datetime


async def lock(conn: Conn, project_id: int, gateway_ids: Iterable[int]) -> list[int]:
    """Nobody else tells these gateways anything before the transaction ends; returns those that are the project's.

    Whoever compares all that holds with what gateways were told calls it before he reads what holds: a change that is
    told in its own transaction is then either seen, or told afterwards.
    """
    gateways = sorted(set(gateway_ids))
    await conn.execute(_BEGIN, (gateways, project_id))
    return [row["gateway_id"] for row in await (await conn.execute(_LOCK, (gateways, project_id))).fetchall()]


async def tell(conn: Conn, project_id: int, gateway_ids: Iterable[int], entries: Sequence[AccessEntry]) -> int:
    """Makes one step for each of the gateways for which something changes; returns for how many.

    Later entries of the same kind and key count. A time that the wire cannot say (before 1970, after 2100) is told as
    the first or the last that it can. Published after the commit.
    """
    gateways = set(gateway_ids)
    if not gateways or not entries:
        return 0
    last = {entry_name(entry): None if isinstance(entry, GoneEntry) else entry for entry in entries}
    locked = await lock(conn, project_id, gateways)
    told = [(*name, None if entry is None else _as_told(entry)) for name, entry in last.items()]
    rows = await (await conn.execute(_CHANGE, {"entries": Jsonb(told), "gateways": locked})).fetchall()
    changed = sorted({row["gateway_id"] for row in rows})
    if changed:
        await conn.execute(_STEP, (changed,))
        await conn.execute("SELECT pg_notify(%s, %s)", (orders.CHANNEL, orders.KNOWLEDGE))
    return len(changed)


async def known(conn: Conn, gateway_id: int, kinds: Sequence[str]) -> dict[tuple[str, str], bool]:
    """By kind and key what a gateway was told, and whether it still holds."""
    query = """SELECT kind, key, entry IS NOT NULL AS holds FROM gateway_access_entry
               WHERE gateway_id = %s AND kind = ANY (%s)"""
    rows = await (await conn.execute(query, (gateway_id, list(kinds)))).fetchall()
    return {(row["kind"], row["key"]): row["holds"] for row in rows}


async def forget_gone(conn: Conn) -> int:
    """Forgets what has been gone for 30 days and returns how much: whoever holds an older step is told everything."""
    row = await (await conn.execute(_FORGET)).fetchone()
    assert row is not None
    return int(row["forgotten"])


async def take_due(conn: Conn, limit: int) -> list[Due]:
    """Steps that are to be published now; nobody else takes those of these gateways until the transaction ends.

    Their rows are not locked: what changes meanwhile is told with the step, and once more after it.
    """
    behind = await (await conn.execute(_BEHIND, (limit,))).fetchall()
    ours = await try_lock(conn, _LOCK_SPACE, [row["gateway_id"] for row in behind]) if behind else []
    # Only now: who held them a moment ago may have told them.
    return [Due(**row) for row in await (await conn.execute(_DUE, (ours,))).fetchall()] if ours else []


async def entries_of(conn: Conn, due: Due) -> list[AccessEntry]:
    """What changed in a step, or everything. One that the wire cannot say is told as gone."""
    rows = await (await conn.execute(_SINCE, {"gateway_id": due.gateway_id, "base": due.base})).fetchall()
    return [_sayable(due, row["kind"], row["key"], row["entry"]) for row in rows]


async def mark_sent(conn: Conn, due: Due) -> None:
    """The step went out; whether it arrived comes with the health report."""
    values = {"gateway_id": due.gateway_id, "number": due.number, "sent": due.sent}
    await conn.execute(_SENT, values)


async def note_held(conn: Conn, gateway_id: int, held: int) -> None:
    """What a gateway tells to hold; it is told again what it lacks. Left to its next report while it is being told."""
    await conn.execute(_HELD, {"gateway_id": gateway_id, "held": held})


def _as_told(entry: AccessEntry) -> list[Any]:
    times = {name: getattr(entry, name) for name in _TIMES if hasattr(entry, name)}
    bounded = {name: MIN_TIME_MS if at < 0 else min(at, MAX_TIME_MS) for name, at in times.items()}
    told: list[Any] = msgspec.to_builtins(msgspec.structs.replace(entry, **bounded))
    return told


def _sayable(due: Due, kind: str, key: str, entry: list[Any] | None) -> AccessEntry:
    """The entry; a gateway refuses a message as a whole, and here one would keep what all gateways wait for."""
    if entry is not None:
        try:
            return cast(AccessEntry, msgspec.convert(entry, AccessEntry))
        except msgspec.ValidationError as error:
            _log.error("access.unsayable", gateway=due.gateway_code, kind=kind, key=key, error=str(error))
    return GoneEntry(kind, key)
