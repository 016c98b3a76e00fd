"""Keeps the series and what is rolled up from them in shape: totals folded, aggregates fresh, partitions, retention."""

from datetime import UTC, datetime
from typing import Final, LiteralString

from cloud.kit.db import Asker, Conn, Database
from cloud.kit.jobs import Handler, JobContext, Scheduled
from cloud.metering.manual import photos
from cloud.metering.rollups import sql
from cloud.metering.rollups.reading import REFRESH_ROLL_UPS

MAINTAIN = "metering.maintain"

_FOLD_LOCK = 0x67_6D_0C  # "gm", roll-ups
_REFRESH_LOCK = 0x67_6D_0D
_PHOTOS_AT_ONCE: Final = 5_000
"""Removed in a night; what is left over is removed in the next."""

# Detaching waits for whoever reads the series, and all others would wait behind it: rather tomorrow than that.
_PATIENCE: LiteralString = "SET LOCAL lock_timeout = '5s'"
_PARTITIONS: LiteralString = """
    SELECT gm.ensure_partitions(now()::date, (now() + interval '6 months')::date) + gm.adopt_strays() AS made
"""
_INDEXES: LiteralString = "SELECT gm.index_cold_partitions() AS made"
_RETAIN: LiteralString = "SELECT gm.retain() AS gone"
_LEARN: LiteralString = "SELECT gm.learn_tables() AS learnt"


async def refresh_roll_ups(context: JobContext) -> dict[str, object]:
    """Folds pending totals; with TimescaleDB brings the aggregates up to date with what changed."""
    async with context.db.transaction(context.asker) as conn:
        folded = await _number(conn, sql.FOLD, {"lock": _FOLD_LOCK})
    return {"folded": folded, "refreshed": await refresh_stale(context.db, context.asker)}


async def refresh_stale(db: Database, asker: Asker) -> int:
    """Refreshes every aggregate that `rollups.refresh` queued, and returns how many refreshes that took.

    The engine refuses to do this inside a transaction. A span is forgotten after it was refreshed, so that a worker
    that dies leaves it to the next one.
    """
    done = 0
    async with db.outside(asker) as conn:
        if not await _number(conn, sql.LOCK_REFRESH, {"lock": _REFRESH_LOCK}):
            return done
        try:
            while newest := await _number(conn, sql.NEWEST_STALE, {}):
                for row in await (await conn.execute(sql.STALE_MONTHS)).fetchall():
                    await conn.execute(sql.REFRESH, (row["name"], row["from_at"], row["until_at"], row["force"]))
                    done += 1
                await conn.execute(sql.FORGET_STALE, {"id": newest})
        finally:
            await conn.execute(sql.UNLOCK_REFRESH, {"lock": _REFRESH_LOCK})
    return done


async def maintain(context: JobContext) -> dict[str, object]:
    """Partitions of the months to come and of strays, indexes of cold ones, retention, what the planner knows of tables
    that autovacuum passes over, old photos; one by one.
    """
    result: dict[str, object] = {}
    statements = {"partitions": _PARTITIONS, "indexes": _INDEXES, "retired": _RETAIN, "learnt": _LEARN}
    for name, statement in statements.items():
        async with context.db.transaction(context.asker) as conn:
            await conn.execute(_PATIENCE)
            result[name] = await _number(conn, statement, {})
    async with context.db.transaction(context.asker) as conn:
        result["photos"] = await photos.forget(conn, datetime.now(UTC), _PHOTOS_AT_ONCE)
    return result


async def _number(conn: Conn, statement: LiteralString, query: dict[str, object]) -> int:
    """The first column of the only row; NULL is 0."""
    row = await (await conn.execute(statement, query)).fetchone()
    return 0 if row is None else int(next(iter(row.values())) or 0)


HANDLERS: dict[str, Handler] = {REFRESH_ROLL_UPS: refresh_roll_ups, MAINTAIN: maintain}

SCHEDULE: tuple[Scheduled, ...] = (
    Scheduled(REFRESH_ROLL_UPS, "* * * * *"),
    Scheduled(MAINTAIN, "30 3 * * *"),
)
