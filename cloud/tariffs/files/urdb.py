"""Rates of the OpenEI utility rate database (URDB, JSON) as tariffs; what a tariff cannot say is told by name.

Format: https://openei.org/services/doc/rest/util_rates (versions 3 to 8); where it is silent, what NREL makes of it in
SAM and REopt counts (docs/tariffs.md names the places). Energy prices are `rate` + `adj` of a period and tier; the
upper bound `max` of a tier counts from the start of the month, in `unit` (kWh where it is not said); schedules are
12 months × 24 hours of period numbers, for week-days and for the week-end. Pure.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from itertools import pairwise
from typing import Any, Final

from cloud.kit import i18n
from cloud.kit.errors import InvalidInput
from cloud.kit.i18n import marked as _
from cloud.tariffs.files.checking import Document

Rate = Mapping[str, Any]
Schedule = list[list[int]]

_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_LAST_DAYS: Final = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_MOST_PERIODS: Final = 8
_SMALLEST: Final = Decimal("0.00000001")
_PER: Final = {"$/month": "month", "$/day": "day", None: "month", "": "month"}
_TAKEN: Final = frozenset(
    {
        "energyratestructure", "energyweekdayschedule", "energyweekendschedule", "demandratestructure",
        "demandweekdayschedule", "demandweekendschedule", "demandrateunit", "flatdemandstructure",
        "flatdemandmonths", "flatdemandunit", "fixedchargefirstmeter", "fixedchargeunits", "fixedmonthlycharge",
        "mincharge", "minchargeunits", "minmonthlycharge",
    }
)  # fmt: skip
_TELLS: Final = frozenset(
    {
        "label", "utility", "name", "uri", "approved", "startdate", "enddate", "sector", "description", "source",
        "sourceparent", "servicetype", "voltagecategory", "voltageminimum", "voltagemaximum", "phasewiring", "eiaid",
        "revisions", "is_default", "country", "supersedes", "latest_update", "energycomments", "demandcomments",
        "basicinformationcomments", "fixedchargecomments", "peakkwcapacitymin", "peakkwcapacitymax",
        "peakkwcapacityhistory", "peakkwhusagemin", "peakkwhusagemax", "peakkwhusagehistory", "zipcode", "demandunits",
    }
)  # fmt: skip
"""Keys that describe a rate or whom it is for (`demandunits` is that of `peakkwcapacitymin`) and change no amount."""


@dataclass(frozen=True, slots=True)
class Imported:
    """A tariff that was read from elsewhere, its name, and in words what of it is not in the tariff."""

    document: Document
    name: str
    left_out: tuple[str, ...]


def read_urdb(text: str) -> Any:
    """The JSON of a file with exact numbers. Raises InvalidInput."""
    try:
        return json.loads(text, parse_float=Decimal)
    except (json.JSONDecodeError, RecursionError) as error:
        raise InvalidInput("bad-file", f"not JSON: {error}", field="file") from error


def import_urdb(raw: Any, currency: str = "USD") -> Imported:
    """The tariff of a rate: the object itself, or an answer of the service with one item.

    Raises InvalidInput, naming the field, when the energy charges cannot be said as a tariff.
    """
    return _Import(_one_rate(raw), currency).run()


def _one_rate(raw: Any) -> Rate:
    items = raw.get("items", [raw]) if isinstance(raw, dict) else raw
    if not isinstance(items, list) or len(items) != 1 or not isinstance(items[0], dict):
        raise InvalidInput("urdb-one-rate", "expected one rate of the URDB", field="items")
    rate: Rate = items[0]
    return rate


class _Import:
    def __init__(self, rate: Rate, currency: str) -> None:
        self._rate = rate
        self._left_out: list[str] = []
        self._document: Document = {"currency": currency, "service": "electricity"}
        self._components: list[Document] = []

    def run(self) -> Imported:
        rate = self._rate
        source = " ".join(str(rate[key]) for key in ("utility", "name", "uri") if rate.get(key))
        self._document["source"] = source[:1000]
        if rate.get("energyratestructure"):
            self._energy()
        self._demand()
        self._fixed()
        self._minimum()
        for key in sorted(set(rate) - _TAKEN - _TELLS):
            if rate[key] not in (None, "", 0, False, [], {}):
                self._tell(_("%(name)s is not taken over"), key)
        if not self._components:
            raise InvalidInput("urdb-empty", "the rate has no charge that a tariff can say", field="items")
        self._document["components"] = self._components
        return Imported(self._document, str(rate.get("name") or "")[:200], tuple(dict.fromkeys(self._left_out)))

    def _tell(self, message: str, name: str, **values: object) -> None:
        self._left_out.append(i18n.gettext(message) % {"name": name, **values})

    def _price(self, tier: Any, place: str) -> str:
        if not isinstance(tier, dict):
            raise _bad(place, "a tier with a rate")
        price = _number(tier.get("rate"), f"{place}.rate") + _number(tier.get("adj"), f"{place}.adj")
        if price < 0:
            raise _bad(place, f"rate + adj of 0 or more, found {price}")
        rounded = price.quantize(_SMALLEST, ROUND_HALF_UP)
        if rounded != price:
            self._tell(_("%(name)s is rounded to 8 decimals"), place)
        return format(rounded.normalize(), "f")

    def _energy(self) -> None:
        structure = _list(self._rate["energyratestructure"], "energyratestructure")
        weekday, weekend = (_schedule(self._rate, f"energy{day}schedule", len(structure)) for day in _DAYS)
        bounds = self._bounds(structure, {n for row in weekday + weekend for n in row})
        prices = {
            number: [
                self._price(tier, f"energyratestructure[{number}][{n}]")
                for n, tier in enumerate(_list(structure[number], f"energyratestructure[{number}]"))
            ]
            for number in sorted({n for row in weekday + weekend for n in row})
        }
        self._document["unit"] = "kWh"
        if bounds:
            self._document["tiers"] = {"bounds": bounds, "window": {"kind": "month"}}
        self._components.append(self._by_time(weekday, weekend, prices, tiered=bool(bounds)))

    def _bounds(self, structure: Sequence[Any], used: set[int]) -> list[str]:
        """The bounds of all periods in use, which must be the same: tiers go over all periods."""
        found: list[str] | None = None
        for number in sorted(used):
            place = f"energyratestructure[{number}]"
            tiers = _list(structure[number], place)
            bounds = [self._bound(tier, f"{place}[{n}]") for n, tier in enumerate(tiers[:-1])]
            if tiers and isinstance(tiers[-1], dict) and tiers[-1].get("max") is not None:
                self._tell(_("%(name)s: the last tier has no upper bound here"), f"{place}[{len(tiers) - 1}].max")
            if found is not None and bounds != found:
                raise _bad(place, "the same tiers in every period")
            found = bounds
        return found or []

    def _bound(self, tier: Any, place: str) -> str:
        if not isinstance(tier, dict) or tier.get("max") is None:
            raise _bad(f"{place}.max", "an upper bound")
        if str(tier.get("unit") or "kWh").lower() != "kwh":
            raise _bad(f"{place}.unit", f"kWh by the month, found {tier['unit']}")
        return format(_number(tier["max"], f"{place}.max").normalize(), "f")

    def _by_time(self, weekday: Schedule, weekend: Schedule, prices: dict[int, list[str]], tiered: bool) -> Document:
        runs = _runs(weekday, weekend)
        names = {run: _season_name(run) for run in runs}
        if len(runs) > 1:
            self._document["seasons"] = [
                {
                    "code": names[run],
                    "first": f"{run[0] + 1:02d}-01",
                    "last": f"{run[-1] + 1:02d}-{_LAST_DAYS[run[-1]]}",
                }
                for run in runs
            ]
        for tier in (t for row in self._rate["energyratestructure"] for t in row):
            if isinstance(tier, dict) and tier.get("sell"):
                self._tell(_("%(name)s is not taken over"), "energyratestructure.sell")
        energy: Document = {"kind": "energy", "code": "energy"}
        by_run = {run: set(weekday[run[0]]) | set(weekend[run[0]]) for run in runs}
        if all(len(used) == 1 for used in by_run.values()):
            tables = {run: {"all": prices[next(iter(used))]} for run, used in by_run.items()}
        else:
            tables = {run: {_code(number): row for number, row in prices.items()} for run in runs}
            self._periods(runs, names, weekday, weekend, sorted(prices))
            if tiered:
                self._tell(_("%(name)s: how periods share the tiers is not said; in proportion is assumed"), "tiers")
        if len(runs) > 1:
            return energy | {"by_season": {names[run]: table for run, table in tables.items()}}
        return energy | {"prices": tables[runs[0]]}

    def _periods(
        self,
        runs: Sequence[tuple[int, ...]],
        names: Mapping[tuple[int, ...], str],
        weekday: Schedule,
        weekend: Schedule,
        used: list[int],
    ) -> None:
        if len(used) > _MOST_PERIODS:
            raise _bad("energyratestructure", f"at most {_MOST_PERIODS} periods in use, found {len(used)}")
        schedule = []
        for run in runs:
            seasons = {"seasons": [names[run]]} if len(runs) > 1 else {}
            work, rest = weekday[run[0]], weekend[run[0]]
            if work == rest:
                schedule.append({**seasons, "hours": _hours(work)})
            else:
                schedule.append({**seasons, "days": ["work", "critical"], "hours": _hours(work)})
                schedule.append({**seasons, "days": ["rest", "holiday"], "hours": _hours(rest)})
                self._tell(_("%(name)s: public holidays go by the week-end"), "energyweekendschedule")
        codes = [_code(number) for number in used]
        self._document["periods"] = {
            "codes": codes, "allocation": {"method": "proportional"}, "schedule": schedule
        }  # fmt: skip

    def _demand(self) -> None:
        rate = self._rate
        if rate.get("flatdemandstructure"):
            self._one_demand("flatdemandstructure", self._months(), rate.get("flatdemandunit"))
        if rate.get("demandratestructure"):
            periods = len(_list(rate["demandratestructure"], "demandratestructure"))
            names = [f"demand{day}schedule" for day in _DAYS]
            used: set[int] = set()
            # A schedule that is missing says nothing of its days: then no period holds on all of them.
            if all(rate.get(name) for name in names):
                used = {number for name in names for row in _schedule(rate, name, periods) for number in row}
            self._one_demand("demandratestructure", used, rate.get("demandrateunit"))

    def _months(self) -> set[int]:
        """The periods of the flat demand charge in the months of the year; without 12 of them it holds in none."""
        months = self._rate.get("flatdemandmonths")
        if not isinstance(months, list) or len(months) != 12 or not all(type(number) is int for number in months):
            return set()
        return set(months)

    def _one_demand(self, name: str, used: set[int], unit: Any) -> None:
        """A charge for the highest load of the month, all year and at all hours; another is told."""
        number = next(iter(used)) if len(used) == 1 else -1
        periods = _list(self._rate[name], name)
        tiers = periods[number] if 0 <= number < len(periods) else None
        if not isinstance(tiers, list) or len(tiers) != 1 or unit not in (None, "", "kW"):
            self._tell(_("%(name)s: loads by month, hour, tier or other unit than kW are not taken over"), name)
            return
        if isinstance(tiers[0], dict) and tiers[0].get("max") is not None:
            self._tell(_("%(name)s: the last tier has no upper bound here"), f"{name}[{number}][0].max")
        price = self._price(tiers[0], f"{name}[{number}][0]")
        if price != "0":
            code = "load" if name == "flatdemandstructure" else "load-by-hour"
            self._components.append({"kind": "demand", "code": code, "price": price})

    def _fixed(self) -> None:
        found = self._per("fixedchargefirstmeter", "fixedchargeunits", "fixedmonthlycharge")
        if found is not None:
            self._components.append({"kind": "fixed", "code": "fixed", "per": found[1], "price": found[0]})

    def _minimum(self) -> None:
        found = self._per("mincharge", "minchargeunits", "minmonthlycharge")
        if found is not None:
            self._document["minimum"] = {"amount": found[0], "per": found[1]}

    def _per(self, name: str, units: str, earlier: str) -> tuple[str, str] | None:
        """An amount and what it is per; None where there is none, or where it is per something else, which is told."""
        rate = self._rate
        amount = _number(rate.get(name) or rate.get(earlier), name)
        if not amount:
            return None
        per = _PER.get(rate.get(units)) if rate.get(name) else "month"
        if per is None or amount < 0:
            self._tell(_("%(name)s %(found)s is not taken over"), name, found=rate.get(units))
            return None
        if rate.get(name) and not rate.get(units):
            self._tell(_("%(name)s: it is not said per what; by the month is assumed"), name)
        return format(amount.normalize(), "f"), per


_DAYS: Final = ("weekday", "weekend")


def _bad(place: str, expected: str) -> InvalidInput:
    return InvalidInput("urdb", f"{place}: expected {expected}", field=place)


def _list(value: Any, place: str) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise _bad(place, "a list")
    return value


def _number(value: Any, place: str) -> Decimal:
    if value is None:
        return Decimal(0)
    try:
        number = Decimal(str(value)) if not isinstance(value, bool) else None
    except InvalidOperation:
        number = None
    if number is None or not number.is_finite() or abs(number) >= 10**10:
        raise _bad(place, f"a number, found {value!r}")
    return number


def _schedule(rate: Rate, name: str, periods: int) -> Schedule:
    found: Any = rate.get(name)
    if found is None and periods == 1:
        return [[0] * 24 for _ in range(12)]
    fits = (
        isinstance(found, list) and len(found) == 12 and all(isinstance(row, list) and len(row) == 24 for row in found)
    )
    if not fits or not all(type(n) is int and 0 <= n < periods for row in found for n in row):
        raise _bad(name, f"12 months of 24 periods from 0 to {periods - 1}")
    schedule: Schedule = found
    return schedule


def _runs(weekday: Schedule, weekend: Schedule) -> list[tuple[int, ...]]:
    """Neighbouring months that are alike, December and January being neighbours; one run: the whole year."""
    patterns = [(weekday[month], weekend[month]) for month in range(12)]
    runs: list[list[int]] = [[0]]
    for month, following in pairwise(range(12)):
        if patterns[month] == patterns[following]:
            runs[-1].append(following)
        else:
            runs.append([following])
    if len(runs) > 1 and patterns[11] == patterns[0]:
        runs[0] = runs.pop() + runs[0]
    return [tuple(run) for run in runs]


def _season_name(run: Sequence[int]) -> str:
    return _MONTHS[run[0]] if len(run) == 1 else f"{_MONTHS[run[0]]}-{_MONTHS[run[-1]]}"


def _code(number: int) -> str:
    return f"period-{number}"


def _hours(row: Sequence[int]) -> dict[str, list[str]]:
    """The hours of a day by period."""
    found: dict[str, list[str]] = {}
    start = 0
    for hour in range(1, 25):
        if hour == 24 or row[hour] != row[start]:
            found.setdefault(_code(row[start]), []).append(f"{start:02d}:00-{hour:02d}:00")
            start = hour
    return found
