"""How accounts stand between two bills: what they hold, owe, and have used that no bill charges yet."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Final, LiteralString

from cloud.billing import repository
from cloud.billing.charges.drafts import RatedPiece, draft
from cloud.billing.estimates.estimating import EstimatePolicy
from cloud.estate.records import Project
from cloud.kit.db import Conn
from cloud.kit.periods import Period

_NONE = Decimal(0)
_LOOKS_BACK: Final = (0, 1, 2, 3, 5, 7, 14, 31)
"""Days before today up to which usage is tried: a meter that was silent yesterday is valued up to the day before."""
_BEGINNING: Final = date(1970, 1, 1)

_HELD: LiteralString = """
    SELECT account_id, -sum(amount) AS amount FROM posting
    WHERE account_id = ANY (%s) AND ledger_account = 'liability:prepaid' GROUP BY account_id
"""
# Usage or persons became known otherwise for days that they were charged, and the night has not rated them again yet.
# Once it tried, the change waits for those alone whose charges it could not.
_TO_BE_RATED: LiteralString = """
    SELECT DISTINCT a.account_id
    FROM service_agreement a
    JOIN account p ON p.id = a.account_id
    JOIN project j ON j.id = a.project_id
    JOIN charge c ON c.agreement_id = a.id
    WHERE a.account_id = ANY (%s)
      AND (EXISTS (SELECT FROM late_usage u WHERE u.project_id = a.project_id AND u.meter_id = c.meter_id
                   AND u.from_at < upper(c.period)::timestamp AT TIME ZONE j.time_zone
                   AND (u.account_ids IS NULL OR a.account_id = ANY (u.account_ids)))
           OR EXISTS (SELECT FROM late_filing f WHERE f.project_id = a.project_id
                      AND f.unit_id = coalesce(a.unit_id, p.unit_id) AND f.from_day < upper(c.period)))
"""
_UNPAID: LiteralString = "SELECT id FROM bill WHERE account_id = ANY (%s) AND state IN ('issued', 'disputed')"
# What a run has drafted is neither owed yet nor uncharged any more; corrections wait for a bill to be on.
_ON_ITS_WAY: LiteralString = """
    SELECT account_id, sum(amount) AS amount
    FROM (SELECT b.account_id, c.amount FROM charge c JOIN bill b ON b.id = c.bill_id
          WHERE c.agreement_id = ANY (%(ids)s) AND b.state = 'draft'
          UNION ALL
          SELECT a.account_id, a.difference FROM adjustment a JOIN charge c ON c.id = a.charge_id
          LEFT JOIN billed_adjustment d ON d.adjustment_id = a.id LEFT JOIN bill n ON n.id = d.bill_id
          WHERE c.agreement_id = ANY (%(ids)s) AND (n.id IS NULL OR n.state = 'draft')) AS waiting
    GROUP BY account_id
"""
_LAST_CHARGED: LiteralString = """
    SELECT DISTINCT ON (c.agreement_id) c.agreement_id, b.account_id, c.amount,
           upper(c.period) - lower(c.period) AS days
    FROM charge c JOIN bill b ON b.id = c.bill_id
    WHERE c.agreement_id = ANY (%s) AND b.state <> 'void' ORDER BY c.agreement_id, upper(c.period) DESC
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """What an agreement cost over some days."""

    agreement_id: int
    amount: Decimal
    days: int


@dataclass(frozen=True, slots=True)
class Accrued:
    """What an account has used up to, not including, `through` that no issued bill charges, at its tariffs.

    `flaw`: why nothing later could be valued, a code of bill runs, or that some of it is estimated. `costs`: what the
    present rate follows from.
    """

    amount: Decimal
    through: date
    flaw: str = ""
    costs: tuple[Cost, ...] = ()


@dataclass(frozen=True, slots=True)
class Standing:
    """What an account holds in advance and owes now: open principal without what is disputed or in instalments.

    `to_be_rated`: what was charged is rated again soon, and may come to something else.
    """

    held: Decimal = _NONE
    owed: Decimal = _NONE
    disputed: bool = False
    in_plan: bool = False
    to_be_rated: bool = False


async def standings(conn: Conn, account_ids: Sequence[int]) -> dict[int, Standing]:
    """How these accounts stand by what is booked; a few statements for all of them."""
    found = dict.fromkeys(account_ids, Standing())
    for row in await (await conn.execute(_HELD, (list(account_ids),))).fetchall():
        found[row["account_id"]] = Standing(held=row["amount"])
    unpaid = [row["id"] for row in await (await conn.execute(_UNPAID, (list(account_ids),))).fetchall()]
    for bill in await repository.bills_by_id(conn, unpaid):
        before = found[bill.account_id]
        found[bill.account_id] = replace(
            before,
            owed=before.owed + (_NONE if bill.in_plan else bill.undisputed),
            disputed=before.disputed or bill.state == "disputed",
            in_plan=before.in_plan or bill.in_plan,
        )
    for row in await (await conn.execute(_TO_BE_RATED, (list(account_ids),))).fetchall():
        found[row["account_id"]] = replace(found[row["account_id"]], to_be_rated=True)
    return found


async def accrued(
    conn: Conn,
    project: Project,
    agreements: Mapping[int, Collection[int]],
    today: date,
    known: Mapping[int, date] | None = None,
) -> dict[int, Accrued]:
    """What accounts have used of some of their agreements since their last bills: rated as a bill over it would be.

    `agreements`: those that count, by account. Usage is valued up to the start of `today`, or of the last day before
    that is known whole, at the latest that to which it was valued before (`known`); drafts of bill runs and
    corrections that wait for a bill are part of it. What can never be valued counts as nothing, with its flaw.
    """
    valued: dict[int, Accrued] = {}
    flaws: dict[int, str] = {}
    tries = [(today - timedelta(days=back), set(agreements)) for back in _LOOKS_BACK]
    for day in sorted(set((known or {}).values()), reverse=True):
        if day < tries[-1][0]:
            tries.append((day, {one for one, through in (known or {}).items() if through == day}))
    for through, some in tries:
        left = some - valued.keys()
        if not left:
            continue
        found, failed = await _value(conn, project, {one: agreements[one] for one in sorted(left)}, through)
        for account_id, one in found.items():
            valued[account_id] = replace(one, flaw=flaws.get(account_id, one.flaw))
        for account_id, code in failed.items():
            flaws.setdefault(account_id, code)
    for account_id, code in flaws.items():
        valued.setdefault(account_id, Accrued(_NONE, tries[len(_LOOKS_BACK) - 1][0], code))
    return await _with_the_rest(conn, agreements, valued)


async def _value(
    conn: Conn, project: Project, agreements: Mapping[int, Collection[int]], through: date
) -> tuple[dict[int, Accrued], dict[int, str]]:
    """What could be valued up to a day, and why the rest could not."""
    uncharged = [
        one
        for one in await repository.uncharged(conn, project.id, Period(_BEGINNING, through), list(agreements))
        if one.agreement.id in agreements[one.agreement.account_id]
    ]
    drafts = await draft(conn, project, uncharged, EstimatePolicy("bill"))
    found = {
        account_id: _accrued(drafts.rated.get(account_id, ()), through)
        for account_id in agreements
        if account_id not in drafts.failures
    }
    return found, {account_id: reason.code for account_id, reason in drafts.failures.items()}


def _accrued(rated: Sequence[RatedPiece], through: date) -> Accrued:
    costs: dict[int, Cost] = {}
    for one in rated:
        before = costs.get(one.agreement.id, Cost(one.agreement.id, _NONE, 0))
        costs[one.agreement.id] = replace(before, amount=before.amount + one.amount, days=before.days + one.period.days)
    return Accrued(
        sum((one.amount for one in rated), _NONE),
        through,
        "estimated-usage" if any(one.metered is not None and one.metered.estimate for one in rated) else "",
        costs=tuple(costs.values()),
    )


async def _with_the_rest(
    conn: Conn, agreements: Mapping[int, Collection[int]], valued: Mapping[int, Accrued]
) -> dict[int, Accrued]:
    """With drafts and corrections, and where little was used since it, the last charge of an agreement as its rate."""
    ids = sorted({one for some in agreements.values() for one in some})
    rows = await (await conn.execute(_ON_ITS_WAY, {"ids": ids})).fetchall()
    more: dict[int, Decimal] = {row["account_id"]: row["amount"] for row in rows}
    last: dict[int, list[Cost]] = defaultdict(list)
    for row in await (await conn.execute(_LAST_CHARGED, (ids,))).fetchall():
        last[row["account_id"]].append(Cost(row["agreement_id"], row["amount"], row["days"]))
    return {
        account_id: replace(
            one, amount=one.amount + more.get(account_id, _NONE), costs=_rates(one.costs, last[account_id])
        )
        for account_id, one in valued.items()
    }


_ENOUGH_DAYS: Final = 7
"""Shorter stretches say little about a rate: the last charge is counted too."""


def _rates(since: Sequence[Cost], last: Sequence[Cost]) -> tuple[Cost, ...]:
    by_agreement = {one.agreement_id: one for one in since}
    for one in last:
        new = by_agreement.get(one.agreement_id)
        if new is None:
            by_agreement[one.agreement_id] = one
        elif new.days < _ENOUGH_DAYS:
            by_agreement[one.agreement_id] = replace(new, amount=new.amount + one.amount, days=new.days + one.days)
    return tuple(by_agreement.values())
