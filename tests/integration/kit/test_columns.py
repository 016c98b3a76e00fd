"""Whole columns as parameters, on every connection of a Database, whenever it was opened."""

import numpy as np

from cloud.kit.columns import Int2Column, Int8Column, TimeColumn
from cloud.kit.db import SYSTEM, Database


async def test_columns_arrive_as_arrays(worker_db: Database) -> None:
    big = np.array([1, -(2**63), 2**63 - 1], dtype=np.int64)
    async with worker_db.transaction(SYSTEM) as conn:
        cursor = await conn.execute(
            "SELECT %s AS big, %s AS small, %s AS times",
            (Int8Column(big), Int2Column(np.array([-7, 7])), TimeColumn(np.array([0, 1_790_000_000_123]))),
        )
        row = await cursor.fetchone()
    assert row is not None
    assert row["big"] == big.tolist()
    assert row["small"] == [-7, 7]
    assert [time.isoformat() for time in row["times"]] == [
        "1970-01-01T00:00:00+00:00",
        "2026-09-21T14:13:20.123000+00:00",
    ]
