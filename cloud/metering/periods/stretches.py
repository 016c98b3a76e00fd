"""Usage of many meters between successive instants: what a tariff by time of use is billed from."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import LiteralString

from cloud.kit.db import Conn
from cloud.kit.periods import in_ms

# The bucket of an interval's first and last millisecond: where they differ, the interval lies in two stretches.
_BY_STRETCH: LiteralString = """
    SELECT meter_id, nth, sum(quantity)::bigint AS quantity, sum(length_s)::bigint AS seconds,
           coalesce(sum(length_s) FILTER (WHERE method BETWEEN 3 AND 6), 0)::bigint AS estimated_s,
           bool_or(last <> nth) AS divided
    FROM (SELECT meter_id, quantity, length_s, method, width_bucket(start, %(edges)s::timestamptz[]) AS nth,
                 width_bucket(start + length_s * interval '1 second' - interval '1 millisecond',
                              %(edges)s::timestamptz[]) AS last
          FROM usage WHERE meter_id = ANY (%(meters)s) AND channel = %(channel)s
            AND start >= %(start)s AND start < %(end)s) AS u
    GROUP BY meter_id, nth ORDER BY meter_id, nth
"""


@dataclass(frozen=True, slots=True)
class Stretches:
    """Usage of one meter in each of the stretches, in its base unit.

    `complete`: every stretch is covered, and no interval lies in two of them. `estimated_s`: seconds of estimates.
    """

    quantities: tuple[int, ...]
    complete: bool
    estimated_s: int


async def usage_by_stretch(
    conn: Conn, meter_ids: Sequence[int], channel: int, edges: Sequence[datetime]
) -> dict[int, Stretches]:
    """Usage between each edge and the next, by meter. `edges` rise; meters without usage are not complete."""
    values = {
        "meters": list(meter_ids),
        "channel": channel,
        "edges": list(edges),
        "start": edges[0],
        "end": edges[-1],
    }
    lengths = [(in_ms(later) - in_ms(earlier)) // 1000 for earlier, later in pairwise(edges)]
    found: dict[int, dict[int, tuple[int, int, int]]] = defaultdict(dict)
    divided: set[int] = set()
    for row in await (await conn.execute(_BY_STRETCH, values)).fetchall():
        found[row["meter_id"]][row["nth"] - 1] = (row["quantity"], row["seconds"], row["estimated_s"])
        if row["divided"]:
            divided.add(row["meter_id"])
    nothing = (0, 0, 0)
    return {
        meter_id: Stretches(
            tuple(found[meter_id].get(nth, nothing)[0] for nth in range(len(lengths))),
            meter_id not in divided
            and all(found[meter_id].get(nth, nothing)[1] == length for nth, length in enumerate(lengths)),
            sum(one[2] for one in found[meter_id].values()),
        )
        for meter_id in meter_ids
    }
