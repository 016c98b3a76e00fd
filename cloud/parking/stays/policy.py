"""What a lot wants where passages leave a choice: how soon is the same stay, and what to do when one was not seen."""

from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, model_validator

from cloud.kit.inputs import Input
from cloud.parking.fees.models import Amount
from cloud.parking.stays.matching import LotRules, Unseen

ThenUnseen = Literal["operator", "open-free", "last-known", "fixed-charge"]
InnerTime = Literal["paused", "included"]
MisreadAutomatic = Literal["unique", "never"]


class UnseenEntry(Input):
    """What happens at an exit with a vehicle of a class (empty: all others) that nobody saw enter.

    `operator`: a person decides. `open-free`: it leaves for nothing. `last-known`: its last stay goes on, priced from
    that entry; without one a person decides. `fixed-charge`: it pays `amount`.
    """

    vehicle_class: Annotated[str, Field(max_length=64, pattern=r"^([a-z0-9][a-z0-9-]*)?$", examples=["small"])] = ""
    then: Annotated[ThenUnseen, Field(examples=["fixed-charge"])]
    amount: Annotated[Amount, Field(examples=["20.00"])] | None = None

    @model_validator(mode="after")
    def _amount_of_a_charge(self) -> "UnseenEntry":
        if (self.amount is not None) != (self.then == "fixed-charge"):
            raise ValueError("an amount belongs to a fixed charge, and only to that")
        return self


class LotPolicy(Input):
    """Policy of one lot. Without changes it is what holds in a lot that nobody has set up."""

    repeated_within_seconds: Annotated[int, Field(ge=0, le=600)] = 30
    """Seen again at the same lane so soon after it passed: the same passage."""
    other_lane_within_seconds: Annotated[int, Field(ge=0, le=120)] = 10
    """Let through at another lane in the same direction so soon: both lanes saw one vehicle."""
    reentry_within_minutes: Annotated[int, Field(ge=0, le=24 * 60)] = 0
    """Back so soon after it left: its stay goes on as if it had not left."""
    unseen_entry: Annotated[tuple[UnseenEntry, ...], Field(max_length=20)] = ()
    last_known_within_hours: Annotated[int, Field(ge=1, le=24 * 60)] = 24
    misread: MisreadAutomatic = "unique"
    """A misread plate at an exit: taken for the only vehicle that fits, or always left to a person."""
    misread_within_hours: Annotated[int, Field(ge=1, le=24 * 60)] = 72
    inner_time: InnerTime = "paused"
    """Time in lots inside this one: not charged here, or charged here and not there."""
    tailgating_within_seconds: Annotated[int, Field(ge=0, le=120)] = 15
    """Went through so soon after another without an opening of its own: both on one opening."""

    @model_validator(mode="after")
    def _one_answer_a_class(self) -> "LotPolicy":
        classes = [one.vehicle_class for one in self.unseen_entry]
        if len(classes) != len(set(classes)):
            raise ValueError("two answers for one class of vehicles")
        return self

    def rules(self, parent_id: int | None, *, gated: bool) -> LotRules:
        """The same as matching knows it."""
        return LotRules(
            parent_id=parent_id,
            gated=gated,
            repeated_within=timedelta(seconds=self.repeated_within_seconds),
            other_lane_within=timedelta(seconds=self.other_lane_within_seconds),
            reentry_within=timedelta(minutes=self.reentry_within_minutes),
            unseen={one.vehicle_class: _unseen(one) for one in self.unseen_entry},
            last_known_within=timedelta(hours=self.last_known_within_hours),
            misread_within=timedelta(hours=self.misread_within_hours) if self.misread == "unique" else None,
        )


def _unseen(entry: UnseenEntry) -> Unseen:
    if entry.then == "last-known":
        return Unseen(last_known=True)
    return Unseen(Decimal(0) if entry.then == "open-free" else entry.amount)
