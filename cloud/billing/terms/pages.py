"""Pages of terms of payment: what holds, what held, new terms, and what they would make of a bill."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated

from fastapi import Request
from starlette.responses import RedirectResponse, Response

from cloud.billing import service
from cloud.billing.arrears.late_fees import LateFee
from cloud.billing.records import Policy
from cloud.billing.terms.models import ExampleIn, NewTermsIn
from cloud.estate.shown import shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit.amounts import plain
from cloud.kit.errors import GatemeterError
from cloud.kit.forms import read, typed
from cloud.kit.paging import page_request
from cloud.kit.routing import page_router

router = page_router()

Reading = Annotated[Scope, allow_page("bills.read")]
Approving = Annotated[Scope, allow_page("bills.approve")]

_SHOWN = 20
_EXAMPLE = ("principal", "due_on", "through", "paid", "paid_on")


@router.get("/payment-terms")
async def terms(request: Request, scope: Reading, cursor: str | None = None) -> Response:
    """The terms in force, all versions, and a form for new ones."""
    if scope.caller.kind == "resident":
        return RedirectResponse("/my/bills", 303)
    return await _page(request, scope, {}, cursor=cursor)


@router.post("/payment-terms/example")
async def example(request: Request, scope: Reading) -> Response:
    """The same page with what the typed terms make of the typed bill; nothing is kept."""
    page = await shown(request, scope)
    values = await typed(request)
    fields = {name: value for name, value in values.items() if name != "valid_from"}
    try:
        fee = read(ExampleIn, fields).fee(page.project.currency)
    except GatemeterError as error:
        return await _page(request, scope, values, problem=error)
    return await _page(request, scope, values, fee=fee)


@router.post("/payment-terms")
async def set_terms(request: Request, scope: Approving) -> Response:
    """Sets new terms."""
    page = await shown(request, scope)
    values = await typed(request)
    fields = {name: value for name, value in values.items() if name not in _EXAMPLE}
    try:
        body = read(NewTermsIn, {**fields, "project_id": page.project.id})
        async with scope.conn.transaction():
            await service.announce_policy(scope.conn, page.project.id, body.valid_from, body.policy())
    except GatemeterError as error:
        return await _page(request, scope, values, problem=error)
    return RedirectResponse("/payment-terms?done=saved", 303)


async def _page(
    request: Request,
    scope: Scope,
    values: Mapping[str, str],
    *,
    fee: LateFee | None = None,
    problem: GatemeterError | None = None,
    cursor: str | None = None,
) -> Response:
    page = await shown(request, scope)
    today, policy = await service.terms_today(scope.conn, page.project.id)
    asked = {
        "valid_from": (today + timedelta(days=1)).isoformat(),
        "principal": "100.00",
        "due_on": today.replace(month=12, day=20, year=today.year - 1).isoformat(),
        "through": today.isoformat(),
    }
    return page.page(
        "billing/terms.html",
        status=problem.status if problem else 200,
        versions=await service.policy_versions(scope.conn, page_request(_SHOWN, cursor), page.project.id),
        values={**_typed_as(policy), **asked, **values} if not values else {**asked, **values},
        fee=fee,
        problem=problem,
        today=today,
        may_set=scope.caller.may("bills.approve", page.project.id),
    )


def _typed_as(policy: Policy) -> dict[str, str]:
    """The terms as the form has them."""
    rule = policy.late_fee
    fields = {
        "due_days": str(policy.due_days),
        "daily_rate": plain(rule.daily_rate),
        "later_rate": "" if rule.later_rate is None else plain(rule.later_rate),
        "grace_days": str(rule.grace_days),
        "minimum": format(rule.minimum, "f"),
        "cap_share": "" if rule.cap_share is None else plain(rule.cap_share),
        "plan_days": str(policy.plan_days),
        "plan_break": policy.plan_break,
        "estimate_bills": str(policy.estimate_bills),
        "estimate_days": str(policy.estimate_days),
    }
    return fields | ({"own_approval": "true"} if policy.own_approval else {})
