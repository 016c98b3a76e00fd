"""REST: waivers of late fees, asked for by one person and approved by another."""

from decimal import Decimal
from typing import Annotated

from fastapi import Query

from cloud.billing import service
from cloud.billing.arrears.models import DecisionIn, WaiverIn, WaiverOut, WaiverQuery
from cloud.identity.guards import Scope, allow
from cloud.kit.idempotency import Once
from cloud.kit.inputs import Id, Listed
from cloud.kit.routing import rest_router

router = rest_router("billing")

Reader = Annotated[Scope, allow("bills.read")]
Asker = Annotated[Scope, allow("arrears.write")]
Approver = Annotated[Scope, allow("bills.approve")]


@router.get("/late-fee-waivers")
async def list_waivers(scope: Reader, query: Annotated[WaiverQuery, Query()]) -> Listed[WaiverOut]:
    """Waivers, newest first; for staff."""
    page = await service.list_waivers(
        scope.conn, query.page(), project_id=query.project_id, bill_id=query.bill_id, state=query.state
    )
    return Listed(items=[WaiverOut.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.post("/bills/{bill_id}/late-fee-waivers", status_code=201)
async def ask(bill_id: Id, body: WaiverIn, scope: Asker, once: Once) -> WaiverOut:
    """Asks not to collect an amount of the open late fee of a bill."""

    async def make() -> WaiverOut:
        return WaiverOut.of(
            await service.ask_waiver(scope.conn, bill_id, Decimal(body.amount), body.reason, by=scope.caller.user_id)
        )

    return await once.answer(scope.conn, WaiverOut, make)


@router.post("/late-fee-waivers/{waiver_id}/decisions", status_code=201)
async def decide(waiver_id: Id, body: DecisionIn, scope: Approver, once: Once) -> WaiverOut:
    """Approves or rejects a waiver that somebody else asked for."""

    async def make() -> WaiverOut:
        found = await service.get_waiver(scope.conn, waiver_id)
        _, policy = await service.terms_today(scope.conn, found.project_id)
        by = scope.caller.user_id
        if body.decision == "reject":
            return WaiverOut.of(await service.reject_waiver(scope.conn, waiver_id, body.note, by=by))
        return WaiverOut.of(await service.approve_waiver(scope.conn, waiver_id, policy, body.note, by=by))

    return await once.answer(scope.conn, WaiverOut, make)
