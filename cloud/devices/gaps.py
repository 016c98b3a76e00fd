"""SQL of the gaps that gateways report: what they gave up and will not send."""

from collections.abc import Sequence
from datetime import datetime
from typing import LiteralString

from cloud.devices.cursors import after_number
from cloud.devices.records import ReadingGap
from cloud.kit.db import Conn
from cloud.kit.paging import Page, PageRequest, cut
from gateway.contract.messages import Gap

# In the order of the key, so that two workers with the same gaps wait for each other and never crosswise.
_KEEP: LiteralString = """
    INSERT INTO reading_gap AS known
        (project_id, gateway_id, device_code, channel_code, content, reason, from_at, until_at, lost)
    SELECT %(project_id)s, %(gateway_id)s, g.device, g.channel, g.content, g.reason,
           timestamptz 'epoch' + g.since * interval '1 millisecond',
           timestamptz 'epoch' + g.until * interval '1 millisecond', max(g.lost)
    FROM unnest(%(devices)s::text[], %(channels)s::text[], %(contents)s::text[], %(reasons)s::text[],
                %(since)s::bigint[], %(until)s::bigint[], %(lost)s::bigint[])
         AS g (device, channel, content, reason, since, until, lost)
    GROUP BY g.device, g.channel, g.content, g.reason, g.since, g.until
    ORDER BY g.device, g.channel, g.content, g.reason, g.since, g.until
    ON CONFLICT (gateway_id, device_code, channel_code, content, reason, from_at, until_at)
    DO UPDATE SET lost = excluded.lost WHERE known.lost < excluded.lost
"""
_LIST: LiteralString = """
    SELECT r.id, r.project_id, r.gateway_id, g.code AS gateway_code, r.device_code, r.channel_code, r.content, r.reason,
           r.from_at, r.until_at, r.lost, r.received_at
    FROM reading_gap r JOIN gateway g ON g.id = r.gateway_id
    WHERE (%(project_id)s::bigint IS NULL OR r.project_id = %(project_id)s)
      AND (%(gateway_id)s::bigint IS NULL OR r.gateway_id = %(gateway_id)s)
      AND (%(since)s::timestamptz IS NULL OR r.received_at >= %(since)s)
      AND (%(before)s::bigint IS NULL OR r.id < %(before)s)
    ORDER BY r.id DESC LIMIT %(limit)s
"""


async def keep(conn: Conn, project_id: int, gateway_id: int, gaps: Sequence[Gap]) -> None:
    """Keeps gaps; those that are known already change nothing."""
    query = {
        "project_id": project_id,
        "gateway_id": gateway_id,
        "devices": [gap.device for gap in gaps],
        "channels": [gap.channel for gap in gaps],
        "contents": [gap.kind.value for gap in gaps],
        "reasons": [gap.reason.value for gap in gaps],
        "since": [gap.since for gap in gaps],
        "until": [gap.until for gap in gaps],
        "lost": [gap.count for gap in gaps],
    }
    await conn.execute(_KEEP, query)


async def newest(
    conn: Conn, page: PageRequest, project_id: int | None, gateway_id: int | None, since: datetime | None
) -> Page[ReadingGap]:
    """Gaps, last received first; `since` leaves out those that were received earlier."""
    query = {
        "project_id": project_id,
        "gateway_id": gateway_id,
        "since": since,
        "before": after_number(page),
        "limit": page.limit + 1,
    }
    rows = await (await conn.execute(_LIST, query)).fetchall()
    return cut([ReadingGap(**row) for row in rows], page, lambda found: (found.id,))
