"""A minimum or cap of a whole bill that is charged in pieces: who shares it, and how much it is for all of them: pure.

The rule, and why, is in docs/decisions/0015.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any, Literal

from cloud.kit.money import minor_digits, round_half_up
from cloud.kit.periods import Period
from cloud.tariffs.model.tariff import Limit, TariffContent

Stretch = tuple[int, Period]
"""Agreement and days of a piece."""
_NONE = Decimal(0)


@dataclass(frozen=True, slots=True)
class Term:
    """What a tariff version says of a limit, `amount`, for so many `days` of the bill."""

    amount: Decimal
    days: int


@dataclass(frozen=True, slots=True)
class SharedLimit:
    """A minimum or cap of several pieces of a bill: `amount` is the sum of amount × days of `terms` ÷ `days`.

    `days` are all that the bill charges of the supply. `last`: no later piece of the bill bears on this limit.
    """

    amount: Decimal
    terms: tuple[Term, ...]
    days: int
    last: bool


@dataclass(frozen=True, slots=True)
class BillLimits:
    """The limits that a piece shares with the others of `pieces`, all in the order of time.

    None where its tariff version names no such limit of a bill.
    """

    pieces: tuple[Stretch, ...]
    minimum: SharedLimit | None
    cap: SharedLimit | None


@dataclass(frozen=True, slots=True)
class Cost:
    """What a piece costs before its minimum, cap and taxes, and what it is charged to reach the minimum."""

    unlimited: Decimal
    lacking: Decimal


@dataclass(frozen=True, slots=True)
class SoFar:
    """What the pieces before one cost before taxes that share its minimum, and those that share its cap.

    `minimum` is without any limit, `cap` with what the minimum added: what was above the cap is not taken off.
    """

    minimum: Decimal = _NONE
    cap: Decimal = _NONE

    def and_then(self, limits: BillLimits, cost: Cost) -> "SoFar":
        """With the next piece."""
        return SoFar(
            self.minimum + (_NONE if limits.minimum is None else cost.unlimited),
            self.cap + (_NONE if limits.cap is None else cost.unlimited + cost.lacking),
        )


@dataclass(frozen=True, slots=True)
class LimitColumns:
    """Shared limits of a batch as the engine takes them, see `Usages`; all empty where no account shares any."""

    minimum: Sequence[int] = ()
    cap: Sequence[int] = ()
    minimum_before: Sequence[int] = ()
    cap_before: Sequence[int] = ()
    last: Sequence[int] = ()


def shared(parts: Sequence[tuple[TariffContent, Period]], pieces: Sequence[Stretch]) -> list[BillLimits | None]:
    """The limits that each of several parts of a bill shares, in the order of time; None for those without any.

    `pieces`: the charges that the parts belong to. What versions say counts by the days that they hold, and bears on
    what these days cost together.
    """
    found = {name: _limits(name, parts) for name in ("minimum", "cap")}
    return [
        None if minimum is None and cap is None else BillLimits(tuple(pieces), minimum, cap)
        for minimum, cap in zip(found["minimum"], found["cap"], strict=True)
    ]


def _limits(name: Literal["minimum", "cap"], parts: Sequence[tuple[TariffContent, Period]]) -> list[SharedLimit | None]:
    days = sum(period.days for _, period in parts)
    mine = [(n, limit, period.days) for n, (content, period) in enumerate(parts) if (limit := of_bill(content, name))]
    terms: list[Term] = []
    for _, limit, held in mine:
        if terms and terms[-1].amount == limit.amount:
            terms[-1] = Term(limit.amount, terms[-1].days + held)
        else:
            terms.append(Term(limit.amount, held))
    found: list[SharedLimit | None] = [None] * len(parts)
    for n, _, _ in mine:
        amount = sum((term.amount * term.days for term in terms), _NONE) / days
        digits = minor_digits(parts[n][0].currency)
        found[n] = SharedLimit(round_half_up(amount, digits), tuple(terms), days, n == mine[-1][0])
    return found


def of_bill(content: TariffContent, name: Literal["minimum", "cap"]) -> Limit | None:
    """The minimum or cap of a tariff where it is one of a whole bill."""
    limit = content.minimum if name == "minimum" else content.cap
    return limit if limit is not None and limit.per == "bill" else None


def columns(content: TariffContent, accounts: Sequence[tuple[BillLimits | None, SoFar]]) -> LimitColumns:
    """The batch as the engine takes it: who shares no limit has that of the tariff to himself."""
    if all(limits is None for limits, _ in accounts):
        return LimitColumns()
    digits = minor_digits(content.currency)

    def minor(amount: Decimal) -> int:
        return int(amount.scaleb(digits))

    def amounts(name: Literal["minimum", "cap"]) -> list[int]:
        own = of_bill(content, name)
        if own is None:
            return []
        limits = [None if one is None else one.minimum if name == "minimum" else one.cap for one, _ in accounts]
        return [minor(own.amount if one is None else one.amount) for one in limits]

    return LimitColumns(
        minimum=amounts("minimum"),
        cap=amounts("cap"),
        minimum_before=[minor(so_far.minimum) for _, so_far in accounts],
        cap_before=[minor(so_far.cap) for _, so_far in accounts],
        last=[int(one is None or one.minimum is None or one.minimum.last) for one, _ in accounts],
    )


def limit_inputs(limits: BillLimits, so_far: SoFar) -> dict[str, object]:
    """What a bill keeps of the limits that a charge shares."""
    found: dict[str, object] = {"charges": [[agreement, str(period)] for agreement, period in limits.pieces]}
    for name, limit, before in (("minimum", limits.minimum, so_far.minimum), ("cap", limits.cap, so_far.cap)):
        if limit is not None:
            found[name] = {**asdict(limit), "before": before}
    return found


def shares_kept(inputs: Mapping[str, Any]) -> tuple[tuple[int, str], ...]:
    """Agreement and period of the charges that share their limits with the one whose inputs these are, in order."""
    kept = inputs.get("bill_limits")
    return () if kept is None else tuple((agreement, period) for agreement, period in kept["charges"])
