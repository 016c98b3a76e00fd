"""SQL of prepaid supply: settings, which agreements are prepaid, terms of accounts, and what is left of balances."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, LiteralString

from psycopg.types.json import Jsonb

from cloud.kit.db import Conn
from cloud.prepaid.disconnection import Rules
from cloud.prepaid.positions import Thresholds
from cloud.prepaid.quiet_times import Hours, seasons_of, written
from cloud.prepaid.records import AccountTerms, Policy, PositionRow, PrepaidAgreement, Shown

_POLICY: LiteralString = """
    SELECT warn_amount, warn_days, credit, disconnects, automatic, arrears_days, notice_days, second_notice_minutes,
           from_hour, until_hour, before_rest, seasons, order_minutes
    FROM prepaid_policy WHERE project_id = %s
"""
_SET_POLICY: LiteralString = """
    INSERT INTO prepaid_policy (project_id, warn_amount, warn_days, credit, disconnects, automatic, arrears_days,
                                notice_days, second_notice_minutes, from_hour, until_hour, before_rest, seasons,
                                order_minutes)
    VALUES (%(project_id)s, %(warn_amount)s, %(warn_days)s, %(credit)s, %(disconnects)s, %(automatic)s,
            %(arrears_days)s, %(notice_days)s, %(second_notice_minutes)s, %(from_hour)s, %(until_hour)s,
            %(before_rest)s, %(seasons)s, %(order_minutes)s)
    ON CONFLICT (project_id) DO UPDATE SET
        warn_amount = excluded.warn_amount, warn_days = excluded.warn_days, credit = excluded.credit,
        disconnects = excluded.disconnects, automatic = excluded.automatic, arrears_days = excluded.arrears_days,
        notice_days = excluded.notice_days, second_notice_minutes = excluded.second_notice_minutes,
        from_hour = excluded.from_hour, until_hour = excluded.until_hour, before_rest = excluded.before_rest,
        seasons = excluded.seasons, order_minutes = excluded.order_minutes
"""
# An agreement that has ended costs nothing new, but what it cost without a bill still counts.
_AGREEMENTS: LiteralString = """
    SELECT p.agreement_id, p.project_id, p.account_id, a.service, a.meter_id,
           (upper(a.valid) IS NULL OR upper(a.valid) > %(today)s) AS runs
    FROM prepaid_agreement p JOIN service_agreement a ON a.id = p.agreement_id
    WHERE p.account_id = ANY (%(account_ids)s) ORDER BY p.account_id, p.agreement_id
"""
_ACCOUNTS: LiteralString = """
    SELECT DISTINCT account_id FROM prepaid_agreement
    WHERE project_id = %(project_id)s AND account_id > %(after)s ORDER BY account_id LIMIT %(limit)s
"""
_MARK: LiteralString = """
    INSERT INTO prepaid_agreement (project_id, account_id, agreement_id) VALUES (%s, %s, %s)
    ON CONFLICT (agreement_id) DO NOTHING
"""
_TERMS: LiteralString = """
    SELECT account_id, project_id, kind, reason, protected_until, credit, credit_until
    FROM prepaid_protection WHERE account_id = ANY (%s)
"""
_SET_TERMS: LiteralString = """
    INSERT INTO prepaid_protection (project_id, account_id, kind, reason, protected_until, credit, credit_until)
    VALUES (%(project_id)s, %(account_id)s, %(kind)s, %(reason)s, %(protected_until)s, %(credit)s, %(credit_until)s)
    ON CONFLICT (account_id) DO UPDATE SET
        kind = excluded.kind, reason = excluded.reason, protected_until = excluded.protected_until,
        credit = excluded.credit, credit_until = excluded.credit_until
"""
_POSITION: LiteralString = """
    SELECT account_id, project_id, currency, held, owed, accrued, available, allowance, days_left, through, flaw,
           warned_at, valued_at
    FROM prepaid_position
"""
_LIST: LiteralString = (
    _POSITION
    + """
    WHERE (%(project_id)s::bigint IS NULL OR project_id = %(project_id)s)
      AND (%(account_id)s::bigint IS NULL OR account_id = %(account_id)s)
      AND (%(shown)s = 'all' OR (%(shown)s = 'low' AND warned_at IS NOT NULL)
           OR (%(shown)s = 'below' AND available < -allowance) OR (%(shown)s = 'unknown' AND flaw <> ''))
      AND (available, account_id) > (%(available)s, %(after)s)
    ORDER BY available, account_id LIMIT %(limit)s
"""
)
# Two that value one account at once: the later one waits and then says what it found; neither is wrong for long.
_KEEP: LiteralString = """
    INSERT INTO prepaid_position (account_id, project_id, currency, held, owed, accrued, allowance, days_left, through,
                                  flaw, warned_at, valued_at)
    SELECT account_id, project_id, currency, held, owed, accrued, allowance, days_left, through, flaw, warned_at,
           valued_at
    FROM jsonb_to_recordset(%s) AS new (account_id bigint, project_id bigint, currency text, held numeric,
                                        owed numeric, accrued numeric, allowance numeric, days_left int, through date,
                                        flaw text, warned_at timestamptz, valued_at timestamptz)
    ORDER BY account_id
    ON CONFLICT (account_id) DO UPDATE SET
        held = excluded.held, owed = excluded.owed, accrued = excluded.accrued, allowance = excluded.allowance,
        days_left = excluded.days_left, through = excluded.through, flaw = excluded.flaw,
        warned_at = excluded.warned_at, valued_at = excluded.valued_at
"""


async def policy(conn: Conn, project_id: int) -> Policy:
    """What a project wants; without settings the default."""
    row = await (await conn.execute(_POLICY, (project_id,))).fetchone()
    if row is None:
        return Policy()
    hours = Hours(row["from_hour"], row["until_hour"], row["before_rest"], seasons_of(row["seasons"]))
    rules = Rules(
        row["disconnects"],
        row["automatic"],
        row["credit"],
        row["arrears_days"],
        timedelta(days=row["notice_days"]),
        timedelta(minutes=row["second_notice_minutes"]),
        timedelta(minutes=row["order_minutes"]),
        hours,
    )
    return Policy(Thresholds(row["warn_amount"], row["warn_days"]), rules)


async def set_policy(conn: Conn, project_id: int, wanted: Policy) -> None:
    """Sets what a project wants."""
    rules, hours = wanted.rules, wanted.rules.hours
    values = {
        "project_id": project_id,
        "warn_amount": wanted.thresholds.amount,
        "warn_days": wanted.thresholds.days,
        "credit": rules.credit,
        "disconnects": rules.disconnects,
        "automatic": rules.automatic,
        "arrears_days": rules.arrears_days,
        "notice_days": rules.notice.days,
        "second_notice_minutes": rules.second_notice // timedelta(minutes=1),
        "from_hour": hours.start,
        "until_hour": hours.end,
        "before_rest": hours.before_rest,
        "seasons": written(hours.seasons),
        "order_minutes": rules.order_for // timedelta(minutes=1),
    }
    await conn.execute(_SET_POLICY, values)


async def agreements(conn: Conn, account_ids: Sequence[int], today: date) -> dict[int, list[PrepaidAgreement]]:
    """The prepaid agreements of accounts that are still in force, by account; empty for those that have ended all."""
    found: dict[int, list[PrepaidAgreement]] = defaultdict(list)
    for row in await (await conn.execute(_AGREEMENTS, {"account_ids": list(account_ids), "today": today})).fetchall():
        runs, mine = row.pop("runs"), found[row["account_id"]]
        if runs:
            mine.append(PrepaidAgreement(**row))
    return found


async def agreement_ids(conn: Conn, account_ids: Sequence[int]) -> dict[int, set[int]]:
    """All agreements of accounts that are or were prepaid, by account."""
    found: dict[int, set[int]] = defaultdict(set)
    query = "SELECT account_id, agreement_id FROM prepaid_agreement WHERE account_id = ANY (%s)"
    for row in await (await conn.execute(query, (list(account_ids),))).fetchall():
        found[row["account_id"]].add(row["agreement_id"])
    return found


async def accounts(conn: Conn, project_id: int, after: int, limit: int) -> list[int]:
    """Accounts with prepaid agreements, by id."""
    values = {"project_id": project_id, "after": after, "limit": limit}
    return [row["account_id"] for row in await (await conn.execute(_ACCOUNTS, values)).fetchall()]


async def mark(conn: Conn, project_id: int, account_id: int, agreement_id: int) -> None:
    """The agreement is prepaid from now on; once more changes nothing."""
    await conn.execute(_MARK, (project_id, account_id, agreement_id))


async def unmark(conn: Conn, agreement_id: int) -> bool:
    """The agreement is not prepaid any more; False when it was not."""
    return (await conn.execute("DELETE FROM prepaid_agreement WHERE agreement_id = %s", (agreement_id,))).rowcount == 1


async def terms(conn: Conn, account_ids: Sequence[int]) -> dict[int, AccountTerms]:
    """What holds for these accounts beyond the settings of the project."""
    rows = await (await conn.execute(_TERMS, (list(account_ids),))).fetchall()
    return {row["account_id"]: AccountTerms(**row) for row in rows}


async def set_terms(conn: Conn, wanted: AccountTerms) -> None:
    """Sets what holds for one account."""
    await conn.execute(_SET_TERMS, {name: getattr(wanted, name) for name in AccountTerms.__dataclass_fields__})


async def positions(conn: Conn, account_ids: Sequence[int]) -> dict[int, PositionRow]:
    """What is left of these accounts' balances as far as they were valued."""
    rows = await (await conn.execute(_POSITION + "WHERE account_id = ANY (%s)", (list(account_ids),))).fetchall()
    return {row["account_id"]: PositionRow(**row) for row in rows}


async def listed(
    conn: Conn,
    *,
    project_id: int | None,
    account_id: int | None,
    shown: Shown,
    after: tuple[Decimal, int],
    limit: int,
) -> list[PositionRow]:
    """Accounts by what is left, the least first."""
    values = {
        "project_id": project_id,
        "account_id": account_id,
        "shown": shown,
        "available": after[0],
        "after": after[1],
        "limit": limit,
    }
    return [PositionRow(**row) for row in await (await conn.execute(_LIST, values)).fetchall()]


async def keep_positions(conn: Conn, rows: Sequence[Mapping[str, Any]]) -> None:
    """Keeps what was valued."""
    await conn.execute(_KEEP, (Jsonb(list(rows)),))


async def forget_position(conn: Conn, account_id: int) -> None:
    """The account is not prepaid any more."""
    await conn.execute("DELETE FROM prepaid_position WHERE account_id = %s", (account_id,))
