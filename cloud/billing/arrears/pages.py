"""Pages of disputes, waivers and instalment plans, for staff who decide and for residents who are concerned."""

from typing import Annotated, Final, Literal

from fastapi import Form, Request
from starlette.responses import RedirectResponse, Response

from cloud.billing import service
from cloud.billing.arrears.models import DisputeDecisionIn, DisputeIn, PlanIn, WaiverIn, decimal
from cloud.billing.arrears.rules import Dispute, Plan, Waiver
from cloud.billing.records import BillFilter
from cloud.estate import service as estate
from cloud.estate.shown import shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit.errors import GatemeterError
from cloud.kit.forms import read, typed
from cloud.kit.paging import MAX_LIMIT, Page, PageRequest, page_request
from cloud.kit.routing import page_router
from cloud.kit.sent_forms import FormOnce

router = page_router()

Reading = Annotated[Scope, allow_page("bills.read")]
Opening = Annotated[Scope, allow_page("disputes.open")]
Asking = Annotated[Scope, allow_page("arrears.write")]
Approving = Annotated[Scope, allow_page("bills.approve")]
Decision = Annotated[Literal["approve", "reject"], Form()]
Note = Annotated[str, Form(max_length=1000)]

_SHOWN: Final = 30


@router.get("/arrears")
async def arrears(
    request: Request,
    scope: Reading,
    show: Literal["disputes", "waivers", "plans"] = "disputes",
    every: bool = False,
    cursor: str | None = None,
) -> Response:
    """What waits for a decision, or (`every`) all there was."""
    if scope.caller.kind == "resident":
        return RedirectResponse("/my/bills", 303)
    page = await shown(request, scope)
    wanted = page_request(_SHOWN, cursor)
    project_id = page.project.id
    found: Page[Dispute] | Page[Waiver] | Page[Plan]
    if show == "disputes":
        found = await service.list_disputes(scope.conn, wanted, project_id=project_id, state=None if every else "open")
    elif show == "waivers":
        found = await service.list_waivers(scope.conn, wanted, project_id=project_id, state=None if every else "asked")
    else:
        found = await service.list_plans(scope.conn, wanted, project_id=project_id, state=None if every else "asked")
    return page.page(
        "billing/arrears.html",
        show=show,
        every=every,
        found=found,
        accounts=await estate.accounts_by_id(scope.conn, {one.account_id for one in found.items}),
    )


@router.post("/bills/{bill_id}/disputes")
async def open_dispute(request: Request, scope: Opening, bill_id: int, sent: FormOnce) -> Response:
    """A resident or staff dispute a bill."""
    body = read(DisputeIn, await typed(request))
    bill = (await service.get_bill(scope.conn, bill_id)).summary
    today, _ = await service.terms_today(scope.conn, bill.project_id)

    async def dispute() -> str:
        await service.open_dispute(
            scope.conn,
            bill_id,
            body.reason,
            decimal(body.amount),
            by=scope.caller.user_id,
            by_resident=scope.caller.kind == "resident",
            today=today,
        )
        return _bill_address(scope, bill_id, "disputed")

    return await sent.lead(scope.conn, dispute)


@router.post("/bill-disputes/{dispute_id}/withdraw")
async def withdraw(scope: Opening, dispute_id: int) -> Response:
    """Takes a dispute back."""
    found = await service.get_dispute(scope.conn, dispute_id)
    today, _ = await service.terms_today(scope.conn, found.project_id)
    resident = scope.caller.kind == "resident"
    await service.withdraw_dispute(scope.conn, dispute_id, by=scope.caller.user_id, by_resident=resident, today=today)
    return _to_bill(scope, found.bill_id, "saved")


@router.post("/bill-disputes/{dispute_id}/decide")
async def decide_dispute(request: Request, scope: Approving, dispute_id: int) -> Response:
    """Upholds or rejects a dispute."""
    body = read(DisputeDecisionIn, await typed(request))
    found = await service.get_dispute(scope.conn, dispute_id)
    today, _ = await service.terms_today(scope.conn, found.project_id)
    by = scope.caller.user_id
    if body.decision == "upheld":
        await service.uphold_dispute(scope.conn, dispute_id, body.note, decimal(body.amount), by=by, today=today)
    else:
        await service.reject_dispute(scope.conn, dispute_id, body.note, by=by, today=today)
    return _to_bill(scope, found.bill_id, "saved")


@router.post("/bills/{bill_id}/waivers")
async def ask_waiver(request: Request, scope: Asking, bill_id: int, sent: FormOnce) -> Response:
    """Asks to waive a late fee."""
    body = read(WaiverIn, await typed(request))
    amount = decimal(body.amount)
    assert amount is not None

    async def ask() -> str:
        await service.ask_waiver(scope.conn, bill_id, amount, body.reason, by=scope.caller.user_id)
        return _bill_address(scope, bill_id, "asked")

    return await sent.lead(scope.conn, ask)


@router.post("/late-fee-waivers/{waiver_id}/decide")
async def decide_waiver(scope: Approving, waiver_id: int, decision: Decision, note: Note = "") -> Response:
    """Approves or rejects a waiver."""
    found = await service.get_waiver(scope.conn, waiver_id)
    _, policy = await service.terms_today(scope.conn, found.project_id)
    if decision == "approve":
        await service.approve_waiver(scope.conn, waiver_id, policy, note, by=scope.caller.user_id)
    else:
        await service.reject_waiver(scope.conn, waiver_id, note, by=scope.caller.user_id)
    return _to_bill(scope, found.bill_id, "saved")


@router.get("/instalment-plans/new")
async def new_plan(request: Request, scope: Asking, account_id: int) -> Response:
    """The unpaid bills of an account and how they may be divided."""
    return await _new(request, scope, account_id, {}, [])


@router.post("/instalment-plans")
async def ask_plan(request: Request, scope: Asking, sent: FormOnce) -> Response:
    """Asks for a plan of equal parts by month."""
    values = await typed(request)
    chosen = [str(one) for one in (await request.form()).getlist("bill_ids")]
    account_id = int(values["account_id"]) if values.get("account_id", "").isdecimal() else 0
    monthly = {"first": values.get("first"), "count": values.get("count")}
    fields = {"account_id": account_id, "bill_ids": chosen, "reason": values.get("reason", ""), "monthly": monthly}
    try:
        body = read(PlanIn, fields)

        async def ask() -> str:
            account = await estate.get_account(scope.conn, body.account_id)
            today, _ = await service.terms_today(scope.conn, account.project_id)
            plan = await service.ask_plan(
                scope.conn,
                body.account_id,
                body.bill_ids,
                body.parts(),
                body.reason,
                by=scope.caller.user_id,
                today=today,
            )
            return f"/instalment-plans/{plan.id}?done=asked"

        return await sent.lead(scope.conn, ask)
    except GatemeterError as error:
        return await _new(request, scope, account_id, values, chosen, error)


@router.get("/instalment-plans/{plan_id}")
async def plan_for_staff(request: Request, scope: Reading, plan_id: int) -> Response:
    """A plan, its instalments, and the decision."""
    return await _plan(request, scope, plan_id)


@router.get("/my/instalment-plans/{plan_id}")
async def plan_for_resident(request: Request, scope: Reading, plan_id: int) -> Response:
    """The same for a resident; row-level security leaves only his own."""
    return await _plan(request, scope, plan_id)


@router.post("/instalment-plans/{plan_id}/decide")
async def decide_plan(scope: Approving, plan_id: int, decision: Decision, note: Note = "") -> Response:
    """Approves or rejects a plan."""
    found = await service.get_plan(scope.conn, plan_id)
    today, policy = await service.terms_today(scope.conn, found.project_id)
    by = scope.caller.user_id
    if decision == "approve":
        await service.approve_plan(scope.conn, plan_id, policy, note, by=by, today=today)
    else:
        await service.reject_plan(scope.conn, plan_id, note, by=by)
    return RedirectResponse(f"/instalment-plans/{plan_id}?done=saved", 303)


@router.post("/instalment-plans/{plan_id}/reinstate")
async def reinstate_plan(scope: Approving, plan_id: int, note: Note) -> Response:
    """Makes a broken plan hold again."""
    found = await service.get_plan(scope.conn, plan_id)
    today, policy = await service.terms_today(scope.conn, found.project_id)
    await service.reinstate_plan(scope.conn, plan_id, policy, note, by=scope.caller.user_id, today=today)
    return RedirectResponse(f"/instalment-plans/{plan_id}?done=saved", 303)


@router.post("/instalment-plans/{plan_id}/cancel")
async def cancel_plan(scope: Approving, plan_id: int, note: Note) -> Response:
    """Ends an active plan."""
    found = await service.get_plan(scope.conn, plan_id)
    today, _ = await service.terms_today(scope.conn, found.project_id)
    await service.cancel_plan(scope.conn, plan_id, note, today=today)
    return RedirectResponse(f"/instalment-plans/{plan_id}?done=saved", 303)


async def _new(
    request: Request,
    scope: Scope,
    account_id: int,
    values: dict[str, str],
    chosen: list[str],
    problem: GatemeterError | None = None,
) -> Response:
    page = await shown(request, scope)
    account = await estate.get_account(scope.conn, account_id)
    wanted = BillFilter(account_id=account_id, state="issued")
    bills = (await service.list_bills(scope.conn, PageRequest(MAX_LIMIT), wanted)).items
    today, _ = await service.terms_today(scope.conn, account.project_id)
    return page.page(
        "billing/plan_new.html",
        status=problem.status if problem else 200,
        account=account,
        bills=[bill for bill in bills if bill.open > 0 and not bill.in_plan],
        values=values,
        chosen=chosen,
        problem=problem,
        today=today,
    )


async def _plan(request: Request, scope: Scope, plan_id: int) -> Response:
    page = await shown(request, scope)
    plan = await service.get_plan(scope.conn, plan_id)
    today, policy = await service.terms_today(scope.conn, plan.project_id)
    return page.page(
        "billing/plan.html",
        plan=plan,
        account=(await estate.accounts_by_id(scope.conn, [plan.account_id])).get(plan.account_id),
        may_decide=scope.caller.may("bills.approve", plan.project_id),
        is_own=service.takes_another(plan.asked_by, scope.caller.user_id, policy),
        today=today,
    )


def _to_bill(scope: Scope, bill_id: int, done: str) -> RedirectResponse:
    return RedirectResponse(_bill_address(scope, bill_id, done), 303)


def _bill_address(scope: Scope, bill_id: int, done: str) -> str:
    mine = "/my" if scope.caller.kind == "resident" else ""
    return f"{mine}/bills/{bill_id}?done={done}"
