"""SQL of agreements, terms of payment, bills and their lines."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, LiteralString

from psycopg.types.json import Jsonb

from cloud.billing.records import (
    Agreement,
    AgreementKind,
    BillFilter,
    BillLine,
    BillRow,
    Charge,
    Charged,
    Cited,
    LateFeeRow,
    Uncharged,
)
from cloud.kit.db import Conn
from cloud.kit.periods import Period

AGREEMENT_COLUMNS: LiteralString = """
    a.id, a.project_id, a.account_id, a.service, a.tariff_id, a.meter_id, a.unit_id,
    lower(a.valid) AS valid_from, upper(a.valid) AS valid_until, a.capacity_va, a.area, a.single,
    a.kind, a.amount, a.description, a.taken_back_at IS NOT NULL AS taken_back, a.time_of_use, a.registers
"""
_AGREEMENT: LiteralString = "SELECT {columns} FROM service_agreement a".replace("{columns}", AGREEMENT_COLUMNS)
_INSERT_AGREEMENT: LiteralString = """
    INSERT INTO service_agreement AS a (project_id, account_id, service, tariff_id, meter_id, unit_id, valid,
                                        capacity_va, area, single, kind, amount, description, time_of_use, registers)
    SELECT project_id, account_id, service, tariff_id, meter_id, unit_id, daterange(valid_from, valid_until),
           capacity_va, area, single, kind, amount, description, time_of_use, registers
    FROM jsonb_to_recordset(%s) AS new (project_id bigint, account_id bigint, service text, tariff_id bigint,
                                        meter_id bigint, unit_id bigint, valid_from date, valid_until date,
                                        capacity_va bigint, area numeric, single boolean, kind text, amount numeric,
                                        description text, time_of_use text, registers jsonb)
    RETURNING {columns}
""".replace("{columns}", AGREEMENT_COLUMNS)
_AGREEMENTS: LiteralString = (
    _AGREEMENT
    + """
    WHERE (%(project_id)s::bigint IS NULL OR a.project_id = %(project_id)s)
      AND (%(account_id)s::bigint IS NULL OR a.account_id = %(account_id)s)
      AND (%(meter_id)s::bigint IS NULL OR a.meter_id = %(meter_id)s)
      AND (%(kind)s::text IS NULL OR a.kind = %(kind)s)
      AND (%(on)s::date IS NULL OR a.valid @> %(on)s::date) AND a.id > %(after)s
    ORDER BY a.id LIMIT %(limit)s
"""
)
# What an agreement covers of the period, minus what is charged already: the parts that are left.
_UNCHARGED: LiteralString = """
    SELECT {columns}, lower(part) AS start, upper(part) AS end
    FROM service_agreement a
    CROSS JOIN LATERAL unnest(
        datemultirange(a.valid * daterange(%(start)s, %(end)s))
        - coalesce((SELECT range_agg(c.period) FROM charge c WHERE c.agreement_id = a.id AND c.service = a.service),
                   '{}'::datemultirange)) AS part
    WHERE a.project_id = %(project_id)s AND a.kind = 'tariff' AND a.valid && daterange(%(start)s, %(end)s)
      AND (%(account_ids)s::bigint[] IS NULL OR a.account_id = ANY (%(account_ids)s))
    ORDER BY a.account_id, a.id, part
""".replace("{columns}", AGREEMENT_COLUMNS)
# What holds of a charge is its latest revision.
_CHARGED: LiteralString = """
    SELECT c.agreement_id, lower(c.period) AS start, upper(c.period) AS end,
           coalesce(r.quantity, c.quantity, 0) AS quantity, coalesce(r.exact_amount, c.exact_amount) AS exact_amount
    FROM charge c
    LEFT JOIN LATERAL (SELECT * FROM adjustment WHERE charge_id = c.id ORDER BY revision DESC LIMIT 1) r ON true
    WHERE c.agreement_id = ANY (%(agreement_ids)s) AND c.period && daterange(%(start)s, %(end)s)
    ORDER BY c.agreement_id, c.period
"""
_CITED: LiteralString = """
    SELECT c.meter_id, c.service, lower(c.period) AS start, upper(c.period) AS end,
           CASE WHEN r.id IS NULL THEN c.opening_at ELSE r.opening_at END AS opening_at,
           CASE WHEN r.id IS NULL THEN c.opening_value ELSE r.opening_value END AS opening_value,
           CASE WHEN r.id IS NULL THEN c.closing_at ELSE r.closing_at END AS closing_at,
           CASE WHEN r.id IS NULL THEN c.closing_value ELSE r.closing_value END AS closing_value,
           CASE WHEN r.id IS NULL THEN c.estimate ELSE r.estimate END IS NOT NULL AS estimated
    FROM charge c
    LEFT JOIN LATERAL (SELECT * FROM adjustment WHERE charge_id = c.id ORDER BY revision DESC LIMIT 1) r ON true
    WHERE c.meter_id = ANY (%(meter_ids)s)
      AND c.period && daterange(%(start)s::date - 1, %(end)s::date + 1)
"""
# The same of charges by registers of price periods: what they cite is in their inputs.
_CITED_REGISTERS: LiteralString = """
    SELECT c.meter_id, c.service, lower(c.period) AS start, upper(c.period) AS end,
           coalesce(r.opening_at, c.opening_at) AS opening_at,
           coalesce(r.opening_value, c.opening_value) AS opening_value,
           coalesce(r.closing_at, c.closing_at) AS closing_at,
           coalesce(r.closing_value, c.closing_value) AS closing_value,
           coalesce(r.inputs, kept.inputs) -> 'registers' AS registers
    FROM charge c
    JOIN bill b ON b.id = c.bill_id
    LEFT JOIN LATERAL (SELECT * FROM adjustment WHERE charge_id = c.id ORDER BY revision DESC LIMIT 1) r ON true
    LEFT JOIN LATERAL (SELECT one AS inputs FROM jsonb_array_elements(b.inputs -> 'charges') AS one
                       WHERE one -> 'agreement' = to_jsonb(c.agreement_id)
                         AND one ->> 'period' = lower(c.period) || '/' || upper(c.period)) kept ON true
    WHERE c.meter_id = ANY (%(meter_ids)s) AND c.opening_at IS NOT NULL
      AND c.period && daterange(%(start)s::date - 1, %(end)s::date + 1)
      AND jsonb_typeof(coalesce(r.inputs, kept.inputs) -> 'registers') = 'array'
"""
_BILL: LiteralString = """
    SELECT b.id, b.project_id, b.account_id, b.number, lower(b.period) AS start, upper(b.period) AS end, b.currency,
           b.total, b.issued_on, b.due_on, b.state, b.settled_on, b.kind,
           coalesce(p.principal, 0) AS paid, coalesce(p.credited, 0) AS credited,
           coalesce(p.late_fee, 0) - coalesce(f.returned, 0) AS late_fee_paid,
           coalesce(f.amount - f.waived, 0) AS late_fee, f.through AS late_fee_through,
           coalesce(d.amount, 0) AS disputed,
           EXISTS (SELECT FROM instalment_plan_bill i JOIN instalment_plan t ON t.id = i.plan_id
                   WHERE i.bill_id = b.id AND t.state = 'active') AS in_plan,
           EXISTS (SELECT FROM charge e WHERE e.bill_id = b.id AND e.estimate IS NOT NULL) AS estimated
    FROM bill b
    LEFT JOIN LATERAL (SELECT sum(principal) AS principal, sum(late_fee) AS late_fee,
                              sum(principal) FILTER (WHERE credit_note_id IS NOT NULL) AS credited
                       FROM payment_allocation WHERE bill_id = b.id) p ON true
    LEFT JOIN LATERAL (SELECT sum(CASE q.state WHEN 'open' THEN coalesce(q.amount, b.total)
                                        ELSE q.upheld - coalesce((SELECT sum(c.amount) FROM dispute_credit c
                                                                  WHERE c.dispute_id = q.id), 0) END) AS amount
                       FROM bill_dispute q
                       WHERE q.bill_id = b.id
                         AND (q.state = 'open' OR (q.state = 'upheld' AND q.credited_on IS NULL))) d ON true
    LEFT JOIN late_fee f ON f.bill_id = b.id
"""
_OF_PAYER: LiteralString = """
    b.account_id IN (SELECT w.id FROM account w JOIN person n ON n.id = w.person_id
                     LEFT JOIN unit u ON u.id = w.unit_id LEFT JOIN building g ON g.id = u.building_id
                     WHERE strpos(lower(concat_ws(E'\n', w.number, g.name || ' ' || u.code, n.name)),
                                  lower(%(search)s)) > 0)
"""
_BILLS: LiteralString = (
    _BILL
    + """
    WHERE (%(project_id)s::bigint IS NULL OR b.project_id = %(project_id)s)
      AND (%(account_id)s::bigint IS NULL OR b.account_id = %(account_id)s)
      AND (%(account_ids)s::bigint[] IS NULL OR b.account_id = ANY (%(account_ids)s))
      AND (%(run_id)s::bigint IS NULL OR b.run_id = %(run_id)s)
      AND (%(state)s::text IS NULL OR b.state = %(state)s)
      AND (%(kinds)s::text[] IS NULL OR b.kind = ANY (%(kinds)s))
      AND (%(estimated)s::boolean IS NULL
           OR EXISTS (SELECT FROM charge e WHERE e.bill_id = b.id AND e.estimate IS NOT NULL) = %(estimated)s)
      AND (%(search)s::text IS NULL OR strpos(lower(b.number), lower(%(search)s)) > 0 OR {of_payer})
      AND (%(before)s::bigint IS NULL OR b.id < %(before)s)
    ORDER BY b.id DESC LIMIT %(limit)s
"""
).replace("{of_payer}", _OF_PAYER)
# Locked by a statement of their own: only the next one sees the allocations of the transaction that was waited for.
_LOCK_OF_ACCOUNTS: LiteralString = """
    SELECT id FROM bill WHERE account_id = ANY (%s) AND state IN ('issued', 'disputed', 'paid') ORDER BY id FOR UPDATE
"""
_LOCK_SETTLED: LiteralString = """
    SELECT id FROM bill
    WHERE (account_id = ANY (%(account_ids)s) AND state IN ('issued', 'disputed')) OR id = ANY (%(bill_ids)s)
    ORDER BY id FOR UPDATE
"""
_LOCK_UNPAID: LiteralString = """
    SELECT id FROM bill WHERE account_id = ANY (%s) AND state IN ('issued', 'disputed') ORDER BY id FOR UPDATE
"""
_LOCK_OVERDUE: LiteralString = """
    SELECT id FROM bill WHERE project_id = %s AND state IN ('issued', 'disputed') AND due_on < %s
    ORDER BY id FOR UPDATE
"""
_LOCK: LiteralString = "SELECT id FROM bill WHERE id = ANY (%s) ORDER BY id FOR UPDATE"
_BILLS_BY_ID: LiteralString = _BILL + "WHERE b.id = ANY (%s) ORDER BY b.due_on, b.id"
_UNPAID_OF: LiteralString = (
    _BILL + "WHERE b.account_id = %s AND b.state IN ('issued', 'disputed') ORDER BY b.due_on, b.id"
)
_BILL_INPUTS: LiteralString = "SELECT engine_version, inputs FROM bill WHERE id = %s"
_CHARGES: LiteralString = """
    SELECT id, agreement_id, service, lower(period) AS start, upper(period) AS end, tariff_version_id, meter_id,
           channel, opening_at, opening_value, closing_at, closing_value, quantity, amount, estimate,
           estimated_days
    FROM charge WHERE bill_id = %s ORDER BY id
"""
_LINES: LiteralString = """
    SELECT position, kind, service, component, tier, time_period, quantity, unit, price, amount, detail, charge_id,
           season
    FROM bill_line WHERE bill_id = %s ORDER BY position
"""
_LATE_FEE: LiteralString = "SELECT through, amount, waived, steps FROM late_fee WHERE bill_id = %s"
_TOTALS: LiteralString = """
    SELECT (SELECT coalesce(sum(total), 0) FROM bill
            WHERE project_id = %(project_id)s AND state NOT IN ('draft', 'void')
              AND period && daterange(%(start)s, %(end)s)) AS billed,
           (SELECT coalesce(sum(p.amount), 0) FROM posting p JOIN journal j ON j.id = p.journal_id
            WHERE j.project_id = %(project_id)s AND j.kind = 'payment' AND p.ledger_account LIKE 'cash:%%'
              AND j.booked_on >= %(start)s AND j.booked_on < %(end)s) AS collected,
           coalesce(sum(due.amount), 0) AS open,
           coalesce(sum(due.amount) FILTER (WHERE due.due_on < %(today)s), 0) AS overdue
    FROM (SELECT b.due_on, b.total - coalesce((SELECT sum(a.principal) FROM payment_allocation a
                                               WHERE a.bill_id = b.id), 0) AS amount
          FROM bill b WHERE b.project_id = %(project_id)s AND b.state IN ('issued', 'disputed')) AS due
"""


async def _rows(
    conn: Conn, query: LiteralString, values: Sequence[object] | Mapping[str, object]
) -> list[dict[str, Any]]:
    return await (await conn.execute(query, values)).fetchall()


async def insert_agreements(conn: Conn, rows: Sequence[Mapping[str, object]]) -> list[Agreement]:
    """New agreements, in the order of `rows`."""
    return [Agreement(**row) for row in await _rows(conn, _INSERT_AGREEMENT, (Jsonb(list(rows)),))]


async def agreements(
    conn: Conn,
    *,
    project_id: int | None = None,
    account_id: int | None = None,
    meter_id: int | None = None,
    kind: AgreementKind | None = None,
    on: date | None = None,
    after: int = 0,
    limit: int = 1000,
) -> list[Agreement]:
    """Agreements by id."""
    values = {
        "project_id": project_id,
        "account_id": account_id,
        "meter_id": meter_id,
        "kind": kind,
        "on": on,
        "after": after,
        "limit": limit,
    }
    return [Agreement(**row) for row in await _rows(conn, _AGREEMENTS, values)]


async def agreement(conn: Conn, agreement_id: int, *, lock: bool = False) -> Agreement | None:
    """One agreement; `lock`: nobody else changes it before this transaction ends."""
    rows = await _rows(conn, _AGREEMENT + " WHERE a.id = %s" + (" FOR UPDATE" if lock else ""), (agreement_id,))
    return Agreement(**rows[0]) if rows else None


async def uncharged(
    conn: Conn, project_id: int, period: Period, account_ids: Sequence[int] | None = None
) -> list[Uncharged]:
    """What no bill has charged yet of the agreements within `period`, by account, agreement and time."""
    values = {
        "project_id": project_id,
        "start": period.start,
        "end": period.end,
        "account_ids": None if account_ids is None else list(account_ids),
    }
    return [Uncharged(period=_period(row), agreement=Agreement(**row)) for row in await _rows(conn, _UNCHARGED, values)]


async def charged(conn: Conn, agreement_ids: Sequence[int], period: Period) -> list[Charged]:
    """What was charged of these agreements on days of `period`."""
    values = {"agreement_ids": list(agreement_ids), "start": period.start, "end": period.end}
    return [Charged(period=_period(row), **row) for row in await _rows(conn, _CHARGED, values)]


async def cited(conn: Conn, meter_ids: Sequence[int], period: Period) -> list[Cited]:
    """What charges of these meters cite that lie in `period` or touch it."""
    values = {"meter_ids": list(meter_ids), "start": period.start, "end": period.end}
    return [Cited(period=_period(row), **row) for row in await _rows(conn, _CITED, values)]


async def cited_registers(conn: Conn, meter_ids: Sequence[int], period: Period) -> list[Cited]:
    """The same of charges by registers of price periods, with those."""
    values = {"meter_ids": list(meter_ids), "start": period.start, "end": period.end}
    return [Cited(period=_period(row), **row) for row in await _rows(conn, _CITED_REGISTERS, values)]


async def bills(conn: Conn, wanted: BillFilter, *, before: int | None, limit: int) -> list[BillRow]:
    """Bills, newest first."""
    values = {
        "project_id": wanted.project_id,
        "account_id": wanted.account_id,
        "account_ids": None if wanted.account_ids is None else list(wanted.account_ids),
        "run_id": wanted.run_id,
        "state": wanted.state,
        "kinds": None if wanted.kinds is None else list(wanted.kinds),
        "estimated": wanted.estimated,
        "search": wanted.search,
        "before": before,
        "limit": limit,
    }
    return [_bill(row) for row in await _rows(conn, _BILLS, values)]


async def bill(conn: Conn, bill_id: int) -> BillRow | None:
    """One bill."""
    rows = await _rows(conn, _BILL + "WHERE b.id = %s", (bill_id,))
    return _bill(rows[0]) if rows else None


async def lock_bills_of(conn: Conn, account_ids: Sequence[int], *, paid: bool) -> list[BillRow]:
    """Issued bills of accounts, with or without those whose principal is `paid`, oldest due first, locked.

    Only one payment at a time settles them.
    """
    query = _LOCK_OF_ACCOUNTS if paid else _LOCK_UNPAID
    return await bills_by_id(conn, [row["id"] for row in await _rows(conn, query, (list(account_ids),))])


async def lock_to_settle(conn: Conn, account_ids: Sequence[int], bill_ids: Sequence[int]) -> None:
    """Locks the unpaid bills of accounts, and these, in one order; the accounts themselves are locked before."""
    await conn.execute(_LOCK_SETTLED, {"account_ids": list(account_ids), "bill_ids": list(bill_ids)})


async def unpaid_bills_of(conn: Conn, account_id: int) -> list[BillRow]:
    """Issued bills of an account of which principal is open, oldest due first; not locked."""
    return [_bill(row) for row in await _rows(conn, _UNPAID_OF, (account_id,))]


async def lock_bills(conn: Conn, bill_ids: Sequence[int]) -> list[BillRow]:
    """These bills, oldest due first, locked."""
    return await bills_by_id(conn, [row["id"] for row in await _rows(conn, _LOCK, (list(bill_ids),))])


async def lock_overdue_bills(conn: Conn, project_id: int, today: date) -> list[BillRow]:
    """Issued bills that were due before today, locked."""
    return await bills_by_id(conn, [row["id"] for row in await _rows(conn, _LOCK_OVERDUE, (project_id, today))])


async def bills_by_id(conn: Conn, bill_ids: Sequence[int]) -> list[BillRow]:
    """Bills, oldest due first."""
    return [_bill(row) for row in await _rows(conn, _BILLS_BY_ID, (list(bill_ids),))]


async def bill_inputs(conn: Conn, bill_id: int) -> tuple[str, dict[str, Any]]:
    """Engine version and inputs of a bill that exists."""
    row = (await _rows(conn, _BILL_INPUTS, (bill_id,)))[0]
    return str(row["engine_version"]), row["inputs"]


async def charges(conn: Conn, bill_id: int) -> tuple[Charge, ...]:
    """Charges of a bill with their lines."""
    lines = [BillLine(**row) for row in await _rows(conn, _LINES, (bill_id,))]
    return tuple(
        Charge(period=_period(row), lines=tuple(line for line in lines if line.charge_id == row["id"]), **row)
        for row in await _rows(conn, _CHARGES, (bill_id,))
    )


async def lines(conn: Conn, bill_id: int) -> tuple[BillLine, ...]:
    """All lines of a bill, also those that correct charges of earlier ones."""
    return tuple(BillLine(**row) for row in await _rows(conn, _LINES, (bill_id,)))


async def run_of(conn: Conn, bill_id: int) -> int | None:
    """The run that made a bill; None for notes."""
    rows = await _rows(conn, "SELECT run_id FROM bill WHERE id = %s", (bill_id,))
    return None if not rows else rows[0]["run_id"]


async def late_fee(conn: Conn, bill_id: int) -> LateFeeRow | None:
    """The late fee of a bill."""
    rows = await _rows(conn, _LATE_FEE, (bill_id,))
    return LateFeeRow(**rows[0]) if rows else None


async def totals(conn: Conn, project_id: int, period: Period, today: date) -> dict[str, Any]:
    """Billed for the period, collected in it, open and overdue today."""
    values = {"project_id": project_id, "start": period.start, "end": period.end, "today": today}
    return (await _rows(conn, _TOTALS, values))[0]


def _bill(row: dict[str, Any]) -> BillRow:
    return BillRow(period=_period(row), **row)


def _period(row: dict[str, Any]) -> Period:
    """Takes `start` and `end` out of a row."""
    return Period(row.pop("start"), row.pop("end"))
