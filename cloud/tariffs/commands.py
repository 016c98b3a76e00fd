"""`gatemeter tariffs`: check a tariff file, rate usage by it, print its schema."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from cloud.kit.errors import InvalidInput
from cloud.kit.yaml_files import InvalidFile, parse_yaml_file
from cloud.tariffs.drafts.trial import Trial, rate_trial
from cloud.tariffs.drafts.yaml import to_yaml
from cloud.tariffs.files.checking import check as check_document
from cloud.tariffs.files.schema import tariff_schema
from cloud.tariffs.files.urdb import import_urdb, read_urdb
from cloud.tariffs.model.tariff import TariffContent
from cloud.tariffs.rating.explain import Line

app = typer.Typer(help="Tariff files: check them, rate usage by them.", no_args_is_help=True)

BAD_INPUT = 2

File = Annotated[Path, typer.Argument(help="Tariff file (YAML).", show_default=False)]


@app.command()
def check(file: File) -> None:
    """Checks a tariff file; every problem names its line and key."""
    content = _load(file)
    tiers = len(content.tiers.bounds) + 1
    typer.echo(f"{file}: valid: {content.service}, {len(content.components)} components, {tiers} tiers")


@app.command("import-urdb")
def convert_urdb(
    file: Annotated[Path, typer.Argument(help="One rate of the OpenEI utility rate database (JSON).")],
    out: Annotated[Path, typer.Option(help="Tariff file to write.")],
    currency: Annotated[str, typer.Option(help="Currency of the rate.")] = "USD",
) -> None:
    """Makes a tariff file of a URDB rate; what a tariff cannot say is told on standard error.

    Example: gatemeter tariffs import-urdb rate.json --out tariff.yaml
    """
    try:
        imported = import_urdb(read_urdb(file.read_text("utf-8-sig")), currency)
        content, problems = check_document(imported.document)
        if content is None:
            said = "\n".join(f"{one.where(imported.document)}: {one.sentence}" for one in problems)
            raise InvalidInput("bad-file", said)
        out.write_text(to_yaml(imported.document), "utf-8")
    except InvalidInput as error:
        _refuse(error)
    except (OSError, UnicodeDecodeError) as error:
        _refuse(InvalidInput("bad-file", str(error)))
    for sentence in imported.left_out:
        typer.echo(f"note: {sentence}", err=True)
    typer.echo(f"{out}: {imported.name or file.stem}")


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
    given = dict(text.partition("=")[::2] for text in period or [])
    try:
        if len(given) != len(period or []):
            raise InvalidInput("bad-usage", "--period: each once")
        tried = rate_trial(
            content,
            Trial(
                usage=usage,
                by_period=given,
                year_to_date=year_to_date,
                persons=persons,
                single=single,
                season=season,
                area=area,
                demand=demand,
                capacity=capacity,
                power_factor=power_factor,
                days=days,
                months=months,
            ),
        )
    except InvalidInput as error:
        _refuse(error)
    lines, amount, currency, taxes = tried.lines, tried.amount, tried.currency, tried.contained
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
        read = parse_yaml_file(file)
        content, problems = check_document(read.content)
        if content is None:
            raise InvalidFile([read.problem(one.place, one.sentence) for one in problems])
    except InvalidInput as error:
        _refuse(error)
    return content


def _refuse(error: InvalidInput) -> NoReturn:
    typer.echo(error.detail, err=True)
    raise typer.Exit(BAD_INPUT)


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
