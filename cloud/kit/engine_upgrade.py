"""From plain PostgreSQL to TimescaleDB without losing a row: one transaction, copied and compared month by month."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

Conn = psycopg.Connection[dict[str, Any]]
Say = Callable[[str], None]

_SERIES: dict[str, tuple[str, str]] = {"reading": ("taken_at", "7 days"), "usage": ("start", "30 days")}
"""Time column and chunk length of each."""
_ROLL_UPS = ("usage_day", "usage_month")

_STATE: LiteralString = """
    SELECT gm.has_timescale() AS done, current_setting('shared_preload_libraries') LIKE '%timescaledb%' AS loaded,
           EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb') AS available
"""
# Views keep their identity and their grants: they are replaced by themselves, over the new tables.
_VIEWS: LiteralString = """
    SELECT DISTINCT c.oid, c.oid::regclass::text AS name, pg_get_viewdef(c.oid) AS definition,
           coalesce(array_to_string(c.reloptions, ', '), '') AS options
    FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid JOIN pg_class c ON c.oid = r.ev_class
    WHERE d.classid = 'pg_rewrite'::regclass AND c.relkind = 'v' AND c.oid <> 'store.usage_hour'::regclass
      AND d.refobjid IN ('store.reading'::regclass, 'store.usage'::regclass, 'store.usage_hour'::regclass,
                         'store.usage_day'::regclass, 'store.usage_month'::regclass)
    ORDER BY c.oid
"""
_GRANTS: LiteralString = """
    SELECT g.grantee::regrole::text AS role, g.privilege_type AS privilege
    FROM pg_class c, aclexplode(c.relacl) g WHERE c.oid = %s::regclass AND g.grantee <> c.relowner AND g.grantee <> 0
"""
_TRIGGERS: LiteralString = """
    SELECT pg_get_triggerdef(oid) AS definition FROM pg_trigger
    WHERE tgrelid = %s::regclass AND NOT tgisinternal AND tgname NOT LIKE 'count\\_%%' ORDER BY tgname
"""
_INDEXES: LiteralString = """
    SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = %s::regclass
"""


class UpgradeRefused(RuntimeError):
    """The database cannot be upgraded; the message says why. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class Month:
    """Rows of one series in one month (UTC), as they were before."""

    series: str
    start: datetime
    rows: int


def plan(dsn: str) -> list[Month]:
    """What would be copied, month by month. Raises UpgradeRefused."""
    with psycopg.connect(dsn, row_factory=dict_row) as conn:
        _require(conn)
        return [month for series in _SERIES for month in _months(conn, series)]


def upgrade(dsn: str, say: Say) -> int:
    """Makes hypertables of the series and returns how many rows they hold. Writers wait until it is done.

    `dsn` logs in as the owner. Everything is one transaction: whatever goes wrong, the database stays as it was.
    Days and months are empty until the worker has refreshed them, which it is asked to do.
    """
    with psycopg.connect(dsn, row_factory=dict_row) as conn, conn.transaction():
        _require(conn)
        conn.execute("SET LOCAL timezone = 'UTC'")
        conn.execute(
            "LOCK TABLE store.reading, store.usage, store.usage_day, store.usage_month IN ACCESS EXCLUSIVE MODE"
        )
        views = conn.execute(_VIEWS).fetchall()
        conn.execute("CREATE EXTENSION timescaledb")
        copied = sum(_move(conn, series, say) for series in _SERIES)
        conn.execute("SELECT gm.set_columnstore()")
        _roll_ups(conn, views)
        for series in _SERIES:
            conn.execute(sql.SQL("DROP TABLE store.{}").format(sql.Identifier(f"{series}_plain")))
        return copied


def _require(conn: Conn) -> None:
    state = conn.execute(_STATE).fetchall()[0]
    if state["done"]:
        raise UpgradeRefused("the database uses TimescaleDB already")
    if not state["available"]:
        raise UpgradeRefused("the server has no extension timescaledb: install its package first")
    if not state["loaded"]:
        raise UpgradeRefused("the server does not load timescaledb: add it to shared_preload_libraries and restart it")


def _months(conn: Conn, series: str) -> list[Month]:
    at = sql.Identifier(_SERIES[series][0])
    statement = sql.SQL(
        "SELECT date_trunc('month', {at}, 'UTC') AS start, count(*) AS rows FROM store.{series} GROUP BY 1 ORDER BY 1"
    ).format(at=at, series=sql.Identifier(series))
    return [Month(series, row["start"], row["rows"]) for row in conn.execute(statement).fetchall()]


def _move(conn: Conn, series: str, say: Say) -> int:
    at, length = _SERIES[series]
    months = _months(conn, series)
    table, old = sql.Identifier("store", series), sql.Identifier("store", f"{series}_plain")
    grants = conn.execute(_GRANTS, (f"store.{series}",)).fetchall()
    triggers = conn.execute(_TRIGGERS, (f"store.{series}",)).fetchall()
    for index in conn.execute(_INDEXES, (f"store.{series}",)).fetchall():
        conn.execute(
            sql.SQL("ALTER INDEX {} RENAME TO {}").format(
                sql.Identifier("store", index["relname"]), sql.Identifier(f"{index['relname']}_plain")
            )
        )
    conn.execute(sql.SQL("ALTER TABLE {} RENAME TO {}").format(table, sql.Identifier(f"{series}_plain")))
    conn.execute(sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING ALL)").format(table, old))
    conn.execute("SELECT create_hypertable(%s::regclass, by_range(%s, %s::interval))", (f"store.{series}", at, length))
    conn.execute(
        sql.SQL(
            "ALTER TABLE {} SET (timescaledb.enable_columnstore, timescaledb.segmentby = 'meter_id',"
            " timescaledb.orderby = {})"
        ).format(table, sql.Literal(f"channel, {at}"))
    )
    for month in months:
        _copy_month(conn, month, at)
        say(f"{series} {month.start:%Y-%m}: {month.rows} rows, the same in both")
    for grant in grants:
        conn.execute(
            sql.SQL("GRANT {} ON {} TO {}").format(sql.SQL(grant["privilege"]), table, sql.Identifier(grant["role"]))
        )
    for trigger in triggers:
        conn.execute(trigger["definition"].encode())
    return sum(month.rows for month in months)


def _copy_month(conn: Conn, month: Month, at: str) -> None:
    parts = {
        "new": sql.Identifier("store", month.series),
        "old": sql.Identifier("store", f"{month.series}_plain"),
        "at": sql.Identifier(at),
    }
    span = {"start": month.start}
    inside = sql.SQL("{at} >= %(start)s AND {at} < %(start)s + interval '1 month'").format(**parts)
    conn.execute(sql.SQL("INSERT INTO {new} SELECT * FROM {old} WHERE ").format(**parts) + inside, span)
    sums = [
        conn.execute(
            sql.SQL("SELECT count(*) AS n, sum(hash_record_extended(t, 0)::numeric) AS hash FROM {} t WHERE ").format(
                parts[name]
            )
            + inside,
            span,
        ).fetchone()
        for name in ("old", "new")
    ]
    if sums[0] != sums[1]:
        raise UpgradeRefused(f"{month.series} {month.start:%Y-%m} differs after the copy: {sums[0]} and {sums[1]}")


def _roll_ups(conn: Conn, views: Sequence[dict[str, Any]]) -> None:
    """Days and months become aggregates, and every view looks at what bears the name now."""
    conn.execute("ALTER VIEW store.usage_hour RENAME TO usage_hour_plain")
    for name in _ROLL_UPS:
        conn.execute(sql.SQL("ALTER TABLE store.{} RENAME TO {}").format(
            sql.Identifier(name), sql.Identifier(f"{name}_plain")))  # fmt: skip
    conn.execute("CALL gm.make_roll_up_views()")
    conn.execute("SELECT gm.ensure_zone(time_zone) FROM project GROUP BY time_zone")
    conn.execute("CALL gm.watch_usage()")
    for view in views:
        options = f" WITH ({view['options']})" if view["options"] else ""
        conn.execute(f"CREATE OR REPLACE VIEW {view['name']}{options} AS {view['definition']}".encode())
    conn.execute("DROP VIEW store.usage_hour_plain")
    for name in _ROLL_UPS:
        conn.execute(sql.SQL("DROP TABLE store.{}").format(sql.Identifier(f"{name}_plain")))
