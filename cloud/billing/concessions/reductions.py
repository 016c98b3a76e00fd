"""Concessions: reductions of a charge as lines of their own, in a fixed order, each computed on what remains."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Literal

from cloud.kit.money import from_minor, share_out, to_minor
from cloud.kit.periods import Period, months

Rule = Literal["vacancy", "long_lease", "subsidy", "promotion", "other"]
Kind = Literal["percent", "factor", "amount"]

PACKAGE = "package"
"""What a package contains is taken off before every concession."""

POSITIONS: dict[Rule, int] = {"vacancy": 10, "long_lease": 20, "subsidy": 30, "promotion": 40, "other": 50}
"""Where in the order a concession stands by its rule; concessions of one position follow each other by id."""


@dataclass(frozen=True, slots=True)
class Concession:
    """What is taken off, of what, and when. By the rule `package`, `id` is that of the agreement of the package.

    `value`: of kind `percent` what is taken off (20 for 20 %), of `factor` the share still owed (0.70), of `amount` an
    amount for each calendar month. `services` and `components`: what it applies to; none named: all of them.
    """

    id: int
    rule: Rule | Literal["package"]
    name: str
    kind: Kind
    value: Decimal
    valid: Period
    position: int
    services: tuple[str, ...] = ()
    components: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reduction:
    """One concession on one charge: of `base`, which is what remained, `amount` (negative) is taken off.

    `share` is what is taken off of a whole period, None for an amount; it holds for `days` of `of_days`. `parts` says
    what each component bears of it (negative).
    """

    concession: Concession
    base: Decimal
    share: Decimal | None
    days: int
    of_days: int
    amount: Decimal
    parts: tuple[tuple[str, Decimal], ...] = ()


def reductions(
    parts: Sequence[tuple[str, Decimal]], service: str, period: Period, concessions: Sequence[Concession], digits: int
) -> tuple[Reduction, ...]:
    """What `concessions` take off a charge of `service` over `period`, in their order.

    `parts`: component and amount of every line, with `digits` decimals. Each concession looks at what the ones before
    it left of its components, and takes base × share off, rounded half away from zero, as its line is printed; where it
    holds for some days of the period only, its share is taken by days. A reduction is divided among components in
    proportion to what remains of them. Neither its components nor the charge fall below zero. Reductions of 0 are left
    out.
    """
    remaining: dict[str, int] = {}
    for component, amount in parts:
        remaining[component] = remaining.get(component, 0) + to_minor(amount, digits)
    found = []
    for concession in sorted(concessions, key=lambda one: (one.position, one.id)):
        there = period.overlap(concession.valid)
        if there is None or not applies(concession, service, period):
            continue
        basis = [code for code in remaining if not concession.components or code in concession.components]
        base = max(0, min(sum(remaining[code] for code in basis), sum(remaining.values())))
        off = min(base, _off(concession, base, there, period, digits))
        if off == 0:
            continue
        shares = share_out(off, [max(remaining[code], 0) for code in basis])
        for code, part in zip(basis, shares, strict=True):
            remaining[code] -= part
        owed, taken = from_minor(base, digits), from_minor(-off, digits)
        borne = tuple((code, from_minor(-part, digits)) for code, part in zip(basis, shares, strict=True) if part)
        found.append(Reduction(concession, owed, _share(concession), there.days, period.days, taken, borne))
    return tuple(found)


def applies(concession: Concession, service: str, period: Period) -> bool:
    """Whether a concession may take something off a charge of `service` over `period`."""
    return period.overlap(concession.valid) is not None and (not concession.services or service in concession.services)


def _share(concession: Concession) -> Decimal | None:
    """What it takes off of a whole period, as a share."""
    if concession.kind == "amount":
        return None
    return 1 - concession.value if concession.kind == "factor" else concession.value.scaleb(-2)


def _off(concession: Concession, base: int, there: Period, period: Period, digits: int) -> int:
    share = _share(concession)
    if share is None:
        return _of_months(to_minor(concession.value, digits), there)
    taken, of = share.as_integer_ratio()
    whole = of * period.days
    return (2 * base * taken * there.days + whole) // (2 * whole)


def _of_months(amount: int, there: Period) -> int:
    """So much a calendar month, by days: however a month is cut into periods, they add up to the amount."""
    found = 0
    for month in months(there.start, there.end):
        inside = there.overlap(month)
        assert inside is not None
        found += _by_days(amount, inside.end, month) - _by_days(amount, inside.start, month)
    return found


def _by_days(amount: int, until: date, month: Period) -> int:
    return (2 * amount * (until - month.start).days + month.days) // (2 * month.days)
