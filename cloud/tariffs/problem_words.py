"""The sentences of what can be wrong with a tariff, by code; values in %(…)s are filled in after translation."""

from collections.abc import Mapping
from typing import Final

from cloud.kit.i18n import marked as _

WORDS: Final[Mapping[str, str]] = {
    # Numbers.
    "price": _('a price of 0 or more with at most 8 decimals, in quotes, such as "0.4883", found %(found)s'),
    "quantity": _("a quantity, 0 or more, a whole number or a decimal in quotes, found %(found)s"),
    "percent": _('a percentage with at most 4 decimals, in quotes, such as "13" or "-0.75", found %(found)s'),
    "factor": _('a factor of 0 or more with at most 4 decimals, in quotes, such as "0.9", found %(found)s'),
    "factor-zero": _("a factor above 0"),
    "day": _("a day MM-DD that exists in every year, found %(found)s"),
    # Components.
    "price-tables": _("either prices or, in a tariff with seasons, by_season"),
    "single-tables": _("either single or single_by_season"),
    "power-factor": _('a power factor from "0.00" to "1.00" in hundredths, found %(found)s'),
    "power-factor-steps": _('steps from the highest power factor down to "0.00", each once'),
    "tax-negative": _("a tax of 0 percent or more, found %(found)s"),
    "component-twice": _("each code once, found %(found)s twice"),
    "order": _("first what has a price, then percentages, then taxes"),
    "of-unknown": _("components before it, found %(found)s"),
    # Price tables.
    "prices-without-seasons": _("prices, since there are no seasons"),
    "prices-by-season": _("by_season, since there are seasons"),
    "single-by-season": _("single_by_season, since there are seasons"),
    "single-all": _("prices without tiers for every energy component or for none"),
    "seasons-named": _("prices for each of %(wanted)s and no other"),
    "periods-named": _("a row for each of %(wanted)s and no other"),
    "tier-prices": _("%(wanted)s prices, one per tier, found %(found)s"),
    "flat": _("only in volume mode, one amount per tier (%(wanted)s)"),
    # Tiers and households.
    "bounds": _("upper bounds above 0, each higher than the one before"),
    "decimals": _("at most %(places)s decimals of %(unit)s, found %(found)s"),
    "volume-window": _("volume tiers look at one bill: their window must be bill"),
    "volume-seasons": _("volume tiers look at one bill as a whole, which seasons would divide"),
    "package-size": _("the size of a package in package mode, and only there"),
    "package-zero": _("more than 0 units, found %(found)s"),
    "package-periods": _("packages are counted without periods"),
    "package-factor": _("packages are counted as they are used, without a factor"),
    "free": _("more than 0 units, and only in graduated mode"),
    "bill-partial": _("a window of one bill is never partial"),
    "month-partial": _("a month is divided by_day or given in full"),
    "household-tiers": _("tiers counted from 1, rising, each once"),
    "household-bounds": _("tiers with a bound, 1 to %(highest)s"),
    "household-window": _("per %(per)s does not fit the tier window %(window)s"),
    # Seasons and hours.
    "season-twice": _("each code once"),
    "season-overlap": _("%(day)s is both %(one)s and %(other)s"),
    "season-gap": _("%(day)s is in none; together they make the whole year"),
    "hours-overlap": _("%(clock)s is both %(one)s and %(other)s"),
    "hours-gap": _("nothing is said of %(clock)s; together the ranges make 00:00-24:00"),
    "hours-range": _('a range such as "08:00-11:30", found %(found)s'),
    "hours-quarter": _("ranges begin and end on a quarter of an hour, found %(found)s"),
    "hours-end": _("a range ends after it begins and by 24:00; divide it at midnight, found %(found)s"),
    "schedule-season": _("there is no season %(found)s"),
    "schedule-period": _("the periods are %(wanted)s, found %(found)s"),
    "no-hours": _("%(days)s days have no hours"),
    "no-hours-of": _("%(days)s days of %(season)s have no hours"),
    "many-hours": _("%(days)s days have %(count)s sets of hours"),
    "many-hours-of": _("%(days)s days of %(season)s have %(count)s sets of hours"),
    "period-codes": _("different names, none of them 'all'"),
    "order-codes": _("each of %(wanted)s once"),
    "order-method": _("only with the method priority"),
    "chronological": _("chronological needs a schedule, since registers do not tell the time"),
    # The whole.
    "unit": _("needed with energy components, and only then"),
    "not-energy": _("tiers, household, seasons and periods need an energy component"),
    "cumulative": _("cumulative rounding needs the level bill"),
    "cap-minimum": _("not below the minimum, and per the same time"),
    # What is wrong with any document.
    "missing": _("this is missing"),
    "unknown-key": _("this is not known here"),
    "choice": _("one of %(expected)s, found %(found)s"),
    "form": _("not in the form that is expected, found %(found)s"),
    "too-few": _("at least %(least)s, found %(count)s"),
    "too-many": _("at most %(most)s, found %(count)s"),
    "whole-number": _("a whole number within its bounds, found %(found)s"),
    "text": _("a text, found %(found)s"),
    "structure": _("another kind of value, found %(found)s"),
    "kind": _("a kind of component that is known, found %(found)s"),
}
