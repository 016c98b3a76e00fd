"""How a charge met a minimum or cap that it shares with other charges of its bill: in numbers and in sentences."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from cloud.billing.charges.limits import Term, shares_kept
from cloud.kit.i18n import gettext as _
from cloud.kit.i18n import show_money


@dataclass(frozen=True, slots=True)
class SharedLimitTold:
    """One limit of all `charges` (ids, in the order of time) that name one.

    `amount` is the sum of amount × days of `terms` ÷ `days`. `before`: what earlier ones of these charges cost before
    taxes, of a cap with what the minimum added and nothing taken off. `last`: none of them follows.
    """

    amount: Decimal
    terms: tuple[Term, ...]
    days: int
    before: Decimal
    last: bool
    charges: tuple[int, ...]


def shared_limit(
    name: Literal["minimum", "cap"], inputs: Mapping[str, Any], kept: Mapping[tuple[int, str], tuple[int, Any]]
) -> SharedLimitTold | None:
    """The limit that a bill keeps of one of its charges; None where it shares none.

    `kept`: by agreement and period the id and the inputs of every charge of the bill.
    """
    found = inputs.get("bill_limits", {}).get(name)
    if found is None:
        return None
    together = [kept[one] for one in shares_kept(inputs)]
    return SharedLimitTold(
        amount=Decimal(found["amount"]),
        terms=tuple(Term(Decimal(term["amount"]), int(term["days"])) for term in found["terms"]),
        days=int(found["days"]),
        before=Decimal(found["before"]),
        last=bool(found["last"]),
        charges=tuple(charge_id for charge_id, mine in together if name in mine.get("bill_limits", {})),
    )


def minimum_sentences(limit: SharedLimitTold, currency: str) -> Iterator[str]:
    """Where the minimum of the bill comes from, and what is missing to it."""
    yield from _by_days(limit, currency)
    values = {"amount": show_money(limit.amount, currency), "before": show_money(limit.before, currency)}
    if not limit.last:
        yield _("What the parts of this bill lack to %(amount)s together is charged with the last of them") % values
    elif len(limit.charges) > 1:
        yield _("Earlier parts of this bill cost %(before)s, which counts towards the minimum of %(amount)s") % values


def cap_sentences(limit: SharedLimitTold, currency: str) -> Iterator[str]:
    """Where the cap of the bill comes from, and what earlier charges leave of it."""
    yield from _by_days(limit, currency)
    values = {"amount": show_money(limit.amount, currency), "before": show_money(limit.before, currency)}
    if limit.before:
        yield _("Earlier parts of this bill cost %(before)s, which counts towards the cap of %(amount)s") % values
    elif len(limit.charges) > 1:
        yield _("The parts of this bill cost %(amount)s together at most") % values


def _by_days(limit: SharedLimitTold, currency: str) -> Iterator[str]:
    """Only where versions differ, or some days have none."""
    if len(limit.terms) == 1 and limit.terms[0].days == limit.days:
        return
    terms = " + ".join(f"{show_money(term.amount, currency)} × {term.days}/{limit.days}" for term in limit.terms)
    yield _("By the days of the bill: %(terms)s = %(amount)s") % {
        "terms": terms,
        "amount": show_money(limit.amount, currency),
    }
