"""Pages of corrections: adjustments beside what they correct, re-rating on demand, and which bills charge a meter."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from fastapi import Query, Request
from pydantic import AwareDatetime
from starlette.responses import RedirectResponse, Response

from cloud.billing import names, service
from cloud.billing.agreements.pages import account_by_number
from cloud.billing.corrections.models import AdjustmentNoteIn, ReRatingIn
from cloud.billing.service import AdjustmentFilter
from cloud.estate import service as estate
from cloud.estate.shown import OptionalText, Shown, shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit.errors import GatemeterError, InvalidInput
from cloud.kit.forms import read, typed
from cloud.kit.paging import page_request
from cloud.kit.periods import local_day, month_of
from cloud.kit.routing import page_router
from cloud.kit.sent_forms import FormOnce
from cloud.metering import service as metering
from gateway.contract.quantities import BY_NUMBER

router = page_router()

Reading = Annotated[Scope, allow_page("bills.read")]
Running = Annotated[Scope, allow_page("bills.run")]
Month = Annotated[str, Query(pattern=r"^((19|20|21)[0-9]{2}-(0[1-9]|1[0-2]))?$")]

_SHOWN: Final = 30
_STATES = Literal["", "open", "drafted", "billed", "none"]
_NOBODY: Final = 0


@router.get("/adjustments")
async def adjustments(
    request: Request,
    scope: Reading,
    account: OptionalText = None,
    state: _STATES = "",
    usage_of: OptionalText = None,
    month: Month = "",
    cursor: str | None = None,
) -> Response:
    """Adjustments of the project: of an account, in a state, of a service, of charges of a month."""
    if scope.caller.kind == "resident":
        return RedirectResponse("/my/adjustments", 303)
    page = await shown(request, scope)
    payer = None if account is None else await account_by_number(scope.conn, page, account)
    account_id = _NOBODY if account is not None and payer is None else payer.id if payer else None
    days = month_of(_first_of(month)) if month else None
    wanted = AdjustmentFilter(page.project.id, account_id, usage_of, days, state or None)
    return await _list(page, wanted, cursor, account=account or "", month=month, payer=payer)


@router.get("/my/adjustments")
async def my_adjustments(request: Request, scope: Reading, cursor: str | None = None) -> Response:
    """Those of a resident; row-level security leaves no others."""
    page = await shown(request, scope)
    return await _list(page, AdjustmentFilter(page.project.id), cursor, account="", month="", payer=None)


@router.get("/adjustments/{adjustment_id}")
async def adjustment(request: Request, scope: Reading, adjustment_id: int) -> Response:
    """One adjustment beside the charge that it corrects."""
    return await _one(request, scope, adjustment_id)


@router.get("/my/adjustments/{adjustment_id}")
async def my_adjustment(request: Request, scope: Reading, adjustment_id: int) -> Response:
    """The same for a resident; row-level security leaves only his own."""
    return await _one(request, scope, adjustment_id)


@router.post("/accounts/{account_id}/adjustment-notes")
async def note_of_adjustments(request: Request, scope: Running, account_id: int, sent: FormOnce) -> Response:
    """A draft of a note over all open adjustments of an account."""
    body = read(AdjustmentNoteIn, await typed(request))

    async def ask() -> str:
        note = await service.note_of_adjustments(scope.conn, account_id, body.reason, by=scope.caller.user_id)
        return f"/bills/{note.id}?done=asked"

    return await sent.lead(scope.conn, ask)


@router.get("/re-ratings/new")
async def new_re_rating(request: Request, scope: Running, account: OptionalText = None) -> Response:
    """The form that has an account rated again."""
    return _form(await shown(request, scope), {"account": account or ""})


@router.post("/re-ratings")
async def re_rate(request: Request, scope: Running, sent: FormOnce) -> Response:
    """Has an account rated again; the worker does it."""
    page, values = await shown(request, scope), await typed(request)
    try:
        payer = await account_by_number(scope.conn, page, values.get("account", ""))
        if payer is None:
            raise InvalidInput("no-such-account", "there is no account of this number", field="account")
        body = read(ReRatingIn, {name: value for name, value in values.items() if name != "account"})
        wanted = service.WantedReRating(payer.id, body.since, body.cause(), body.open_exceptions)

        async def ask() -> str:
            return f"/re-ratings/{await service.ask_to_rerate(scope.conn, wanted, by=scope.caller.user_id)}"

        return await sent.lead(scope.conn, ask)
    except GatemeterError as error:
        return _form(page, values, error)


@router.get("/re-ratings/{job_id}")
async def re_rating(request: Request, scope: Running, job_id: int) -> Response:
    """How far it is, and what came of it."""
    page = await shown(request, scope)
    found = await service.re_rating(scope.conn, job_id)
    accounts = await estate.accounts_by_id(scope.conn, [found.account_id])
    return page.page("billing/re_rating.html", found=found, account=accounts.get(found.account_id))


@router.get("/meters/{meter_id}/charges")
async def charges_of_meter(
    request: Request, scope: Reading, meter_id: int, since: AwareDatetime, until: AwareDatetime
) -> Response:
    """A part of the page of a reading: which bills charge usage of this time, and what a change of it comes to."""
    page = await shown(request, scope)
    meter = await metering.get_meter(scope.conn, meter_id)
    zone = (await estate.get_project(scope.conn, meter.project_id)).zone
    found = await service.charging_bills(scope.conn, meter_id, local_day(since, zone), local_day(until, zone))
    return page.page("parts/charging_bills.html", found=found)


async def _list(page: Shown, wanted: AdjustmentFilter, cursor: str | None, **context: Any) -> Response:
    found = await service.list_adjustments(page.conn, page_request(_SHOWN, cursor), wanted)
    return page.page(
        "billing/adjustments.html",
        found=found,
        accounts=await estate.accounts_by_id(page.conn, {one.account_id for one in found.items}),
        wanted=wanted,
        services=sorted(names.SERVICES),
        open_sum=await _open_of(page, wanted.account_id),
        may_run=page.caller.may("bills.run", page.project.id),
        **context,
    )


async def _open_of(page: Shown, account_id: int | None) -> Decimal | None:
    """What the open adjustments of an account come to; None where there are none, or no account was asked for."""
    if not account_id:
        return None
    return await service.open_adjustments(page.conn, account_id)


async def _one(request: Request, scope: Scope, adjustment_id: int) -> Response:
    page = await shown(request, scope)
    history = await service.adjustment_history(scope.conn, adjustment_id)
    one = history.adjustment
    zone = next((each.zone for each in page.projects if each.id == one.project_id), page.project.zone)
    meters = await metering.meters_by_id(scope.conn, [history.meter_id] if history.meter_id else [])
    looks = scope.caller.kind == "staff" and scope.caller.may("readings.read", one.project_id)
    return page.page(
        "billing/adjustment.html",
        history=history,
        one=one,
        account=(await estate.accounts_by_id(scope.conn, [one.account_id])).get(one.account_id),
        meter=meters.get(history.meter_id or _NOBODY),
        readings=await service.changed_readings(scope.conn, history, zone) if looks else [],
        codes=BY_NUMBER,
        zone=zone,
        may_run=scope.caller.may("bills.run", one.project_id),
    )


def _form(page: Shown, values: dict[str, str], problem: GatemeterError | None = None) -> Response:
    today = local_day(datetime.now(UTC), page.project.zone)
    return page.page(
        "billing/re_rating_new.html",
        status=problem.status if problem else 200,
        values=values,
        problem=problem,
        proposed=date(today.year, 1, 1),
        latest=today,
    )


def _first_of(month: str) -> date:
    return date.fromisoformat(f"{month}-01")
