"""Pages of concessions: the list with its filters, the form, approval and end."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import Form, Request
from starlette.responses import RedirectResponse, Response

from cloud.billing import service
from cloud.billing.agreements.pages import DayTyped, Running, account_by_number
from cloud.billing.concessions import service as conceded
from cloud.billing.concessions.models import ConcessionIn
from cloud.billing.concessions.reductions import POSITIONS
from cloud.billing.concessions.service import ConcessionFilter
from cloud.estate import service as estate
from cloud.estate.shown import OptionalId, OptionalText, Shown, shown
from cloud.identity import service as identity
from cloud.identity.guards import Scope, allow_page
from cloud.kit.db import Conn
from cloud.kit.errors import GatemeterError, InvalidInput
from cloud.kit.paging import page_request
from cloud.kit.periods import local_day
from cloud.kit.routing import page_router
from cloud.kit.sent_forms import FormOnce
from cloud.metering.assets.forms import read, typed

router = page_router()

Approving = Annotated[Scope, allow_page("bills.approve")]


@router.get("/concessions")
async def concessions(
    request: Request,
    scope: Running,
    account: OptionalText = None,
    rule: Literal["", "vacancy", "long_lease", "subsidy", "promotion", "other"] = "",
    unapproved: bool = False,
    cursor: str | None = None,
) -> Response:
    """Concessions of the project, or of an account with its agreements and units."""
    page = await shown(request, scope)
    payer = None if account is None else await account_by_number(scope.conn, page, account)
    account_id = 0 if account is not None and payer is None else payer.id if payer else None
    wanted = ConcessionFilter(page.project.id, account_id, rule=rule or None, open_only=unapproved)
    found = await conceded.list_concessions(scope.conn, page_request(None, cursor), wanted)
    return page.page(
        "billing/concessions.html",
        concessions=found,
        wanted={"account": account or "", "rule": rule, "unapproved": unapproved},
        rules=tuple(POSITIONS),
        accounts=await estate.accounts_by_id(scope.conn, {row.account_id for row in found.items if row.account_id}),
        units=await estate.units_by_id(scope.conn, sorted({row.unit_id for row in found.items if row.unit_id})),
    )


@router.get("/concessions/new")
async def new_concession(
    request: Request, scope: Running, account: OptionalText = None, agreement_id: OptionalId = None
) -> Response:
    """The form of a concession for an account, or for one of its agreements."""
    page = await shown(request, scope)
    values = {"account": account or ""}
    if agreement_id is not None:
        values["agreement_id"] = str(agreement_id)
    return await _form(page, values)


@router.post("/concessions/new")
async def file_concession(request: Request, scope: Running, sent: FormOnce) -> Response:
    """Files what was typed; what is wrong is said above the form."""
    page = await shown(request, scope)
    values = await typed(request)
    try:
        told = await _told(scope.conn, page, values)
        new = read(ConcessionIn, told).new()

        async def file() -> str:
            made = await conceded.file_concession(scope.conn, page.project.id, new, scope.caller.user_id)
            return f"/concessions/{made.terms.id}?done=filed"

        return await sent.lead(scope.conn, file)
    except GatemeterError as error:
        return await _form(page, values, error)


@router.get("/concessions/{concession_id}")
async def concession(request: Request, scope: Running, concession_id: int) -> Response:
    """One concession: what it says, who approved it and why."""
    return await _show(await shown(request, scope), concession_id)


@router.post("/concessions/{concession_id}/approve")
async def approve_concession(
    request: Request, scope: Approving, concession_id: int, reason: Annotated[str, Form(max_length=300)]
) -> Response:
    """Approves a concession: runs take it off from now on."""
    page = await shown(request, scope)
    try:
        await conceded.approve_concession(scope.conn, concession_id, scope.caller.user_id, reason)
    except GatemeterError as error:
        return await _show(page, concession_id, error)
    return RedirectResponse(f"/concessions/{concession_id}?done=approved", 303)


@router.post("/concessions/{concession_id}/end")
async def end_concession(request: Request, scope: Approving, concession_id: int, day: DayTyped) -> Response:
    """Ends a concession: `day` is the first day without it."""
    page = await shown(request, scope)
    try:
        await conceded.end_concession(scope.conn, concession_id, day)
    except GatemeterError as error:
        return await _show(page, concession_id, error)
    return RedirectResponse(f"/concessions/{concession_id}?done=concession-ended", 303)


@router.post("/concessions/{concession_id}/withdraw")
async def withdraw_concession(request: Request, scope: Running, concession_id: int) -> Response:
    """Takes back what nobody has approved."""
    page = await shown(request, scope)
    try:
        await conceded.withdraw_concession(scope.conn, concession_id)
    except GatemeterError as error:
        return await _show(page, concession_id, error)
    return RedirectResponse("/concessions?done=withdrawn", 303)


async def _show(page: Shown, concession_id: int, problem: GatemeterError | None = None) -> Response:
    row = await conceded.get_concession(page.conn, concession_id)
    agreement = None if row.agreement_id is None else await service.get_agreement(page.conn, row.agreement_id)
    account_id = agreement.account_id if agreement else row.account_id
    _, policy = await service.terms_today(page.conn, row.project_id)
    return page.page(
        "billing/concession.html",
        status=problem.status if problem else 200,
        row=row,
        agreement=agreement,
        account=(await estate.accounts_by_id(page.conn, [account_id])).get(account_id) if account_id else None,
        unit=(await estate.units_by_id(page.conn, [row.unit_id])).get(row.unit_id) if row.unit_id else None,
        names=await identity.user_names(page.conn, {one for one in (row.created_by, row.approved_by) if one}),
        is_own=service.takes_another(row.created_by, page.caller.user_id, policy),
        problem=problem,
        today=local_day(datetime.now(UTC), page.project.zone),
    )


async def _form(page: Shown, values: Mapping[str, str], problem: GatemeterError | None = None) -> Response:
    return page.page(
        "billing/concession_new.html",
        status=problem.status if problem else 200,
        values=values,
        problem=problem,
        rules=tuple(POSITIONS),
        today=local_day(datetime.now(UTC), page.project.zone),
    )


async def _told(conn: Conn, page: Shown, values: Mapping[str, str]) -> dict[str, Any]:
    """What was typed as the API takes it: an agreement where one is named, else the account or its unit."""
    told: dict[str, Any] = {name: value for name, value in values.items() if name not in ("account", "subject")}
    told["project_id"] = page.project.id
    for name in ("services", "components"):
        told[name] = str(values.get(name, "")).replace(",", " ").split()
    if "agreement_id" in told:
        return told
    payer = await account_by_number(conn, page, values.get("account", ""))
    if payer is None:
        raise InvalidInput("no-such-account", "there is no account of this number", field="account")
    if values.get("subject") != "unit":
        return told | {"account_id": payer.id}
    if payer.unit_id is None:
        raise InvalidInput("no-such-unit", "the account has no unit", field="account")
    return told | {"unit_id": payer.unit_id}
