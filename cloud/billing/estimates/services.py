"""Services billed by estimate and not trued up yet, and which of them for too long: what staff see to (V16)."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import LiteralString

from cloud.billing.records import Policy
from cloud.kit.db import Conn
from cloud.kit.paging import Page, PageRequest, after_id, cut
from cloud.kit.periods import Period

# What holds of a charge is its latest revision. The terms are those in force today.
_STANDING: LiteralString = """
    SELECT found.*, found.bills >= found.most_bills OR found.days > found.most_days AS prolonged
    FROM (
        SELECT c.agreement_id, c.service, b.account_id, c.meter_id, b.currency, c.project_id,
               count(DISTINCT b.id) AS bills, sum(coalesce(r.estimated_days, c.estimated_days)) AS days,
               min(lower(c.period)) AS start, max(upper(c.period)) AS end, sum(coalesce(r.amount, c.amount)) AS amount,
               coalesce(min(t.estimate_bills), %(most_bills)s) AS most_bills,
               coalesce(min(t.estimate_days), %(most_days)s) AS most_days
        FROM charge c
        JOIN bill b ON b.id = c.bill_id AND b.state NOT IN ('draft', 'void')
        JOIN project p ON p.id = c.project_id
        LEFT JOIN billing_policy t ON t.project_id = c.project_id
                                  AND t.valid @> (now() AT TIME ZONE p.time_zone)::date
        LEFT JOIN LATERAL (SELECT * FROM adjustment WHERE charge_id = c.id ORDER BY revision DESC LIMIT 1) r ON true
        WHERE c.estimate = 'open' AND (r.id IS NULL OR r.estimate = 'open')
          AND (%(project_id)s::bigint IS NULL OR c.project_id = %(project_id)s)
        GROUP BY c.agreement_id, c.service, b.account_id, c.meter_id, b.currency, c.project_id
    ) AS found
    WHERE found.agreement_id > %(after)s
      AND (NOT %(prolonged)s OR found.bills >= found.most_bills OR found.days > found.most_days)
    ORDER BY found.agreement_id LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class EstimatedService:
    """A service of an account: `bills` over `period` with `days` estimated days, none of them trued up.

    `amount` is what its charges come to by these estimates. `prolonged`: as many bills in a row as the terms of payment
    allow are estimated (`most_bills`), or more days than they bear (`most_days`).
    """

    agreement_id: int
    project_id: int
    account_id: int
    service: str
    meter_id: int
    bills: int
    days: int
    period: Period
    amount: Decimal
    currency: str
    prolonged: bool
    most_bills: int
    most_days: int


async def estimated_services(
    conn: Conn, page: PageRequest, project_id: int | None = None, *, prolonged: bool = False
) -> Page[EstimatedService]:
    """By agreement; `prolonged`: only those estimated for too long."""
    terms = Policy()
    query = {
        "project_id": project_id,
        "prolonged": prolonged,
        "most_bills": terms.estimate_bills,
        "most_days": terms.estimate_days,
        "after": after_id(page),
        "limit": page.limit + 1,
    }
    rows = await (await conn.execute(_STANDING, query)).fetchall()
    found = [EstimatedService(period=_period(row), **row) for row in rows]
    return cut(found, page, lambda one: (one.agreement_id,))


def _period(row: dict[str, date]) -> Period:
    return Period(row.pop("start"), row.pop("end"))
