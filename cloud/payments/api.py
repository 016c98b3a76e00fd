"""REST: payments received."""

from typing import Annotated

from fastapi import APIRouter

from cloud.identity.guards import Scope, allow
from cloud.kit.idempotency import Once
from cloud.kit.paging import page_request
from cloud.payments import service
from cloud.payments.models import PaymentIn, PaymentOut, PaymentPage, RecordedPaymentOut

router = APIRouter(prefix="/api/v1", tags=["payments"])


@router.get("/payments")
async def list_payments(
    scope: Annotated[Scope, allow("payments.read")],
    limit: int | None = None,
    cursor: str | None = None,
    project_id: int | None = None,
    account_id: int | None = None,
) -> PaymentPage:
    """Payments, newest first; residents see their own."""
    page = await service.list_payments(
        scope.conn, page_request(limit, cursor), project_id=project_id, account_id=account_id
    )
    return PaymentPage(items=[PaymentOut.of(payment) for payment in page.items], next_cursor=page.next_cursor)


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
        )
        return RecordedPaymentOut.whole(recorded)

    return await once.answer(scope.conn, RecordedPaymentOut, make)
