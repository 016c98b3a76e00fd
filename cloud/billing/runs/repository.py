"""SQL of bill runs: the run itself, and drafts, charges and lines written for many accounts at once."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, LiteralString

from psycopg.types.json import Jsonb

from cloud.billing.corrections.standings import TAXES_OF_LINE
from cloud.billing.records import BillKind, BillRun, RunStep
from cloud.kit.db import Conn
from cloud.kit.periods import Period

_INSERT_RUN: LiteralString = """
    INSERT INTO bill_run (project_id, period, created_by, issue_at_once, open_exceptions, missing_readings,
                          estimate_limit, estimate_reason, account_id, repeats_id, mail_bills)
    VALUES (%(project_id)s, daterange(%(start)s, %(end)s), %(created_by)s, %(issue_at_once)s, %(open_exceptions)s,
            %(missing_readings)s, %(estimate_limit)s, %(estimate_reason)s, %(account_id)s, %(repeats_id)s,
            %(mail_bills)s)
    RETURNING id
"""
# Agreements of which some day of the period is charged by no bill yet.
_UNCHARGED: LiteralString = """
    FROM service_agreement a
    WHERE a.project_id = %(project_id)s AND a.kind = 'tariff' AND a.valid && daterange(%(start)s, %(end)s)
      AND NOT isempty(range_merge(
          datemultirange(a.valid * daterange(%(start)s, %(end)s))
          - coalesce((SELECT range_agg(c.period) FROM charge c WHERE c.agreement_id = a.id AND c.service = a.service),
                     '{}'::datemultirange)))
"""
_UNCHARGED_ACCOUNTS: LiteralString = "SELECT DISTINCT a.account_id" + _UNCHARGED + "ORDER BY a.account_id"
_UNCHARGED_METERS: LiteralString = (
    "SELECT DISTINCT a.meter_id, a.account_id"
    + _UNCHARGED
    + """
      AND a.meter_id IS NOT NULL AND (%(accounts)s::bigint[] IS NULL OR a.account_id = ANY (%(accounts)s))
    ORDER BY a.meter_id, a.account_id
"""
)
# A worker that died for good leaves its run behind: it must not block the project for ever.
_RELEASE_ABANDONED: LiteralString = """
    UPDATE bill_run r SET state = 'failed', finished_at = now()
    FROM job j
    WHERE r.project_id = %s AND r.state = 'running' AND j.id = r.job_id AND j.state IN ('done', 'failed', 'cancelled')
"""
# `done` of `of` accounts: how far the job is that makes the drafts or issues them; why its last attempt broke off.
_RUN: LiteralString = """
    SELECT r.id, r.project_id, lower(r.period) AS start, upper(r.period) AS end, r.state, r.accounts, r.billed,
           r.failed, r.total, p.currency, r.job_id, r.created_at, r.finished_at, r.issue_at_once, r.open_exceptions,
           r.missing_readings, r.estimate_limit, r.estimate_reason, r.estimated,
           r.approved_by, r.approved_at, r.issue_job_id, r.account_id, r.repeats_id, r.mail_bills, r.step,
           coalesce(j.progress, 0) AS done, coalesce(j.total, 0) AS of,
           coalesce(j.state IN ('failed', 'cancelled'), false) AS gave_up, j.error AS broke_off
    FROM bill_run r JOIN project p ON p.id = r.project_id
    LEFT JOIN job j ON j.id = coalesce(r.issue_job_id, r.job_id)
"""
_RUNS: LiteralString = (
    _RUN
    + """
    WHERE (%(project_id)s::bigint IS NULL OR r.project_id = %(project_id)s)
      AND (%(before)s::bigint IS NULL OR r.id < %(before)s)
    ORDER BY r.id DESC LIMIT %(limit)s
"""
)
# A day that no charge holds is charged by what is known now. Rows that a worker re-rates by are his.
_FORGET_UNCHARGED: LiteralString = """
    DELETE FROM late_usage WHERE id IN (
        SELECT l.id FROM late_usage l JOIN project p ON p.id = l.project_id
        WHERE l.project_id = %s
          AND NOT EXISTS (SELECT FROM charge c WHERE c.meter_id = l.meter_id
                          AND (upper(c.period)::timestamp AT TIME ZONE p.time_zone) > l.from_at)
        FOR UPDATE OF l SKIP LOCKED)
"""
_FINISH: LiteralString = """
    UPDATE bill_run r SET state = %(state)s, finished_at = now(), accounts = b.billed + f.failed, billed = b.billed,
                          failed = f.failed, total = b.total, estimated = b.estimated
    FROM (SELECT count(*) AS billed, coalesce(sum(total), 0) AS total,
                 count(*) FILTER (WHERE EXISTS (SELECT FROM charge c
                                                WHERE c.bill_id = bill.id AND c.estimate IS NOT NULL)) AS estimated
          FROM bill WHERE run_id = %(id)s) AS b,
         (SELECT count(*) AS failed FROM bill_run_failure WHERE run_id = %(id)s) AS f
    WHERE r.id = %(id)s
"""
_INSERT_BILLS: LiteralString = """
    INSERT INTO bill (project_id, account_id, run_id, period, currency, total, engine_version, inputs, kind)
    SELECT project_id, account_id, run_id, daterange(period_start, period_end), currency, total, engine_version, inputs,
           CASE WHEN total < 0 THEN 'credit_note' ELSE coalesce(kind, 'bill') END
    FROM jsonb_to_recordset(%s) AS new (project_id bigint, account_id bigint, run_id bigint, period_start date,
                                        period_end date, currency text, total numeric, engine_version text,
                                        inputs jsonb, kind text)
    RETURNING id, account_id
"""
_INSERT_CHARGES: LiteralString = """
    INSERT INTO charge (project_id, bill_id, agreement_id, service, period, tariff_version_id, meter_id, channel,
                        opening_at, opening_value, closing_at, closing_value, quantity, amount, exact_amount, taxes,
                        estimate, estimated_days)
    SELECT project_id, bill_id, agreement_id, service, daterange(period_start, period_end), tariff_version_id, meter_id,
           channel, opening_at, opening_value, closing_at, closing_value, quantity, amount, exact_amount, taxes,
           estimate, estimated_days
    FROM jsonb_to_recordset(%s) AS new (project_id bigint, bill_id bigint, agreement_id bigint, service text,
                                        period_start date, period_end date, tariff_version_id bigint, meter_id bigint,
                                        channel smallint, opening_at timestamptz, opening_value bigint,
                                        closing_at timestamptz, closing_value bigint, quantity bigint, amount numeric,
                                        exact_amount numeric, taxes jsonb, estimate text, estimated_days int)
    RETURNING id, agreement_id, lower(period) AS start
"""
_INSERT_LINES: LiteralString = """
    INSERT INTO bill_line (project_id, bill_id, charge_id, position, kind, service, component, tier, time_period,
                           quantity, unit, price, amount, season, detail)
    SELECT project_id, bill_id, charge_id, position, kind, service, component, tier, time_period, quantity, unit, price,
           amount, season, coalesce(detail, '{}')
    FROM jsonb_to_recordset(%s) AS new (project_id bigint, bill_id bigint, charge_id bigint, position int, kind text,
                                        service text, component text, tier int, time_period text, quantity numeric,
                                        unit text, price numeric, amount numeric, season text, detail jsonb)
"""
# The row of the series stays locked until the bills are issued or nothing is: no hole, no number twice.
_TAKE_NUMBERS: LiteralString = """
    INSERT INTO number_series (project_id, series, next) VALUES (%(project_id)s, %(series)s, 1 + %(count)s)
    ON CONFLICT (project_id, series) DO UPDATE SET next = number_series.next + %(count)s
    RETURNING next - %(count)s AS first
"""
_ISSUE: LiteralString = """
    UPDATE bill SET number = new.number, issued_on = %(issued_on)s, due_on = %(due_on)s,
                    state = CASE WHEN bill.total <= 0 THEN 'paid' ELSE 'issued' END,
                    settled_on = CASE WHEN bill.total <= 0 THEN %(issued_on)s::date END
    FROM jsonb_to_recordset(%(numbers)s) AS new (id bigint, number text)
    WHERE bill.id = new.id
"""
_ISSUED_BILLS: LiteralString = "SELECT id FROM bill WHERE run_id = %s AND state <> 'draft' ORDER BY number, id"
_APPROVE: LiteralString = """
    UPDATE bill_run SET state = 'approved', approved_by = %(by)s, approved_at = now() WHERE id = %(id)s
"""
_DRAFTS_OF_RUN: LiteralString = """
    SELECT b.id FROM bill b JOIN account a ON a.id = b.account_id
    WHERE b.run_id = %s AND b.state = 'draft' ORDER BY a.number, b.id
"""
# One worker at a time: a second one waits here and then finds these drafts issued.
_LOCK_DRAFTS: LiteralString = """
    SELECT b.id AS bill_id, b.account_id, b.total, b.kind, (b.inputs -> 'note' ->> 'bill')::bigint AS of_bill
    FROM bill b JOIN account a ON a.id = b.account_id
    WHERE b.id = ANY (%s) AND b.state = 'draft' ORDER BY a.number, b.id FOR UPDATE OF b
"""
_AMOUNTS: LiteralString = """
    SELECT bill_id, service, sum(amount) AS amount FROM bill_line WHERE bill_id = ANY (%s)
    GROUP BY bill_id, service ORDER BY bill_id, min(position)
"""
# What of it is tax: of its charges, of the corrections that it takes up, and of the lines of notes by hand.
_TAXES: LiteralString = """
    SELECT bill_id, service, component, sum(amount) AS amount
    FROM (
        SELECT c.bill_id, c.service, t.key AS component, t.value::numeric AS amount
        FROM charge c CROSS JOIN LATERAL jsonb_each_text(c.taxes) AS t
        WHERE c.bill_id = ANY (%(bills)s) AND c.taxes <> '{}'
        UNION ALL
        SELECT d.bill_id, c.service, t.key, t.value::numeric * t.sign
        FROM billed_adjustment d JOIN adjustment a ON a.id = d.adjustment_id JOIN charge c ON c.id = a.charge_id
        CROSS JOIN LATERAL (SELECT key, value, 1 AS sign FROM jsonb_each_text(a.taxes)
                            UNION ALL SELECT key, value, 1 FROM jsonb_each_text(a.counted_taxes)
                            UNION ALL SELECT key, value, -1 FROM jsonb_each_text(a.old_taxes)) AS t
        WHERE d.bill_id = ANY (%(bills)s)
        UNION ALL
        SELECT l.bill_id, l.service, t.key, t.value::numeric
        FROM bill_line l CROSS JOIN LATERAL jsonb_each_text({of_line}) AS t
        WHERE l.bill_id = ANY (%(notes)s)) AS part
    GROUP BY bill_id, service, component HAVING sum(amount) <> 0 ORDER BY bill_id, service, component
""".replace("{of_line}", TAXES_OF_LINE)


@dataclass(frozen=True, slots=True)
class Draft:
    """A draft as it is issued: its total, what each service is of it, and the bill that a note is about.

    `taxes`: service, component and amount of what is tax in it.
    """

    bill_id: int
    account_id: int
    total: Decimal
    kind: BillKind
    of_bill: int | None
    services: tuple[tuple[str, Decimal], ...]
    taxes: tuple[tuple[str, str, Decimal], ...] = ()


async def insert_run(
    conn: Conn,
    project_id: int,
    period: Period,
    created_by: int | None,
    options: Mapping[str, object],
) -> int:
    """A running run; `options` as the columns are named. Raises UniqueViolation while the project has another."""
    values = {
        "project_id": project_id,
        "start": period.start,
        "end": period.end,
        "created_by": created_by,
        **options,
    }
    row = await (await conn.execute(_INSERT_RUN, values)).fetchone()
    assert row is not None
    return int(row["id"])


async def release_abandoned(conn: Conn, project_id: int) -> None:
    """Marks running runs whose job has ended as failed."""
    await conn.execute(_RELEASE_ABANDONED, (project_id,))


async def set_job(conn: Conn, run_id: int, job_id: int) -> None:
    """Which job does the run."""
    await conn.execute("UPDATE bill_run SET job_id = %s WHERE id = %s", (job_id, run_id))


async def hold_usage_notes(conn: Conn) -> None:
    """Waits for everybody who is changing usage; whoever changes it after this transaction sees its run running."""
    await conn.execute("SELECT pg_advisory_xact_lock(gm.usage_note_lock())")


async def forget_uncharged(conn: Conn, project_id: int) -> None:
    """Forgets usage that was noted and that no charge rests on. Only while no draft of the project is being made."""
    await conn.execute(_FORGET_UNCHARGED, (project_id,))


async def begin(conn: Conn, run_id: int, step: RunStep) -> None:
    """A run is running, and at this step. Raises UniqueViolation while the project has another."""
    await conn.execute("UPDATE bill_run SET state = 'running', step = %s WHERE id = %s", (step, run_id))


async def finish(conn: Conn, run_id: int, state: str) -> None:
    """Ends a run and counts what it did."""
    await conn.execute(_FINISH, {"id": run_id, "state": state})


async def uncharged_accounts(conn: Conn, project_id: int, period: Period) -> list[int]:
    """Accounts of which something in the period is charged by no bill yet, by id."""
    values = {"project_id": project_id, "start": period.start, "end": period.end}
    return [row["account_id"] for row in await (await conn.execute(_UNCHARGED_ACCOUNTS, values)).fetchall()]


async def uncharged_meters(
    conn: Conn, project_id: int, period: Period, accounts: Collection[int] | None
) -> dict[int, list[int]]:
    """Meters of which something in the period is charged by no bill yet, by id, with the accounts it is due from.

    Of these accounts; None: of any.
    """
    only = None if accounts is None else sorted(accounts)
    values = {"project_id": project_id, "start": period.start, "end": period.end, "accounts": only}
    found: dict[int, list[int]] = defaultdict(list)
    for row in await (await conn.execute(_UNCHARGED_METERS, values)).fetchall():
        found[row["meter_id"]].append(row["account_id"])
    return dict(found)


async def approve(conn: Conn, run_id: int, by: int | None) -> None:
    """Marks a run as approved."""
    await conn.execute(_APPROVE, {"id": run_id, "by": by})


async def set_issue_job(conn: Conn, run_id: int, job_id: int) -> None:
    """Which job issues the run."""
    await conn.execute("UPDATE bill_run SET issue_job_id = %s WHERE id = %s", (job_id, run_id))


async def lock(conn: Conn, run_id: int) -> None:
    """Nobody else changes the run before this transaction ends."""
    await conn.execute("SELECT FROM bill_run WHERE id = %s FOR UPDATE", (run_id,))


async def drafts_of_run(conn: Conn, run_id: int) -> list[int]:
    """The drafts of a run, by account number."""
    return [row["id"] for row in await (await conn.execute(_DRAFTS_OF_RUN, (run_id,))).fetchall()]


async def lock_drafts(conn: Conn, bill_ids: Sequence[int]) -> list[Draft]:
    """Those of these bills that are drafts, by account number, locked."""
    return await _drafts(conn, await (await conn.execute(_LOCK_DRAFTS, (list(bill_ids),))).fetchall())


async def _drafts(conn: Conn, rows: Sequence[dict[str, Any]]) -> list[Draft]:
    amounts = await (await conn.execute(_AMOUNTS, ([row["bill_id"] for row in rows],))).fetchall()
    services: dict[int, list[tuple[str, Decimal]]] = {row["bill_id"]: [] for row in rows}
    for one in amounts:
        services[one["bill_id"]].append((one["service"], one["amount"]))
    notes = [row["bill_id"] for row in rows if row["of_bill"] is not None]
    values = {"bills": [row["bill_id"] for row in rows], "notes": notes}
    taxes: dict[int, list[tuple[str, str, Decimal]]] = {row["bill_id"]: [] for row in rows}
    for one in await (await conn.execute(_TAXES, values)).fetchall():
        taxes[one["bill_id"]].append((one["service"], one["component"], one["amount"]))
    return [Draft(services=tuple(services[row["bill_id"]]), taxes=tuple(taxes[row["bill_id"]]), **row) for row in rows]


async def delete_drafts(conn: Conn, run_id: int) -> None:
    """Deletes all drafts of a run with their charges and lines."""
    await conn.execute("DELETE FROM bill WHERE run_id = %s AND state = 'draft'", (run_id,))


async def delete_draft(conn: Conn, run_id: int, account_id: int) -> bool:
    """Deletes the draft of one account; whether there was one."""
    query = "DELETE FROM bill WHERE run_id = %s AND account_id = %s AND state = 'draft'"
    return (await conn.execute(query, (run_id, account_id))).rowcount > 0


async def run(conn: Conn, run_id: int) -> BillRun | None:
    """One run."""
    row = await (await conn.execute(_RUN + "WHERE r.id = %s", (run_id,))).fetchone()
    return None if row is None else _run(row)


async def run_of_job(conn: Conn, job_id: int) -> BillRun | None:
    """The run that a job does, or issues."""
    query = _RUN + "WHERE %s IN (r.job_id, r.issue_job_id)"
    row = await (await conn.execute(query, (job_id,))).fetchone()
    return None if row is None else _run(row)


async def runs(conn: Conn, project_id: int | None, *, before: int | None, limit: int) -> list[BillRun]:
    """Runs, newest first."""
    values = {"project_id": project_id, "before": before, "limit": limit}
    return [_run(row) for row in await (await conn.execute(_RUNS, values)).fetchall()]


async def insert_bills(conn: Conn, rows: Sequence[Mapping[str, object]]) -> dict[int, int]:
    """Draft bills; their ids by account."""
    found = await (await conn.execute(_INSERT_BILLS, (Jsonb(list(rows)),))).fetchall()
    return {row["account_id"]: row["id"] for row in found}


async def insert_charges(conn: Conn, rows: Sequence[Mapping[str, object]]) -> dict[tuple[int, date], int]:
    """Charges of draft bills; their ids by agreement and first day."""
    found = await (await conn.execute(_INSERT_CHARGES, (Jsonb(list(rows)),))).fetchall()
    return {(row["agreement_id"], row["start"]): row["id"] for row in found}


async def insert_lines(conn: Conn, rows: Sequence[Mapping[str, object]]) -> None:
    """Lines of draft bills."""
    await conn.execute(_INSERT_LINES, (Jsonb(list(rows)),))


async def take_numbers(conn: Conn, project_id: int, series: str, count: int) -> int:
    """Takes `count` consecutive numbers and returns the first."""
    values = {"project_id": project_id, "series": series, "count": count}
    row = await (await conn.execute(_TAKE_NUMBERS, values)).fetchone()
    assert row is not None
    return int(row["first"])


async def issue(conn: Conn, numbers: Mapping[int, str], issued_on: date, due_on: date) -> None:
    """Issues drafts under their numbers; a bill of 0 is settled at once, and so is a credit note."""
    rows = [{"id": bill_id, "number": number} for bill_id, number in numbers.items()]
    await conn.execute(_ISSUE, {"issued_on": issued_on, "due_on": due_on, "numbers": Jsonb(rows)})


async def run_of_bill(conn: Conn, bill_id: int) -> int | None:
    """The run that made a bill; None for a bill without one."""
    row = await (await conn.execute("SELECT run_id FROM bill WHERE id = %s", (bill_id,))).fetchone()
    return None if row is None else row["run_id"]


async def issued_bills(conn: Conn, run_id: int) -> list[int]:
    """The issued bills of a run, by number."""
    rows = await (await conn.execute(_ISSUED_BILLS, (run_id,))).fetchall()
    return [row["id"] for row in rows]


def _run(row: dict[str, Any]) -> BillRun:
    return BillRun(period=Period(row.pop("start"), row.pop("end")), **row)
