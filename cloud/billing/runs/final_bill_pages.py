"""The page that ends an account: its last day, what ends with it and is left to charge, then the run of its bill."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated

from fastapi import Request
from starlette.responses import Response

from cloud.billing import service
from cloud.billing.corrections.models import FinalBillIn
from cloud.billing.records import BillFilter
from cloud.billing.service import Ending, Leaving
from cloud.estate import service as estate
from cloud.estate.records import Account, Occupancy
from cloud.estate.service import EstateFilter
from cloud.estate.shown import OptionalDay, shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit.db import Conn
from cloud.kit.errors import GatemeterError
from cloud.kit.forms import read, typed
from cloud.kit.paging import MAX_LIMIT, PageRequest
from cloud.kit.periods import local_day
from cloud.kit.routing import page_router
from cloud.kit.sent_forms import FormOnce

router = page_router()

Running = Annotated[Scope, allow_page("bills.run")]


@router.get("/accounts/{account_id}/final-bill")
async def form(
    request: Request,
    scope: Running,
    account_id: int,
    ends_on: OptionalDay = None,
    charged_beyond: bool = False,
) -> Response:
    """The form; with a day also what the end on it means."""
    leaving, problem = None, None
    if ends_on is not None:
        try:
            leaving = await service.look_ahead(scope.conn, Ending(account_id, ends_on, charged_beyond))
        except GatemeterError as error:
            problem = error
    return await _page(request, scope, account_id, ends_on, charged_beyond, leaving, problem)


@router.post("/accounts/{account_id}/final-bill")
async def start(request: Request, scope: Running, account_id: int, sent: FormOnce) -> Response:
    """Ends the account and starts the run of its final bill, which is looked at and approved as any other."""
    values = await typed(request)
    ends_on = None
    try:
        body = read(FinalBillIn, values)
        ends_on = body.ends_on
        ending = Ending(account_id, ends_on, body.charged_beyond)

        async def begin() -> str:
            job_id = await service.start_final_bill(scope.conn, ending, scope.caller.user_id, body.options())
            return f"/bill-runs/{(await service.run_of_job(scope.conn, job_id)).id}?done=run-started"

        return await sent.lead(scope.conn, begin)
    except GatemeterError as error:
        return await _page(request, scope, account_id, ends_on, "charged_beyond" in values, None, error)


async def _page(
    request: Request,
    scope: Scope,
    account_id: int,
    ends_on: date | None,
    charged_beyond: bool,
    leaving: Leaving | None,
    problem: GatemeterError | None,
) -> Response:
    page, conn = await shown(request, scope), scope.conn
    account = await estate.get_account(conn, account_id)
    project = await estate.get_project(conn, account.project_id)
    bills = await service.list_bills(conn, PageRequest(MAX_LIMIT), BillFilter(account_id=account_id))
    return page.page(
        "billing/final_bill.html",
        status=problem.status if problem else 200,
        account=account,
        currency=project.currency,
        ends_on=ends_on,
        proposed=account.valid.end or local_day(datetime.now(UTC), project.zone),
        charged_beyond=charged_beyond,
        leaving=leaving,
        unpaid=sum((bill.open + bill.late_fee_open for bill in bills.items if bill.number), Decimal(0)),
        staying=await _staying(conn, account, ends_on),
        balance=await service.held(conn, account_id, "balance"),
        deposit=await service.held(conn, account_id, "deposit"),
        problem=problem,
    )


async def _staying(conn: Conn, account: Account, ends_on: date | None) -> list[Occupancy]:
    """Stays of the account's person in its unit that go on after its end: moving out is to be entered there, too."""
    if account.unit_id is None:
        return []
    wanted = EstateFilter(unit_id=account.unit_id, person_id=account.person_id)
    found = (await estate.list_occupancies(conn, PageRequest(MAX_LIMIT), wanted)).items
    return [one for one in found if one.valid.end is None or (ends_on is not None and one.valid.end > ends_on)]
