"""REST: terms of payment in versions, and what they would make of a bill."""

from typing import Annotated

from fastapi import Query

from cloud.billing import service
from cloud.billing.terms.models import ExampleIn, ExampleOut, NewTermsIn, TermsOut
from cloud.estate import service as estate
from cloud.identity.guards import Scope, allow
from cloud.kit.idempotency import Once
from cloud.kit.inputs import Id, Listed, ListQuery
from cloud.kit.paging import PageRequest
from cloud.kit.routing import rest_router

router = rest_router("billing")

Reader = Annotated[Scope, allow("bills.read")]
Approver = Annotated[Scope, allow("bills.approve")]


@router.get("/payment-terms")
async def list_terms(scope: Reader, query: Annotated[ListQuery, Query()]) -> Listed[TermsOut]:
    """All terms of payment there were and will be, newest first. Without any: due after 15 days, no late fee."""
    page = await service.policy_versions(scope.conn, query.page(), query.project_id)
    return Listed(items=[TermsOut.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.post("/payment-terms", status_code=201)
async def set_terms(body: NewTermsIn, scope: Approver, once: Once) -> TermsOut:
    """Sets terms of payment from a day on: today or later, since bills keep the terms of the day of their issue."""

    async def make() -> TermsOut:
        await service.announce_policy(scope.conn, body.project_id, body.valid_from, body.policy())
        newest = await service.policy_versions(scope.conn, PageRequest(1), body.project_id)
        return TermsOut.of(newest.items[0])

    return await once.answer(scope.conn, TermsOut, make)


@router.get("/projects/{project_id}/late-fee-example")
async def example(scope: Reader, project_id: Id, query: Annotated[ExampleIn, Query()]) -> ExampleOut:
    """What terms of payment would make of a bill that is paid late; nothing is kept."""
    currency = (await estate.get_project(scope.conn, project_id)).currency
    return ExampleOut.of(query.fee(currency), currency)
