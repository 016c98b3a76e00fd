"""SQL of what could not be put in its place: dead letters and unclaimed readings."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

from cloud.devices.cursors import after_number, after_texts
from cloud.devices.records import DeadLetter, Unclaimed
from cloud.kit.db import Conn
from cloud.kit.paging import Page, PageRequest, cut

_KEEP_LETTER: LiteralString = """
    INSERT INTO dead_letter AS d (project_id, topic, payload, payload_hash, reason, detail)
    VALUES (%(project_id)s, %(topic)s, %(payload)s, %(hash)s, %(reason)s, %(detail)s)
    ON CONFLICT (topic, payload_hash) DO UPDATE SET times = d.times + 1, received_at = now(), replayed_at = NULL,
                project_id = coalesce(excluded.project_id, d.project_id), reason = excluded.reason,
                detail = excluded.detail
"""
_LIST_LETTERS: LiteralString = """
    SELECT id, project_id, received_at, topic, octet_length(payload) AS size, reason, detail, times, replayed_at
    FROM dead_letter
    WHERE (%(project_id)s::bigint IS NULL OR project_id = %(project_id)s)
      AND (%(before)s::bigint IS NULL OR id < %(before)s)
    ORDER BY id DESC LIMIT %(limit)s
"""
_LETTERS_TO_REPLAY: LiteralString = """
    SELECT id, topic, payload FROM dead_letter
    WHERE replayed_at IS NULL AND id > %(after)s ORDER BY id LIMIT %(limit)s
"""
_KEEP_UNCLAIMED: LiteralString = """
    INSERT INTO unclaimed_reading
        (project_id, gateway_code, device_code, channel_code, taken_at, value, quality, reason)
    SELECT u.project_id, u.gateway_code, u.device_code, u.channel_code,
           timestamptz 'epoch' + u.taken_ms * interval '1 millisecond', u.value, u.quality, u.reason
    FROM unnest(%(projects)s::bigint[], %(gateways)s::text[], %(devices)s::text[], %(channels)s::text[],
                %(taken_ms)s::bigint[], %(values)s::bigint[], %(qualities)s::smallint[], %(reasons)s::text[])
         AS u (project_id, gateway_code, device_code, channel_code, taken_ms, value, quality, reason)
    ORDER BY u.project_id, u.gateway_code, u.device_code, u.channel_code, u.taken_ms, u.value
    ON CONFLICT DO NOTHING
"""
# A reading with an impossible time stays: no binding makes its time right.
_TAKE_UNCLAIMED: LiteralString = """
    DELETE FROM unclaimed_reading
    WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM unclaimed_reading
        WHERE project_id = %(project_id)s AND reason <> 'clock'
          AND (gateway_code COLLATE "C", device_code COLLATE "C", channel_code COLLATE "C", taken_at, value)
              > (%(gateway_code)s, %(device_code)s, %(channel_code)s, %(taken_at)s, %(value)s)
        ORDER BY gateway_code COLLATE "C", device_code COLLATE "C", channel_code COLLATE "C", taken_at, value
        LIMIT %(limit)s FOR UPDATE SKIP LOCKED))
    RETURNING gateway_code, device_code, channel_code, taken_at, value, quality
"""
_COUNT_UNCLAIMED: LiteralString = """
    SELECT project_id, gateway_code, device_code, channel_code, reason, count(*) AS readings,
           min(taken_at) AS first_at, max(taken_at) AS last_at
    FROM unclaimed_reading
    WHERE (%(project_id)s::bigint IS NULL OR project_id = %(project_id)s)
      AND (project_id, gateway_code, device_code, channel_code, reason)
          > (%(after_project)s, %(after_gateway)s, %(after_device)s, %(after_channel)s, %(after_reason)s)
    GROUP BY project_id, gateway_code, device_code, channel_code, reason
    ORDER BY project_id, gateway_code, device_code, channel_code, reason LIMIT %(limit)s
"""
_HAS_UNCLAIMED: LiteralString = """
    SELECT EXISTS (SELECT FROM unclaimed_reading u
                   JOIN gateway g ON g.project_id = u.project_id AND g.code = u.gateway_code
                   WHERE g.id = %(gateway_id)s AND u.device_code = %(device_code)s AND u.reason <> 'clock') AS waiting
"""


@dataclass(frozen=True, slots=True)
class Letter:
    """A message to be kept; `once_per_topic` keeps the first payload of a topic and counts the others."""

    project_id: int | None
    topic: str
    payload: bytes
    reason: str
    detail: str
    once_per_topic: bool = False

    @property
    def hash(self) -> bytes:
        """What makes two letters of a topic the same."""
        return hashlib.sha256(self.reason.encode() if self.once_per_topic else self.payload).digest()


@dataclass(frozen=True, slots=True)
class UnclaimedPlace:
    """Where a walk over the unclaimed readings of a project stands."""

    gateway_code: str = ""
    device_code: str = ""
    channel_code: str = ""
    taken_at: datetime | str = "-infinity"
    value: int = 0


async def keep_letters(conn: Conn, letters: Sequence[Letter]) -> None:
    """Keeps messages, or counts them when they are kept already. In one order, so that two workers never cross."""
    for letter in sorted(letters, key=lambda letter: (letter.topic, letter.hash)):
        values = {
            "project_id": letter.project_id,
            "topic": letter.topic.replace("\0", "�"),
            "payload": letter.payload,
            "hash": letter.hash,
            "reason": letter.reason,
            "detail": letter.detail.replace("\0", "�"),
        }
        await conn.execute(_KEEP_LETTER, values)


async def letters(conn: Conn, page: PageRequest, project_id: int | None) -> Page[DeadLetter]:
    """Dead letters, newest first."""
    query = {"project_id": project_id, "before": after_number(page), "limit": page.limit + 1}
    rows = await (await conn.execute(_LIST_LETTERS, query)).fetchall()
    return cut([DeadLetter(**row) for row in rows], page, lambda found: (found.id,))


async def letters_to_replay(conn: Conn, after: int, limit: int) -> list[tuple[int, str, bytes]]:
    """Letters that were not replayed since they came last: (id, topic, payload)."""
    rows = await (await conn.execute(_LETTERS_TO_REPLAY, {"after": after, "limit": limit})).fetchall()
    return [(row["id"], row["topic"], bytes(row["payload"])) for row in rows]


async def mark_replayed(conn: Conn, letter_id: int) -> None:
    """The letter found its place after all."""
    await conn.execute("UPDATE dead_letter SET replayed_at = now() WHERE id = %s", (letter_id,))


async def keep_unclaimed(conn: Conn, columns: dict[str, list[Any]]) -> int:
    """Keeps readings that have no place yet; returns how many were new."""
    return (await conn.execute(_KEEP_UNCLAIMED, columns)).rowcount


async def take_unclaimed(conn: Conn, project_id: int, after: UnclaimedPlace, limit: int) -> list[dict[str, Any]]:
    """Removes up to `limit` readings behind `after` and returns them; the caller finds a place for each."""
    query = {
        "project_id": project_id,
        "gateway_code": after.gateway_code,
        "device_code": after.device_code,
        "channel_code": after.channel_code,
        "taken_at": after.taken_at,
        "value": after.value,
        "limit": limit,
    }
    return await (await conn.execute(_TAKE_UNCLAIMED, query)).fetchall()


async def has_unclaimed(conn: Conn, gateway_id: int, device_code: str) -> bool:
    """Whether readings of this device wait."""
    row = await (await conn.execute(_HAS_UNCLAIMED, {"gateway_id": gateway_id, "device_code": device_code})).fetchone()
    return row is not None and bool(row["waiting"])


async def unclaimed(conn: Conn, page: PageRequest, project_id: int | None) -> Page[Unclaimed]:
    """Unclaimed readings, counted by channel and reason."""
    after_project, after = after_texts(page, 4)
    query = {
        "project_id": project_id,
        "after_project": after_project,
        "after_gateway": after[0],
        "after_device": after[1],
        "after_channel": after[2],
        "after_reason": after[3],
        "limit": page.limit + 1,
    }
    rows = await (await conn.execute(_COUNT_UNCLAIMED, query)).fetchall()
    return cut(
        [Unclaimed(**row) for row in rows],
        page,
        lambda u: (u.project_id, u.gateway_code, u.device_code, u.channel_code, u.reason),
    )
