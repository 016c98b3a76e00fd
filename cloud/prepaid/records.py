"""What the prepaid feature hands out and passes between its rooms."""

from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Final, Literal
from uuid import UUID

from cloud.prepaid.disconnection import Case, CaseState, Rules
from cloud.prepaid.positions import Thresholds

Protection = Literal["medical", "care", "other"]
PROTECTIONS: Final[tuple[Protection, ...]] = ("medical", "care", "other")
Shown = Literal["all", "low", "below", "unknown"]
"""Which accounts are listed: warned ones, those beyond their credit, those whose usage cannot be valued."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What a project wants of prepaid supply. The default warns nobody and switches nobody off."""

    thresholds: Thresholds = field(default_factory=lambda: Thresholds(None, None))
    rules: Rules = field(default_factory=Rules)


@dataclass(frozen=True, slots=True)
class PrepaidAgreement:
    """An agreement whose usage is paid in advance, as it is in force on the day it was asked for."""

    agreement_id: int
    project_id: int
    account_id: int
    service: str
    meter_id: int | None


@dataclass(frozen=True, slots=True)
class AccountTerms:
    """What holds for one account: nobody switches it off until, and including, `protected_until`; extra `credit`."""

    account_id: int
    project_id: int
    kind: Protection | None = None
    reason: str = ""
    protected_until: date | None = None
    credit: Decimal = Decimal(0)
    credit_until: date | None = None

    def protected(self, today: date) -> bool:
        """Whether it may not be switched off today."""
        return self.kind is not None and self.protected_until is not None and today <= self.protected_until

    def emergency(self, today: date) -> Decimal:
        """Extra credit in force today."""
        return self.credit if self.credit_until is not None and today <= self.credit_until else Decimal(0)


@dataclass(frozen=True, slots=True)
class PositionRow:
    """What is left of an account's balance as it was valued at `valued_at`, with usage up to the start of `through`.

    `allowance`: how far below zero it may go; `flaw`: why later usage could not be valued; `days_left`: None when no
    end is in sight.
    """

    account_id: int
    project_id: int
    currency: str
    held: Decimal
    owed: Decimal
    accrued: Decimal
    available: Decimal
    allowance: Decimal
    days_left: int | None
    through: date
    flaw: str
    warned_at: datetime | None
    valued_at: datetime

    @property
    def below(self) -> bool:
        """Whether it is beyond its credit."""
        return self.available < -self.allowance


@dataclass(frozen=True, slots=True)
class SupplyCase:
    """A case of switching a supply off, with how far it got. `hold`: why it waits; `ending`: why it ended."""

    id: int
    project_id: int
    account_id: int
    agreement_id: int
    service: str
    meter_id: int | None
    state: CaseState
    hold: str
    ending: str
    opened_on: date
    opened_at: datetime
    available: Decimal
    notified_at: datetime | None
    second_notice_at: datetime | None
    confirmed_at: datetime | None
    confirmed_by: int | None
    cut_id: UUID | None
    cuts: int
    off_at: datetime | None
    restore_id: UUID | None
    restores: int
    restoring_since: datetime | None
    alarmed_at: datetime | None
    closed_at: datetime | None
    changed_at: datetime

    @property
    def ruled(self) -> Case:
        """The same as its rules see it."""
        return Case(
            self.state,
            self.opened_on,
            self.notified_at,
            self.second_notice_at,
            self.confirmed_at,
            self.cuts,
            self.restores,
            self.restoring_since,
            self.alarmed_at is not None,
        )


@dataclass(frozen=True, slots=True)
class SupplyStep:
    """Something that happened in a case."""

    id: int
    case_id: int
    at: datetime
    step: str
    reason: str
    detail: str
    command_id: UUID | None
    made_by: int | None
