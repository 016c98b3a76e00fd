"""The final bill of an account: its agreements end on a day; all that is not charged up to it is one run of its own.

A rent or a package that was paid in advance is given back for the days after the last, by its own rule, as an
adjustment that the final bill takes up. The run is previewed, approved and issued like any other; open adjustments and
one-off charges are on it. Whoever pays for the meters next begins exactly where this bill ends: it cites the reading of
that day, and so does the next.
"""

from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import LiteralString

from cloud.billing import repository
from cloud.billing.agreements import repository as agreed_repository
from cloud.billing.agreements.rerating import rerate_agreement
from cloud.billing.corrections.lines import open_corrections
from cloud.billing.corrections.repository import Adjustment
from cloud.billing.records import Agreement, Uncharged
from cloud.billing.runs.drafting import lock_charges
from cloud.billing.runs.service import CAREFUL, RunOptions, start_run
from cloud.estate import service as estate
from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, InvalidInput, NotFound
from cloud.kit.periods import Period

_LOCK: LiteralString = """
    SELECT id, service, lower(valid) AS start, upper(valid) AS end FROM service_agreement
    WHERE account_id = %s ORDER BY id FOR UPDATE
"""
_END: LiteralString = """
    UPDATE service_agreement SET valid = daterange(lower(valid), %(ends_on)s)
    WHERE account_id = %(account_id)s AND kind <> 'one_off' AND (upper_inf(valid) OR upper(valid) > %(ends_on)s)
"""
_CHARGED_BEYOND: LiteralString = """
    SELECT c.service, max(upper(c.period)) AS until
    FROM charge c JOIN service_agreement a ON a.id = c.agreement_id
    WHERE a.account_id = %(account_id)s AND a.kind = 'tariff' AND upper(c.period) > %(ends_on)s
    GROUP BY c.service ORDER BY c.service
"""
_PAID_BEYOND: LiteralString = """
    SELECT DISTINCT a.id FROM charge c JOIN service_agreement a ON a.id = c.agreement_id
    WHERE a.account_id = %(account_id)s AND a.kind IN ('rent', 'package') AND upper(c.period) > %(ends_on)s
    ORDER BY a.id
"""
_FIRST_UNCHARGED: LiteralString = """
    SELECT min(lower(part)) AS first
    FROM service_agreement a
    CROSS JOIN LATERAL unnest(
        datemultirange(a.valid)
        - coalesce((SELECT range_agg(c.period) FROM charge c WHERE c.agreement_id = a.id AND c.service = a.service),
                   '{}'::datemultirange)) AS part
    WHERE a.account_id = %s AND a.kind <> 'one_off'
"""


@dataclass(frozen=True, slots=True)
class Ending:
    """An account ends: `ends_on` is the first day that it is not charged for any more."""

    account_id: int
    ends_on: date
    charged_beyond: bool = False
    """Whether days after the end that are charged already stay charged; else rents and packages are given back for
    them, and anything else is refused."""


@dataclass(frozen=True, slots=True)
class Leaving:
    """What the end of an account means: agreements that end, stretches and adjustments that its final bill charges."""

    period: Period
    agreements: tuple[Agreement, ...]
    uncharged: tuple[Uncharged, ...]
    adjustments: tuple[Adjustment, ...]


async def start_final_bill(
    conn: Conn, ending: Ending, created_by: int | None = None, options: RunOptions = CAREFUL
) -> int:
    """Ends the account and its agreements and starts the run of its final bill; returns the id of the job.

    It may be asked again after a cancelled run. A missing closing reading is listed by the run like any other, unless
    somebody decides, with a reason, that it is estimated: no limit on estimates in a row stops that. Raises NotFound;
    InvalidInput without that reason, or for a day before the account or an agreement began; Conflict where days after
    the end are charged already by a tariff (a credit note gives them back), a draft charges them, or another run of
    the project is running.
    """
    if "estimate" in (options.missing_readings, options.open_exceptions) and not options.estimate_reason.strip():
        raise InvalidInput("no-reason", "expected why no final reading can be had", field="estimate_reason")
    project_id, period = await _end(conn, ending)
    only = replace(options, account_id=ending.account_id, estimate_reason=options.estimate_reason.strip())
    return await start_run(conn, project_id, period, created_by, only)


async def look_ahead(conn: Conn, ending: Ending) -> Leaving:
    """What would end and be charged if the account ended on this day; nothing is kept.

    Raises what `start_final_bill` does, a run that is going on aside.
    """
    async with conn.transaction(force_rollback=True):
        project_id, period = await _end(conn, ending)
        agreements = await repository.agreements(conn, account_id=ending.account_id)
        tariffs = await repository.uncharged(conn, project_id, period, [ending.account_id])
        agreed = await agreed_repository.due(conn, project_id, period.end, [ending.account_id])
        adjustments = (await open_corrections(conn, [ending.account_id])).get(ending.account_id, [])
    ends = [one for one in agreements if one.kind != "one_off" and one.valid_until == ending.ends_on]
    left = [Uncharged(one.agreement, one.period) for one in tariffs]
    left += [Uncharged(one.agreement, one.period) for one in agreed]
    return Leaving(period, tuple(ends), tuple(left), tuple(adjustments))


async def _end(conn: Conn, ending: Ending) -> tuple[int, Period]:
    """Ends the account and its agreements; returns the project and what the run is over."""
    account_id, ends_on = ending.account_id, ending.ends_on
    account = (await estate.accounts_by_id(conn, [account_id])).get(account_id)
    if account is None:
        raise NotFound("no-such-account", f"there is no account {account_id}", field="account_id")
    await lock_charges(conn, account.project_id)
    agreements = await (await conn.execute(_LOCK, (account_id,))).fetchall()
    later = [row["service"] for row in agreements if row["start"] >= ends_on]
    if later or account.valid.start >= ends_on:
        raise InvalidInput("bad-dates", f"expected a day after everything began, also {later}", field="ends_on")
    query = {"account_id": account_id, "ends_on": ends_on}
    beyond = await (await conn.execute(_CHARGED_BEYOND, query)).fetchall()
    if beyond and not ending.charged_beyond:
        named = ", ".join(f"{row['service']} up to {row['until']}" for row in beyond)
        raise Conflict("charged-beyond", f"charged already: {named}", field="ends_on")
    await conn.execute(_END, query)
    if not ending.charged_beyond:
        for row in await (await conn.execute(_PAID_BEYOND, query)).fetchall():
            await rerate_agreement(conn, account.project_id, row["id"], ends_on)
    await estate.end_account(conn, account_id, ends_on)
    uncharged = await (await conn.execute(_FIRST_UNCHARGED, (account_id,))).fetchone()
    first = uncharged["first"] if uncharged is not None else None
    start = first if first is not None and first < ends_on else ends_on - timedelta(days=1)
    return account.project_id, Period(start, ends_on)
