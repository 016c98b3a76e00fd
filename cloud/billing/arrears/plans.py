"""Instalment plans: asked for, approved, kept or broken. While one is kept its bills bear no late fee."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise

from psycopg.errors import UniqueViolation

from cloud.billing import repository
from cloud.billing.arrears import accrual, plan_repository
from cloud.billing.arrears.instalments import broken_on, monthly
from cloud.billing.arrears.rules import Plan, PlanState, must_be_another, must_wait, stated
from cloud.billing.records import BillRow, Policy
from cloud.billing.settlement.claims import Instalment
from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, InvalidInput, NotFound
from cloud.kit.money import minor_digits
from cloud.kit.paging import MAX_ID, Page, PageRequest, after_id, cut

_MOST = 60
"""Instalments of a plan: five years of months."""


@dataclass(frozen=True, slots=True)
class Monthly:
    """Equal parts on one day of `count` months in a row."""

    first: date
    count: int


Parts = Monthly | Sequence[tuple[date, Decimal]]
"""How a debt is divided: by months, or by dates and amounts."""


async def ask_plan(
    conn: Conn, account_id: int, bill_ids: Sequence[int], parts: Parts, reason: str, *, by: int | None, today: date
) -> Plan:
    """Asks to pay the open principal of bills in parts.

    Raises InvalidInput without a reason, for bills that are not unpaid ones of the account, for dates that are not in
    order and from today on, and for amounts that do not add up to the open principal; Conflict while the account has
    another plan.
    """
    reason = stated(reason)
    bills = await _payable(conn, account_id, bill_ids)
    total = sum((bill.open for bill in bills), Decimal(0))
    currency = bills[0].currency
    instalments = _divided(total, parts, minor_digits(currency), today)
    values = {
        "project_id": bills[0].project_id,
        "account_id": account_id,
        "currency": currency,
        "reason": reason,
        "total": total,
        "asked_by": by,
    }
    rows = [{"bill_id": bill.id, "principal": bill.open, "paid_before": bill.paid} for bill in bills]
    try:
        async with conn.transaction():
            plan_id = await plan_repository.insert(conn, values, rows, instalments)
    except UniqueViolation as error:
        raise Conflict("plan-exists", "the account has a plan that is asked for or active") from error
    return await get_plan(conn, plan_id)


async def approve_plan(
    conn: Conn, plan_id: int, policy: Policy, note: str = "", *, by: int | None, today: date
) -> Plan:
    """The plan holds from today on, by the terms of today.

    Raises NotFound; Conflict when it was decided, when the approver asked for it himself and `policy` wants two, or
    when what is open of its bills has changed.
    """
    found = await _locked(conn, plan_id)
    must_wait(found.state)
    must_be_another(found.asked_by, by, policy)
    bills = await _payable(conn, found.account_id, [bill.bill_id for bill in found.bills])
    if {bill.id: bill.open for bill in bills} != {bill.bill_id: bill.principal for bill in found.bills}:
        raise Conflict("amount-changed", "what is open of the bills has changed: make another plan")
    await plan_repository.approve(
        conn, plan_id, on=today, late_days=policy.plan_days, on_break=policy.plan_break, by=by, note=note.strip()[:1000]
    )
    await accrual.derive_again(conn, [bill.id for bill in bills])
    return await get_plan(conn, plan_id)


async def reject_plan(conn: Conn, plan_id: int, note: str, *, by: int | None) -> Plan:
    """There will be no plan. Raises NotFound; Conflict when it was decided; InvalidInput without a reason."""
    must_wait((await _locked(conn, plan_id)).state)
    await plan_repository.reject(conn, plan_id, by, stated(note))
    return await get_plan(conn, plan_id)


async def cancel_plan(conn: Conn, plan_id: int, note: str, *, today: date) -> Plan:
    """Ends an active plan without a breach: late fees count again from today on. Raises NotFound, Conflict."""
    note = stated(note)
    found = await _locked(conn, plan_id)
    if found.state != "active":
        raise Conflict("already-decided", f"plan {plan_id} is {found.state}")
    await plan_repository.end(conn, plan_id, "cancelled", today, note)
    await accrual.derive_again(conn, [bill.bill_id for bill in found.bills])
    return await get_plan(conn, plan_id)


async def reinstate_plan(conn: Conn, plan_id: int, policy: Policy, note: str, *, by: int | None, today: date) -> Plan:
    """A broken plan holds again from today on, as if it had never been broken: its bills bear no late fee.

    A payment after the break does not do that by itself: somebody answers for it, with a reason. Raises NotFound;
    InvalidInput without a reason; Conflict when the plan is not broken, when what was to be paid by now is not, when
    nothing of its bills is open or one is in dispute, when the account has another plan by now, and when whoever asked
    for the plan does it himself and `policy` wants two.
    """
    note = stated(note)
    found = await _locked(conn, plan_id)
    if found.state != "broken":
        raise Conflict("already-decided", f"plan {plan_id} is {found.state}")
    must_be_another(found.asked_by, by, policy)
    bills = await repository.lock_bills(conn, [bill.bill_id for bill in found.bills])
    if any(bill.state == "disputed" for bill in bills) or all(bill.state == "paid" for bill in bills):
        raise Conflict("nothing-to-reinstate", "its bills are paid, or one is in dispute")
    missing = _missing(found, today)
    if missing:
        raise Conflict("instalments-missing", f"of the instalments up to today {missing} are not paid")
    try:
        async with conn.transaction():
            await plan_repository.reinstate(conn, plan_id, today, note)
    except UniqueViolation as error:
        raise Conflict("plan-exists", "the account has another plan that is asked for or active") from error
    await accrual.derive_again(conn, [bill.id for bill in bills])
    return await get_plan(conn, plan_id)


def _missing(plan: Plan, today: date) -> Decimal:
    """What is not paid of the instalments that may not be later than today."""
    last = today - timedelta(days=plan.late_days)
    due = (one for one in plan.progress if one.instalment.due_on < last)
    return sum((one.instalment.amount - one.paid for one in due), Decimal(0))


async def end_broken_plans(conn: Conn, project_id: int, today: date) -> int:
    """Ends active plans of which an instalment was not paid in time; returns how many. Late fees count again."""
    broken = 0
    for plan in await plan_repository.lock_active(conn, project_id):
        day = broken_on(plan.instalments, plan.paid, plan.late_days, today, plan.reinstated_on)
        if day is not None:
            await plan_repository.end(conn, plan.id, "broken", day)
            await accrual.derive_again(conn, [bill.bill_id for bill in plan.bills])
            broken += 1
    return broken


async def get_plan(conn: Conn, plan_id: int) -> Plan:
    """One plan with its bills, instalments and what was paid. Raises NotFound."""
    found = await plan_repository.plan(conn, plan_id)
    if found is None:
        raise NotFound("no-such-plan", f"there is no instalment plan {plan_id}", field="plan_id")
    return found


async def list_plans(
    conn: Conn,
    page: PageRequest,
    *,
    project_id: int | None = None,
    account_id: int | None = None,
    state: PlanState | None = None,
) -> Page[Plan]:
    """Plans, newest first."""
    found = await plan_repository.plans(
        conn,
        project_id=project_id,
        account_id=account_id,
        state=state,
        before=after_id(page, MAX_ID),
        limit=page.limit + 1,
    )
    return cut(found, page, lambda plan: (plan.id,))


async def _locked(conn: Conn, plan_id: int) -> Plan:
    found = await plan_repository.locked(conn, plan_id)
    if found is None:
        raise NotFound("no-such-plan", f"there is no instalment plan {plan_id}", field="plan_id")
    return found


async def _payable(conn: Conn, account_id: int, bill_ids: Sequence[int]) -> list[BillRow]:
    """Unpaid bills of the account that a plan can take, locked, oldest due first."""
    wanted = set(bill_ids)
    bills = await repository.lock_bills(conn, sorted(wanted))
    if not wanted or {bill.id for bill in bills if bill.account_id == account_id} != wanted:
        raise InvalidInput("bad-bills", "expected bills of this account", field="bill_ids")
    for bill in bills:
        if bill.state != "issued" or bill.open <= 0 or bill.in_plan:
            why = "paid by instalments" if bill.in_plan else bill.state
            raise InvalidInput("bad-bills", f"bill {bill.number} is {why}", field="bill_ids")
    return bills


def _divided(total: Decimal, parts: Parts, digits: int, today: date) -> list[Instalment]:
    if isinstance(parts, Monthly):
        if not 1 <= parts.count <= _MOST or total.scaleb(digits) < parts.count:
            raise InvalidInput("bad-instalments", f"expected 1 to {_MOST} instalments of some size", field="count")
        found = monthly(total, parts.first, parts.count, digits)
    else:
        found = [Instalment(number, day, amount) for number, (day, amount) in enumerate(parts, 1)]
    _check(found, total, digits, today)
    return found


def _check(found: Sequence[Instalment], total: Decimal, digits: int, today: date) -> None:
    days = [one.due_on for one in found]
    if not 1 <= len(found) <= _MOST or any(one.amount <= 0 or one.amount != round(one.amount, digits) for one in found):
        raise InvalidInput("bad-instalments", f"expected 1 to {_MOST} instalments of some size", field="instalments")
    if days[0] < today or any(day >= later for day, later in pairwise(days)):
        raise InvalidInput("bad-dates", "expected days in order, from today on", field="instalments")
    amount = sum((one.amount for one in found), Decimal(0))
    if amount != total:
        raise InvalidInput(
            "does-not-add-up", f"the instalments come to {amount}, open are {total}", field="instalments"
        )
