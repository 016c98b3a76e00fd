"""REST: payments received."""

from typing import Annotated

from fastapi import Query

from cloud.identity.guards import Scope, allow
from cloud.kit.idempotency import Once
from cloud.kit.inputs import Listed
from cloud.kit.routing import rest_router, take_in
from cloud.payments import held_api, intent_api, refund_api, service
from cloud.payments.models import PaymentIn, PaymentOut, PaymentQuery, RecordedPaymentOut
from cloud.payments.reconciliation import api as reconciliation_api

router = rest_router("payments")
take_in(router, held_api.router, intent_api.router, refund_api.router, reconciliation_api.router)


@router.get("/payments")
async def list_payments(
    scope: Annotated[Scope, allow("payments.read")], query: Annotated[PaymentQuery, Query()]
) -> Listed[PaymentOut]:
    """Payments, newest first; residents see their own."""
    page = await service.list_payments(
        scope.conn, query.page(), project_id=query.project_id, account_id=query.account_id
    )
    return Listed(items=[PaymentOut.of(payment) for payment in page.items], next_cursor=page.next_cursor)


@router.post("/payments", status_code=201)
async def record_payment(
    body: PaymentIn, scope: Annotated[Scope, allow("payments.write")], once: Once
) -> RecordedPaymentOut:
    """Records a payment: principal of the oldest bills first, then late fees; the rest stays as a balance."""

    async def make() -> RecordedPaymentOut:
        recorded = await service.record_payment(
            scope.conn,
            body.account_id,
            body.decimal,
            body.method,
            body.paid_on,
            body.reference,
            scope.caller.user_id,
            purpose=body.purpose,
        )
        return RecordedPaymentOut.whole(recorded)

    return await once.answer(scope.conn, RecordedPaymentOut, make)
