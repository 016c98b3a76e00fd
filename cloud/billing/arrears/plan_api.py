"""REST: instalment plans."""

from typing import Annotated

from fastapi import Query

from cloud.billing import service
from cloud.billing.arrears.models import CancellationIn, DecisionIn, PlanIn, PlanOut, PlanQuery
from cloud.estate import service as estate
from cloud.identity.guards import Scope, allow
from cloud.kit.idempotency import Once
from cloud.kit.inputs import Id, Listed
from cloud.kit.routing import rest_router

router = rest_router("billing")

Reader = Annotated[Scope, allow("bills.read")]
Asker = Annotated[Scope, allow("arrears.write")]
Approver = Annotated[Scope, allow("bills.approve")]


@router.get("/instalment-plans")
async def list_plans(scope: Reader, query: Annotated[PlanQuery, Query()]) -> Listed[PlanOut]:
    """Plans, newest first; residents see their own."""
    page = await service.list_plans(
        scope.conn, query.page(), project_id=query.project_id, account_id=query.account_id, state=query.state
    )
    return Listed(items=[PlanOut.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.get("/instalment-plans/{plan_id}")
async def get_plan(scope: Reader, plan_id: Id) -> PlanOut:
    """A plan, what is paid of each instalment, and what it is for."""
    return PlanOut.of(await service.get_plan(scope.conn, plan_id))


@router.post("/instalment-plans", status_code=201)
async def ask(body: PlanIn, scope: Asker, once: Once) -> PlanOut:
    """Asks to pay the open principal of bills in parts; it holds once somebody else approves it."""

    async def make() -> PlanOut:
        account = await estate.get_account(scope.conn, body.account_id)
        today, _ = await service.terms_today(scope.conn, account.project_id)
        by = scope.caller.user_id
        return PlanOut.of(
            await service.ask_plan(scope.conn, account.id, body.bill_ids, body.parts(), body.reason, by=by, today=today)
        )

    return await once.answer(scope.conn, PlanOut, make)


@router.post("/instalment-plans/{plan_id}/decisions", status_code=201)
async def decide(plan_id: Id, body: DecisionIn, scope: Approver, once: Once) -> PlanOut:
    """Approves a plan, which holds from today on, or rejects it."""

    async def make() -> PlanOut:
        found = await service.get_plan(scope.conn, plan_id)
        today, policy = await service.terms_today(scope.conn, found.project_id)
        by = scope.caller.user_id
        if body.decision == "reject":
            return PlanOut.of(await service.reject_plan(scope.conn, plan_id, body.note, by=by))
        return PlanOut.of(await service.approve_plan(scope.conn, plan_id, policy, body.note, by=by, today=today))

    return await once.answer(scope.conn, PlanOut, make)


@router.post("/instalment-plans/{plan_id}/reinstatements", status_code=201)
async def reinstate(plan_id: Id, body: CancellationIn, scope: Approver, once: Once) -> PlanOut:
    """A broken plan holds again, once what was missed is paid; its bills bear no late fee."""

    async def make() -> PlanOut:
        found = await service.get_plan(scope.conn, plan_id)
        today, policy = await service.terms_today(scope.conn, found.project_id)
        by = scope.caller.user_id
        return PlanOut.of(await service.reinstate_plan(scope.conn, plan_id, policy, body.note, by=by, today=today))

    return await once.answer(scope.conn, PlanOut, make)


@router.post("/instalment-plans/{plan_id}/cancellations", status_code=201)
async def cancel(plan_id: Id, body: CancellationIn, scope: Approver, once: Once) -> PlanOut:
    """Ends an active plan; late fees count again from today on."""

    async def make() -> PlanOut:
        found = await service.get_plan(scope.conn, plan_id)
        today, _ = await service.terms_today(scope.conn, found.project_id)
        return PlanOut.of(await service.cancel_plan(scope.conn, plan_id, body.note, today=today))

    return await once.answer(scope.conn, PlanOut, make)
