"""REST: prepaid accounts and what is left of them, settings, and cases of switching supplies off."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import Query

from cloud.estate import service as estate
from cloud.identity.guards import Scope, allow
from cloud.kit.db import Conn
from cloud.kit.idempotency import Once
from cloud.kit.inputs import Id, Listed
from cloud.kit.periods import local_day
from cloud.kit.routing import rest_router
from cloud.prepaid import service
from cloud.prepaid.models import (
    CaseOut,
    CaseQuery,
    DecisionIn,
    PolicyIn,
    PolicyOut,
    PositionOut,
    PositionQuery,
    PrepaidAgreementIn,
    PrepaidAgreementOut,
    StepOut,
    TermsIn,
    TermsOut,
    WholeCaseOut,
)
from cloud.prepaid.records import SupplyCase

router = rest_router("prepaid")

Reader = Annotated[Scope, allow("prepaid.read")]
Writer = Annotated[Scope, allow("prepaid.write")]
Disconnecting = Annotated[Scope, allow("supply.disconnect")]


@router.get("/prepaid-accounts")
async def list_positions(scope: Reader, query: Annotated[PositionQuery, Query()]) -> Listed[PositionOut]:
    """Prepaid accounts by what is left, the least first; residents see their own."""
    page = await service.list_positions(
        scope.conn, query.page(2), project_id=query.project_id, account_id=query.account_id, shown=query.show
    )
    return Listed(items=[PositionOut.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.get("/prepaid-accounts/{account_id}")
async def get_position(scope: Reader, account_id: Id) -> PositionOut:
    """What was left of one account when it was valued last: every hour, and by every payment."""
    return PositionOut.of(await service.position(scope.conn, account_id))


@router.get("/prepaid-accounts/{account_id}/agreements")
async def list_agreements(scope: Reader, account_id: Id) -> Listed[PrepaidAgreementOut]:
    """The prepaid agreements of an account that are in force."""
    account = await estate.get_account(scope.conn, account_id)
    project = await estate.get_project(scope.conn, account.project_id)
    found = await service.agreements_of(scope.conn, [account_id], local_day(datetime.now(UTC), project.zone))
    return Listed(items=[PrepaidAgreementOut.of(one) for one in found.get(account_id, ())], next_cursor=None)


@router.post("/prepaid-agreements", status_code=201)
async def mark(body: PrepaidAgreementIn, scope: Writer, once: Once) -> PrepaidAgreementOut:
    """Makes an agreement prepaid: its usage is valued every hour from now on."""

    async def make() -> PrepaidAgreementOut:
        return PrepaidAgreementOut.of(await service.mark(scope.conn, body.agreement_id, _now()))

    return await once.answer(scope.conn, PrepaidAgreementOut, make)


@router.delete("/prepaid-agreements/{agreement_id}", status_code=204)
async def unmark(agreement_id: Id, scope: Writer) -> None:
    """The agreement is billed afterwards again; its supply is given back if it is off."""
    await service.unmark(scope.conn, agreement_id, _now())


@router.get("/prepaid-accounts/{account_id}/terms")
async def get_terms(scope: Writer, account_id: Id) -> TermsOut:
    """Protection and emergency credit of an account."""
    return TermsOut.of(await service.account_terms(scope.conn, account_id))


@router.put("/prepaid-accounts/{account_id}/terms")
async def set_terms(scope: Writer, account_id: Id, body: TermsIn) -> TermsOut:
    """Sets protection and emergency credit of an account, at once for its cases."""
    return TermsOut.of(await service.set_account_terms(scope.conn, body.terms(account_id), _now()))


@router.get("/projects/{project_id}/prepaid-policy")
async def get_policy(scope: Reader, project_id: Id) -> PolicyOut:
    """Warnings, and whether and how supplies are switched off."""
    return PolicyOut.of(await service.get_policy(scope.conn, project_id))


@router.put("/projects/{project_id}/prepaid-policy")
async def set_policy(scope: Writer, project_id: Id, body: PolicyIn) -> PolicyOut:
    """Sets them; everything about switching off needs the permission `supply.disconnect`, too."""
    may = scope.caller.may("supply.disconnect", project_id)
    return PolicyOut.of(await service.set_policy(scope.conn, project_id, body.policy(), may_disconnect=may))


@router.get("/supply-cases")
async def list_cases(scope: Reader, query: Annotated[CaseQuery, Query()]) -> Listed[CaseOut]:
    """Cases, newest first; residents see their own."""
    page = await service.list_cases(
        scope.conn,
        query.page(),
        project_id=query.project_id,
        account_id=query.account_id,
        state=query.state,
        only_open=query.only_open,
    )
    return Listed(items=[CaseOut.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.get("/supply-cases/{case_id}")
async def get_case(scope: Reader, case_id: Id) -> WholeCaseOut:
    """One case with its steps."""
    found = await _whole(scope.conn, await service.get_case(scope.conn, case_id))
    if scope.caller.kind == "resident":
        # What staff write down for each other stays with them.
        return found.model_copy(update={"steps": [one.model_copy(update={"detail": ""}) for one in found.steps]})
    return found


@router.post("/supply-cases/{case_id}/confirmations", status_code=201)
async def confirm(case_id: Id, scope: Disconnecting, once: Once) -> WholeCaseOut:
    """A person agrees that the supply is switched off as soon as the rules let it; valid for seven days."""

    async def make() -> WholeCaseOut:
        return await _whole(scope.conn, await service.confirm_case(scope.conn, case_id, scope.caller.user_id, _now()))

    return await once.answer(scope.conn, WholeCaseOut, make)


@router.post("/supply-cases/{case_id}/decisions", status_code=201)
async def decide(case_id: Id, body: DecisionIn, scope: Writer, once: Once) -> WholeCaseOut:
    """Notes that a notice was handed over, or ends the case: what is off is switched on."""

    async def make() -> WholeCaseOut:
        now = _now()
        if body.decision == "end":
            return await _whole(scope.conn, await service.end_case(scope.conn, case_id, body.reason, now))
        at = body.at or now
        return await _whole(scope.conn, await service.note_delivery(scope.conn, case_id, at, body.reason, now))

    return await once.answer(scope.conn, WholeCaseOut, make)


async def _whole(conn: Conn, case: SupplyCase) -> WholeCaseOut:
    steps = await service.steps_of(conn, case.id)
    return WholeCaseOut(case=CaseOut.of(case), steps=[StepOut.of(step) for step in steps])


def _now() -> datetime:
    return datetime.now(UTC)
