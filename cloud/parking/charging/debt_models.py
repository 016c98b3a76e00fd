"""What the API of debts, of paying online and of the policy about money takes and gives."""

from decimal import Decimal
from typing import Annotated, Final

from pydantic import BaseModel, Field

from cloud.kit.amounts import MoneyOut, plain
from cloud.kit.inputs import Id, Input, Instant, ListQuery
from cloud.parking.charging.debt_repository import DebtTotal
from cloud.parking.charging.debts import DebtFilter
from cloud.parking.charging.models import MoneyIn
from cloud.parking.charging.policy import Debts, MoneyPolicy, Vehicles
from cloud.parking.plates import PlateText
from cloud.payments.channels.base import ChannelName, Mode
from cloud.payments.intents import WantedPayment

_AS_THEY_ARE: Final = ("debts", "vehicles", "passes_a_month", "pass_hours", "free_passes")


class DebtQuery(ListQuery):
    """Which debts are wanted. `left_from` and `left_before` bound the end of the stay."""

    lot_id: Id | None = None
    plate: PlateText | None = None
    left_from: Instant | None = None
    left_before: Instant | None = None

    def wanted(self) -> DebtFilter:
        """The same as the services know it."""
        return DebtFilter(self.project_id, self.lot_id, self.plate, self.left_from, self.left_before)


class DebtTotalOut(BaseModel):
    """All debts that were asked for, in one currency."""

    stays: int
    plates: int
    due: MoneyOut

    @classmethod
    def of(cls, total: DebtTotal) -> "DebtTotalOut":
        """From our record."""
        return cls(stays=total.stays, plates=total.plates, due=MoneyOut.of(total.due, total.currency))


class DebtTotalsOut(BaseModel):
    """Sums of the debts that were asked for, by currency."""

    items: list[DebtTotalOut]


class WaiverIn(Input):
    """What of a debt nobody has to pay any more, and why."""

    amount: Annotated[MoneyIn | None, Field(description="Null: all of it.")] = None
    reason: Annotated[str, Field(min_length=1, max_length=1000, examples=["The barrier was broken"])]


class ParkingIntentIn(Input):
    """A stay to be paid by a provider, and with it what its plate owes for earlier ones."""

    session_id: Id
    channel: ChannelName
    mode: Annotated[Mode, Field(description="`phone`: the browser opens the provider's app.")] = "code"
    with_debts: bool = True

    def wanted(self, payer_ip: str | None) -> WantedPayment:
        """The same as the services know it."""
        return WantedPayment(self.channel, self.mode, payer_ip=payer_ip)


class MoneyPolicyIn(Input):
    """How a project takes money for parking."""

    debts: Annotated[Debts, Field(description="`collect`: who owes is let out by itself only once that is paid.")]
    tax_percent: Annotated[str, Field(pattern=r"^\d{1,2}(\.\d{1,2})?$", examples=["9"], description="Within fees.")]
    public_page: Annotated[bool, Field(description="There is a page where one pays by plate without signing in.")]
    vehicles: Annotated[Vehicles, Field(description="`at-once`: a vehicle that a resident names is his at once.")]
    passes_a_month: Annotated[int, Field(ge=0, le=1000, description="Visitor passes of each resident; 0: none.")]
    pass_hours: Annotated[int, Field(ge=1, le=720, description="The longest pass that a resident may give.")]
    free_passes: Annotated[bool, Field(description="Residents may give passes that cost the visitor nothing.")]

    def policy(self) -> MoneyPolicy:
        """The same as the services know it."""
        same = {name: getattr(self, name) for name in _AS_THEY_ARE}
        return MoneyPolicy(tax_percent=Decimal(self.tax_percent), **same)


class MoneyPolicyOut(BaseModel):
    """How a project takes money for parking. `public_path`: of the page where one pays by plate."""

    project_id: int
    debts: Debts
    tax_percent: str
    public_path: str | None
    vehicles: Vehicles
    passes_a_month: int
    pass_hours: int
    free_passes: bool

    @classmethod
    def of(cls, project_id: int, policy: MoneyPolicy) -> "MoneyPolicyOut":
        """From our record."""
        return cls(
            project_id=project_id,
            tax_percent=plain(policy.tax_percent),
            public_path=None if policy.public_code is None else f"/park/{policy.public_code}",
            **{name: getattr(policy, name) for name in _AS_THEY_ARE},
        )
