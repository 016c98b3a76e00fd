"""REST: what plates owe, paying for a stay by a provider, and how a project takes money for parking."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import Query, Request

from cloud.estate import service as estate
from cloud.identity.guards import Scope, allow
from cloud.kit.errors import Conflict
from cloud.kit.idempotency import Once
from cloud.kit.inputs import Id, Listed
from cloud.kit.routing import rest_router
from cloud.parking import service
from cloud.parking.charging import debts
from cloud.parking.charging.debt_models import (
    DebtQuery,
    DebtTotalOut,
    DebtTotalsOut,
    MoneyPolicyIn,
    MoneyPolicyOut,
    ParkingIntentIn,
    WaiverIn,
)
from cloud.parking.charging.models import DebtOut
from cloud.payments.intent_api import channels_of, payer_ip
from cloud.payments.intent_models import IntentOut

router = rest_router("parking")

Reader = Annotated[Scope, allow("parking.read")]
Collector = Annotated[Scope, allow("parking.collect")]
Waiver = Annotated[Scope, allow("parking.waive")]
Writer = Annotated[Scope, allow("parking.write")]


@router.get("/parking-debts")
async def list_debts(scope: Reader, query: Annotated[DebtQuery, Query()]) -> Listed[DebtOut]:
    """Stays that are over and not paid, newest first; residents see those of their own vehicles."""
    page = await debts.list_debts(scope.conn, query.page(), query.wanted())
    return Listed(items=[DebtOut.of(debt) for debt in page.items], next_cursor=page.next_cursor)


@router.get("/parking-debt-totals")
async def debt_totals(scope: Reader, query: Annotated[DebtQuery, Query()]) -> DebtTotalsOut:
    """What these debts add up to, whatever the page."""
    found = await debts.debt_totals(scope.conn, query.wanted())
    return DebtTotalsOut(items=[DebtTotalOut.of(total) for total in found])


@router.post("/parking-debts/{session_id}/waivers", status_code=201)
async def waive(session_id: Id, body: WaiverIn, scope: Waiver, once: Once) -> DebtOut:
    """Nobody has to pay this of a debt any more; actor and reason are kept. The answer is the debt as it was before."""

    async def make() -> DebtOut:
        session = (await service.get_session(scope.conn, session_id)).session
        if body.amount is not None and body.amount.currency != session.currency:
            raise Conflict("other-currency", f"this stay is charged in {session.currency}", field="amount.currency")
        amount = None if body.amount is None else body.amount.amount
        return DebtOut.of(await service.waive(scope.conn, session_id, amount, body.reason, scope.caller.actor))

    return await once.answer(scope.conn, DebtOut, make)


@router.post("/parking-payment-intents", status_code=201)
async def ask_to_pay(request: Request, body: ParkingIntentIn, scope: Collector, once: Once) -> IntentOut:
    """Fixes what is due now for a stay and has the provider asked for an order; the barrier opens once it is paid."""

    async def make() -> IntentOut:
        made = await service.ask_to_pay(
            scope.conn,
            body.session_id,
            body.wanted(payer_ip(request)),
            channels_of(request),
            datetime.now(UTC),
            with_debts=body.with_debts,
            by=scope.caller.user_id,
        )
        return IntentOut.of(made)

    return await once.answer(scope.conn, IntentOut, make)


@router.get("/parking-money-policies/{project_id}")
async def get_policy(project_id: Id, scope: Reader) -> MoneyPolicyOut:
    """How a project takes money for parking."""
    await estate.get_project(scope.conn, project_id)
    return MoneyPolicyOut.of(project_id, await service.money_policy(scope.conn, project_id))


@router.put("/parking-money-policies/{project_id}")
async def set_policy(project_id: Id, body: MoneyPolicyIn, scope: Writer) -> MoneyPolicyOut:
    """Sets it. The page where one pays by plate keeps its address as long as there is one."""
    await estate.get_project(scope.conn, project_id)
    made = await service.set_money_policy(scope.conn, project_id, body.policy(), public=body.public_page)
    return MoneyPolicyOut.of(project_id, made)
