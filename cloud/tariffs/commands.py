"""`gatemeter tariffs`: check a tariff file, rate usage by it, print its schema."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from cloud.kit.errors import InvalidInput
from cloud.kit.yaml_files import load_yaml
from cloud.tariffs.columns import Usages
from cloud.tariffs.explain import Line, contained_taxes, explain, total
from cloud.tariffs.models import TariffContent
from cloud.tariffs.month_shares import MONTH
from cloud.tariffs.plan import AREA_EXPONENT, LOAD_EXPONENT, MONTH_EXPONENT, Plan, plan
from cloud.tariffs.rating import rate_batch
from cloud.tariffs.schema import tariff_schema

app = typer.Typer(help="Tariff files: check them, rate usage by them.", no_args_is_help=True)

BAD_INPUT = 2

File = Annotated[Path, typer.Argument(help="Tariff file (YAML).", show_default=False)]


@app.command()
def check(file: File) -> None:
    """Checks a tariff file; every problem names its line and key."""
    content = _load(file)
    tiers = len(content.tiers.bounds) + 1
    typer.echo(f"{file}: valid: {content.service}, {len(content.components)} components, {tiers} tiers")


@app.command()
def schema() -> None:
    """Prints the JSON Schema of tariff files."""
    typer.echo(tariff_schema(), nl=False)


@app.command()
def rate(
    file: File,
    usage: Annotated[str | None, typer.Option(help="Usage in the tariff's unit.", show_default=False)] = None,
    period: Annotated[
        list[str] | None, typer.Option(help="Usage of one period, such as peak=200; once each.", show_default=False)
    ] = None,
    year_to_date: Annotated[str, typer.Option(help="Usage of the tier window before this bill.")] = "0",
    persons: Annotated[int, typer.Option(min=0, max=99, help="Size of the household.")] = 0,
    single: Annotated[bool, typer.Option("--single", help="Billed without tiers, as behind a shared meter.")] = False,
    season: Annotated[str | None, typer.Option(help="Season of the prices.", show_default="the first")] = None,
    area: Annotated[str, typer.Option(help="Floor area in square metres.")] = "0",
    demand: Annotated[str, typer.Option(help="Highest load in kW.")] = "0",
    capacity: Annotated[str, typer.Option(help="Contracted capacity in kVA.")] = "0",
    power_factor: Annotated[str, typer.Option(help="Power factor, such as 0.92.")] = "1",
    days: Annotated[int, typer.Option(min=0, help="Days billed.")] = 30,
    months: Annotated[str, typer.Option(help="Calendar months billed, such as 1 or 0.5.")] = "1",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Rates one account and explains the amount line by line."""
    content = _load(file)
    try:
        prepared = plan(content, _season(content, season))
        usages = Usages(
            quantity=_quantities(prepared, usage, period or []),
            before=[_scaled("--year-to-date", year_to_date, prepared.exponent)],
            steps=[prepared.household_steps(persons)],
            single=[_single(content, single)],
            area=[_scaled("--area", area, AREA_EXPONENT)],
            demand=[_scaled("--demand", demand, LOAD_EXPONENT)],
            capacity=[_scaled("--capacity", capacity, LOAD_EXPONENT)],
            power_factor=[_power_factor(power_factor)],
            days=[days],
            months=[_scaled("--months", months, MONTH_EXPONENT)],
            begun=[-(-_scaled("--months", months, MONTH_EXPONENT) // MONTH) * MONTH],
            sequence=_sequence(content),
        )
    except InvalidInput as error:
        _refuse(error)
    rated = rate_batch(prepared, usages, 1)
    lines, amount, currency = explain(rated, 0), total(rated, 0), prepared.content.currency
    taxes = contained_taxes(rated, 0)
    if as_json:
        answer = {
            "amount": str(amount),
            "currency": currency,
            "lines": [_as_json(line) for line in lines],
            "contained_taxes": [{"component": tax.component, "amount": str(tax.amount)} for tax in taxes],
        }
        typer.echo(json.dumps(answer, ensure_ascii=False))
    else:
        Console().print(_table(lines, amount, currency))
        for tax in taxes:
            typer.echo(f"contains {tax.component}: {tax.amount} {currency}")


def _load(file: Path) -> TariffContent:
    try:
        return load_yaml(file, TariffContent)
    except InvalidInput as error:
        _refuse(error)


def _refuse(error: InvalidInput) -> NoReturn:
    typer.echo(error.detail, err=True)
    raise typer.Exit(BAD_INPUT)


def _season(content: TariffContent, season: str | None) -> str | None:
    codes = [one.code for one in content.seasons]
    if season is not None and season not in codes:
        wanted = f"one of {', '.join(codes)}" if codes else "none: this tariff has no seasons"
        raise InvalidInput("bad-season", f"--season: expected {wanted}, got {season!r}")
    return season


def _single(content: TariffContent, single: bool) -> int:
    if single and not all(part.single_prices(content.season_codes[0]) for part in content.energy):
        raise InvalidInput("no-single-price", "--single: this tariff has no prices without tiers")
    return int(single)


def _power_factor(text: str) -> int:
    hundredths = _scaled("--power-factor", text, 2)
    if hundredths > 100:
        raise InvalidInput("bad-power-factor", f"--power-factor: expected 0 to 1, got {text!r}")
    return hundredths


def _sequence(content: TariffContent) -> list[int] | None:
    """Where the order of time decides, the periods are taken to follow each other as the tariff names them."""
    if content.periods is None or content.periods.allocation.method != "chronological":
        return None
    return list(range(len(content.periods.codes)))


def _quantities(prepared: Plan, usage: str | None, periods: list[str]) -> list[list[int]]:
    content = prepared.content
    if not content.energy:
        if usage is not None or periods:
            raise InvalidInput("not-metered", f"--usage: {content.service} is not metered")
        return []
    if content.periods is None:
        if periods or usage is None:
            raise InvalidInput("bad-usage", "--usage: needed, and no --period: this tariff has none")
        return [[_scaled("--usage", usage, prepared.exponent)]]
    given = dict(text.partition("=")[::2] for text in periods)
    if usage is not None or len(given) != len(periods) or set(given) != set(content.period_codes):
        wanted = " ".join(f"--period {code}=…" for code in content.period_codes)
        raise InvalidInput("bad-usage", f"--period: this tariff needs {wanted}, each once, and no --usage")
    return [[_scaled("--period", given[code], prepared.exponent)] for code in content.period_codes]


def _scaled(option: str, text: str, exponent: int) -> int:
    whole, _, decimals = text.partition(".")
    if not (whole + decimals).isascii() or not (whole + decimals).isdigit() or not whole or len(decimals) > exponent:
        raise InvalidInput(
            "bad-quantity", f"{option}: expected 0 or more with at most {exponent} decimals, got {text!r}"
        )
    return int(Decimal(text).scaleb(exponent))


def _text(value: Decimal | None) -> str | None:
    return None if value is None else format(value, "f")


def _as_json(line: Line) -> dict[str, object]:
    return {
        "kind": line.kind,
        "component": line.component,
        "tier": line.tier,
        "period": line.time_period,
        "season": line.season,
        "quantity": _text(line.quantity),
        "unit": line.unit,
        "price": _text(line.price),
        "amount": _text(line.amount),
    }


def _table(lines: tuple[Line, ...], amount: Decimal, currency: str) -> Table:
    table = Table(show_footer=True)
    for heading, footer in (("component", "total"), ("tier", ""), ("period", "")):
        table.add_column(heading, footer)
    for heading, footer in (("quantity", ""), ("price", ""), ("amount", f"{amount} {currency}")):
        table.add_column(heading, footer, justify="right")
    for line in lines:
        quantity = "" if line.quantity is None else f"{line.quantity.normalize():f} {line.unit}"
        price = "" if line.price is None else f"{line.price.normalize():f}"
        table.add_row(line.component, str(line.tier or ""), line.time_period or "", quantity, price, str(line.amount))
    return table
