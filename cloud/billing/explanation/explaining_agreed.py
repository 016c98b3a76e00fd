"""What the lines of a rent, a package or a one-off charge follow from, in numbers and in sentences."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import pairwise
from typing import Any

from cloud.billing.agreements.rents import UNITS, AreaStep, RentStep, Unit
from cloud.billing.concessions.contained import contained_kept
from cloud.billing.records import Bill, Charge
from cloud.kit.i18n import gettext as _
from cloud.kit.i18n import show_date, show_money, show_plain
from cloud.kit.periods import Period
from cloud.tariffs.rating.explain import ContainedTax


@dataclass(frozen=True, slots=True)
class AgreedExplained:
    """One charge that goes by no tariff. `unit`: what an amount of `steps` is for (month, quarter, half_year, year).

    `steps` and `areas` (m², where amounts are for a square metre) are those that hold in the charge; both are empty for
    a one-off charge.
    """

    charge_id: int
    unit: Unit | None
    steps: tuple[RentStep, ...]
    areas: tuple[AreaStep, ...]
    contained_taxes: tuple[ContainedTax, ...]


def explain_agreed(bill: Bill) -> tuple[AgreedExplained, ...]:
    """Explains the charges of a bill that go by no tariff, in their order, by what the bill keeps of them."""
    kept = {(one["agreement"], one["period"]): one for one in bill.inputs.get("charges", ())}
    found = ((charge, kept.get((charge.agreement_id, str(charge.period)))) for charge in bill.charges)
    return tuple(
        _explained(charge, inputs, bill.summary.currency)
        for charge, inputs in found
        if inputs is not None and charge.tariff_version_id is None
    )


def _explained(charge: Charge, inputs: Mapping[str, Any], currency: str) -> AgreedExplained:
    rent = inputs.get("rent") or {}
    steps = [(date.fromisoformat(one["from_day"]), Decimal(one["amount"])) for one in rent.get("steps", ())]
    areas = [(date.fromisoformat(one["from_day"]), Decimal(one["area"])) for one in rent.get("areas", ())]
    return AgreedExplained(
        charge_id=charge.id,
        unit=UNITS.get(rent.get("per_months", 0)),
        steps=tuple(RentStep(*one) for one in _in_force(steps, charge.period)),
        areas=tuple(AreaStep(*one) for one in _in_force(areas, charge.period)) if rent.get("per_area") else (),
        contained_taxes=contained_kept(inputs.get("contained_taxes", ()), charge, currency),
    )


def _in_force(steps: list[tuple[date, Decimal]], period: Period) -> Iterator[tuple[date, Decimal]]:
    """Those that hold on some day of the period, in order."""
    for (day, value), (end, _value) in pairwise([*steps, (date.max, Decimal(0))]):
        if day < period.end and period.start < end:
            yield day, value


def agreed_sentences(one: AgreedExplained, currency: str) -> list[str]:
    """What a person needs to work the charge out again."""
    return list(_sentences(one, currency))


def _sentences(one: AgreedExplained, currency: str) -> Iterator[str]:
    per = {
        "month": _("%(amount)s a month from %(day)s on"),
        "quarter": _("%(amount)s a quarter from %(day)s on"),
        "half_year": _("%(amount)s a half-year from %(day)s on"),
        "year": _("%(amount)s a year from %(day)s on"),
    }
    for step in one.steps:
        amount = show_money(step.amount, currency)
        if one.areas:
            amount = _("%(amount)s for 1 m²") % {"amount": amount}
        yield per[one.unit or "month"] % {"amount": amount, "day": show_date(step.from_day)}
    for area in one.areas:
        if area.from_day == date.min:
            yield _("Billed area %(area)s m²") % {"area": show_plain(area.area)}
        else:
            told = {"area": show_plain(area.area), "day": show_date(area.from_day)}
            yield _("Billed area %(area)s m² from %(day)s on") % told
    if one.steps:
        yield _("A part of a month counts by the days of that month; instalments add up to the whole exactly")
