"""A bill with its payments, and taking a payment at the counter."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated

from fastapi import Form, Request
from starlette.responses import Response

from cloud.billing import service as billing
from cloud.billing.corrections.note_pages import Previewed, previewed
from cloud.billing.documents.payment_code import as_png_uri, pay_address
from cloud.billing.service import Bill, BillRow
from cloud.estate import service as estate
from cloud.estate.shown import shown
from cloud.identity import service as identity
from cloud.identity.guards import Scope, allow_page
from cloud.kit.paging import PageRequest
from cloud.kit.periods import local_day
from cloud.kit.routing import page_router, take_in
from cloud.kit.sent_forms import FormOnce
from cloud.notices import service as notices
from cloud.payments import held_pages, intent_pages, intents, refund_pages, service
from cloud.payments.channels.base import ChannelName
from cloud.payments.intent_api import channels_of
from cloud.payments.of_bill import payments_of_bill
from cloud.payments.reconciliation import pages as reconciliation_pages

router = page_router()
take_in(router, held_pages.router, intent_pages.router, refund_pages.router, reconciliation_pages.router)


_ARREARS = ("disputes.open", "arrears.write", "bills.approve", "bills.run", "payments.read")


@router.get("/bills/{bill_id}")
async def bill_for_staff(request: Request, scope: Annotated[Scope, allow_page("bills.read")], bill_id: int) -> Response:
    """A bill, why it comes to its amount, and what was paid of it."""
    return await _bill(request, scope, bill_id)


@router.get("/my/bills/{bill_id}")
async def bill_for_resident(
    request: Request, scope: Annotated[Scope, allow_page("bills.read")], bill_id: int
) -> Response:
    """The same for a resident; row-level security leaves only his own."""
    return await _bill(request, scope, bill_id)


@router.post("/bills/{bill_id}/payments")
async def take_payment(
    request: Request,
    scope: Annotated[Scope, allow_page("payments.write")],
    bill_id: int,
    amount: Annotated[Decimal, Form()],
    method: Annotated[str, Form(max_length=40)],
    sent: FormOnce,
    reference: Annotated[str, Form(max_length=100)] = "",
) -> Response:
    """Records what was paid; the same form sent again records nothing more."""
    page = await shown(request, scope)
    summary = (await billing.get_bill(scope.conn, bill_id)).summary
    zone = next((one.zone for one in page.projects if one.id == summary.project_id), page.project.zone)

    async def record() -> str:
        paid_on = local_day(datetime.now(UTC), zone)
        await service.record_payment(
            scope.conn, summary.account_id, amount, method, paid_on, reference, scope.caller.user_id
        )
        return f"/bills/{bill_id}?done=paid"

    return await sent.lead(scope.conn, record)


async def _previewed(scope: Scope, bill: Bill) -> Previewed | None:
    """What a note that waits for approval would do."""
    if bill.summary.state != "draft" or not bill.note:
        return None
    return await previewed(scope, bill.summary, bill.note.get("bill"))


async def _name(scope: Scope, user_id: int | None) -> str | None:
    if user_id is None or scope.caller.kind != "staff":
        return None
    return (await identity.user_names(scope.conn, [user_id])).get(user_id)


async def _bill(request: Request, scope: Scope, bill_id: int) -> Response:
    page = await shown(request, scope)
    bill = await billing.get_bill(scope.conn, bill_id)
    account_id = bill.summary.account_id
    pay_at = pay_address(request.app.state.settings.public_url, bill_id)
    zone = next((one.zone for one in page.projects if one.id == bill.summary.project_id), page.project.zone)
    waivers = (await billing.list_waivers(scope.conn, PageRequest(), bill_id=bill_id)).items
    _, policy = await billing.terms_today(scope.conn, bill.summary.project_id)
    by = scope.caller.user_id
    return page.page(
        "billing/show.html",
        bill=bill,
        explained={one.charge_id: one for one in await billing.explain(scope.conn, bill)},
        agreed={one.charge_id: one for one in billing.explain_agreed(bill)},
        pay_code=as_png_uri(pay_at) if pay_at and bill.summary.owing else None,
        account=(await estate.accounts_by_id(scope.conn, [account_id])).get(account_id),
        payments=await payments_of_bill(scope.conn, bill_id),
        given=await billing.given(scope.conn, bill),
        preview=await _previewed(scope, bill),
        asked_by=await _name(scope, bill.note.get("asked_by")),
        waiting=await billing.waiting_notes(scope.conn, bill_id) if scope.caller.kind == "staff" else [],
        disputes=(await billing.list_disputes(scope.conn, PageRequest(), bill_id=bill_id)).items,
        waivers=waivers,
        own_waivers={one.id for one in waivers if billing.takes_another(one.asked_by, by, policy)},
        is_own=billing.takes_another(bill.note.get("asked_by"), by, policy),
        may=frozenset(one for one in _ARREARS if scope.caller.may(one, bill.summary.project_id)),
        pay_channels=_pay_channels(request, scope, bill.summary),
        may_take_payment=scope.caller.may("payments.write", bill.summary.project_id),
        methods=service.METHODS,
        notice=(await notices.last_about(scope.conn, bill.summary.project_id, "bill", [bill_id])).get(bill_id),
        may_mail=scope.caller.may("bills.run", bill.summary.project_id),
        mail_is_set_up=request.app.state.settings.mail_is_set_up,
        zone=zone,
        today=local_day(datetime.now(UTC), zone),
    )


def _pay_channels(request: Request, scope: Scope, summary: BillRow) -> list[ChannelName]:
    """By which providers the reader may pay this bill now; staff take payments at the counter instead."""
    if scope.caller.kind != "resident" or intents.payable(summary) is None:
        return []
    return sorted(channels_of(request)) if scope.caller.may("payments.pay", summary.project_id) else []
