"""`gatemeter parking`: check a fee rule, price a stay by it, print its schema."""

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated, NoReturn
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer
from rich.console import Console
from rich.table import Table

from cloud.kit.errors import InvalidInput
from cloud.kit.yaml_files import load_yaml
from cloud.parking.fees.models import ParkingRule, rule_schema
from cloud.parking.fees.pricing import Fee, price_stay
from cloud.parking.fees.steps import step_as_json

app = typer.Typer(help="Parking fee rules: check them, price stays by them.", no_args_is_help=True)

BAD_INPUT = 2
_STEP_NAMES = {
    "free": "free of charge",
    "first-block": "first block",
    "units": "units begun",
    "cap-24-hours": "cap of 24 hours",
    "cap-calendar-day": "cap of the day",
}

File = Annotated[Path, typer.Argument(help="Fee rule (YAML).", show_default=False)]


@app.command()
def check(file: File) -> None:
    """Checks a fee rule; every problem names its line and key."""
    rule = _load(file)
    classes = ", ".join(rule.classes) or "none"
    typer.echo(f"{file}: valid: {rule.name}; classes with a schedule of their own: {classes}")


@app.command()
def schema() -> None:
    """Prints the JSON Schema of fee rules."""
    typer.echo(rule_schema(), nl=False)


@app.command()
def price(
    file: File,
    entry: Annotated[str, typer.Option(help="When the vehicle came, such as 2026-05-01T08:00.", show_default=False)],
    leave: Annotated[str, typer.Option("--exit", help="When it leaves.", show_default=False)],
    vehicle_class: Annotated[str, typer.Option("--class", help="Class of the vehicle.")] = "small",
    time_zone: Annotated[str, typer.Option(help="Zone of the lot, for times without an offset too.")] = "Asia/Shanghai",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Prices one stay and explains the amount step by step."""
    rule = _load(file)
    zone = _zone(time_zone)
    entered_at, left_at = _instant("--entry", entry, zone), _instant("--exit", leave, zone)
    if left_at < entered_at:
        _refuse(InvalidInput("bad-exit", f"--exit: {leave} lies before the entry"))
    fee = price_stay(rule, entered_at, left_at, vehicle_class, zone)
    if as_json:
        steps = [step_as_json(step, zone) for step in fee.steps]
        typer.echo(json.dumps({"amount": str(fee.amount), "currency": fee.currency, "steps": steps}))
    else:
        Console().print(_table(fee, zone))


def _load(file: Path) -> ParkingRule:
    try:
        return load_yaml(file, ParkingRule)
    except InvalidInput as error:
        _refuse(error)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        _refuse(InvalidInput("bad-time-zone", f"--time-zone: expected a zone such as Asia/Shanghai, got {name!r}"))


def _instant(option: str, text: str, zone: ZoneInfo) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        _refuse(InvalidInput("bad-time", f"{option}: expected a time such as 2026-05-01T08:00, got {text!r}"))
    return found if found.tzinfo else found.replace(tzinfo=zone)


def _table(fee: Fee, zone: ZoneInfo) -> Table:
    table = Table("what", "from", "to", "units", "price", "amount", show_footer=True)
    table.columns[-2].footer, table.columns[-1].footer = fee.currency, str(fee.amount)
    for step in fee.steps:
        units = f"{step.units} × {step.unit_minutes} min" if step.units else ""
        begin, end = (f"{instant.astimezone(zone):%Y-%m-%d %H:%M:%S}" for instant in (step.start, step.end))
        table.add_row(_STEP_NAMES[step.kind], begin, end, units, str(step.price), str(step.amount))
    for column in table.columns[-3:]:
        column.justify = "right"
    return table


def _refuse(error: InvalidInput) -> NoReturn:
    typer.echo(error.detail, err=True)
    raise typer.Exit(BAD_INPUT) from error
