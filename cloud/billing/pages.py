"""Pages of bills as lists, and of bill runs."""

from datetime import UTC, date, datetime
from typing import Annotated, Literal

from fastapi import Form, Request
from starlette.responses import RedirectResponse, Response

from cloud.billing import service
from cloud.billing.agreements import change_pages as agreement_change_pages
from cloud.billing.agreements import pages as agreement_pages
from cloud.billing.agreements import unit_pages
from cloud.billing.arrears import pages as arrears_pages
from cloud.billing.concessions import pages as concession_pages
from cloud.billing.corrections import note_pages, waiting_pages
from cloud.billing.corrections import pages as correction_pages
from cloud.billing.documents.model import Language
from cloud.billing.documents.service import LANGUAGES
from cloud.billing.estimates import pages as estimated_pages
from cloud.billing.estimates.estimating import MissingReadings, OpenExceptions
from cloud.billing.ledger import pages as ledger_pages
from cloud.billing.mailing import pages as mailing_pages
from cloud.billing.mailing import service as mailing
from cloud.billing.records import BillFilter
from cloud.billing.runs import archives, final_bill_pages
from cloud.billing.terms import pages as terms_pages
from cloud.billing.what_if import pages as what_if_pages
from cloud.estate import service as estate
from cloud.estate.service import EstateFilter
from cloud.estate.shown import OptionalText, shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit.errors import InvalidInput
from cloud.kit.paging import MAX_LIMIT, PageRequest, page_request
from cloud.kit.periods import local_day, month_of, previous_month
from cloud.kit.routing import page_router, take_in
from cloud.kit.sent_forms import FormOnce
from cloud.notices import service as notices

router = page_router()
take_in(
    router,
    agreement_pages.router,
    agreement_change_pages.router,
    unit_pages.router,
    concession_pages.router,
    what_if_pages.router,
    ledger_pages.router,
    terms_pages.router,
    arrears_pages.router,
    mailing_pages.router,
    waiting_pages.router,  # before /adjustments/{id}
    correction_pages.router,
    note_pages.router,
    final_bill_pages.router,
    estimated_pages.router,
)

_STATES = Literal["", "draft", "issued", "paid", "disputed", "void"]


@router.get("/bills")
async def bills(
    request: Request,
    scope: Annotated[Scope, allow_page("bills.read")],
    state: _STATES = "",
    run_id: int | None = None,
    account_id: int | None = None,
    unit_id: int | None = None,
    estimated: bool = False,
    search: OptionalText = None,
    cursor: str | None = None,
) -> Response:
    """Bills of the project, newest first; `search`: a part of their number, account, unit or payer."""
    if scope.caller.kind == "resident":
        return RedirectResponse("/my/bills", 303)
    page = await shown(request, scope)
    account_ids = None
    if unit_id is not None:
        of_unit = EstateFilter(project_id=page.project.id, unit_id=unit_id)
        found_accounts = await estate.list_accounts(scope.conn, PageRequest(MAX_LIMIT), of_unit)
        account_ids = tuple(account.id for account in found_accounts.items)
    wanted = BillFilter(
        page.project.id, account_id, run_id, state or None, account_ids, estimated=estimated or None,
        search=(search or "").strip() or None,
    )  # fmt: skip
    found = await service.list_bills(scope.conn, page_request(None, cursor), wanted)
    return page.page(
        "billing/list.html",
        bills=found,
        accounts=await estate.accounts_by_id(scope.conn, {bill.account_id for bill in found.items}),
        wanted=wanted,
        unit_id=unit_id,
        today=local_day(datetime.now(UTC), page.project.zone),
    )


@router.get("/my/bills")
async def my_bills(
    request: Request, scope: Annotated[Scope, allow_page("bills.read")], cursor: str | None = None
) -> Response:
    """The resident's bills; row-level security leaves no others."""
    page = await shown(request, scope)
    return page.page(
        "billing/mine.html",
        bills=await service.list_bills(scope.conn, page_request(None, cursor), BillFilter(project_id=page.project.id)),
        today=local_day(datetime.now(UTC), page.project.zone),
    )


@router.get("/bill-runs")
async def bill_runs(
    request: Request, scope: Annotated[Scope, allow_page("bills.run")], cursor: str | None = None
) -> Response:
    """Runs, newest first, and the form that starts one."""
    page = await shown(request, scope)
    today = local_day(datetime.now(UTC), page.project.zone)
    return page.page(
        "billing/runs.html",
        runs=await service.list_runs(scope.conn, page_request(None, cursor), page.project.id),
        proposed=previous_month(today).start,
        latest=month_of(today).start,
        mails_on_issue=(await notices.get_settings(scope.conn, page.project.id)).bills_on_issue,
        mail_is_set_up=request.app.state.settings.mail_is_set_up,
    )


@router.post("/bill-runs")
async def start_run(
    request: Request,
    scope: Annotated[Scope, allow_page("bills.run")],
    sent: FormOnce,
    month: Annotated[str, Form(pattern=r"^\d{4}-\d{2}$")],
    open_exceptions: Annotated[OpenExceptions, Form()] = "ask",
    missing_readings: Annotated[MissingReadings, Form()] = "ask",
    mail_bills: Annotated[Literal["", "yes", "no"], Form()] = "",
) -> Response:
    """Starts a run over a calendar month; its work is done by the worker."""
    page = await shown(request, scope)
    try:
        first = date.fromisoformat(f"{month}-01")
    except ValueError as error:
        raise InvalidInput("bad-month", "expected a month such as 2026-01", field="month") from error
    options = service.RunOptions(
        open_exceptions=open_exceptions,
        missing_readings=missing_readings,
        mail_bills={"yes": True, "no": False}.get(mail_bills),
    )

    async def start() -> str:
        job_id = await service.start_run(scope.conn, page.project.id, month_of(first), scope.caller.user_id, options)
        return f"/bill-runs/{(await service.run_of_job(scope.conn, job_id)).id}?done=run-started"

    return await sent.lead(scope.conn, start)


@router.get("/bill-runs/{run_id}")
async def bill_run(
    request: Request,
    scope: Annotated[Scope, allow_page("bills.run")],
    run_id: int,
    estimated: bool = False,
    cursor: str | None = None,
    reason: str | None = None,
    failures_from: str | None = None,
) -> Response:
    """A run: how far it is, its drafts or bills, or those that are `estimated`, and whom it could not bill.

    `reason`: why; `failures_from`: cursor of that list.
    """
    page = await shown(request, scope)
    run = await service.get_run(scope.conn, run_id)
    failures = await service.run_failures(scope.conn, page_request(None, failures_from), run_id, reason or None)
    wanted = BillFilter(run.project_id, run_id=run_id, estimated=estimated or None)
    bills = await service.list_bills(scope.conn, page_request(None, cursor), wanted)
    accounts = {failure.account_id for failure in failures.items} | {bill.account_id for bill in bills.items}
    return page.page(
        "billing/run.html",
        run=run,
        estimated=estimated,
        failures=failures,
        failure_counts=await service.failure_counts(scope.conn, run_id),
        reason=reason,
        bills=bills,
        accounts=await estate.accounts_by_id(scope.conn, accounts),
        archives=await archives.archives_of(scope.conn, run_id),
        languages=LANGUAGES,
        mailed=await mailing.mailed(scope.conn, run.project_id, run_id),
        mail_is_set_up=request.app.state.settings.mail_is_set_up,
    )


@router.post("/bill-runs/{run_id}/archives")
async def ask_for_archive(
    request: Request,
    scope: Annotated[Scope, allow_page("bills.run")],
    run_id: int,
    sent: FormOnce,
    language: Annotated[Language, Form()],
) -> Response:
    """Has all bills of the run written as one ZIP; the worker does it."""
    url = request.app.state.settings.public_url

    async def ask() -> str:
        await archives.ask_for_archive(scope.conn, run_id, language, url, scope.caller.user_id)
        return f"/bill-runs/{run_id}#archives"

    return await sent.lead(scope.conn, ask)


@router.post("/bill-runs/{run_id}/approve")
async def approve_run(scope: Annotated[Scope, allow_page("bills.approve")], run_id: int) -> Response:
    """Approves a preview; the worker issues it."""
    await service.approve_run(scope.conn, run_id, scope.caller.user_id)
    return RedirectResponse(f"/bill-runs/{run_id}?done=run-approved", 303)


@router.post("/bill-runs/{run_id}/repeat")
async def repeat_run(scope: Annotated[Scope, allow_page("bills.run")], run_id: int, sent: FormOnce) -> Response:
    """Goes on with a run, or begins another one, for those whom it has not billed."""

    async def repeat() -> str:
        job_id = await service.repeat_run(scope.conn, run_id, scope.caller.user_id)
        return f"/bill-runs/{(await service.run_of_job(scope.conn, job_id)).id}?done=run-started"

    return await sent.lead(scope.conn, repeat)


@router.post("/bill-runs/{run_id}/cancel")
async def cancel_run(scope: Annotated[Scope, allow_page("bills.run")], run_id: int) -> Response:
    """Throws the drafts of a preview away."""
    await service.cancel_run(scope.conn, run_id)
    return RedirectResponse(f"/bill-runs/{run_id}?done=run-cancelled", 303)


@router.post("/bill-runs/{run_id}/leave-out")
async def leave_out(
    scope: Annotated[Scope, allow_page("bills.run")],
    run_id: int,
    account_id: Annotated[int, Form()],
    reason: Annotated[str, Form(max_length=300)],
) -> Response:
    """Takes one account's draft out of a preview."""
    await service.leave_out(scope.conn, run_id, account_id, reason)
    return RedirectResponse(f"/bill-runs/{run_id}?done=left-out", 303)
