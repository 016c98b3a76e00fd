"""REST: a tariff draft on a real account."""

from datetime import date
from typing import Annotated

from pydantic import BaseModel

from cloud.billing.what_if.pages import compared
from cloud.billing.what_if.trial import Side, WhatIf
from cloud.identity.guards import Scope, allow
from cloud.kit.amounts import MoneyOut
from cloud.kit.inputs import Id
from cloud.kit.routing import rest_router
from cloud.tariffs.drafts import service as drafting

router = rest_router("billing")


class SideOut(BaseModel):
    """One line of the bill and of the draft; null where only the other side has it."""

    component: str
    tier: int | None
    season: str | None
    time_period: str | None
    issued: MoneyOut | None
    drafted: MoneyOut | None

    @classmethod
    def of(cls, side: Side, currency: str) -> "SideOut":
        """From our records."""
        line = side.issued or side.drafted
        assert line is not None
        return cls(
            component=line.component,
            tier=line.tier,
            season=line.season,
            time_period=line.time_period,
            issued=None if side.issued is None else MoneyOut.of(side.issued.amount, currency),
            drafted=None if side.drafted is None else MoneyOut.of(side.drafted.amount, currency),
        )


class WhatIfOut(BaseModel):
    """The charges of the last bill for the service of a draft, and what they would be by the draft.

    `quantity_changed`: usage of the period is not what was billed, as when readings came later.
    """

    bill_id: int
    start: date
    end: date
    issued: MoneyOut
    drafted: MoneyOut
    quantity_changed: bool
    lines: list[SideOut]

    @classmethod
    def of(cls, found: WhatIf) -> "WhatIfOut":
        """From our records."""
        return cls(
            bill_id=found.bill.summary.id,
            start=found.period.start,
            end=found.period.end,
            issued=MoneyOut.of(found.issued, found.currency),
            drafted=MoneyOut.of(found.drafted, found.currency),
            quantity_changed=found.quantity_changed,
            lines=[SideOut.of(side, found.currency) for side in found.sides],
        )


@router.get("/tariff-drafts/{draft_id}/comparison")
async def compare(draft_id: Id, account_id: Id, scope: Annotated[Scope, allow("bills.read")]) -> WhatIfOut:
    """The last bill of an account for the service of the draft beside what it would be by the draft."""
    draft = await drafting.get(scope.conn, draft_id)
    return WhatIfOut.of(await compared(scope.conn, draft, account_id))
