"""Loads of electricity meters over a period: the highest mean load, and active against reactive energy."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

from cloud.kit.db import Conn

_ACTIVE, _REACTIVE = 1, [8, 9]
"""Channels: energy_import_total; reactive_energy_import_total and reactive_energy_export_total."""

_LOADS: LiteralString = """
    SELECT m.id AS meter_id,
           coalesce(max(u.quantity * 3600 / u.length_s) FILTER (WHERE u.channel = %(active)s), 0)::bigint AS highest_w,
           coalesce(max(u.length_s) FILTER (WHERE u.channel = %(active)s), 0) AS longest_s,
           coalesce(sum(u.quantity) FILTER (WHERE u.channel = %(active)s), 0)::bigint AS active_wh,
           (sum(u.quantity) FILTER (WHERE u.channel = ANY (%(reactive)s)))::bigint AS reactive_varh
    FROM unnest(%(meters)s::bigint[]) AS m (id)
    LEFT JOIN usage u ON u.meter_id = m.id AND u.channel = ANY (%(reactive)s::smallint[] || %(active)s::smallint)
        AND u.start >= %(start)s AND u.start < %(end)s
    GROUP BY m.id
"""


@dataclass(frozen=True, slots=True)
class Loads:
    """What a meter's intervals in [start, end) tell.

    `highest_w`: highest mean load of an interval in W; `longest_s`: length of the longest interval; `reactive_varh`:
    import and export together, None where the meter counts none.
    """

    highest_w: int
    longest_s: int
    active_wh: int
    reactive_varh: int | None


async def loads(conn: Conn, meter_ids: Sequence[int], start: datetime, end: datetime) -> dict[int, Loads]:
    """Loads of these meters, multiplier applied, by meter."""
    values = {"meters": list(meter_ids), "start": start, "end": end, "active": _ACTIVE, "reactive": _REACTIVE}
    rows = await (await conn.execute(_LOADS, values)).fetchall()
    return {
        row["meter_id"]: Loads(row["highest_w"], row["longest_s"], row["active_wh"], row["reactive_varh"])
        for row in rows
    }
