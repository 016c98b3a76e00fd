"""Terms of payment of a project, in versions: when bills are due, what being late costs, who decides."""

from dataclasses import asdict
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, LiteralString

import psycopg

from cloud.billing.arrears.late_fees import LateFeeRule
from cloud.billing.records import Policy, PolicyVersion
from cloud.estate import service as estate
from cloud.kit.amounts import plain
from cloud.kit.constraints import meaning_of
from cloud.kit.db import Conn
from cloud.kit.errors import InvalidInput
from cloud.kit.paging import Page, PageRequest, newest_first
from cloud.kit.periods import local_day

_SELECT: LiteralString = """
    SELECT id, project_id, lower(valid) AS valid_from, upper(valid) AS valid_until, due_days, daily_rate, grace_days,
           minimum, cap_share, later_rate, plan_days, plan_break, own_approval, estimate_bills, estimate_days
    FROM billing_policy
"""
_POLICY: LiteralString = _SELECT + "WHERE project_id = %s AND valid @> %s::date"
_VERSIONS: LiteralString = (
    _SELECT
    + """
    WHERE (%(project_id)s::bigint IS NULL OR project_id = %(project_id)s) AND id < %(before)s
    ORDER BY id DESC LIMIT %(limit)s
"""
)
_END_POLICY: LiteralString = """
    UPDATE billing_policy SET valid = daterange(lower(valid), %(valid_from)s)
    WHERE project_id = %(project_id)s AND upper_inf(valid) AND lower(valid) < %(valid_from)s
"""
_INSERT_POLICY: LiteralString = """
    INSERT INTO billing_policy (project_id, valid, due_days, daily_rate, grace_days, minimum, cap_share, later_rate,
                                plan_days, plan_break, own_approval, estimate_bills, estimate_days)
    VALUES (%(project_id)s, daterange(%(valid_from)s, NULL), %(due_days)s, %(daily_rate)s, %(grace_days)s,
            %(minimum)s, %(cap_share)s, %(later_rate)s, %(plan_days)s, %(plan_break)s, %(own_approval)s,
            %(estimate_bills)s, %(estimate_days)s)
"""


async def policy_on(conn: Conn, project_id: int, day: date) -> Policy:
    """The terms of payment in force: due after 15 days without late fee where a project has set none."""
    row = await (await conn.execute(_POLICY, (project_id, day))).fetchone()
    return Policy() if row is None else _policy(row)


async def set_policy(conn: Conn, project_id: int, valid_from: date, policy: Policy) -> None:
    """Terms of payment from a day on; bills issued before keep theirs.

    Raises Conflict when terms begin on or after that day.
    """
    values: dict[str, Any] = {"project_id": project_id, "valid_from": valid_from, **asdict(policy)}
    values |= values.pop("late_fee")
    try:
        async with conn.transaction():
            await conn.execute(_END_POLICY, values)
            await conn.execute(_INSERT_POLICY, values)
    except psycopg.IntegrityError as error:
        meaning = meaning_of(error)
        if meaning is None:
            raise
        raise meaning from error


async def announce_policy(conn: Conn, project_id: int, valid_from: date, policy: Policy) -> None:
    """Terms that people set: from today on at the earliest, since bills keep the terms of the day of their issue.

    Raises NotFound for an unknown project, InvalidInput for a day that is over, Conflict like `set_policy`.
    """
    today, _ = await terms_today(conn, project_id)
    if valid_from < today:
        raise InvalidInput("bad-date", f"expected {today} or later: bills keep the terms they had", field="valid_from")
    await set_policy(conn, project_id, valid_from, policy)


async def terms_today(conn: Conn, project_id: int) -> tuple[date, Policy]:
    """The local day of a project and the terms in force on it. Raises NotFound."""
    today = local_day(datetime.now(UTC), (await estate.get_project(conn, project_id)).zone)
    return today, await policy_on(conn, project_id, today)


async def policy_versions(conn: Conn, page: PageRequest, project_id: int | None = None) -> Page[PolicyVersion]:
    """All terms of payment there were, newest first."""
    return await newest_first(conn, _VERSIONS, {"project_id": project_id}, page, _version)


def _version(row: dict[str, Any]) -> PolicyVersion:
    heads = ("id", "project_id", "valid_from", "valid_until")
    return PolicyVersion(**{name: row.pop(name) for name in heads}, policy=_policy(row))


def _policy(row: dict[str, Any]) -> Policy:
    rates = {name: row[name] for name in LateFeeRule.__dataclass_fields__}
    for name in ("daily_rate", "later_rate"):
        # As people write it: the column pads it with zeros, and so would every step of a fee.
        rates[name] = None if rates[name] is None else Decimal(plain(rates[name]))
    rule = LateFeeRule(**rates)
    plain_terms = ("due_days", "plan_days", "plan_break", "own_approval", "estimate_bills", "estimate_days")
    return Policy(late_fee=rule, **{name: row[name] for name in plain_terms})
