"""Pages of prepaid supply: accounts and what is left, cases and their steps, settings, and a resident's own."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from fastapi import Form, Request
from pydantic import BeforeValidator
from starlette.responses import RedirectResponse, Response

from cloud.billing import service as billing
from cloud.estate import service as estate
from cloud.estate.service import EstateFilter
from cloud.estate.shown import OptionalId, shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit.errors import GatemeterError
from cloud.kit.forms import read, typed
from cloud.kit.paging import MAX_LIMIT, PageRequest, page_request
from cloud.kit.periods import local_day
from cloud.kit.routing import page_router
from cloud.prepaid import service
from cloud.prepaid.disconnection import CaseState
from cloud.prepaid.models import PolicyIn, PolicyOut, TermsIn, TermsOut
from cloud.prepaid.records import PROTECTIONS, Shown

router = page_router()

Reading = Annotated[Scope, allow_page("prepaid.read")]
Writing = Annotated[Scope, allow_page("prepaid.write")]
Disconnecting = Annotated[Scope, allow_page("supply.disconnect")]
OptionalState = Annotated[CaseState | None, BeforeValidator(lambda value: None if value == "" else value)]

_SHOWN: Final = 30


@router.get("/prepaid")
async def accounts(request: Request, scope: Reading, show: Shown = "all", cursor: str | None = None) -> Response:
    """Prepaid accounts, those with the least left first."""
    if scope.caller.kind == "resident":
        return RedirectResponse("/my/prepaid", 303)
    page = await shown(request, scope)
    found = await service.list_positions(
        scope.conn, page_request(_SHOWN, cursor, key_length=2), project_id=page.project.id, shown=show
    )
    ids = [one.account_id for one in found.items]
    return page.page(
        "prepaid/accounts.html",
        found=found,
        show=show,
        accounts=await estate.accounts_by_id(scope.conn, ids),
        cases=await service.open_cases_of(scope.conn, ids),
        dark=await _dark(scope, page.project.id),
    )


@router.get("/prepaid/accounts/{account_id}")
async def account(request: Request, scope: Reading, account_id: int) -> Response:
    """One account: what is left, which agreements are prepaid, its cases, protection and credit."""
    if scope.caller.kind == "resident":
        return RedirectResponse("/my/prepaid", 303)
    return await _account(request, scope, account_id, {})


@router.post("/prepaid/accounts/{account_id}/agreements")
async def agreements(
    scope: Writing,
    account_id: int,
    agreement_id: Annotated[int, Form()],
    wanted: Annotated[Literal["prepaid", "billed"], Form()],
) -> Response:
    """Makes an agreement prepaid, or not any more."""
    now = datetime.now(UTC)
    if wanted == "prepaid":
        await service.mark(scope.conn, agreement_id, now)
    else:
        await service.unmark(scope.conn, agreement_id, now)
    return RedirectResponse(f"/prepaid/accounts/{account_id}?done=saved", 303)


@router.post("/prepaid/accounts/{account_id}/terms")
async def set_terms(request: Request, scope: Writing, account_id: int) -> Response:
    """Sets protection and emergency credit."""
    values = await typed(request)
    try:
        body = read(TermsIn, values)
        async with scope.conn.transaction():
            await service.set_account_terms(scope.conn, body.terms(account_id), datetime.now(UTC))
    except GatemeterError as error:
        return await _account(request, scope, account_id, values, error)
    return RedirectResponse(f"/prepaid/accounts/{account_id}?done=saved", 303)


@router.get("/supply-cases")
async def cases(
    request: Request, scope: Reading, state: OptionalState = None, every: bool = False, cursor: str | None = None
) -> Response:
    """Cases, newest first; without `every` only open ones."""
    if scope.caller.kind == "resident":
        return RedirectResponse("/my/prepaid", 303)
    page = await shown(request, scope)
    found = await service.list_cases(
        scope.conn,
        page_request(_SHOWN, cursor),
        project_id=page.project.id,
        state=state,
        only_open=not every and state is None,
    )
    return page.page(
        "prepaid/cases.html",
        found=found,
        state=state,
        every=every,
        accounts=await estate.accounts_by_id(scope.conn, {one.account_id for one in found.items}),
        dark=await _dark(scope, page.project.id),
    )


@router.get("/supply-cases/{case_id}")
async def case(request: Request, scope: Reading, case_id: int) -> Response:
    """One case, what happened in it, and what can be done."""
    page = await shown(request, scope)
    found = await service.get_case(scope.conn, case_id)
    zone = next((one.zone for one in page.projects if one.id == found.project_id), page.project.zone)
    return page.page(
        "prepaid/case.html",
        case=found,
        steps=await service.steps_of(scope.conn, case_id),
        account=await estate.get_account(scope.conn, found.account_id),
        policy=await service.get_policy(scope.conn, found.project_id),
        zone=zone,
        may_write=scope.caller.may("prepaid.write", found.project_id),
        may_disconnect=scope.caller.may("supply.disconnect", found.project_id),
    )


@router.post("/supply-cases/{case_id}/confirm")
async def confirm(scope: Disconnecting, case_id: int) -> Response:
    """A person agrees that the supply is switched off."""
    await service.confirm_case(scope.conn, case_id, scope.caller.user_id, datetime.now(UTC))
    return RedirectResponse(f"/supply-cases/{case_id}?done=saved", 303)


@router.post("/supply-cases/{case_id}/decide")
async def decide(
    scope: Writing,
    case_id: int,
    decision: Annotated[Literal["delivered", "end"], Form()],
    reason: Annotated[str, Form(min_length=1, max_length=500)],
) -> Response:
    """A notice was handed over just now, or the case is ended."""
    now = datetime.now(UTC)
    if decision == "end":
        await service.end_case(scope.conn, case_id, reason, now)
    else:
        await service.note_delivery(scope.conn, case_id, now, reason, now)
    return RedirectResponse(f"/supply-cases/{case_id}?done=saved", 303)


@router.get("/prepaid/settings")
async def settings(request: Request, scope: Reading) -> Response:
    """The settings of the project."""
    if scope.caller.kind == "resident":
        return RedirectResponse("/my/prepaid", 303)
    return await _settings(request, scope, None)


@router.post("/prepaid/settings")
async def set_settings(request: Request, scope: Writing) -> Response:
    """Sets them."""
    page = await shown(request, scope)
    values = await typed(request)
    try:
        policy = read(PolicyIn, values).policy()
        may = scope.caller.may("supply.disconnect", page.project.id)
        async with scope.conn.transaction():
            await service.set_policy(scope.conn, page.project.id, policy, may_disconnect=may)
    except GatemeterError as error:
        return await _settings(request, scope, values, error)
    return RedirectResponse("/prepaid/settings?done=saved", 303)


@router.get("/my/prepaid")
async def mine(request: Request, scope: Reading, account_id: OptionalId = None) -> Response:
    """What is left for a resident, how long it lasts, and whether his supply is in danger."""
    page = await shown(request, scope)
    wanted = EstateFilter(project_id=page.project.id)
    all_mine = list((await estate.list_accounts(scope.conn, PageRequest(MAX_LIMIT), wanted)).items)
    rows = await service.list_positions(scope.conn, PageRequest(MAX_LIMIT), project_id=page.project.id)
    positions = {one.account_id: one for one in rows.items}
    prepaid = [one for one in all_mine if one.id in positions]
    chosen = next((one for one in prepaid if one.id == account_id), prepaid[0] if prepaid else None)
    return page.page(
        "prepaid/mine.html",
        account=chosen,
        accounts=prepaid,
        position=None if chosen is None else positions[chosen.id],
        cases=[] if chosen is None else (await service.open_cases_of(scope.conn, [chosen.id])).get(chosen.id, []),
    )


async def _account(
    request: Request,
    scope: Scope,
    account_id: int,
    values: Mapping[str, str],
    problem: GatemeterError | None = None,
) -> Response:
    page = await shown(request, scope)
    found = await estate.get_account(scope.conn, account_id)
    zone = next((one.zone for one in page.projects if one.id == found.project_id), page.project.zone)
    today = local_day(datetime.now(UTC), zone)
    all_of = await billing.list_agreements(scope.conn, PageRequest(MAX_LIMIT), account_id=account_id, on=today)
    prepaid = (await service.agreements_of(scope.conn, [account_id], today)).get(account_id, [])
    may_write = scope.caller.may("prepaid.write", found.project_id)
    terms: dict[str, Any] = {}
    if may_write:
        terms = TermsOut.of(await service.account_terms(scope.conn, account_id)).model_dump(mode="json")
    listed = await service.list_positions(scope.conn, PageRequest(1), account_id=account_id)
    return page.page(
        "prepaid/account.html",
        status=problem.status if problem else 200,
        account=found,
        position=next(iter(listed.items), None),
        agreements=[one for one in all_of.items if one.kind == "tariff"],
        prepaid={one.agreement_id for one in prepaid},
        cases=(await service.list_cases(scope.conn, PageRequest(_SHOWN), account_id=account_id)).items,
        values={name: value or "" for name, value in terms.items()} | dict(values),
        protections=PROTECTIONS,
        may_write=may_write,
        problem=problem,
    )


async def _settings(
    request: Request, scope: Scope, values: Mapping[str, str] | None, problem: GatemeterError | None = None
) -> Response:
    page = await shown(request, scope)
    known = PolicyOut.of(await service.get_policy(scope.conn, page.project.id)).model_dump(mode="json")
    return page.page(
        "prepaid/settings.html",
        status=problem.status if problem else 200,
        values=values if values is not None else {name: _field(value) for name, value in known.items()},
        problem=problem,
        may_write=scope.caller.may("prepaid.write", page.project.id),
        may_disconnect=scope.caller.may("supply.disconnect", page.project.id),
    )


def _field(value: object) -> str:
    """A setting as the form has it: what is off or not set is left out."""
    if isinstance(value, bool):
        return "true" if value else ""
    return "" if value is None else str(value)


async def _dark(scope: Scope, project_id: int) -> list[Any]:
    """Supplies that are to be on again and that no meter has confirmed in time."""
    page = await service.list_cases(scope.conn, PageRequest(MAX_LIMIT), project_id=project_id, state="reconnecting")
    return [one for one in page.items if one.alarmed_at is not None]
