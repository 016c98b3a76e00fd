"""What the API of payments takes and gives."""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from cloud.kit.amounts import MoneyOut
from cloud.kit.inputs import Day, Id, Input, ListQuery
from cloud.payments.service import Payment, RecordedPayment

PaidAmount = Annotated[str, Field(pattern=r"^[0-9]{1,12}(\.[0-9]{1,3})?$", examples=["120.50"])]


class PaymentQuery(ListQuery):
    """Which payments are wanted."""

    account_id: Id | None = None


class PaymentIn(Input):
    """Money received for the bills of an account, in the currency of its project."""

    account_id: Id
    amount: PaidAmount
    method: Annotated[str, Field(max_length=32, examples=["cash", "transfer"])]
    paid_on: Annotated[Day, Field(description="Local day of the payment; late fees stop here.")]
    reference: Annotated[str, Field(max_length=200)] = ""
    purpose: Annotated[
        Literal["bill", "balance"],
        Field(description="`balance`: kept as it is, for bills that are issued later."),
    ] = "bill"

    @property
    def decimal(self) -> Decimal:
        """The amount."""
        return Decimal(self.amount)


class PaymentOut(BaseModel):
    """A payment."""

    id: int
    project_id: int
    account_id: int | None
    purpose: str
    method: str
    amount: MoneyOut
    paid_on: date
    received_at: datetime
    reference: str
    state: str

    @classmethod
    def of(cls, payment: Payment) -> "PaymentOut":
        """From our records."""
        return cls(
            id=payment.id,
            project_id=payment.project_id,
            account_id=payment.account_id,
            purpose=payment.purpose,
            method=payment.method,
            amount=MoneyOut.of(payment.amount, payment.currency),
            paid_on=payment.paid_on,
            received_at=payment.received_at,
            reference=payment.reference,
            state=payment.state,
        )


class AllocationOut(BaseModel):
    """What the payment settles of one bill."""

    bill_id: int
    principal: MoneyOut
    late_fee: MoneyOut


class RecordedPaymentOut(PaymentOut):
    """A payment and what became of it; `surplus` stays as the balance of the account."""

    allocations: list[AllocationOut]
    surplus: MoneyOut

    @classmethod
    def whole(cls, recorded: RecordedPayment) -> "RecordedPaymentOut":
        """From our records."""
        currency = recorded.payment.currency
        allocations = [
            AllocationOut(
                bill_id=part.bill_id,
                principal=MoneyOut.of(part.principal, currency),
                late_fee=MoneyOut.of(part.late_fee, currency),
            )
            for part in recorded.settlement.allocations
        ]
        surplus = MoneyOut.of(recorded.settlement.surplus, currency)
        return cls(**dict(PaymentOut.of(recorded.payment)), allocations=allocations, surplus=surplus)
