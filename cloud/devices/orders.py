"""SQL of commands: queued by the cloud, published by the downlink, moved on by what the gateway reports."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import LiteralString
from uuid import UUID

from psycopg.types.json import Jsonb

from cloud.devices.cursors import after_time_and_id
from cloud.devices.records import Command, CommandFilter
from cloud.kit.db import Conn, commit_without_waiting
from cloud.kit.paging import Page, PageRequest, cut
from cloud.kit.periods import in_ms
from gateway.contract.messages import CommandResult

CHANNEL = "gm_command"
"""Wakes the downlink: for a command, or with the payload `KNOWLEDGE`."""
KNOWLEDGE = "knowledge"
"""A configuration, or a step about vehicles."""

_COLUMNS: LiteralString = """
    SELECT c.id, c.project_id, c.device_id, g.code AS gateway_code, d.code AS device_code, c.action, c.arguments,
           c.reason, c.actor, c.issued_at, c.expires_at, c.state, c.detail, c.published_at, c.updated_at
"""
_JOINED: LiteralString = " c JOIN device d ON d.id = c.device_id JOIN gateway g ON g.id = d.gateway_id "
_COMMAND: LiteralString = _COLUMNS + " FROM command" + _JOINED
_LIST: LiteralString = (
    _COMMAND
    + """
    WHERE (%(project_id)s::bigint IS NULL OR c.project_id = %(project_id)s)
      AND (%(device_id)s::bigint IS NULL OR c.device_id = %(device_id)s)
      AND (%(state)s::text IS NULL OR c.state = %(state)s)
      AND (%(action)s::text IS NULL OR c.action = %(action)s)
      AND (%(at)s::timestamptz IS NULL OR (c.issued_at, c.id) < (%(at)s, %(id)s::uuid))
    ORDER BY c.issued_at DESC, c.id DESC LIMIT %(limit)s
"""
)
_INSERT: LiteralString = """
    INSERT INTO command (id, project_id, device_id, action, arguments, reason, actor, issued_at, expires_at)
    SELECT n.id, n.project_id, n.device_id, n.action, n.arguments, n.reason, n.actor,
           date_trunc('milliseconds', now()), date_trunc('milliseconds', now()) + n.valid_for_s * interval '1 second'
    FROM pg_notify(%(channel)s, '') AS woken,
         unnest(%(id)s::uuid[], %(project_id)s::bigint[], %(device_id)s::bigint[], %(action)s::text[],
                %(arguments)s::jsonb[], %(reason)s::text[], %(actor)s::text[], %(valid_for_s)s::int[])
         AS n (id, project_id, device_id, action, arguments, reason, actor, valid_for_s)
    ON CONFLICT (id) DO NOTHING
"""
# SKIP LOCKED: several ingest workers share the work; whoever holds the row publishes it.
_TAKE_DUE: LiteralString = (
    """
    WITH due AS (
        SELECT id FROM command
        WHERE state = 'queued' AND expires_at > now() AND (published_at IS NULL OR published_at < %(before)s)
        ORDER BY issued_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED),
    taken AS (UPDATE command SET published_at = now() FROM due WHERE command.id = due.id RETURNING command.*)
"""  # noqa: S608  # constants
    + _COLUMNS
    + " FROM taken"
    + _JOINED
    + " ORDER BY c.issued_at"
)
_EXPIRE: LiteralString = """
    UPDATE command SET state = 'expired', updated_at = now(), detail = 'no gateway took it in time'
    WHERE id IN (SELECT id FROM command WHERE state = 'queued' AND expires_at <= now() - interval '5 seconds'
                 ORDER BY id FOR UPDATE SKIP LOCKED)
"""
# Waits for a downlink that publishes it now. One that was published may still be carried out until it expires, and the
# gateway's word is stronger then: only nobody publishes it again.
_WITHDRAW: LiteralString = """
    UPDATE command SET state = 'expired', updated_at = now(), detail = %s WHERE id = %s AND state = 'queued'
"""
# A state moves forward only. `expired` said by the cloud is a guess of silence: what the gateway reports is stronger.
_MOVE: LiteralString = """
    UPDATE command c SET state = r.state, detail = r.detail, updated_at = now()
    FROM unnest(%(ids)s::uuid[], %(states)s::text[], %(ranks)s::int[], %(details)s::text[], %(projects)s::bigint[],
                %(gateways)s::bigint[])
         AS r (id, state, rank, detail, project_id, gateway_id)
    WHERE c.id = r.id AND c.project_id = r.project_id
      AND EXISTS (SELECT FROM device d WHERE d.id = c.device_id AND d.gateway_id = r.gateway_id)
      AND array_position(ARRAY['queued', 'delivered', 'executing', 'expired', 'uncertain', 'failed', 'done'], c.state)
          < r.rank
"""
_RANKS = {"queued": 1, "delivered": 2, "executing": 3, "expired": 4, "uncertain": 5, "failed": 6, "done": 7}


Results = Mapping[tuple[int, int], Sequence[CommandResult]]
"""What gateways report, by project and gateway."""


@dataclass(frozen=True, slots=True)
class Order:
    """A command to be queued."""

    id: UUID
    project_id: int
    device_id: int
    action: str
    arguments: dict[str, str]
    reason: str
    actor: str
    valid_for_s: int


async def insert(conn: Conn, queued: Sequence[Order]) -> int:
    """Queues commands and wakes the downlink when the transaction commits; returns how many were not there before."""
    columns: dict[str, object] = {name: [getattr(one, name) for one in queued] for name in Order.__slots__}
    arguments = [Jsonb(one.arguments) for one in queued]
    return (await conn.execute(_INSERT, {**columns, "arguments": arguments, "channel": CHANNEL})).rowcount


async def one(conn: Conn, command_id: UUID) -> Command | None:
    """One command."""
    row = await (await conn.execute(_COMMAND + " WHERE c.id = %s", (command_id,))).fetchone()
    return None if row is None else Command(**row)


async def newest(conn: Conn, page: PageRequest, wanted: CommandFilter) -> Page[Command]:
    """Commands, newest first; the cursor is (issue time, id)."""
    at, command_id = after_time_and_id(page)
    query = {**asdict(wanted), "at": at, "id": command_id, "limit": page.limit + 1}
    rows = await (await conn.execute(_LIST, query)).fetchall()
    return cut([Command(**row) for row in rows], page, lambda found: (in_ms(found.issued_at), str(found.id)))


async def take_due(conn: Conn, published_before: datetime, limit: int) -> list[Command]:
    """Queued commands that were not published since then; they count as published now.

    The commit does not wait for the disk: whoever dies then publishes them again.
    """
    await commit_without_waiting(conn)
    rows = await (await conn.execute(_TAKE_DUE, {"before": published_before, "limit": limit})).fetchall()
    return [Command(**row) for row in rows]


async def mark_held_back(conn: Conn, ids: Sequence[UUID]) -> None:
    """They were not handed to the broker: the next one who looks publishes them."""
    await conn.execute("UPDATE command SET published_at = NULL WHERE id = ANY (%s)", (list(ids),))


async def expire(conn: Conn) -> int:
    """Ends commands that no gateway took before they expired; returns how many."""
    return (await conn.execute(_EXPIRE)).rowcount


async def withdraw(conn: Conn, command_id: UUID, why: str) -> bool:
    """Ends a command that no gateway has reported of; False when one has."""
    return (await conn.execute(_WITHDRAW, (why, command_id))).rowcount == 1


async def move(conn: Conn, told: Results) -> int:
    """Applies what gateways report of their own commands, forward only; returns how many commands moved."""
    furthest: dict[tuple[str, int, int], CommandResult] = {}
    for (project_id, gateway_id), results in told.items():
        for result in results:
            key = result.command_id, project_id, gateway_id
            known = furthest.get(key)
            if known is None or _RANKS[result.state] > _RANKS[known.state]:
                furthest[key] = result
    ordered = sorted(furthest.items())
    query = {
        "ids": [UUID(key[0]) for key, _ in ordered],
        "states": [result.state.value for _, result in ordered],
        "ranks": [_RANKS[result.state] for _, result in ordered],
        "details": [result.detail for _, result in ordered],
        "projects": [key[1] for key, _ in ordered],
        "gateways": [key[2] for key, _ in ordered],
    }
    return (await conn.execute(_MOVE, query)).rowcount
