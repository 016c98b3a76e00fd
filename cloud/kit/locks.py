"""Advisory locks on things by number, so that several workers share work without waiting for each other."""

from collections.abc import Sequence
from typing import LiteralString

from cloud.kit.columns import Int8Column
from cloud.kit.db import Conn

_TRY: LiteralString = """
    SELECT id FROM unnest(%(ids)s::bigint[]) AS id WHERE pg_try_advisory_xact_lock(%(space)s + id)
"""
# In one order, so that two who want the same do not wait for each other.
_LOCK_ALL: LiteralString = """
    SELECT count(pg_advisory_xact_lock(%(space)s + id))
    FROM (SELECT id FROM unnest(%(ids)s::bigint[]) AS id ORDER BY id OFFSET 0) AS ordered
"""
_LOCK: LiteralString = "SELECT pg_advisory_xact_lock(%(space)s + %(id)s::bigint)"
_SHARE: LiteralString = "SELECT pg_advisory_xact_lock_shared(%(space)s + %(id)s::bigint)"


async def lock(conn: Conn, space: int, number: int) -> None:
    """Waits until nobody else holds this number in this space; ours until the transaction ends."""
    await conn.execute(_LOCK, {"space": space, "id": number})


async def share(conn: Conn, space: int, number: int) -> None:
    """Waits until nobody holds this number alone; until the transaction ends, nobody does. Others may share it."""
    await conn.execute(_SHARE, {"space": space, "id": number})


async def lock_all(conn: Conn, space: int, ids: Sequence[int]) -> None:
    """Waits until nobody else holds any of `ids` in this space; ours until the transaction ends."""
    await conn.execute(_LOCK_ALL, {"ids": Int8Column.of(ids), "space": space})


async def try_lock(conn: Conn, space: int, ids: Sequence[int]) -> list[int]:
    """Those of `ids` that nobody else holds in this space; ours until the transaction ends."""
    rows = await (await conn.execute(_TRY, {"ids": Int8Column.of(ids), "space": space})).fetchall()
    return [row["id"] for row in rows]
