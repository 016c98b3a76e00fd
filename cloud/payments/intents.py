"""Paying by a provider, as people ask for it: what is payable is fixed, and one order at a time may be paid."""

import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

from cloud.billing import service as billing
from cloud.billing.service import BillRow
from cloud.estate.records import Project
from cloud.kit import locks
from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, InvalidInput, NotFound
from cloud.kit.paging import MAX_ID, Page, PageRequest, after_id, cut
from cloud.payments import intent_repository as repository
from cloud.payments.channels.base import ChannelName, Mode
from cloud.payments.intent_records import (
    CallbackState,
    Intent,
    IntentBill,
    IntentPurpose,
    IntentState,
    KeptCallback,
    Outcome,
)
from cloud.payments.receiving import account_of, check_money

LASTS: Final = timedelta(minutes=15)
"""How long an order can be paid."""
_SOON: Final = timedelta(minutes=2)
"""An order that ends sooner is not shown again: a new one is made."""
_LOCK_SPACE: Final = 0x67_6D_0E << 40
_CURRENCY: Final = "CNY"
_MOST_BILLS: Final = 50


@dataclass(frozen=True, slots=True)
class WantedPayment:
    """What somebody wants to pay: bills, or (`amount`) for the balance; by whom and how.

    `payer_ip` is what the provider asks for where a phone's browser opens its app.
    """

    channel: ChannelName
    mode: Mode = "code"
    bill_ids: tuple[int, ...] = ()
    amount: Decimal | None = None
    payer_ip: str | None = None

    @property
    def purpose(self) -> IntentPurpose:
        """Bills, or the balance."""
        return "balance" if self.amount is not None else "bill"


async def ask_to_pay(
    conn: Conn,
    account_id: int,
    wanted: WantedPayment,
    available: Collection[ChannelName],
    *,
    by: int | None,
    now: datetime | None = None,
) -> Intent:
    """An intent for what is payable now; the worker makes the order at the provider.

    The same asked again gives the same intent while that can be paid; another one takes the place of those before:
    they are closed, so that nobody pays twice by mistake. Raises NotFound; InvalidInput for a channel that is not set
    up, another currency than CNY, a bad amount, or neither bills nor an amount; Conflict when nothing is payable.
    """
    moment = now or datetime.now(UTC)
    _, project = await account_of(conn, account_id)
    # Two pages at once: the second one finds the order of the first.
    await locks.lock(conn, _LOCK_SPACE, account_id)
    _check_channel(project, wanted.channel, available)
    bills, amount, description = await _payable(conn, account_id, project, wanted)
    others = await repository.open_of(conn, account_id)
    for one in others:
        if _same(one, wanted, amount, moment) and await repository.bills_of(conn, one.id) == bills:
            return one
    await repository.ask_cancel(conn, [one.id for one in others if one.purpose == wanted.purpose])
    return await _open(conn, project, account_id, wanted, wanted.purpose, amount, description, bills, by, moment)


async def ask_to_pay_for_parking(
    conn: Conn,
    project: Project,
    wanted: WantedPayment,
    available: Collection[ChannelName],
    description: str,
    *,
    by: int | None,
    now: datetime,
) -> Intent:
    """An intent for `wanted.amount` that belongs to no account; for what it is, the caller writes down.

    Raises InvalidInput like `ask_to_pay`.
    """
    _check_channel(project, wanted.channel, available)
    amount = wanted.amount or Decimal(0)
    check_money(project, amount, wanted.channel)
    return await _open(conn, project, None, wanted, "parking", amount, description[:80], [], by, now)


def payable_still(one: Intent, now: datetime) -> bool:
    """Whether it is worth being shown again to somebody who wants to pay the same."""
    return one.open and not one.cancel_asked and one.expires_at - now > _SOON


def payable(bill: BillRow) -> IntentBill | None:
    """What may be paid of a bill: principal that is not disputed, and its late fee unless it is in dispute."""
    fee = Decimal(0) if bill.state == "disputed" else bill.late_fee_open
    if bill.state in ("draft", "void") or bill.kind == "credit_note" or bill.undisputed + fee <= 0:
        return None
    return IntentBill(bill.id, bill.undisputed, fee)


async def cancel_intent(conn: Conn, intent_id: int) -> Intent:
    """Nobody wants to pay it any more; what was paid meanwhile stays paid. Raises NotFound, Conflict once over."""
    found = await get_intent(conn, intent_id)
    if not found.open:
        raise Conflict("payment-over", f"the payment is {found.state}")
    await repository.ask_cancel(conn, [intent_id])
    return await get_intent(conn, intent_id)


async def get_intent(conn: Conn, intent_id: int) -> Intent:
    """One intent. Raises NotFound."""
    found = await repository.intent(conn, intent_id)
    if found is None:
        raise NotFound("no-such-payment", f"there is no payment intent {intent_id}", field="intent_id")
    return found


async def by_reference(conn: Conn, reference: str) -> Intent | None:
    """The intent with our number at the provider, which nobody can guess."""
    return await repository.by_reference(conn, reference)


async def bills_of(conn: Conn, intent_id: int) -> list[IntentBill]:
    """Which bills an intent is for."""
    return await repository.bills_of(conn, intent_id)


async def became_of_it(conn: Conn, intent: Intent) -> Outcome:
    """Where the money of an intent went that is over; only of intents that the asker sees."""
    return Outcome(await repository.set_aside(conn, intent.id), await repository.kept(conn, intent.id))


async def list_intents(
    conn: Conn,
    page: PageRequest,
    *,
    project_id: int | None = None,
    account_id: int | None = None,
    state: IntentState | None = None,
    channel: ChannelName | None = None,
) -> Page[Intent]:
    """Intents, newest first."""
    wanted = {
        "project_id": project_id,
        "account_id": account_id,
        "state": state,
        "channel": channel,
        "before": after_id(page, MAX_ID),
        "limit": page.limit + 1,
    }
    return cut(await repository.intents(conn, wanted), page, lambda one: (one.id,))


async def list_callbacks(
    conn: Conn, page: PageRequest, *, project_id: int | None = None, state: CallbackState | None = None
) -> Page[KeptCallback]:
    """What providers told us, newest first, with what is nobody's."""
    found = await repository.callbacks(
        conn, project_id=project_id, state=state, before=after_id(page, MAX_ID), limit=page.limit + 1
    )
    return cut(found, page, lambda one: (one.id,))


async def settle_callback(conn: Conn, callback_id: int, note: str) -> KeptCallback:
    """Somebody has dealt with money that fitted no order, and says how.

    Raises NotFound; InvalidInput without a note; Conflict when it is not kept aside.
    """
    note = billing.stated(note)
    found = await repository.callback(conn, callback_id)
    if found is None:
        raise NotFound("no-such-callback", f"there is no callback {callback_id}", field="callback_id")
    if not await repository.settle(conn, callback_id, note):
        raise Conflict("not-aside", f"the callback is {found.state}")
    after = await repository.callback(conn, callback_id)
    assert after is not None
    return after


async def _payable(
    conn: Conn, account_id: int, project: Project, wanted: WantedPayment
) -> tuple[list[IntentBill], Decimal, str]:
    """Bills with what is payable of each, the amount, and what the payer reads at the provider."""
    if wanted.amount is not None:
        check_money(project, wanted.amount, wanted.channel)
        return [], wanted.amount, project.name[:80]
    if not wanted.bill_ids or len(wanted.bill_ids) > _MOST_BILLS:
        raise InvalidInput("no-bills", f"expected 1 to {_MOST_BILLS} bills, or an amount", field="bill_ids")
    rows = [await _bill_of(conn, account_id, bill_id) for bill_id in sorted(set(wanted.bill_ids))]
    bills = [one for one in map(payable, rows) if one is not None]
    if not bills:
        raise Conflict("nothing-payable", "nothing is open of these bills, or it is disputed")
    numbers = " ".join(row.number or "" for row in rows)
    total = sum((one.principal + one.late_fee for one in bills), Decimal(0))
    return bills, total, f"{project.name[:40]} {numbers}".strip()[:80]


async def _bill_of(conn: Conn, account_id: int, bill_id: int) -> BillRow:
    row = (await billing.get_bill(conn, bill_id)).summary
    if row.account_id != account_id:
        raise NotFound("no-such-bill", f"account {account_id} has no bill {bill_id}", field="bill_ids")
    return row


def _check_channel(project: Project, channel: ChannelName, available: Collection[ChannelName]) -> None:
    if channel not in available:
        raise InvalidInput("channel-not-available", f"{channel} is not set up here", field="channel")
    if project.currency != _CURRENCY:
        raise InvalidInput(
            "currency-not-online", f"providers take {_CURRENCY}, not {project.currency}", field="channel"
        )


async def _open(
    conn: Conn,
    project: Project,
    account_id: int | None,
    wanted: WantedPayment,
    purpose: IntentPurpose,
    amount: Decimal,
    description: str,
    bills: list[IntentBill],
    by: int | None,
    now: datetime,
) -> Intent:
    values = {
        "project_id": project.id,
        "account_id": account_id,
        "purpose": purpose,
        "channel": wanted.channel,
        "mode": wanted.mode,
        "payer_ip": wanted.payer_ip if wanted.mode == "phone" else None,
        "reference": f"gm{secrets.token_hex(14)}",
        "amount": amount,
        "currency": project.currency,
        "description": description,
        "expires_at": now + LASTS,
        "created_by": by,
    }
    return await get_intent(conn, await repository.insert(conn, values, bills))


def _same(one: Intent, wanted: WantedPayment, amount: Decimal, now: datetime) -> bool:
    return (one.purpose, one.channel, one.mode, one.amount) == (
        wanted.purpose, wanted.channel, wanted.mode, amount,
    ) and one.expires_at - now > _SOON  # fmt: skip
