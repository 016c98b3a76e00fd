"""One account that is typed in, rated by a tariff: what the command and the preview of the editor do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from cloud.kit.errors import InvalidInput
from cloud.tariffs.model.tariff import TariffContent
from cloud.tariffs.rating.columns import Usages
from cloud.tariffs.rating.engine import rate_batch
from cloud.tariffs.rating.explain import ContainedTax, Line, contained_taxes, explain, total
from cloud.tariffs.rating.month_shares import MONTH
from cloud.tariffs.rating.plan import AREA_EXPONENT, LOAD_EXPONENT, MONTH_EXPONENT, Plan, plan

_MOST_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Trial:
    """What is typed in, as text: usage in the unit of the tariff, by period where it has periods."""

    usage: str | None = None
    by_period: Mapping[str, str] = field(default_factory=dict)
    year_to_date: str = "0"
    persons: int = 0
    single: bool = False
    season: str | None = None
    area: str = "0"
    demand: str = "0"
    capacity: str = "0"
    power_factor: str = "1"
    days: int = 30
    months: str = "1"


@dataclass(frozen=True, slots=True)
class Tried:
    """What it costs, line by line."""

    lines: tuple[Line, ...]
    amount: Decimal
    currency: str
    contained: tuple[ContainedTax, ...]


def rate_trial(content: TariffContent, trial: Trial) -> Tried:
    """Rates what was typed in. Raises InvalidInput naming the field."""
    prepared = plan(content, _season(content, trial.season))
    months = _scaled("months", trial.months, MONTH_EXPONENT)
    usages = Usages(
        quantity=_quantities(prepared, trial),
        before=[_scaled("year-to-date", trial.year_to_date, prepared.exponent)],
        steps=[prepared.household_steps(trial.persons)],
        single=[_single(content, trial.single)],
        area=[_scaled("area", trial.area, AREA_EXPONENT)],
        demand=[_scaled("demand", trial.demand, LOAD_EXPONENT)],
        capacity=[_scaled("capacity", trial.capacity, LOAD_EXPONENT)],
        power_factor=[_power_factor(trial.power_factor)],
        days=[trial.days],
        months=[months],
        begun=[-(-months // MONTH) * MONTH],
        sequence=_sequence(content),
    )
    rated = rate_batch(prepared, usages, 1)
    return Tried(explain(rated, 0), total(rated, 0), content.currency, contained_taxes(rated, 0))


def _season(content: TariffContent, season: str | None) -> str | None:
    codes = [one.code for one in content.seasons]
    if season is not None and season not in codes:
        wanted = f"one of {', '.join(codes)}" if codes else "none: this tariff has no seasons"
        raise InvalidInput("bad-season", f"--season: expected {wanted}, got {season!r}", field="season")
    return season


def _single(content: TariffContent, single: bool) -> int:
    if single and not all(part.single_prices(content.season_codes[0]) for part in content.energy):
        raise InvalidInput("no-single-price", "--single: this tariff has no prices without tiers", field="single")
    return int(single)


def _power_factor(text: str) -> int:
    hundredths = _scaled("power-factor", text, 2)
    if hundredths > 100:
        raise InvalidInput("bad-power-factor", f"--power-factor: expected 0 to 1, got {text!r}", field="power-factor")
    return hundredths


def _sequence(content: TariffContent) -> list[int] | None:
    """Where the order of time decides, the periods are taken to follow each other as the tariff names them."""
    if content.periods is None or content.periods.allocation.method != "chronological":
        return None
    return list(range(len(content.periods.codes)))


def _quantities(prepared: Plan, trial: Trial) -> list[list[int]]:
    content, usage, given = prepared.content, trial.usage, trial.by_period
    if not content.energy:
        if usage is not None or given:
            raise InvalidInput("not-metered", f"--usage: {content.service} is not metered", field="usage")
        return []
    if content.periods is None:
        if given or usage is None:
            raise InvalidInput("bad-usage", "--usage: needed, and no --period: this tariff has none", field="usage")
        return [[_scaled("usage", usage, prepared.exponent)]]
    if usage is not None or set(given) != set(content.period_codes):
        wanted = " ".join(f"--period {code}=…" for code in content.period_codes)
        detail = f"--period: this tariff needs {wanted}, each once, and no --usage"
        raise InvalidInput("bad-usage", detail, field="usage")
    return [[_scaled("period", given[code], prepared.exponent)] for code in content.period_codes]


def _scaled(name: str, text: str, exponent: int) -> int:
    whole, _, decimals = text.partition(".")
    digits = whole + decimals
    if not (digits.isascii() and digits.isdigit() and whole) or len(decimals) > exponent or len(whole) > _MOST_DIGITS:
        detail = f"--{name}: expected 0 or more with at most {exponent} decimals, got {text!r}"
        raise InvalidInput("bad-quantity", detail, field=name)
    return int(Decimal(text).scaleb(exponent))
