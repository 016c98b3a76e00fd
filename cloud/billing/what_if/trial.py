"""What the last bill of an account would be by a tariff that is not published: the draft beside what was issued.

Rated as the bill was: cut by window and season, with the usage before it, on the same readings.
"""

from dataclasses import dataclass
from decimal import Decimal
from itertools import zip_longest

from cloud.billing import repository
from cloud.billing.charges.drafts import rate_rounds
from cloud.billing.charges.facts import Facts
from cloud.billing.charges.pieces import Piece, Unbillable, pieces
from cloud.billing.charges.supplies import rounds, supplies
from cloud.billing.estimates.estimating import EstimatePolicy
from cloud.billing.records import Agreement, Bill, BillFilter, BillLine, Charge, Uncharged
from cloud.billing.service import get_bill, list_bills
from cloud.estate import service as estate
from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, NotFound
from cloud.kit.paging import PageRequest
from cloud.kit.periods import Period
from cloud.tariffs.model.tariff import TariffContent
from cloud.tariffs.rating.explain import Line
from cloud.tariffs.service import TariffVersion

_LOOKED_AT = 24
"""Bills of an account that are looked at, newest first, for one that charges the service."""


@dataclass(frozen=True, slots=True)
class Side:
    """One line on either side; None where the other side has more."""

    issued: BillLine | None
    drafted: Line | None


@dataclass(frozen=True, slots=True)
class WhatIf:
    """An issued bill and what its charges for one service would be by the draft, line by line."""

    bill: Bill
    period: Period
    sides: tuple[Side, ...]
    issued: Decimal
    drafted: Decimal
    currency: str
    quantity_changed: bool
    """Whether usage of the period differs from what was billed, as when readings came later."""

    @property
    def difference(self) -> Decimal:
        """What the draft adds."""
        return self.drafted - self.issued


async def what_if(conn: Conn, account_id: int, content: TariffContent) -> WhatIf:
    """The last bill of the account with charges for the service of `content`, rated by it.

    Raises NotFound when there is none, Conflict with the reason when it cannot be rated.
    """
    bill, charged = await _last(conn, account_id, content.service)
    project = await estate.get_project(conn, bill.summary.project_id)
    agreements = await _agreements(conn, account_id)
    period = Period(min(one.period.start for one in charged), max(one.period.end for one in charged))
    drafted = TariffVersion(0, 0, 0, period.start, None, content, "")
    by_agreement: dict[int, list[Charge]] = {}
    for charge in charged:
        by_agreement.setdefault(charge.agreement_id, []).append(charge)
    try:
        cut: dict[int, list[Piece]] = {}
        for agreement_id, charges in by_agreement.items():
            whole = Period(min(one.period.start for one in charges), max(one.period.end for one in charges))
            cut[agreement_id] = pieces(Uncharged(agreements[agreement_id], whole), [drafted])
    except Unbillable as reason:
        raise Conflict(reason.code, reason.detail) from reason
    drafts = await rate_rounds(conn, Facts(conn, project, EstimatePolicy("bill")), rounds(supplies(cut)))
    for failure in drafts.failures.values():
        raise Conflict(failure.code, failure.detail) from failure
    rated = drafts.rated.get(account_id, [])
    counted = sum(one.metered.quantity for one in rated if one.metered)
    return WhatIf(
        bill=bill,
        period=period,
        sides=_beside([line for one in charged for line in one.lines], [line for one in rated for line in one.lines]),
        issued=sum((one.amount for one in charged), Decimal(0)),
        drafted=sum((one.amount for one in rated), Decimal(0)),
        currency=project.currency,
        quantity_changed=counted != sum(one.quantity or 0 for one in charged),
    )


async def _last(conn: Conn, account_id: int, service: str) -> tuple[Bill, list[Charge]]:
    page = await list_bills(conn, PageRequest(_LOOKED_AT), BillFilter(account_id=account_id))
    for summary in page.items:
        if summary.state in ("draft", "void"):
            continue
        bill = await get_bill(conn, summary.id)
        charged = [charge for charge in bill.charges if charge.service == service]
        if charged:
            return bill, charged
    raise NotFound("no-charge-of-tariff", "no bill of this account charges this service", field="account")


async def _agreements(conn: Conn, account_id: int) -> dict[int, Agreement]:
    return {one.id: one for one in await repository.agreements(conn, account_id=account_id)}


def _beside(issued: list[BillLine], drafted: list[Line]) -> tuple[Side, ...]:
    """Lines for the same component, tier, season and period beside each other, in the order of the bill."""
    left, right = [_key(line) for line in issued], [_key(line) for line in drafted]
    keys = list(dict.fromkeys([*left, *right]))
    found = []
    for key in keys:
        ones = [line for line, its in zip(issued, left, strict=True) if its == key]
        others = [line for line, its in zip(drafted, right, strict=True) if its == key]
        found += [Side(one, other) for one, other in zip_longest(ones, others)]
    return tuple(found)


def _key(line: BillLine | Line) -> tuple[str, str, int | None, str | None, str | None]:
    return line.kind, line.component, line.tier, line.season, line.time_period
