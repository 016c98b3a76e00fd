"""REST: services that are billed by estimate."""

from typing import Annotated

from fastapi import Query
from pydantic import BaseModel, Field

from cloud.billing import service
from cloud.billing.estimates.services import EstimatedService
from cloud.billing.models import PeriodOut
from cloud.identity.guards import Scope, allow
from cloud.kit.amounts import MoneyOut
from cloud.kit.inputs import Listed, ListQuery
from cloud.kit.routing import rest_router

router = rest_router("billing")

Runner = Annotated[Scope, allow("bills.run")]


class EstimatedQuery(ListQuery):
    """Which are wanted."""

    prolonged: Annotated[bool, Field(description="Only those estimated for longer than the terms bear.")] = False


class EstimatedServiceOut(BaseModel):
    """A service of an account that `bills` over `period` charged by estimate, none of them trued up yet."""

    agreement_id: int
    account_id: int
    service: Annotated[str, Field(examples=["electricity"])]
    meter_id: int
    bills: int
    days: Annotated[int, Field(description="Days without measured usage.")]
    period: PeriodOut
    amount: MoneyOut
    prolonged: Annotated[bool, Field(description="`bills` has reached `most_bills`, or `days` is above `most_days`.")]
    most_bills: int
    most_days: int

    @classmethod
    def of(cls, one: EstimatedService) -> "EstimatedServiceOut":
        """From our records."""
        return cls(
            agreement_id=one.agreement_id,
            account_id=one.account_id,
            service=one.service,
            meter_id=one.meter_id,
            bills=one.bills,
            days=one.days,
            period=PeriodOut.of(one.period),
            amount=MoneyOut.of(one.amount, one.currency),
            prolonged=one.prolonged,
            most_bills=one.most_bills,
            most_days=one.most_days,
        )


@router.get("/estimated-services")
async def list_estimated(scope: Runner, query: Annotated[EstimatedQuery, Query()]) -> Listed[EstimatedServiceOut]:
    """What is billed by estimate until a reading comes, by agreement."""
    found = await service.estimated_services(scope.conn, query.page(), query.project_id, prolonged=query.prolonged)
    return Listed(items=[EstimatedServiceOut.of(one) for one in found.items], next_cursor=found.next_cursor)
