"""When a supply is switched off for a balance that is used up, and on again: one step of a case at a time. Pure.

A case goes warned → notified → due → ordered → off → reconnecting → reconnected; whatever has not been ordered yet is
cancelled when its reason is gone. What speaks against switching off is asked again before every step towards it; what
speaks for the supply (money, protection, a dispute) switches it on from every state in which it may be off.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final, Literal

from cloud.kit.calendars import DayType
from cloud.prepaid.quiet_times import Hours

CaseState = Literal[
    "warned", "notified", "due", "ordered", "off", "reconnecting", "reconnected", "cancelled"
]  # fmt: skip
OPEN: Final[tuple[CaseState, ...]] = ("warned", "notified", "due", "ordered", "off", "reconnecting")
MAYBE_OFF: Final = frozenset[CaseState]({"ordered", "off", "reconnecting"})
"""An order to switch off was given: the supply may be off, now or in a moment."""

Hold = Literal[
    "protected", "disputed", "in-plan", "unverified", "to-be-rated", "no-relay", "quiet-time", "not-confirmed",
    "not-told", "second-notice", "too-early", "cut-failed",
]  # fmt: skip
"""Why a case does not go on for now."""
Ending = Literal["paid", "protected", "disputed", "in-plan", "not-allowed", "not-prepaid", "by-hand"]
"""Why a case ends without a cut, or a supply is given back."""
Move = Literal[
    "cancel", "tell", "become-due", "tell-again", "cut", "note-off", "note-failed", "restore", "note-restored", "alarm",
]  # fmt: skip

NEVER_WHILE: Final[tuple[Ending, ...]] = ("protected", "disputed", "in-plan")
"""Holds that also give a supply back."""

_STALE_AFTER: Final = timedelta(hours=24)
"""A second notice is about an hour soon, not about some day: after this it is given again."""
_CONFIRMED_FOR: Final = timedelta(days=7)
_CUTS: Final = 3
"""Orders to switch off that may fail before a person has to look."""
_SURELY_OVER: Final = timedelta(minutes=1)
"""After the end of an order, for the clocks: no gateway begins it any more."""
_AT_IT: Final = timedelta(minutes=15)
"""So long after its end a gateway that took an order in time may still be at it, or have died over it."""
ALARM_AFTER: Final = timedelta(minutes=5)
_LONGEST_PAUSE: Final = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Rules:
    """What a project allows. The defaults allow nothing.

    `credit`: how far below zero a balance may go; `arrears_days`: how long it must have been there before anything is
    announced; `notice`: from the written notice to the first moment of a cut; `second_notice`: at least so long before
    the cut it is announced once more. `order_for`: how long an order to switch off is valid.
    """

    disconnects: bool = False
    automatic: bool = False
    credit: Decimal = Decimal(0)
    arrears_days: int = 30
    notice: timedelta = timedelta(days=7)
    second_notice: timedelta = timedelta(minutes=30)
    order_for: timedelta = timedelta(minutes=10)
    hours: Hours = field(default_factory=Hours)


@dataclass(frozen=True, slots=True)
class Order:
    """An order to a relay or valve as far as it got; `at` is when it was given, `told_at` its last report."""

    state: str
    at: datetime
    told_at: datetime
    expires_at: datetime

    @property
    def ended(self) -> bool:
        """Whether nothing more is expected of it."""
        return self.state in ("done", "failed", "expired", "uncertain")

    def cannot_come(self, now: datetime) -> bool:
        """Whether no gateway can carry it out any more, or be at it still."""
        return self.last_possible is None or now > self.last_possible

    @property
    def last_possible(self) -> datetime | None:
        """The last moment at which it can have been carried out, for all that is known; None when it never was."""
        if self.state == "failed":
            return None
        if self.state in ("done", "uncertain"):
            return self.told_at
        return self.expires_at + (_AT_IT if self.state in ("delivered", "executing") else _SURELY_OVER)

    def may_be_done(self, now: datetime) -> bool:
        """Whether it was carried out, for all that is known: one that a gateway took and said no more of, too."""
        if self.state in ("delivered", "executing"):
            return self.cannot_come(now)
        return self.state in ("done", "uncertain")


@dataclass(frozen=True, slots=True)
class Case:
    """A case as its rules see it."""

    state: CaseState
    opened_on: date
    notified_at: datetime | None = None
    second_notice_at: datetime | None = None
    confirmed_at: datetime | None = None
    cuts: int = 0
    restores: int = 0
    restoring_since: datetime | None = None
    alarmed: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """What is true now: `below` the credit limit, `prepaid` still, and what speaks against switching off."""

    below: bool
    prepaid: bool = True
    against: tuple[Hold, ...] = ()
    cut: Order | None = None
    restore: Order | None = None
    ended_by_hand: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """The next step, or why there is none; `why` names the ending of a `cancel` or `restore`."""

    move: Move | None = None
    hold: Hold | None = None
    why: Ending | None = None


NOTHING: Final = Decision()


def decide(case: Case, facts: Facts, rules: Rules, local: datetime, calendar: Mapping[date, DayType]) -> Decision:
    """The next step of a case at this local time (aware) of the project, from what the calendar says of its days."""
    if case.state not in OPEN:
        return NOTHING
    if case.state == "reconnecting":
        return _given_back(case, facts, local)
    why = ending(facts, rules)
    if why is not None:
        return Decision("restore" if case.cuts else "cancel", why=why)
    if case.cuts and (case.state in MAYBE_OFF or (facts.cut is not None and facts.cut.may_be_done(local))):
        return _cut(case, facts, local)
    hold = next(iter(facts.against), None)
    if hold is not None:
        return Decision(hold=hold)
    if case.state == "warned":
        early = (local.date() - case.opened_on).days < rules.arrears_days
        return Decision(hold="too-early") if early else Decision("tell", hold="not-told")
    if case.state == "notified":
        assert case.notified_at is not None
        early = local - case.notified_at < rules.notice
        return Decision(hold="too-early") if early else Decision("become-due")
    return _due(case, rules, local, calendar)


def ending(facts: Facts, rules: Rules) -> Ending | None:
    """Why a supply may not be off, now or at all; None: it may."""
    if facts.ended_by_hand:
        return "by-hand"
    if not facts.prepaid:
        return "not-prepaid"
    if not facts.below:
        return "paid"
    if not rules.disconnects:
        return "not-allowed"
    return None


def _due(case: Case, rules: Rules, local: datetime, calendar: Mapping[date, DayType]) -> Decision:
    if case.cuts >= _CUTS:
        return Decision(hold="cut-failed")
    if not rules.automatic and (case.confirmed_at is None or local - case.confirmed_at > _CONFIRMED_FOR):
        return Decision(hold="not-confirmed")
    if not rules.hours.allowed(local, calendar):
        return Decision(hold="quiet-time")
    told = case.second_notice_at
    if told is None or local - told > rules.second_notice + _STALE_AFTER:
        return Decision("tell-again", hold="not-told")
    if local - told < rules.second_notice:
        return Decision(hold="second-notice")
    return Decision("cut")


def _cut(case: Case, facts: Facts, local: datetime) -> Decision:
    """A case whose supply is off or about to be."""
    held = next((hold for hold in NEVER_WHILE if hold in facts.against), None)
    if held is not None:
        return Decision("restore", why=held)
    if case.state == "off":
        return NOTHING
    if facts.cut is not None and facts.cut.may_be_done(local):
        # An order whose answer was lost may have been carried out: whoever pays is switched on in either case.
        return Decision("note-off")
    return Decision("note-failed") if facts.cut is None or facts.cut.cannot_come(local) else NOTHING


def _given_back(case: Case, facts: Facts, now: datetime) -> Decision:
    """The supply is wanted on: until the meter says so, later than any older order can have switched it off."""
    order = facts.restore
    if facts.ended_by_hand and (facts.cut is None or facts.cut.cannot_come(now)):
        # Somebody was there and saw it on, and nothing can switch it off any more.
        return Decision("note-restored", why="by-hand")
    if order is None:
        return Decision("restore")
    if order.state == "done":
        last = None if facts.cut is None else facts.cut.last_possible
        if last is None or order.told_at > last:
            return Decision("note-restored")
        # It was on, and an order that nobody reports of may have cut it since: once that is over it is read back again.
        return Decision("restore") if now > last else NOTHING
    since = case.restoring_since or order.at
    if not case.alarmed and (now - since >= ALARM_AFTER or order.state in ("failed", "uncertain")):
        return Decision("alarm")
    pause = min(timedelta(minutes=2 ** min(case.restores - 1, 6)), _LONGEST_PAUSE)
    if order.ended and now - order.at >= pause:
        return Decision("restore")
    return NOTHING


def order_valid_for(rules: Rules, local: datetime) -> timedelta:
    """How long an order given now may be carried out: not beyond the hours of the day. At least a second."""
    return max(min(rules.order_for, rules.hours.closes_in(local)), timedelta(seconds=1))
