"""REST: deposits, and the release of held money, asked for by one person and approved by another."""

from decimal import Decimal
from typing import Annotated

from fastapi import Query

from cloud.billing import service as billing
from cloud.identity.guards import Scope, allow
from cloud.kit.idempotency import Once
from cloud.kit.inputs import Id, Listed
from cloud.kit.routing import rest_router
from cloud.payments import deposits, releases
from cloud.payments.held_models import (
    DepositIn,
    DepositOut,
    DepositQuery,
    ReleaseDecisionIn,
    ReleaseIn,
    ReleaseOut,
    ReleaseQuery,
)

router = rest_router("payments")

Reader = Annotated[Scope, allow("payments.read")]
Writer = Annotated[Scope, allow("payments.write")]
Approver = Annotated[Scope, allow("bills.approve")]


@router.get("/deposits")
async def list_deposits(scope: Reader, query: Annotated[DepositQuery, Query()]) -> Listed[DepositOut]:
    """Deposits, newest first; residents see their own."""
    page = await deposits.list_deposits(
        scope.conn, query.page(), project_id=query.project_id, account_id=query.account_id
    )
    return Listed(items=[DepositOut.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.post("/deposits", status_code=201)
async def take_deposit(body: DepositIn, scope: Writer, once: Once) -> DepositOut:
    """Records a deposit: a liability of its own, which pays nothing until it is released."""

    async def make() -> DepositOut:
        taken = await deposits.take_deposit(
            scope.conn,
            body.account_id,
            Decimal(body.amount),
            body.method,
            body.taken_on,
            body.subject,
            body.reference,
            scope.caller.user_id,
        )
        return DepositOut.of(taken)

    return await once.answer(scope.conn, DepositOut, make)


@router.get("/releases")
async def list_releases(scope: Reader, query: Annotated[ReleaseQuery, Query()]) -> Listed[ReleaseOut]:
    """Refunds and set-offs that were asked for, newest first; residents see their own."""
    page = await releases.list_releases(
        scope.conn, query.page(), project_id=query.project_id, account_id=query.account_id, state=query.state
    )
    return Listed(items=[ReleaseOut.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.post("/releases", status_code=201)
async def ask_release(body: ReleaseIn, scope: Writer, once: Once) -> ReleaseOut:
    """Asks to refund a balance or a deposit, or to pay bills from a deposit."""

    async def make() -> ReleaseOut:
        return ReleaseOut.of(
            await releases.ask_release(scope.conn, body.account_id, body.wanted(), by=scope.caller.user_id)
        )

    return await once.answer(scope.conn, ReleaseOut, make)


@router.post("/releases/{release_id}/decisions", status_code=201)
async def decide(release_id: Id, body: ReleaseDecisionIn, scope: Approver, once: Once) -> ReleaseOut:
    """Approves a release, which is done and booked today, or rejects it."""

    async def make() -> ReleaseOut:
        found = await releases.get_release(scope.conn, release_id)
        today, policy = await billing.terms_today(scope.conn, found.project_id)
        by = scope.caller.user_id
        if body.decision == "reject":
            return ReleaseOut.of(await releases.reject_release(scope.conn, release_id, body.note, by=by))
        return ReleaseOut.of(
            await releases.approve_release(scope.conn, release_id, policy, body.note, by=by, today=today)
        )

    return await once.answer(scope.conn, ReleaseOut, make)
