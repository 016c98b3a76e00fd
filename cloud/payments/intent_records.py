"""Attempts to pay by a provider, and what providers told us, as records."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

from cloud.payments.channels.base import ChannelName, Mode, Order, Paid

IntentPurpose = Literal["bill", "balance", "parking"]
IntentState = Literal["created", "pending", "paid", "failed", "expired", "cancelled"]
CallbackState = Literal["received", "used", "repeated", "aside", "settled"]
AsideReason = Literal["unknown-order", "amount-differs", "order-over", "paid-already"]
OPEN: tuple[IntentState, ...] = ("created", "pending")
"""States of which more may come."""


@dataclass(frozen=True, slots=True)
class Intent:
    """What somebody means to pay. `pay_at`: what the code says, or where the phone goes, once the provider has it."""

    id: int
    project_id: int
    account_id: int | None
    purpose: IntentPurpose
    channel: ChannelName
    mode: Mode
    payer_ip: str | None
    reference: str
    amount: Decimal
    currency: str
    description: str
    state: IntentState
    expires_at: datetime
    pay_at: str | None
    provider_id: str | None
    paid_at: datetime | None
    payment_id: int | None
    failure: str | None
    cancel_asked: bool
    looks: int
    created_by: int | None
    created_at: datetime

    @property
    def open(self) -> bool:
        """Whether it may still be paid."""
        return self.state in OPEN

    def order(self) -> Order:
        """The same as providers know it."""
        return Order(
            self.reference, self.description, self.amount, self.currency, self.expires_at, self.mode, self.payer_ip
        )


@dataclass(frozen=True, slots=True)
class IntentBill:
    """A bill that an intent is for, and what was payable of it when it was made."""

    bill_id: int
    principal: Decimal
    late_fee: Decimal


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where the money of an intent went.

    `aside`: money came that fitted it no more, and waits for somebody (`aside`) or was dealt with (`settled`); None:
    none came. `kept`: what of its payment no bill needed; it is prepaid balance.
    """

    aside: Literal["aside", "settled"] | None
    kept: Decimal


@dataclass(frozen=True, slots=True)
class KeptCallback:
    """What a provider told us, and what became of it. `project_id` None: the reference is nobody's."""

    id: int
    project_id: int | None
    channel: ChannelName
    event_id: str
    reference: str
    provider_id: str
    amount: Decimal
    currency: str
    paid_at: datetime
    received_at: datetime
    state: CallbackState
    reason: AsideReason | None
    intent_id: int | None
    note: str

    def paid(self) -> Paid:
        """The same as adapters know it."""
        return Paid(self.reference, self.provider_id, self.amount, self.currency, self.paid_at)
