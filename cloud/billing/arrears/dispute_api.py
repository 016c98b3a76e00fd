"""REST: disputes of bills."""

from typing import Annotated

from fastapi import Query

from cloud.billing import service
from cloud.billing.arrears.models import DisputeDecisionIn, DisputeIn, DisputeOut, DisputeQuery, decimal
from cloud.identity.guards import Scope, allow
from cloud.kit.idempotency import Once
from cloud.kit.inputs import Id, Listed
from cloud.kit.routing import rest_router

router = rest_router("billing")

Reader = Annotated[Scope, allow("bills.read")]
Opener = Annotated[Scope, allow("disputes.open")]
Approver = Annotated[Scope, allow("bills.approve")]


@router.get("/bill-disputes")
async def list_disputes(scope: Reader, query: Annotated[DisputeQuery, Query()]) -> Listed[DisputeOut]:
    """Disputes, newest first; residents see those of their bills."""
    page = await service.list_disputes(
        scope.conn, query.page(), project_id=query.project_id, bill_id=query.bill_id, state=query.state
    )
    return Listed(items=[DisputeOut.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.get("/bill-disputes/{dispute_id}")
async def get_dispute(scope: Reader, dispute_id: Id) -> DisputeOut:
    """One dispute."""
    return DisputeOut.of(await service.get_dispute(scope.conn, dispute_id))


@router.post("/bills/{bill_id}/disputes", status_code=201)
async def open_dispute(bill_id: Id, body: DisputeIn, scope: Opener, once: Once) -> DisputeOut:
    """Disputes an issued bill, or an amount of it: no late fee on it and no payment into it meanwhile."""

    async def make() -> DisputeOut:
        bill = (await service.get_bill(scope.conn, bill_id)).summary
        today, _ = await service.terms_today(scope.conn, bill.project_id)
        opened = await service.open_dispute(
            scope.conn,
            bill_id,
            body.reason,
            decimal(body.amount),
            by=scope.caller.user_id,
            by_resident=scope.caller.kind == "resident",
            today=today,
        )
        return DisputeOut.of(opened)

    return await once.answer(scope.conn, DisputeOut, make)


@router.post("/bill-disputes/{dispute_id}/decisions", status_code=201)
async def decide(dispute_id: Id, body: DisputeDecisionIn, scope: Approver, once: Once) -> DisputeOut:
    """Upholds a dispute, by its amount or less, or rejects it."""

    async def make() -> DisputeOut:
        found = await service.get_dispute(scope.conn, dispute_id)
        today, _ = await service.terms_today(scope.conn, found.project_id)
        by = scope.caller.user_id
        if body.decision == "rejected":
            return DisputeOut.of(await service.reject_dispute(scope.conn, dispute_id, body.note, by=by, today=today))
        upheld = decimal(body.amount)
        return DisputeOut.of(
            await service.uphold_dispute(scope.conn, dispute_id, body.note, upheld, by=by, today=today)
        )

    return await once.answer(scope.conn, DisputeOut, make)


@router.post("/bill-disputes/{dispute_id}/withdrawals", status_code=201)
async def withdraw(dispute_id: Id, scope: Opener, once: Once) -> DisputeOut:
    """Takes an open dispute back; a resident only one that a resident opened."""

    async def make() -> DisputeOut:
        found = await service.get_dispute(scope.conn, dispute_id)
        today, _ = await service.terms_today(scope.conn, found.project_id)
        by_resident = scope.caller.kind == "resident"
        return DisputeOut.of(
            await service.withdraw_dispute(
                scope.conn, dispute_id, by=scope.caller.user_id, by_resident=by_resident, today=today
            )
        )

    return await once.answer(scope.conn, DisputeOut, make)
