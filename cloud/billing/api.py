"""REST: bills and why they come to their amount, bill runs, service agreements."""

from typing import Annotated

from fastapi import APIRouter

from cloud.billing import service
from cloud.billing.models import (
    AgreementIn,
    AgreementOut,
    AgreementPage,
    BillDetailOut,
    BillOut,
    BillPage,
    ExplanationOut,
    RunDetailOut,
    RunIn,
    RunOut,
    RunPage,
    RunStartedOut,
)
from cloud.billing.records import BillFilter, BillState
from cloud.identity.guards import Scope, allow
from cloud.kit.idempotency import Once
from cloud.kit.paging import page_request
from cloud.kit.periods import Period

router = APIRouter(prefix="/api/v1", tags=["billing"])

Reader = Annotated[Scope, allow("bills.read")]
Runner = Annotated[Scope, allow("bills.run")]


@router.get("/bills")
async def list_bills(
    scope: Reader,
    limit: int | None = None,
    cursor: str | None = None,
    project_id: int | None = None,
    account_id: int | None = None,
    run_id: int | None = None,
    state: BillState | None = None,
) -> BillPage:
    """Bills, newest first; residents see their own."""
    wanted = BillFilter(project_id, account_id, run_id, state)
    page = await service.list_bills(scope.conn, page_request(limit, cursor), wanted)
    return BillPage(items=[BillOut.of(bill) for bill in page.items], next_cursor=page.next_cursor)


@router.get("/bills/{bill_id}")
async def get_bill(scope: Reader, bill_id: int) -> BillDetailOut:
    """A bill with its charges and lines."""
    return BillDetailOut.whole(await service.get_bill(scope.conn, bill_id))


@router.get("/bills/{bill_id}/explanation")
async def explain_bill(scope: Reader, bill_id: int) -> ExplanationOut:
    """The bill with all its inputs: readings, tariff versions, household, usage before; and its late fee."""
    return ExplanationOut.of(await service.get_bill(scope.conn, bill_id))


@router.get("/bill-runs")
async def list_runs(
    scope: Runner, limit: int | None = None, cursor: str | None = None, project_id: int | None = None
) -> RunPage:
    """Bill runs, newest first."""
    page = await service.list_runs(scope.conn, page_request(limit, cursor), project_id)
    return RunPage(items=[RunOut.of(run) for run in page.items], next_cursor=page.next_cursor)


@router.post("/bill-runs", status_code=202)
async def start_run(body: RunIn, scope: Runner, once: Once) -> RunStartedOut:
    """Charges everything in the period that is not charged yet. Done by a job; one run of a project at a time."""

    async def make() -> RunStartedOut:
        period = Period(body.start, body.end)
        job_id = await service.start_run(scope.conn, body.project_id, period, scope.caller.user_id)
        run = await service.run_of_job(scope.conn, job_id)
        return RunStartedOut(run_id=run.id, job_id=job_id, run=f"/api/v1/bill-runs/{run.id}")

    return await once.answer(scope.conn, RunStartedOut, make)


@router.get("/bill-runs/{run_id}")
async def get_run(scope: Runner, run_id: int) -> RunDetailOut:
    """A bill run and the accounts that it could not bill."""
    run = await service.get_run(scope.conn, run_id)
    return RunDetailOut.whole(run, await service.run_failures(scope.conn, run_id))


@router.get("/service-agreements")
async def list_agreements(
    scope: Reader,
    limit: int | None = None,
    cursor: str | None = None,
    project_id: int | None = None,
    account_id: int | None = None,
) -> AgreementPage:
    """Service agreements by id."""
    page = await service.list_agreements(
        scope.conn, page_request(limit, cursor), project_id=project_id, account_id=account_id
    )
    return AgreementPage(items=[AgreementOut.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.post("/service-agreements", status_code=201)
async def create_agreement(body: AgreementIn, scope: Runner, once: Once) -> AgreementOut:
    """Agrees what an account is charged for from a day on."""

    async def make() -> AgreementOut:
        return AgreementOut.of(await service.create_agreement(scope.conn, **body.model_dump()))

    return await once.answer(scope.conn, AgreementOut, make)
