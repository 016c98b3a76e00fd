"""SQL of instalment plans."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date
from decimal import Decimal
from typing import Any, LiteralString

from psycopg.types.json import Jsonb

from cloud.billing.arrears.rules import Plan, PlanBill
from cloud.billing.settlement.claims import Instalment, Schedule
from cloud.kit.db import Conn

_PLAN: LiteralString = """
    SELECT id, project_id, account_id, currency, state, reason, total, late_days, on_break, starts_on, ended_on,
           asked_by, asked_at, decided_by, decided_at, note, reinstated_on
    FROM instalment_plan
"""
_PLANS: LiteralString = (
    _PLAN
    + """
    WHERE (%(project_id)s::bigint IS NULL OR project_id = %(project_id)s)
      AND (%(account_id)s::bigint IS NULL OR account_id = %(account_id)s)
      AND (%(state)s::text IS NULL OR state = %(state)s) AND id < %(before)s
    ORDER BY id DESC LIMIT %(limit)s
"""
)
_BILLS: LiteralString = """
    SELECT i.plan_id, i.bill_id, b.number, i.principal, i.paid_before
    FROM instalment_plan_bill i JOIN bill b ON b.id = i.bill_id
    WHERE i.plan_id = ANY (%s) ORDER BY b.due_on, b.id
"""
_INSTALMENTS: LiteralString = """
    SELECT plan_id, number, due_on, amount FROM instalment WHERE plan_id = ANY (%s) ORDER BY plan_id, number
"""
# What was paid of the bills of a plan since it was made: the principal beyond `paid_before`, in order of payment.
_PAID: LiteralString = """
    SELECT plan_id, paid_on, least(principal, so_far - paid_before) AS amount
    FROM (SELECT i.plan_id, i.paid_before, a.paid_on, a.principal, a.id,
                 sum(a.principal) OVER (PARTITION BY i.plan_id, i.bill_id ORDER BY a.id) AS so_far
          FROM instalment_plan_bill i JOIN payment_allocation a ON a.bill_id = i.bill_id
          WHERE i.plan_id = ANY (%s)) AS paid
    WHERE so_far > paid_before AND principal > 0 ORDER BY paid_on, id
"""
_INSERT: LiteralString = """
    INSERT INTO instalment_plan (project_id, account_id, currency, reason, total, asked_by)
    VALUES (%(project_id)s, %(account_id)s, %(currency)s, %(reason)s, %(total)s, %(asked_by)s) RETURNING id
"""
_INSERT_BILLS: LiteralString = """
    INSERT INTO instalment_plan_bill (project_id, plan_id, bill_id, principal, paid_before)
    SELECT %(project_id)s, %(plan_id)s, bill_id, principal, paid_before
    FROM jsonb_to_recordset(%(rows)s) AS new (bill_id bigint, principal numeric, paid_before numeric)
"""
_INSERT_INSTALMENTS: LiteralString = """
    INSERT INTO instalment (project_id, plan_id, number, due_on, amount)
    SELECT %(project_id)s, %(plan_id)s, number, due_on, amount
    FROM jsonb_to_recordset(%(rows)s) AS new (number int, due_on date, amount numeric)
"""
_APPROVE: LiteralString = """
    UPDATE instalment_plan
    SET state = 'active', starts_on = %(on)s, late_days = %(late_days)s, on_break = %(on_break)s,
        decided_by = %(by)s, decided_at = now(), note = %(note)s
    WHERE id = %(id)s
"""
_REJECT: LiteralString = """
    UPDATE instalment_plan SET state = 'rejected', decided_by = %(by)s, decided_at = now(), note = %(note)s
    WHERE id = %(id)s
"""
_END: LiteralString = """
    UPDATE instalment_plan
    SET state = %(state)s, ended_on = %(on)s, note = CASE WHEN %(note)s = '' THEN note ELSE %(note)s END
    WHERE id = %(id)s
"""
_REINSTATE: LiteralString = """
    UPDATE instalment_plan SET state = 'active', ended_on = NULL, reinstated_on = %(on)s, note = %(note)s
    WHERE id = %(id)s
"""
# An active plan is kept once nothing of the principal of its bills is open.
_END_KEPT: LiteralString = """
    UPDATE instalment_plan p SET state = 'kept', ended_on = (SELECT max(b.settled_on) FROM instalment_plan_bill i
                                                             JOIN bill b ON b.id = i.bill_id WHERE i.plan_id = p.id)
    WHERE p.state = 'active' AND p.id IN (SELECT plan_id FROM instalment_plan_bill WHERE bill_id = ANY (%s))
      AND NOT EXISTS (SELECT FROM instalment_plan_bill i JOIN bill b ON b.id = i.bill_id
                      WHERE i.plan_id = p.id AND b.state <> 'paid')
"""
_ACTIVE_OF: LiteralString = _PLAN + "WHERE state = 'active' AND account_id = ANY (%s) ORDER BY id"
_LOCK: LiteralString = _PLAN + "WHERE id = %s FOR UPDATE"
_LOCK_ACTIVE: LiteralString = _PLAN + "WHERE state = 'active' AND project_id = %s ORDER BY id FOR UPDATE"
# Before the plans: whoever pays the last bill of a plan holds that and then ends the plan.
_LOCK_BILLS: LiteralString = """
    SELECT b.id FROM bill b
    WHERE b.id IN (SELECT i.bill_id FROM instalment_plan_bill i JOIN instalment_plan p ON p.id = i.plan_id
                   WHERE (%(plan_id)s::bigint IS NULL AND p.state = 'active' AND p.project_id = %(project_id)s)
                      OR p.id = %(plan_id)s)
    ORDER BY b.id FOR UPDATE
"""


async def insert(
    conn: Conn,
    values: Mapping[str, object],
    bills: Sequence[Mapping[str, object]],
    instalments: Sequence[Instalment],
) -> int:
    """A plan that waits for approval, with its bills and instalments. Raises psycopg UniqueViolation for another."""
    row = await (await conn.execute(_INSERT, values)).fetchone()
    assert row is not None
    head = {"project_id": values["project_id"], "plan_id": row["id"]}
    await conn.execute(_INSERT_BILLS, {**head, "rows": Jsonb(list(bills))})
    await conn.execute(_INSERT_INSTALMENTS, {**head, "rows": Jsonb([asdict(one) for one in instalments])})
    return int(row["id"])


async def approve(
    conn: Conn, plan_id: int, *, on: date, late_days: int, on_break: str, by: int | None, note: str
) -> None:
    """The plan holds from this day on."""
    values = {"id": plan_id, "on": on, "late_days": late_days, "on_break": on_break, "by": by, "note": note}
    await conn.execute(_APPROVE, values)


async def reject(conn: Conn, plan_id: int, by: int | None, note: str) -> None:
    """The plan is refused."""
    await conn.execute(_REJECT, {"id": plan_id, "by": by, "note": note})


async def end(conn: Conn, plan_id: int, state: str, on: date, note: str = "") -> None:
    """An active plan ends: kept, broken or cancelled."""
    await conn.execute(_END, {"id": plan_id, "state": state, "on": on, "note": note})


async def reinstate(conn: Conn, plan_id: int, on: date, note: str) -> None:
    """A broken plan holds again. Raises psycopg UniqueViolation where the account has another one by now."""
    await conn.execute(_REINSTATE, {"id": plan_id, "on": on, "note": note})


async def end_kept(conn: Conn, bill_ids: Sequence[int]) -> None:
    """Ends active plans whose last open bills were just paid."""
    await conn.execute(_END_KEPT, (list(bill_ids),))


async def locked(conn: Conn, plan_id: int) -> Plan | None:
    """One plan, locked, and its bills before it."""
    await conn.execute(_LOCK_BILLS, {"plan_id": plan_id, "project_id": None})
    found = await _whole(conn, await (await conn.execute(_LOCK, (plan_id,))).fetchall())
    return found[0] if found else None


async def plan(conn: Conn, plan_id: int) -> Plan | None:
    """One plan."""
    found = await _whole(conn, await (await conn.execute(_PLAN + "WHERE id = %s", (plan_id,))).fetchall())
    return found[0] if found else None


async def plans(
    conn: Conn, *, project_id: int | None, account_id: int | None, state: str | None, before: int, limit: int
) -> list[Plan]:
    """Plans, newest first."""
    values = {"project_id": project_id, "account_id": account_id, "state": state, "before": before, "limit": limit}
    return await _whole(conn, await (await conn.execute(_PLANS, values)).fetchall())


async def lock_active(conn: Conn, project_id: int) -> list[Plan]:
    """The active plans of a project, locked, and their bills before them."""
    await conn.execute(_LOCK_BILLS, {"plan_id": None, "project_id": project_id})
    return await _whole(conn, await (await conn.execute(_LOCK_ACTIVE, (project_id,))).fetchall())


async def active_of(conn: Conn, account_ids: Sequence[int]) -> list[Plan]:
    """The active plans of accounts; an account has one at most."""
    return await _whole(conn, await (await conn.execute(_ACTIVE_OF, (list(account_ids),))).fetchall())


async def schedules(conn: Conn, account_ids: Sequence[int]) -> dict[int, Schedule]:
    """What active plans say about payments, by account."""
    return {
        one.account_id: Schedule(tuple(bill.bill_id for bill in one.bills), one.instalments, one.paid_total)
        for one in await active_of(conn, account_ids)
    }


async def _whole(conn: Conn, rows: Sequence[dict[str, Any]]) -> list[Plan]:
    if not rows:
        return []
    ids = [row["id"] for row in rows]
    bills: dict[int, list[PlanBill]] = defaultdict(list)
    for row in await (await conn.execute(_BILLS, (ids,))).fetchall():
        bills[row.pop("plan_id")].append(PlanBill(**row))
    instalments: dict[int, list[Instalment]] = defaultdict(list)
    for row in await (await conn.execute(_INSTALMENTS, (ids,))).fetchall():
        instalments[row.pop("plan_id")].append(Instalment(**row))
    paid: dict[int, list[tuple[date, Decimal]]] = defaultdict(list)
    for row in await (await conn.execute(_PAID, (ids,))).fetchall():
        paid[row["plan_id"]].append((row["paid_on"], row["amount"]))
    return [
        Plan(
            **row,
            bills=tuple(bills[row["id"]]),
            instalments=tuple(instalments[row["id"]]),
            paid=tuple(paid[row["id"]]),
        )
        for row in rows
    ]
