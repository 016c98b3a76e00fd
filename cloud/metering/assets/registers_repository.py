"""SQL of registers: which one is in force at a meter from when to when, and where it stood at its ends."""

from collections.abc import Mapping, Sequence
from typing import Any, LiteralString

from cloud.kit.db import Conn
from cloud.metering.records import MeterRegister

# One register of the list is one row; its ends come as a list [channel, opening, closing], which keeps their nulls.
_REGISTERS: LiteralString = """
    SELECT r.id, r.meter_id, lower(r.valid) AS valid_from, upper(r.valid) AS valid_until, r.reason, r.serial,
           r.multiplier, r.modulus, r.resolution, r.max_per_hour, r.rating, r.note,
           coalesce((SELECT jsonb_agg(jsonb_build_array(e.channel, e.opening, e.closing) ORDER BY e.channel)
                     FROM register_end e WHERE e.register_id = r.id), '[]') AS ends
    FROM meter_register r WHERE r.meter_id = ANY (%(meters)s) ORDER BY r.meter_id, lower(r.valid)
"""


async def registers(conn: Conn, meter_ids: Sequence[int]) -> list[MeterRegister]:
    """Registers of these meters, by meter and time."""
    rows = await (await conn.execute(_REGISTERS, {"meters": list(meter_ids)})).fetchall()
    return [_register(row) for row in rows]


def _register(row: Mapping[str, Any]) -> MeterRegister:
    ends = {channel: (opening, closing) for channel, opening, closing in row["ends"]}
    return MeterRegister(**{**row, "ends": ends})
