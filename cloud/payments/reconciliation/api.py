"""REST: providers' statements, and where they disagree with our books."""

from typing import Annotated

from fastapi import Query

from cloud.identity.guards import Scope, allow
from cloud.kit.idempotency import Once
from cloud.kit.inputs import Id, Listed
from cloud.kit.routing import rest_router
from cloud.payments.reconciliation import service
from cloud.payments.reconciliation.models import (
    DifferenceOut,
    DifferenceQuery,
    DifferenceSettledIn,
    StatementOut,
    StatementQuery,
)

router = rest_router("payments")

Writer = Annotated[Scope, allow("payments.write")]


@router.get("/provider-statements")
async def list_statements(scope: Writer, query: Annotated[StatementQuery, Query()]) -> Listed[StatementOut]:
    """Days at the providers, newest first: compared with our books (`kept`), or still to be fetched (`wanted`)."""
    page = await service.list_statements(scope.conn, query.page(), state=query.state, channel=query.channel)
    return Listed(items=[StatementOut.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.get("/provider-differences")
async def list_differences(scope: Writer, query: Annotated[DifferenceQuery, Query()]) -> Listed[DifferenceOut]:
    """Where providers and our books disagree, newest first; `state=open` is what waits for somebody."""
    page = await service.list_differences(
        scope.conn, query.page(), project_id=query.project_id, state=query.state, channel=query.channel
    )
    return Listed(items=[DifferenceOut.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.get("/provider-differences/{difference_id}")
async def get_difference(difference_id: Id, scope: Writer) -> DifferenceOut:
    """One difference."""
    return DifferenceOut.of(await service.get_difference(scope.conn, difference_id))


@router.post("/provider-differences/{difference_id}/settlements", status_code=201)
async def settle_difference(difference_id: Id, body: DifferenceSettledIn, scope: Writer, once: Once) -> DifferenceOut:
    """Somebody has looked at a difference, and says what was found out or done. Nothing is booked by it."""

    async def make() -> DifferenceOut:
        by = scope.caller.user_id
        return DifferenceOut.of(await service.settle_difference(scope.conn, difference_id, body.note, by=by))

    return await once.answer(scope.conn, DifferenceOut, make)
