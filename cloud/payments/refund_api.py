"""REST: the refund queue."""

from typing import Annotated

from fastapi import Query

from cloud.identity.guards import Scope, allow
from cloud.kit.idempotency import Once
from cloud.kit.inputs import Id, Listed
from cloud.kit.routing import rest_router
from cloud.payments import refunds
from cloud.payments.refund_models import RefundDecisionIn, RefundOut, RefundQuery

router = rest_router("payments")

Writer = Annotated[Scope, allow("payments.write")]


@router.get("/payment-refunds")
async def list_refunds(scope: Writer, query: Annotated[RefundQuery, Query()]) -> Listed[RefundOut]:
    """Money that came beyond what was due, newest first; `state=open` is what waits for somebody."""
    page = await refunds.list_refunds(scope.conn, query.page(), project_id=query.project_id, state=query.state)
    return Listed(items=[RefundOut.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.get("/payment-refunds/{refund_id}")
async def get_refund(refund_id: Id, scope: Writer) -> RefundOut:
    """One refund."""
    return RefundOut.of(await refunds.get_refund(scope.conn, refund_id))


@router.post("/payment-refunds/{refund_id}/decisions", status_code=201)
async def decide(refund_id: Id, body: RefundDecisionIn, scope: Writer, once: Once) -> RefundOut:
    """Gives the money back, by hand or by the provider that took it, or keeps it; with the reason."""

    async def make() -> RefundOut:
        found = await refunds.decide(
            scope.conn, refund_id, body.decision, body.note, method=body.method, by=scope.caller.user_id
        )
        return RefundOut.of(found)

    return await once.answer(scope.conn, RefundOut, make)
