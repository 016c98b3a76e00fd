"""Pages of money held for an account: balance, deposits, their statements, and letting them go."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Final, Literal

from fastapi import Form, Request
from starlette.responses import RedirectResponse, Response

from cloud.billing import service as billing
from cloud.estate import service as estate
from cloud.estate.records import Account, Project
from cloud.estate.service import EstateFilter
from cloud.estate.shown import OptionalId, OptionalText, shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit.paging import MAX_LIMIT, PageRequest, page_request
from cloud.kit.periods import local_day
from cloud.kit.routing import page_router
from cloud.kit.sent_forms import FormOnce
from cloud.notices import service as notices
from cloud.payments import deposits, receiving, releases
from cloud.payments import service as payments
from cloud.payments.intent_api import channels_of
from cloud.payments.releases import Wanted

router = page_router()

Reading = Annotated[Scope, allow_page("payments.read")]
Writing = Annotated[Scope, allow_page("payments.write")]
Approving = Annotated[Scope, allow_page("bills.approve")]
Amount = Annotated[Decimal, Form()]
Method = Annotated[str, Form(max_length=40)]

_SHOWN: Final = 30


@router.get("/accounts/{account_id}/held-money")
async def of_account(
    request: Request,
    scope: Reading,
    account_id: int,
    of: Literal["balance", "deposit"] = "balance",
    cursor: str | None = None,
) -> Response:
    """What is held for an account, its statement, and what can be done with it."""
    account, project = await receiving.account_of(scope.conn, account_id)
    return await _page(request, scope, [account], project, of, cursor)


@router.get("/my/balance")
async def mine(
    request: Request,
    scope: Reading,
    of: Literal["balance", "deposit"] = "balance",
    account_id: OptionalId = None,
    cursor: str | None = None,
) -> Response:
    """The same for a resident: of his account, or of the one he chose."""
    page = await shown(request, scope)
    wanted = EstateFilter(project_id=page.project.id)
    accounts = list((await estate.list_accounts(scope.conn, PageRequest(MAX_LIMIT), wanted)).items)
    accounts.sort(key=lambda account: account.id != account_id)
    return await _page(request, scope, accounts, page.project, of, cursor)


@router.post("/accounts/{account_id}/prepayments")
async def prepay(
    scope: Writing,
    account_id: int,
    amount: Amount,
    method: Method,
    sent: FormOnce,
    reference: Annotated[str, Form(max_length=100)] = "",
) -> Response:
    """Money for bills to come."""
    _, project = await receiving.account_of(scope.conn, account_id)

    async def record() -> str:
        await payments.record_payment(
            scope.conn, account_id, amount, method, _today(project), reference, scope.caller.user_id, purpose="balance"
        )
        return _back(account_id, "paid")

    return await sent.lead(scope.conn, record)


@router.post("/accounts/{account_id}/deposits")
async def take_deposit(
    scope: Writing,
    account_id: int,
    amount: Amount,
    method: Method,
    subject: Annotated[str, Form(max_length=200)],
    sent: FormOnce,
) -> Response:
    """Money as a security."""
    _, project = await receiving.account_of(scope.conn, account_id)

    async def record() -> str:
        await deposits.take_deposit(
            scope.conn, account_id, amount, method, _today(project), subject, created_by=scope.caller.user_id
        )
        return _back(account_id, "paid", "deposit")

    return await sent.lead(scope.conn, record)


@router.post("/accounts/{account_id}/releases")
async def ask_release(
    scope: Writing,
    account_id: int,
    amount: Amount,
    reason: Annotated[str, Form(max_length=1000)],
    sent: FormOnce,
    method: Annotated[OptionalText, Form()] = None,
    deposit_id: Annotated[OptionalId, Form()] = None,
) -> Response:
    """Asks to let held money go."""

    async def record() -> str:
        wanted = Wanted(amount, reason, method, deposit_id)
        await releases.ask_release(scope.conn, account_id, wanted, by=scope.caller.user_id)
        return _back(account_id, "asked", "deposit" if deposit_id else "balance")

    return await sent.lead(scope.conn, record)


@router.post("/accounts/{account_id}/auto-deduct")
async def set_auto_deduct(scope: Writing, account_id: int, wanted: Annotated[bool, Form()]) -> Response:
    """Switches the automatic deduction on or off."""
    account, _ = await receiving.account_of(scope.conn, account_id)
    await billing.set_auto_deduct(scope.conn, account.project_id, account_id, wanted)
    return RedirectResponse(_back(account_id, "saved"), 303)


@router.post("/accounts/{account_id}/set-offs")
async def apply_balance(scope: Writing, account_id: int, sent: FormOnce) -> Response:
    """Pays from the balance now."""
    _, project = await receiving.account_of(scope.conn, account_id)

    async def pay() -> str:
        await billing.apply_balance(scope.conn, project, account_id, _today(project))
        return _back(account_id, "saved")

    return await sent.lead(scope.conn, pay)


@router.get("/releases")
async def list_releases(request: Request, scope: Reading, every: bool = False, cursor: str | None = None) -> Response:
    """Held money that is to leave and waits for a decision, or (`every`) all there was."""
    if scope.caller.kind == "resident":
        return RedirectResponse("/my/balance", 303)
    page = await shown(request, scope)
    found = await releases.list_releases(
        scope.conn, page_request(_SHOWN, cursor), project_id=page.project.id, state=None if every else "asked"
    )
    _, policy = await billing.terms_today(scope.conn, page.project.id)
    by = scope.caller.user_id
    return page.page(
        "payments/releases.html",
        every=every,
        found=found,
        accounts=await estate.accounts_by_id(scope.conn, {one.account_id for one in found.items}),
        may_decide=scope.caller.may("bills.approve", page.project.id),
        own={one.id for one in found.items if billing.takes_another(one.asked_by, by, policy)},
    )


@router.post("/releases/{release_id}/decide")
async def decide(
    scope: Approving,
    release_id: int,
    decision: Annotated[Literal["approve", "reject"], Form()],
    note: Annotated[str, Form(max_length=1000)] = "",
) -> Response:
    """Approves or rejects a release."""
    found = await releases.get_release(scope.conn, release_id)
    today, policy = await billing.terms_today(scope.conn, found.project_id)
    by = scope.caller.user_id
    if decision == "approve":
        await releases.approve_release(scope.conn, release_id, policy, note, by=by, today=today)
    else:
        await releases.reject_release(scope.conn, release_id, note, by=by)
    return RedirectResponse("/releases?done=saved", 303)


async def _page(
    request: Request,
    scope: Scope,
    accounts: list[Account],
    project: Project,
    of: Literal["balance", "deposit"],
    cursor: str | None,
) -> Response:
    page = await shown(request, scope)
    if not accounts:
        return page.page("payments/held.html", account=None)
    account, conn = accounts[0], scope.conn
    held = await deposits.list_deposits(conn, PageRequest(MAX_LIMIT), account_id=account.id)
    asked = await releases.list_releases(conn, PageRequest(_SHOWN), account_id=account.id)
    plans = await billing.list_plans(conn, PageRequest(_SHOWN), account_id=account.id)
    return page.page(
        "payments/held.html",
        account=account,
        accounts=accounts,
        currency=project.currency,
        balance=await billing.held(conn, account.id, "balance"),
        deposit=await billing.held(conn, account.id, "deposit"),
        auto_deduct=await billing.auto_deduct(conn, account.id),
        entries=await billing.statement(
            conn,
            page_request(_SHOWN, cursor, key_length=2),
            account.id,
            ledger_account=billing.LEDGER_ACCOUNTS[of],
            newest_first=True,
        ),
        of=of,
        deposits=held.items,
        releases=asked.items,
        plans=plans.items,
        notice=None if scope.caller.kind == "resident" else await notices.last_bill_to(conn, account),
        methods=receiving.METHODS,
        pay_channels=sorted(channels_of(request)) if scope.caller.may("payments.pay", account.project_id) else [],
        may_write=scope.caller.may("payments.write", account.project_id),
        may_plan=scope.caller.may("arrears.write", account.project_id),
    )


def _today(project: Project) -> date:
    return local_day(datetime.now(UTC), project.zone)


def _back(account_id: int, done: str, of: str = "balance") -> str:
    return f"/accounts/{account_id}/held-money?of={of}&done={done}"
