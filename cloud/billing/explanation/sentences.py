"""How a charge comes to its amount, said in sentences of the reader's language: for pages, PDF and e-mail alike."""

from collections.abc import Iterator
from decimal import Decimal
from zoneinfo import ZoneInfo

from cloud.billing import names
from cloud.billing.explanation.explaining import (
    Basis,
    ByRegister,
    Estimated,
    Explained,
    Household,
    Metering,
    RegisterUsed,
    Tiers,
    TierStep,
)
from cloud.billing.explanation.shared_limits import cap_sentences, minimum_sentences
from cloud.billing.records import BillLine, Charge
from cloud.kit.i18n import gettext as _
from cloud.kit.i18n import show_date, show_money, show_period, show_plain, show_register, show_time
from cloud.tariffs.model.tariff import Limit
from cloud.tariffs.rating.explain import ContainedTax

_SHARES = ("power_factor", "surcharge", "tax", "discount")
"""Kinds of lines that are a percentage of an amount of money."""


def line_title(line: BillLine) -> str:
    """What a line is for: component, tier, season, hours."""
    parts = [str(line.detail.get("description") or line.detail.get("name") or names.line_name(line))]
    days, of_days = line.detail.get("days"), line.detail.get("of_days")
    if days != of_days:
        parts.append(_("%(days)s of %(of_days)s days") % {"days": days, "of_days": of_days})
    if line.tier is not None:
        parts.append(_("Tier %(number)s") % {"number": line.tier} if line.tier else _("Free quantity"))
    if line.season:
        parts.append(names.season_name(line.season))
    if line.time_period:
        parts.append(names.time_period_name(line.time_period))
    if "estimated" in line.detail:
        parts.append(_estimated_name(line.detail["estimated"]["kind"]))
    if "of_estimate" in line.detail:
        parts.append(_("trues up an estimate"))
    return " · ".join(parts)


def line_quantity(line: BillLine) -> str:
    """Quantity and unit; empty where a line has only an amount."""
    return "" if line.quantity is None else f"{show_plain(line.quantity)} {names.unit_name(line.unit)}".strip()


def line_price(line: BillLine) -> str:
    """The price that the quantity is multiplied with; a percentage where it is a share of an amount."""
    if line.price is None:
        return ""
    return f"× {show_plain(line.price * 100)} %" if line.kind in _SHARES else f"× {show_plain(line.price)}"


def readings_sentence(charge: Charge, zone: ZoneInfo) -> str:
    """Both boundary readings with their times, or what is there of them; empty where nothing was metered."""
    if charge.estimate is not None:
        return " · ".join(_estimated_ends(charge, zone))
    if (
        charge.channel is None
        or charge.opening_at is None
        or charge.opening_value is None
        or charge.closing_at is None
        or charge.closing_value is None
    ):
        return ""
    return _("Reading %(closing)s (%(closing_at)s) − %(opening)s (%(opening_at)s)") % {
        "closing": show_register(charge.closing_value, charge.channel),
        "closing_at": show_time(charge.closing_at, zone),
        "opening": show_register(charge.opening_value, charge.channel),
        "opening_at": show_time(charge.opening_at, zone),
    }


def _estimated_ends(charge: Charge, zone: ZoneInfo) -> Iterator[str]:
    """How long no reading came, and the readings that there are at the ends."""
    yield _("Estimated for %(days)s days") % {"days": charge.estimated_days}
    for said, at, value in (
        (_("Reading at the beginning %(value)s (%(at)s)"), charge.opening_at, charge.opening_value),
        (_("Reading at the end %(value)s (%(at)s)"), charge.closing_at, charge.closing_value),
    ):
        if charge.channel is not None and at is not None and value is not None:
            yield said % {"value": show_register(value, charge.channel), "at": show_time(at, zone)}


def _estimated_name(kind: str) -> str:
    return _("estimated") if kind == "open" else _("shared out between two readings")


def tax_sentence(tax: ContainedTax, currency: str) -> str:
    """A tax that the prices contain: told, not added."""
    return _("Contains %(name)s %(percent)s %%: %(amount)s of %(base)s") % {
        "name": names.component_name(tax.component),
        "percent": show_plain(tax.share * 100),
        "amount": show_money(tax.amount, currency),
        "base": show_money(tax.base, currency),
    }


def sentences(explained: Explained, currency: str) -> list[str]:
    """Everything a person needs to work the charge out again, in the order in which he would."""
    return list(_sentences(explained, currency))


def _sentences(explained: Explained, currency: str) -> Iterator[str]:
    unit = names.unit_name(explained.unit)
    yield _("Tariff version %(version)s, in force since %(day)s") % {
        "version": explained.tariff_version,
        "day": show_date(explained.tariff_since),
    }
    if explained.metering is not None:
        yield from _metered(explained.metering, unit)
    if explained.estimated is not None:
        yield from _estimated(explained.estimated, unit)
    if explained.tiers is not None:
        yield from _tiers(explained.tiers, unit)
    if explained.household is not None:
        yield _household(explained.household, unit)
    if explained.by_register is not None:
        yield from _by_register(explained.by_register, unit)
    if explained.hours:
        yield _hours(explained, unit)
    for component, factor in explained.factors:
        yield _("%(component)s is charged for %(percent)s %% of the usage") % {
            "component": names.component_name(component),
            "percent": show_plain(factor * 100),
        }
    yield from _basis(explained.basis)
    yield from _limits(explained, currency)
    yield _rounding(explained)


def _metered(metering: Metering, unit: str) -> Iterator[str]:
    yield _metering(metering, unit)
    if metering.beside:
        yield _("With %(beside)s %(unit)s that the total register leaves out: %(quantity)s %(unit)s") % {
            "beside": show_plain(metering.beside),
            "quantity": show_plain(metering.quantity + metering.beside),
            "unit": unit,
        }


def _metering(metering: Metering, unit: str) -> str:
    values = {
        "advance": show_plain(metering.closing - metering.opening),
        "multiplier": show_plain(metering.multiplier),
        "quantity": show_plain(metering.quantity),
        "unit": unit,
    }
    if not metering.plain:
        return _("%(quantity)s %(unit)s: the register ran over or was exchanged in this time") % values
    if metering.multiplier == 1:
        return _("Difference of the readings: %(quantity)s %(unit)s") % values
    return _("Difference %(advance)s × multiplier %(multiplier)s = %(quantity)s %(unit)s") % values


def _estimated(one: Estimated, unit: str) -> Iterator[str]:
    """What is estimated of the usage, why, by which rung of the ladder, and what becomes of it."""
    values = {
        "measured": show_plain(one.measured),
        "estimated": show_plain(one.estimated),
        "quantity": show_plain(one.quantity),
        "days": one.days,
        "unit": unit,
    }
    yield _("%(measured)s measured + %(estimated)s estimated for %(days)s days: %(quantity)s %(unit)s charged") % values
    why = {
        "missing-reading": _("Estimated because the meter has no reading at the start or end of the period"),
        "incomplete-usage": _("Estimated because readings within the period are missing"),
        "open-exceptions": _("Estimated because findings about the readings are open"),
    }
    how = {
        2: _("by the share of time between two readings"),
        3: _("evenly over time"),
        4: _("after the last days of the same kind"),
        5: _("after the average day"),
        6: _("after the typical day of such a meter"),
    }
    yield ", ".join(part for part in (why[one.reason], how.get(one.method, "")) if part)
    if one.kind == "open":
        yield _("Corrected on a later bill once the meter is read")
    else:
        yield _("The meter was read before and after: what it counted in between is shared out over the days")


def _tiers(tiers: Tiers, unit: str) -> Iterator[str]:
    yield from (_tier(step, unit) for step in tiers.steps)
    if tiers.content.mode == "volume" and tiers.steps:
        yield _("The whole usage costs the price of the tier that it reaches")
    elif tiers.steps:
        yield _("Tiers fill over %(window)s: %(before)s %(unit)s used before, %(after)s %(unit)s with this bill") % {
            "window": show_period(tiers.window),
            "before": show_plain(tiers.before),
            "after": show_plain(tiers.after),
            "unit": unit,
        }
    if tiers.content.package is not None:
        yield _("Charged in packages of %(size)s %(unit)s; one that is begun counts whole, once") % {
            "size": show_plain(tiers.content.package),
            "unit": unit,
        }
    covered, whole = tiers.share
    if covered != whole:
        share = {"covered": covered, "whole": whole}
        by_month = tiers.content.window.partial == "by_month"
        yield (
            _("The tiers count for %(covered)s of %(whole)s months of the window")
            if by_month
            else _("The tiers count for %(covered)s of %(whole)s days of the window")
        ) % share


def _tier(step: TierStep, unit: str) -> str:
    values = {
        "number": step.number,
        "upper": "" if step.upper is None else show_plain(step.upper),
        "above": show_plain(step.above),
        "before": show_plain(step.before),
        "here": show_plain(step.here),
        "unit": unit,
    }
    if step.number == 0:
        return _("Free up to %(upper)s %(unit)s: %(before)s before, %(here)s now") % values
    if step.upper is None:
        return _("Tier %(number)s above %(above)s %(unit)s: %(before)s before, %(here)s now") % values
    return _("Tier %(number)s up to %(upper)s %(unit)s: %(before)s before, %(here)s now") % values


def _household(household: Household, unit: str) -> str:
    rule = household.rule
    values = {
        "persons": household.persons,
        "first": rule.from_persons,
        "tiers": ", ".join(map(str, rule.tiers)),
        "by": show_plain(rule.raise_bounds_by),
        "unit": unit,
        "times": show_plain(household.times),
    }
    if not household.persons:
        return _("No household is filed; from %(first)s persons on the tiers are wider") % values
    if not household.times:
        return _("Filed for %(persons)s persons; from %(first)s on the tiers are wider") % values
    if rule.per == "month":
        return _("Filed for %(persons)s persons: tier %(tiers)s wider by %(times)s × %(by)s %(unit)s a month") % values
    return _("Filed for %(persons)s persons: tier %(tiers)s wider by %(times)s × %(by)s %(unit)s a year") % values


def _by_register(by_register: ByRegister, unit: str) -> Iterator[str]:
    yield from (_register(one, unit) for one in by_register.registers)
    for code, terms in by_register.terms:
        if len(terms) > 1 or terms[0] != code:
            yield _("%(period)s is %(registers)s") % {
                "period": names.time_period_name(code),
                "registers": " ".join(_term(term, first=not place) for place, term in enumerate(terms)),
            }
    if by_register.remainder_in is None:
        return
    values = {
        "remainder": show_plain(abs(by_register.remainder)),
        "unit": unit,
        "period": names.time_period_name(by_register.remainder_in),
    }
    if by_register.remainder > 0:
        yield _("%(remainder)s %(unit)s that only the total register counted are charged as %(period)s") % values
    else:
        yield _("%(remainder)s %(unit)s that the total register did not count are taken off %(period)s") % values


def _register(one: RegisterUsed, unit: str) -> str:
    values = {
        "register": names.register_name(one.name),
        "closing": show_plain(one.closing),
        "opening": show_plain(one.opening),
        "multiplier": show_plain(one.multiplier),
        "quantity": show_plain(one.quantity),
        "unit": unit,
    }
    if not one.plain:
        return (
            _("%(register)s: %(opening)s before, %(closing)s now, ran over or exchanged: %(quantity)s %(unit)s")
            % values
        )
    if one.multiplier == 1:
        return _("%(register)s: %(closing)s − %(opening)s = %(quantity)s %(unit)s") % values
    return _("%(register)s: (%(closing)s − %(opening)s) × multiplier %(multiplier)s = %(quantity)s %(unit)s") % values


def _term(term: str, *, first: bool) -> str:
    name = names.register_name(term.removeprefix("-"))
    if term.startswith("-"):
        return f"− {name}"
    return name if first else f"+ {name}"


def _hours(explained: Explained, unit: str) -> str:
    used = ", ".join(f"{names.time_period_name(one.code)} {show_plain(one.quantity)} {unit}" for one in explained.hours)
    how = {
        "proportional": _("each with its share of every tier"),
        "priority": _("filling the tiers one after the other"),
        "chronological": _("filling the tiers in the order of time"),
    }
    parts = [part for part in (names.season_name(explained.season) if explained.season else "", used) if part]
    if explained.allocation is not None and explained.tiers is not None and explained.tiers.steps:
        parts.append(how[explained.allocation])
    return " · ".join(parts)


def _basis(basis: Basis) -> Iterator[str]:
    if basis.area is not None:
        yield _("Billed area %(area)s m²") % {"area": show_plain(basis.area)}
    if basis.demand is not None:
        yield _("Highest load %(load)s kW") % {"load": show_plain(basis.demand)}
    if basis.capacity is not None:
        yield _("Contracted capacity %(capacity)s kVA") % {"capacity": show_plain(basis.capacity)}
    if basis.power_factor is not None:
        yield _("Power factor %(factor)s") % {"factor": show_plain(basis.power_factor)}


def _limits(explained: Explained, currency: str) -> Iterator[str]:
    if explained.minimum is not None:
        yield _("At least %(amount)s %(per)s, before taxes") % _limit(explained.minimum, currency)
    if explained.shared_minimum is not None:
        yield from minimum_sentences(explained.shared_minimum, currency)
    if explained.cap is not None:
        yield _("At most %(amount)s %(per)s, before taxes") % _limit(explained.cap, currency)
    if explained.shared_cap is not None:
        yield from cap_sentences(explained.shared_cap, currency)


def _limit(limit: Limit, currency: str) -> dict[str, str]:
    per = {"bill": _("a bill"), "day": _("a day"), "month": _("a month")}
    return {"amount": show_money(limit.amount, currency), "per": per[limit.per]}


def _rounding(explained: Explained) -> str:
    rounding = explained.rounding
    if rounding.level == "line":
        return _("Each line is rounded half up; nothing else is rounded")
    if rounding.level == "component":
        return _("Lines of one component are added exactly, then rounded half up; “Rounding” is the difference")
    if not rounding.cumulative:
        return _("All lines are added exactly, then rounded half up; “Rounding” is the difference")
    carried = "" if not explained.carry else " " + _carried(explained.carry)
    return _("Rounded so that the bills of the tier window add up to its exact amount") + carried


def _carried(carry: Decimal) -> str:
    return _("(%(carry)s carried over from earlier bills)") % {"carry": show_plain(carry)}
