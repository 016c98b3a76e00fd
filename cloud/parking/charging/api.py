"""REST: what a stay costs, and paying for it."""

from typing import Annotated

from cloud.identity.guards import Scope, allow
from cloud.kit.errors import Conflict
from cloud.kit.idempotency import Once
from cloud.kit.inputs import Id
from cloud.kit.routing import rest_router
from cloud.parking import service
from cloud.parking.charging.models import ParkingPaymentIn, ParkingPaymentOut, QuoteOut

router = rest_router("parking")

Reader = Annotated[Scope, allow("parking.read")]
Collector = Annotated[Scope, allow("parking.collect")]


@router.get("/parking-sessions/{session_id}/quote")
async def quote(session_id: Id, scope: Reader) -> QuoteOut:
    """What the stay costs now, step by step, and what is still due."""
    return QuoteOut.of(await service.quote(scope.conn, session_id))


@router.post("/parking-payments", status_code=201)
async def pay(body: ParkingPaymentIn, scope: Collector, once: Once) -> ParkingPaymentOut:
    """Takes what is due for a stay; a vehicle that waits at an exit is let out."""

    async def make() -> ParkingPaymentOut:
        session = (await service.get_session(scope.conn, body.session_id)).session
        if session.currency != body.amount.currency:
            raise Conflict("other-currency", f"this stay is charged in {session.currency}", field="amount.currency")
        paid = await service.pay(
            scope.conn,
            body.session_id,
            body.amount.amount,
            body.method,
            scope.caller.actor,
            created_by=scope.caller.user_id,
            reference=body.reference,
        )
        return ParkingPaymentOut.of(paid)

    return await once.answer(scope.conn, ParkingPaymentOut, make)
