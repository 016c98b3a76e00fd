"""What the database reads for a statement, told by its plan: that is the same on any machine, time is not."""

from collections.abc import Iterator, Mapping
from typing import Any, LiteralString

from cloud.kit.db import SYSTEM, Asker, Database


async def rows_read(
    db: Database, query: LiteralString, values: Mapping[str, object], *tables: str, asker: Asker = SYSTEM
) -> int:
    """So many rows are looked at for it, in relations whose names begin with one of `tables`."""
    async with db.transaction(asker) as conn:
        row = await (await conn.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + query, values)).fetchone()
    assert row is not None
    return sum(
        round((one["Actual Rows"] + one.get("Rows Removed by Filter", 0)) * one["Actual Loops"])
        for one in _nodes(row["QUERY PLAN"][0]["Plan"])
        if one.get("Relation Name", "").startswith(tables)
    )


def _nodes(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield plan
    for one in plan.get("Plans", ()):
        yield from _nodes(one)
