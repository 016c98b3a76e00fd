"""REST: bills and why they come to their amount, and bill runs."""

from typing import Annotated

from fastapi import Query, Response

from cloud.billing import service
from cloud.billing.agreements import api as agreement_api
from cloud.billing.arrears import dispute_api, plan_api, waiver_api
from cloud.billing.concessions import api as concession_api
from cloud.billing.corrections import api as correction_api
from cloud.billing.documents import api as document_api
from cloud.billing.estimates import api as estimated_api
from cloud.billing.explanation.models import ExplanationOut
from cloud.billing.ledger import api as ledger_api
from cloud.billing.mailing import api as mailing_api
from cloud.billing.models import (
    BillDetailOut,
    BillOut,
    BillQuery,
    LeftOutIn,
    RunFailureOut,
    RunFailureQuery,
    RunIn,
    RunOut,
    RunStartedOut,
)
from cloud.billing.run_answers import started
from cloud.billing.settlement import api as held_api
from cloud.billing.terms import api as terms_api
from cloud.billing.what_if import api as what_if_api
from cloud.identity.guards import Scope, allow
from cloud.kit.errors import Forbidden
from cloud.kit.idempotency import Once
from cloud.kit.inputs import Id, Listed, ListQuery
from cloud.kit.periods import Period
from cloud.kit.routing import rest_router, take_in

router = rest_router("billing")
take_in(
    router,
    agreement_api.router,
    concession_api.router,
    what_if_api.router,
    ledger_api.router,
    terms_api.router,
    dispute_api.router,
    waiver_api.router,
    plan_api.router,
    held_api.router,
    correction_api.router,
    document_api.router,
    mailing_api.router,
    estimated_api.router,
)

Reader = Annotated[Scope, allow("bills.read")]
Runner = Annotated[Scope, allow("bills.run")]
Approver = Annotated[Scope, allow("bills.approve")]


@router.get("/bills")
async def list_bills(scope: Reader, query: Annotated[BillQuery, Query()]) -> Listed[BillOut]:
    """Bills, newest first; residents see their own."""
    page = await service.list_bills(scope.conn, query.page(), query.wanted())
    return Listed(items=[BillOut.of(bill) for bill in page.items], next_cursor=page.next_cursor)


@router.get("/bills/{bill_id}")
async def get_bill(scope: Reader, bill_id: Id) -> BillDetailOut:
    """A bill with its charges and lines."""
    return BillDetailOut.whole(await service.get_bill(scope.conn, bill_id))


@router.get("/bills/{bill_id}/explanation")
async def explain_bill(scope: Reader, bill_id: Id) -> ExplanationOut:
    """The bill with all its inputs, and what each charge follows from in units that can be added up by hand."""
    bill = await service.get_bill(scope.conn, bill_id)
    return ExplanationOut.of(bill, await service.explain(scope.conn, bill))


@router.get("/bill-runs")
async def list_runs(scope: Runner, query: Annotated[ListQuery, Query()]) -> Listed[RunOut]:
    """Bill runs, newest first."""
    page = await service.list_runs(scope.conn, query.page(), query.project_id)
    return Listed(items=[RunOut.of(run) for run in page.items], next_cursor=page.next_cursor)


@router.post("/bill-runs", status_code=202)
async def start_run(body: RunIn, response: Response, scope: Runner, once: Once) -> RunStartedOut:
    """Makes drafts of everything in the period that is not charged yet. Done by the job that `Location` leads to.

    One run of a project at a time. People look at the drafts (`GET /bills?run_id=…`) and approve the run, which issues
    them, or cancel it.
    """
    options = body.options()
    if options.issue_at_once and not scope.caller.may("bills.approve", body.project_id):
        raise Forbidden("may-not-approve", "issue_at_once needs the permission bills.approve", field="issue_at_once")

    return await started(
        scope,
        response,
        once,
        lambda: service.start_run(
            scope.conn, body.project_id, Period(body.start, body.end), scope.caller.user_id, options
        ),
    )


@router.get("/bill-runs/{run_id}")
async def get_run(scope: Runner, run_id: Id) -> RunOut:
    """A bill run; `failed` accounts it could not bill: `GET …/failures` says which."""
    return RunOut.of(await service.get_run(scope.conn, run_id))


@router.get("/bill-runs/{run_id}/failures")
async def list_failures(scope: Runner, run_id: Id, query: Annotated[RunFailureQuery, Query()]) -> Listed[RunFailureOut]:
    """The accounts that a run could not bill, by id, and why."""
    await service.get_run(scope.conn, run_id)
    page = await service.run_failures(scope.conn, query.page(), run_id, query.code)
    return Listed(items=[RunFailureOut.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.post("/bill-runs/{run_id}/approvals", status_code=202)
async def approve_run(run_id: Id, response: Response, scope: Approver, once: Once) -> RunStartedOut:
    """Approves a preview: its drafts are issued, by the job that `Location` leads to."""

    return await started(scope, response, once, lambda: service.approve_run(scope.conn, run_id, scope.caller.user_id))


@router.post("/bill-runs/{run_id}/repetitions", status_code=202)
async def repeat_run(run_id: Id, response: Response, scope: Runner, once: Once) -> RunStartedOut:
    """Goes on with a run for the accounts that it has not billed, by the job that `Location` leads to.

    A failed run, a preview or an approved run goes on itself: its drafts stay, and who was left out by hand stays out.
    After one that is issued another run over its period begins, by the same options, for those alone whom it could not
    bill; `run_id` says which. What else of the period is not billed yet is for a new run.
    """

    return await started(scope, response, once, lambda: service.repeat_run(scope.conn, run_id, scope.caller.user_id))


@router.post("/bill-runs/{run_id}/cancellations", status_code=201)
async def cancel_run(run_id: Id, scope: Runner, once: Once) -> RunOut:
    """Throws the drafts of a run away; what they charged can be charged again."""

    async def make() -> RunOut:
        await service.cancel_run(scope.conn, run_id)
        return RunOut.of(await service.get_run(scope.conn, run_id))

    return await once.answer(scope.conn, RunOut, make)


@router.post("/bill-runs/{run_id}/left-out-accounts", status_code=201)
async def leave_out(run_id: Id, body: LeftOutIn, scope: Runner, once: Once) -> RunOut:
    """Takes one account's draft out of a preview, with the reason; another run may bill it."""

    async def make() -> RunOut:
        await service.leave_out(scope.conn, run_id, body.account_id, body.reason)
        return RunOut.of(await service.get_run(scope.conn, run_id))

    return await once.answer(scope.conn, RunOut, make)
