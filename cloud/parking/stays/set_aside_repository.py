"""SQL of passages that no lane can take, or whose time cannot be."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString
from uuid import UUID

import msgspec
from psycopg.types.json import Jsonb

from cloud.kit.db import Conn
from cloud.kit.paging import Page, PageRequest, cut
from cloud.kit.periods import in_ms
from cloud.parking.stays.cursors import after_passage
from gateway.contract.messages import Passage as WirePassage

_SET_ASIDE: LiteralString = """
    INSERT INTO unclaimed_passage (id, project_id, gateway_code, device_code, reason, content)
    VALUES (%(id)s, %(project_id)s, %(gateway_code)s, %(device_code)s, %(reason)s, %(content)s)
    ON CONFLICT (id) DO UPDATE SET content = excluded.content
    WHERE unclaimed_passage.project_id = excluded.project_id
      AND unclaimed_passage.content ->> %(outcome_field)s = 'arrived'
"""
_CLAIM: LiteralString = """
    DELETE FROM unclaimed_passage
    WHERE project_id = %(project_id)s AND gateway_code = %(gateway_code)s AND device_code = %(device_code)s
      AND reason = 'unknown-lane'
    RETURNING content
"""
_LIST: LiteralString = """
    SELECT id, project_id, gateway_code, reason, content, received_at
    FROM (SELECT *, floor(extract(epoch FROM received_at) * 1000)::bigint AS ms FROM unclaimed_passage) AS aside
    WHERE (%(project_id)s::bigint IS NULL OR project_id = %(project_id)s)
      AND (%(after_ms)s::bigint IS NULL OR (ms, id) < (%(after_ms)s, %(after_id)s::uuid))
    ORDER BY ms DESC, id DESC LIMIT %(limit)s
"""
_OUTCOME_FIELD = WirePassage.__struct_fields__.index("outcome")


@dataclass(frozen=True, slots=True)
class SetAside:
    """A passage that waits for somebody to look at it."""

    id: UUID
    project_id: int
    gateway_code: str
    reason: str
    passage: WirePassage
    received_at: datetime


@dataclass(frozen=True, slots=True)
class TimeRepair:
    """When a passage really was; `told_at` is what its device had said."""

    passage_id: UUID
    told_at: datetime
    taken_at: datetime


async def set_aside(conn: Conn, project_id: int, gateway_code: str, reason: str, passage: WirePassage) -> None:
    """Keeps a passage that no lane can take."""
    query = {
        "id": passage.id,
        "project_id": project_id,
        "gateway_code": gateway_code,
        "device_code": passage.device,
        "reason": reason,
        "content": Jsonb(msgspec.to_builtins(passage)),
        "outcome_field": _OUTCOME_FIELD,
    }
    await conn.execute(_SET_ASIDE, query)


async def claim(conn: Conn, project_id: int, gateway_code: str, device_code: str) -> list[WirePassage]:
    """Takes out what was set aside for a device."""
    query = {"project_id": project_id, "gateway_code": gateway_code, "device_code": device_code}
    rows = await (await conn.execute(_CLAIM, query)).fetchall()
    return [msgspec.convert(row["content"], WirePassage) for row in rows]


async def find(conn: Conn, passage_id: UUID) -> SetAside | None:
    """One passage that was set aside."""
    query = """SELECT id, project_id, gateway_code, reason, content, received_at FROM unclaimed_passage
               WHERE id = %s FOR UPDATE"""
    row = await (await conn.execute(query, (passage_id,))).fetchone()
    return None if row is None else SetAside(passage=msgspec.convert(row.pop("content"), WirePassage), **row)


async def set_aside_passages(conn: Conn, page: PageRequest, project_id: int | None) -> Page[SetAside]:
    """Passages that wait for somebody, the last received first."""
    query = {"project_id": project_id, "limit": page.limit + 1, **after_passage(page)}
    rows = await (await conn.execute(_LIST, query)).fetchall()
    found = [SetAside(passage=msgspec.convert(row.pop("content"), WirePassage), **row) for row in rows]
    return cut(found, page, lambda one: (in_ms(one.received_at), str(one.id)))


async def take_out(conn: Conn, passage_id: UUID) -> None:
    """It is not aside any more."""
    await conn.execute("DELETE FROM unclaimed_passage WHERE id = %s", (passage_id,))


async def insert_repair(conn: Conn, project_id: int, repair: TimeRepair, reason: str, actor: str) -> None:
    """Keeps the true time of a passage."""
    query = """INSERT INTO passage_time_repair (project_id, passage_id, told_at, taken_at, reason, repaired_by)
               VALUES (%s, %s, %s, %s, %s, %s)"""
    await conn.execute(query, (project_id, repair.passage_id, repair.told_at, repair.taken_at, reason, actor))


async def repairs(conn: Conn, project_id: int, ids: Iterable[UUID]) -> dict[UUID, TimeRepair]:
    """The repaired times of these passages."""
    wanted: Sequence[UUID] = list(ids)
    if not wanted:
        return {}
    query = """SELECT passage_id, told_at, taken_at FROM passage_time_repair
               WHERE project_id = %s AND passage_id = ANY (%s)"""
    rows = await (await conn.execute(query, (project_id, wanted))).fetchall()
    return {row["passage_id"]: TimeRepair(**row) for row in rows}
