"""Pages of paying by a provider: what a resident may pay, his code, what became of it; and what staff see of it."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Final

from fastapi import Form, Request
from starlette.responses import RedirectResponse, Response

from cloud.billing import service as billing
from cloud.billing.documents.payment_code import as_png_uri
from cloud.billing.service import BillFilter, BillRow
from cloud.estate import service as estate
from cloud.estate.service import EstateFilter
from cloud.estate.shown import OptionalText, shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit.errors import InvalidInput, NotFound
from cloud.kit.paging import MAX_LIMIT, PageRequest, page_request
from cloud.kit.routing import page_router
from cloud.kit.sent_forms import FormOnce
from cloud.payments import intents
from cloud.payments.channels.base import ChannelName, Mode
from cloud.payments.intent_api import channels_of, payer_ip
from cloud.payments.intent_records import Intent, IntentState
from cloud.payments.intents import WantedPayment

router = page_router()

Reading = Annotated[Scope, allow_page("payments.read")]
Paying = Annotated[Scope, allow_page("payments.pay")]
Writing = Annotated[Scope, allow_page("payments.write")]
FormChannel = Annotated[ChannelName, Form()]

_SHOWN: Final = 30
_STATES: Final[tuple[IntentState, ...]] = ("created", "pending", "paid", "failed", "expired", "cancelled")
_CHANNELS: Final[tuple[ChannelName, ...]] = ("wechat", "alipay")


@router.get("/my/pay")
async def what_to_pay(request: Request, scope: Paying) -> Response:
    """All that is payable of the resident's accounts, each with its bills to choose from."""
    page = await shown(request, scope)
    wanted = EstateFilter(project_id=page.project.id)
    accounts = (await estate.list_accounts(scope.conn, PageRequest(MAX_LIMIT), wanted)).items
    owed: dict[int, list[BillRow]] = {}
    for account in accounts:
        rows = await billing.list_bills(scope.conn, PageRequest(MAX_LIMIT), BillFilter(account_id=account.id))
        owed[account.id] = [bill for bill in reversed(rows.items) if intents.payable(bill) is not None]
    return page.page(
        "payments/pay.html",
        accounts=[account for account in accounts if owed[account.id]],
        owed=owed,
        payable=intents.payable,
        channels=sorted(channels_of(request)),
    )


@router.post("/my/pay")
async def pay(
    request: Request,
    scope: Paying,
    account_id: Annotated[int, Form()],
    channel: FormChannel,
    sent: FormOnce,
    bill_ids: Annotated[list[int] | None, Form()] = None,
    amount: Annotated[Decimal | None, Form()] = None,
    mode: Mode = "code",
) -> Response:
    """Asks for an order over bills, or an amount for the balance; the page of the payment shows its code."""
    if amount is None and not bill_ids:
        raise InvalidInput("no-bills", "choose what to pay", field="bill_ids")
    wanted = WantedPayment(channel, mode, tuple(bill_ids or ()), amount, payer_ip(request))

    async def ask() -> str:
        made = await intents.ask_to_pay(scope.conn, account_id, wanted, channels_of(request), by=scope.caller.user_id)
        return f"/my/payments/{made.id}"

    return await sent.lead(scope.conn, ask)


@router.get("/my/payments/{intent_id}")
async def one(request: Request, scope: Reading, intent_id: int) -> Response:
    """The code of a payment while it can be paid, and what became of it; the page asks again by itself."""
    page = await shown(request, scope)
    found = await intents.get_intent(scope.conn, intent_id)
    if found.account_id is None:
        raise NotFound("no-such-payment", f"payment intent {intent_id} is no account's", field="intent_id")
    account = await estate.get_account(scope.conn, found.account_id)
    return page.page(
        "payments/online.html",
        intent=found,
        account=account,
        code=_code(found),
        bills=await _bills(scope, found),
        became=await intents.became_of_it(scope.conn, found),
        zone=(await estate.get_project(scope.conn, found.project_id)).zone,
        may_pay=scope.caller.may("payments.pay", found.project_id),
        over=datetime.now(UTC) >= found.expires_at,
    )


@router.post("/my/payments/{intent_id}/cancel")
async def cancel(scope: Paying, intent_id: int) -> Response:
    """The payer has changed his mind."""
    await intents.cancel_intent(scope.conn, intent_id)
    return RedirectResponse(f"/my/payments/{intent_id}", 303)


@router.get("/online-payments")
async def list_payments(
    request: Request,
    scope: Reading,
    state: OptionalText = None,
    channel: OptionalText = None,
    cursor: str | None = None,
) -> Response:
    """Attempts to pay by a provider, newest first, and how much money waits for somebody to look at it."""
    if scope.caller.kind == "resident":
        return RedirectResponse("/my/pay", 303)
    page = await shown(request, scope)
    found = await intents.list_intents(
        scope.conn,
        page_request(_SHOWN, cursor),
        project_id=page.project.id,
        state=next((one for one in _STATES if one == state), None),
        channel=next((one for one in _CHANNELS if one == channel), None),
    )
    aside = await intents.list_callbacks(scope.conn, PageRequest(MAX_LIMIT), project_id=page.project.id, state="aside")
    return page.page(
        "payments/online_list.html",
        found=found,
        accounts=await estate.accounts_by_id(
            scope.conn, {one.account_id for one in found.items if one.account_id is not None}
        ),
        aside=aside.items,
        states=_STATES,
        channels=_CHANNELS,
        state=state or "",
        channel=channel or "",
        zone=page.project.zone,
        may_write=scope.caller.may("payments.write", page.project.id),
    )


@router.post("/payment-callbacks/{callback_id}/settle")
async def settle(scope: Writing, callback_id: int, note: Annotated[str, Form(max_length=1000)]) -> Response:
    """Somebody has dealt with money that fitted no order."""
    await intents.settle_callback(scope.conn, callback_id, note)
    return RedirectResponse("/online-payments?done=saved", 303)


def _code(intent: Intent) -> str | None:
    """The picture to scan, while it can be."""
    if intent.pay_at is None or intent.state != "pending" or intent.mode != "code" or intent.cancel_asked:
        return None
    return as_png_uri(intent.pay_at)


async def _bills(scope: Scope, intent: Intent) -> list[BillRow]:
    parts = await intents.bills_of(scope.conn, intent.id)
    return [(await billing.get_bill(scope.conn, part.bill_id)).summary for part in parts]
