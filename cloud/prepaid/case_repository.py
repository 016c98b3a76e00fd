"""SQL of the cases of switching supplies off and on, and of their steps."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, LiteralString
from uuid import UUID

from psycopg import sql

from cloud.kit.db import Conn
from cloud.prepaid.records import SupplyCase, SupplyStep

_CASE: LiteralString = """
    SELECT c.id, c.project_id, c.account_id, c.agreement_id, a.service, a.meter_id, c.state, c.hold, c.ending,
           c.opened_on, c.opened_at, c.available, c.notified_at, c.second_notice_at, c.confirmed_at, c.confirmed_by,
           c.cut_id, c.cuts, c.off_at, c.restore_id, c.restores, c.restoring_since, c.alarmed_at, c.closed_at,
           c.changed_at
    FROM supply_case c JOIN service_agreement a ON a.id = c.agreement_id
"""
_LIST: LiteralString = (
    _CASE
    + """
    WHERE (%(project_id)s::bigint IS NULL OR c.project_id = %(project_id)s)
      AND (%(account_id)s::bigint IS NULL OR c.account_id = %(account_id)s)
      AND (%(state)s::text IS NULL OR c.state = %(state)s)
      AND (NOT %(only_open)s OR c.state NOT IN ('reconnected', 'cancelled')) AND c.id < %(before)s
    ORDER BY c.id DESC LIMIT %(limit)s
"""
)
_OPEN_OF: LiteralString = (
    _CASE + "WHERE c.account_id = ANY (%s) AND c.state NOT IN ('reconnected', 'cancelled') ORDER BY c.id"
)
# Cases in which minutes count: a cut that may be given, an order under way, a supply to be given back.
_IN_HAND: LiteralString = """
    SELECT id FROM supply_case
    WHERE project_id = %s AND state IN ('due', 'ordered', 'off', 'reconnecting') ORDER BY id
"""
_OPEN_IDS: LiteralString = """
    SELECT id FROM supply_case WHERE project_id = %s AND state NOT IN ('reconnected', 'cancelled') ORDER BY id
"""
_INSERT: LiteralString = """
    INSERT INTO supply_case (project_id, account_id, agreement_id, opened_on, opened_at, available, changed_at)
    VALUES (%(project_id)s, %(account_id)s, %(agreement_id)s, %(opened_on)s, %(now)s, %(available)s, %(now)s)
    ON CONFLICT (agreement_id) WHERE state NOT IN ('reconnected', 'cancelled') DO NOTHING RETURNING id
"""
_STEP: LiteralString = """
    INSERT INTO supply_step (project_id, case_id, at, step, reason, detail, command_id, made_by)
    VALUES (%(project_id)s, %(case_id)s, %(at)s, %(step)s, %(reason)s, %(detail)s, %(command_id)s, gm.user_id())
"""
_STEPS: LiteralString = """
    SELECT id, case_id, at, step, reason, detail, command_id, made_by FROM supply_step WHERE case_id = %s ORDER BY id
"""
_CHANGED: Final = frozenset(
    {"state", "hold", "ending", "notified_at", "second_notice_at", "confirmed_at", "confirmed_by", "cut_id", "cuts",
     "off_at", "restore_id", "restores", "restoring_since", "alarmed_at", "closed_at", "changed_at"}
)  # fmt: skip


async def cases(
    conn: Conn,
    *,
    project_id: int | None,
    account_id: int | None,
    state: str | None,
    only_open: bool,
    before: int,
    limit: int,
) -> list[SupplyCase]:
    """Cases, newest first."""
    values = {
        "project_id": project_id,
        "account_id": account_id,
        "state": state,
        "only_open": only_open,
        "before": before,
        "limit": limit,
    }
    return [SupplyCase(**row) for row in await (await conn.execute(_LIST, values)).fetchall()]


async def case(conn: Conn, case_id: int) -> SupplyCase | None:
    """One case."""
    row = await (await conn.execute(_CASE + "WHERE c.id = %s", (case_id,))).fetchone()
    return None if row is None else SupplyCase(**row)


async def locked(conn: Conn, case_id: int) -> SupplyCase | None:
    """One case, as it stands after whoever else had it; ours until the transaction ends."""
    row = await (await conn.execute("SELECT id FROM supply_case WHERE id = %s FOR UPDATE", (case_id,))).fetchone()
    return None if row is None else await case(conn, case_id)


async def open_of(conn: Conn, account_ids: Sequence[int]) -> list[SupplyCase]:
    """Open cases of accounts."""
    return [SupplyCase(**row) for row in await (await conn.execute(_OPEN_OF, (list(account_ids),))).fetchall()]


async def in_hand(conn: Conn, project_id: int) -> list[int]:
    """Cases in which minutes count."""
    return [row["id"] for row in await (await conn.execute(_IN_HAND, (project_id,))).fetchall()]


async def open_ids(conn: Conn, project_id: int) -> list[int]:
    """All open cases of a project."""
    return [row["id"] for row in await (await conn.execute(_OPEN_IDS, (project_id,))).fetchall()]


async def insert(
    conn: Conn, project_id: int, account_id: int, agreement_id: int, opened_on: date, now: datetime, available: Decimal
) -> int | None:
    """A new case; None when the agreement has one."""
    values = {
        "project_id": project_id,
        "account_id": account_id,
        "agreement_id": agreement_id,
        "opened_on": opened_on,
        "now": now,
        "available": available,
    }
    row = await (await conn.execute(_INSERT, values)).fetchone()
    return None if row is None else int(row["id"])


async def change(conn: Conn, case_id: int, changes: Mapping[str, Any]) -> None:
    """Changes a case that is locked."""
    assert changes.keys() <= _CHANGED
    assignments = sql.SQL(", ").join(
        sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder(name)) for name in changes
    )
    statement = sql.SQL("UPDATE supply_case SET {} WHERE id = {}").format(assignments, sql.Placeholder("case_id"))
    await conn.execute(statement, {**changes, "case_id": case_id})


async def note(
    conn: Conn,
    found: SupplyCase,
    at: datetime,
    step: str,
    reason: str = "",
    detail: str = "",
    command_id: UUID | None = None,
) -> None:
    """Writes down what happened in a case."""
    values = {
        "project_id": found.project_id,
        "case_id": found.id,
        "at": at,
        "step": step,
        "reason": reason,
        "detail": detail,
        "command_id": command_id,
    }
    await conn.execute(_STEP, values)


async def steps(conn: Conn, case_id: int) -> list[SupplyStep]:
    """What happened in a case, in order."""
    return [SupplyStep(**row) for row in await (await conn.execute(_STEPS, (case_id,))).fetchall()]
