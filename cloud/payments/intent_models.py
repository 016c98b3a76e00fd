"""What the API of paying by a provider takes and gives."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, Field

from cloud.kit.amounts import MoneyOut
from cloud.kit.inputs import Id, Input, ListQuery
from cloud.payments.channels.base import ChannelName, Mode
from cloud.payments.intent_records import (
    AsideReason,
    CallbackState,
    Intent,
    IntentBill,
    IntentPurpose,
    IntentState,
    KeptCallback,
)
from cloud.payments.intents import WantedPayment
from cloud.payments.models import PaidAmount, PaymentQuery


class IntentIn(Input):
    """What is to be paid: bills, or an amount for the prepaid balance."""

    account_id: Id
    bill_ids: Annotated[list[Id], Field(max_length=50, examples=[[1]])] = Field(default_factory=list)
    amount: Annotated[PaidAmount | None, Field(description="For the balance; null: what is payable of the bills.")] = (
        None
    )
    channel: ChannelName
    mode: Annotated[Mode, Field(description="`phone`: the browser opens the provider's app.")] = "code"

    def wanted(self, payer_ip: str | None) -> WantedPayment:
        """The same as the services know it."""
        amount = None if self.amount is None else Decimal(self.amount)
        return WantedPayment(self.channel, self.mode, tuple(self.bill_ids), amount, payer_ip)


class IntentQuery(PaymentQuery):
    """Which intents are wanted."""

    state: IntentState | None = None
    channel: ChannelName | None = None


class IntentBillOut(BaseModel):
    """A bill, and what was payable of it when the intent was made."""

    bill_id: int
    principal: MoneyOut
    late_fee: MoneyOut


class IntentOut(BaseModel):
    """An attempt to pay. `pay_at` is what the code says or where the phone goes; null until the provider has it."""

    id: int
    project_id: int
    account_id: Annotated[int | None, Field(description="Null where somebody pays for parking.")]
    purpose: IntentPurpose
    channel: ChannelName
    mode: Mode
    reference: Annotated[str, Field(examples=["gm4be7c3a29f003f1f0f6a1c110a2b"])]
    amount: MoneyOut
    description: str
    state: IntentState
    cancel_asked: bool
    expires_at: datetime
    pay_at: Annotated[str | None, Field(examples=["weixin://wxpay/bizpayurl?pr=qnZT0Gpzz"])]
    provider_id: str | None
    paid_at: datetime | None
    payment_id: int | None
    failure: str | None
    created_at: datetime

    @classmethod
    def of(cls, one: Intent) -> "IntentOut":
        """From our records; who may see an intent that is over need not know where it could be paid."""
        return cls(
            amount=MoneyOut.of(one.amount, one.currency),
            pay_at=one.pay_at if one.open else None,
            **{
                name: getattr(one, name)
                for name in (
                    "id", "project_id", "account_id", "purpose", "channel", "mode", "reference", "description", "state",
                    "cancel_asked", "expires_at", "provider_id", "paid_at", "payment_id", "failure", "created_at",
                )
            },
        )  # fmt: skip


class WholeIntentOut(IntentOut):
    """An attempt to pay with its bills."""

    bills: list[IntentBillOut]

    @classmethod
    def whole(cls, one: Intent, bills: list[IntentBill]) -> "WholeIntentOut":
        """From our records."""
        parts = [
            IntentBillOut(
                bill_id=part.bill_id,
                principal=MoneyOut.of(part.principal, one.currency),
                late_fee=MoneyOut.of(part.late_fee, one.currency),
            )
            for part in bills
        ]
        return cls(**dict(IntentOut.of(one)), bills=parts)


class CallbackQuery(ListQuery):
    """Which callbacks are wanted."""

    state: CallbackState | None = None


class CallbackSettledIn(Input):
    """What was done about money that fitted no order."""

    note: Annotated[str, Field(min_length=1, max_length=1000, examples=["Given back at the provider's own page"])]


class CallbackOut(BaseModel):
    """Money that a provider says was paid, and what became of it; `reason` where it was kept aside."""

    id: int
    project_id: int | None
    channel: ChannelName
    reference: str
    provider_id: str
    amount: MoneyOut
    paid_at: datetime
    received_at: datetime
    state: CallbackState
    reason: AsideReason | None
    intent_id: int | None
    note: str

    @classmethod
    def of(cls, one: KeptCallback) -> "CallbackOut":
        """From our records."""
        return cls(
            amount=MoneyOut.of(one.amount, one.currency),
            **{
                name: getattr(one, name)
                for name in (
                    "id", "project_id", "channel", "reference", "provider_id", "paid_at", "received_at", "state",
                    "reason", "intent_id", "note",
                )
            },
        )  # fmt: skip
