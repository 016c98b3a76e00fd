"""SQL of what could not be put in its place: dead letters and unclaimed readings."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, LiteralString

from cloud.devices.cursors import after_number, after_texts
from cloud.devices.records import DeadLetter, InboxFilter, Unclaimed
from cloud.kit.db import Conn
from cloud.kit.paging import Page, PageRequest, cut

_STATE: LiteralString = """
    CASE WHEN decision_id IS NOT NULL THEN 'discarded' WHEN replayed_at IS NOT NULL THEN 'replayed' ELSE 'waiting' END
"""
LETTER_WANTED: LiteralString = """
    (%(project_id)s::bigint IS NULL OR project_id = %(project_id)s)
      AND (%(letter_id)s::bigint IS NULL OR id = %(letter_id)s)
      AND (%(reason)s::text IS NULL OR reason = %(reason)s)
      AND (%(since)s::timestamptz IS NULL OR last_at >= %(since)s)
      AND (%(until)s::timestamptz IS NULL OR last_at <= %(until)s)
      AND (%(state)s::text IS NULL OR %(state)s = {state})
""".replace("{state}", _STATE)
READING_WANTED: LiteralString = """
    (%(project_id)s::bigint IS NULL OR u.project_id = %(project_id)s)
      AND (%(gateway_code)s::text IS NULL OR u.gateway_code = %(gateway_code)s)
      AND (%(device_code)s::text IS NULL OR u.device_code = %(device_code)s)
      AND (%(channel_code)s::text IS NULL OR u.channel_code = %(channel_code)s)
      AND (%(reason)s::text IS NULL OR u.reason = %(reason)s)
      AND (%(since)s::timestamptz IS NULL OR u.received_at >= %(since)s)
      AND (%(until)s::timestamptz IS NULL OR u.received_at <= %(until)s)
      AND (%(state)s::text IS NULL OR %(state)s = CASE WHEN u.decision_id IS NULL THEN 'waiting'
           WHEN (SELECT d.action FROM inbox_decision d WHERE d.id = u.decision_id) = 'discard' THEN 'discarded'
           ELSE 'corrected' END)
"""
# When it came first stays. Come again from its gateway it waits again, unless somebody has put it away.
_KEEP_LETTER: LiteralString = """
    INSERT INTO dead_letter AS d (project_id, topic, payload, payload_hash, reason, detail)
    VALUES (%(project_id)s, %(topic)s, %(payload)s, %(hash)s, %(reason)s, %(detail)s)
    ON CONFLICT (topic, payload_hash) DO UPDATE SET times = d.times + 1, last_at = now(), replayed_at = NULL,
                project_id = coalesce(excluded.project_id, d.project_id), reason = excluded.reason,
                detail = excluded.detail
"""
_TRIED: LiteralString = """
    UPDATE dead_letter SET tried_at = now(), project_id = coalesce(%(project_id)s, project_id), reason = %(reason)s,
                           detail = %(detail)s
    WHERE id = %(id)s
"""
_LIST_LETTERS: LiteralString = """
    SELECT id, project_id, received_at, last_at, topic, octet_length(payload) AS size, reason, detail, times, tried_at,
           replayed_at, decision_id, {state} AS state
    FROM dead_letter
    WHERE (%(before)s::bigint IS NULL OR id < %(before)s) AND {letter_wanted} ORDER BY id DESC LIMIT %(limit)s
""".replace("{state}", _STATE).replace("{letter_wanted}", LETTER_WANTED)
_COUNT_LETTERS: LiteralString = """
    SELECT reason, count(*) AS found FROM dead_letter WHERE {letter_wanted} GROUP BY reason ORDER BY reason
""".replace("{letter_wanted}", LETTER_WANTED)
_LETTERS_TO_REPLAY: LiteralString = """
    SELECT id, topic, payload FROM dead_letter WHERE id > %(after)s AND {letter_wanted} ORDER BY id LIMIT %(limit)s
""".replace("{letter_wanted}", LETTER_WANTED)
_KEEP_UNCLAIMED: LiteralString = """
    INSERT INTO unclaimed_reading
        (project_id, gateway_code, device_code, channel_code, taken_at, value, quality, reason, received_at)
    SELECT u.project_id, u.gateway_code, u.device_code, u.channel_code,
           timestamptz 'epoch' + u.taken_ms * interval '1 millisecond', u.value, u.quality, u.reason,
           timestamptz 'epoch' + u.received_ms * interval '1 millisecond'
    FROM unnest(%(projects)s::bigint[], %(gateways)s::text[], %(devices)s::text[], %(channels)s::text[],
                %(taken_ms)s::bigint[], %(values)s::bigint[], %(qualities)s::smallint[], %(reasons)s::text[],
                %(received_ms)s::bigint[])
         AS u (project_id, gateway_code, device_code, channel_code, taken_ms, value, quality, reason, received_ms)
    ORDER BY u.project_id, u.gateway_code, u.device_code, u.channel_code, u.taken_ms, u.value
    ON CONFLICT DO NOTHING
"""
# A reading with an impossible time stays until somebody tells by how much its clock was ahead: no binding makes its
# time right. One that was discarded stays as well.
_TO_CLAIM: LiteralString = """
    (u.decision_id IS NULL AND u.reason <> 'clock'
     OR (SELECT d.action FROM inbox_decision d WHERE d.id = u.decision_id) = 'correct-clock')
"""
_TAKE_UNCLAIMED: LiteralString = """
    DELETE FROM unclaimed_reading
    WHERE ctid = ANY (ARRAY(
        SELECT u.ctid FROM unclaimed_reading u
        WHERE (u.gateway_code COLLATE "C", u.device_code COLLATE "C", u.channel_code COLLATE "C", u.taken_at, u.value)
              > (%(after_gateway)s, %(after_device)s, %(after_channel)s, %(taken_at)s, %(value)s)
          AND {to_claim} AND {reading_wanted}
        ORDER BY u.gateway_code COLLATE "C", u.device_code COLLATE "C", u.channel_code COLLATE "C", u.taken_at, u.value
        LIMIT %(limit)s FOR UPDATE SKIP LOCKED))
    RETURNING gateway_code, device_code, channel_code, taken_at, value, quality, received_at,
              coalesce((SELECT d.ahead_s FROM inbox_decision d WHERE d.id = decision_id), 0) AS ahead_s
""".replace("{to_claim}", _TO_CLAIM).replace("{reading_wanted}", READING_WANTED)
_COUNT_TO_CLAIM: LiteralString = """
    SELECT u.reason, count(*) AS found FROM unclaimed_reading u WHERE {to_claim} AND {reading_wanted}
    GROUP BY u.reason ORDER BY u.reason
""".replace("{to_claim}", _TO_CLAIM).replace("{reading_wanted}", READING_WANTED)
_COUNT_UNCLAIMED: LiteralString = """
    SELECT u.project_id, u.gateway_code, u.device_code, u.channel_code, u.reason, count(*) AS readings,
           min(u.taken_at) AS first_at, max(u.taken_at) AS last_at,
           floor(extract(epoch FROM min(u.taken_at - u.received_at)))::bigint AS ahead_s
    FROM unclaimed_reading u
    WHERE (u.project_id, u.gateway_code, u.device_code, u.channel_code, u.reason)
          > (%(after_project)s, %(after_gateway)s, %(after_device)s, %(after_channel)s, %(after_reason)s)
      AND {reading_wanted}
    GROUP BY u.project_id, u.gateway_code, u.device_code, u.channel_code, u.reason
    ORDER BY u.project_id, u.gateway_code, u.device_code, u.channel_code, u.reason LIMIT %(limit)s
""".replace("{reading_wanted}", READING_WANTED)
_HAS_UNCLAIMED: LiteralString = """
    SELECT EXISTS (SELECT FROM unclaimed_reading u
                   JOIN gateway g ON g.project_id = u.project_id AND g.code = u.gateway_code
                   WHERE g.id = %(gateway_id)s AND u.device_code = %(device_code)s AND {to_claim}) AS waiting
""".replace("{to_claim}", _TO_CLAIM)


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


async def letters(conn: Conn, page: PageRequest, wanted: InboxFilter) -> Page[DeadLetter]:
    """Dead letters, newest first."""
    query = {**asdict(wanted), "before": after_number(page), "limit": page.limit + 1}
    rows = await (await conn.execute(_LIST_LETTERS, query)).fetchall()
    return cut([DeadLetter(**row) for row in rows], page, lambda found: (found.id,))


async def count_letters(conn: Conn, wanted: InboxFilter) -> dict[str, int]:
    """How many dead letters there are, by reason."""
    return await _by_reason(conn, _COUNT_LETTERS, wanted)


async def letters_to_replay(conn: Conn, wanted: InboxFilter, after: int, limit: int) -> list[tuple[int, str, bytes]]:
    """Letters behind the id `after`: (id, topic, payload)."""
    query = {**asdict(wanted), "after": after, "limit": limit}
    rows = await (await conn.execute(_LETTERS_TO_REPLAY, query)).fetchall()
    return [(row["id"], row["topic"], bytes(row["payload"])) for row in rows]


async def note_tried(conn: Conn, letter_id: int, letter: Letter) -> None:
    """The letter was replayed and refused once more: it did not come again, but the reason may be another one."""
    query = {
        "id": letter_id,
        "project_id": letter.project_id,
        "reason": letter.reason,
        "detail": letter.detail.replace("\0", "�"),
    }
    await conn.execute(_TRIED, query)


async def mark_replayed(conn: Conn, letter_id: int) -> None:
    """The letter found its place after all."""
    await conn.execute("UPDATE dead_letter SET replayed_at = now() WHERE id = %s", (letter_id,))


async def keep_unclaimed(conn: Conn, columns: dict[str, list[Any]]) -> int:
    """Keeps readings that have no place yet; returns how many were new."""
    return (await conn.execute(_KEEP_UNCLAIMED, columns)).rowcount


async def take_unclaimed(conn: Conn, wanted: InboxFilter, after: UnclaimedPlace, limit: int) -> list[dict[str, Any]]:
    """Removes up to `limit` readings behind `after` and returns them; the caller finds a place for each.

    `ahead_s` of a row tells by how much its clock was ahead. `wanted` names a project, and any state: what was
    discarded and what has an impossible time is never taken.
    """
    query = {
        **asdict(wanted),
        "after_gateway": after.gateway_code,
        "after_device": after.device_code,
        "after_channel": after.channel_code,
        "taken_at": after.taken_at,
        "value": after.value,
        "limit": limit,
    }
    return await (await conn.execute(_TAKE_UNCLAIMED, query)).fetchall()


async def count_to_claim(conn: Conn, wanted: InboxFilter) -> dict[str, int]:
    """How many readings `take_unclaimed` would take, by reason."""
    return await _by_reason(conn, _COUNT_TO_CLAIM, wanted)


async def has_unclaimed(conn: Conn, gateway_id: int, device_code: str) -> bool:
    """Whether readings of this device wait."""
    row = await (await conn.execute(_HAS_UNCLAIMED, {"gateway_id": gateway_id, "device_code": device_code})).fetchone()
    return row is not None and bool(row["waiting"])


async def unclaimed(conn: Conn, page: PageRequest, wanted: InboxFilter) -> Page[Unclaimed]:
    """Unclaimed readings, counted by channel and reason."""
    after_project, after = after_texts(page, 4)
    query = {
        **asdict(wanted),
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


async def _by_reason(conn: Conn, statement: LiteralString, wanted: InboxFilter) -> dict[str, int]:
    rows = await (await conn.execute(statement, asdict(wanted))).fetchall()
    return {row["reason"]: row["found"] for row in rows}
