"""`gatemeter parking`: check a fee rule, price a stay by it in any circumstances, print its schema."""

import json
from pathlib import Path
from typing import Annotated, NoReturn
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer
from rich.console import Console
from rich.table import Table

from cloud.kit.errors import InvalidInput
from cloud.kit.yaml_files import load_yaml
from cloud.parking.fees.models import ParkingRule, rule_schema
from cloud.parking.fees.pricing import Fee, FeeStep, price_stay
from cloud.parking.fees.steps import step_as_json
from cloud.parking.fees.typed import TypedCircumstances, read_circumstances, read_stay
from cloud.parking.fees.warnings import warnings

app = typer.Typer(help="Parking fee rules: check them, price stays by them.", no_args_is_help=True)

BAD_INPUT = 2
_STEP_NAMES = {
    "free": "free of charge",
    "covered": "covered by a permit",
    "first-block": "first block",
    "units": "units begun",
    "cap-24-hours": "cap of 24 hours",
    "cap-calendar-day": "cap of the day",
    "cap-window": "cap of the window",
    "cap-escalating": "cap since the entry",
    "charging-credit": "credit for charging",
    "coupon-hours": "coupon: hours",
    "coupon-percentage": "coupon: percentage",
    "coupon-money": "coupon: money",
    "coupon-free": "coupon: free stay",
}

File = Annotated[Path, typer.Argument(help="Fee rule (YAML).", show_default=False)]


@app.command()
def check(file: File) -> None:
    """Checks a fee rule; every problem names its line and key.

    What is allowed but seldom meant, such as a cap below the first block, is a warning and no failure.

    Exit codes: 0 valid, 2 not valid or not readable.
    """
    rule = _load(file)
    classes = ", ".join(rule.classes) or "none"
    typer.echo(f"{file}: valid: {rule.name}; classes with a schedule of their own: {classes}")
    for warned in warnings(rule):
        typer.echo(f"{file}: warning: {warned}", err=True)


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
    covered: Annotated[
        list[str] | None, typer.Option(help="FROM/UNTIL covered by a permit; may be repeated.", show_default=False)
    ] = None,
    quota_used: Annotated[
        int, typer.Option(min=0, help="Minutes of the day's free quota that earlier stays of the plate took.")
    ] = 0,
    coupon: Annotated[
        list[str] | None,
        typer.Option(help="hours=2, percentage=20, money=5.00 or free; may be repeated.", show_default=False),
    ] = None,
    day: Annotated[
        list[str] | None,
        typer.Option(help="DATE=work|rest|holiday|critical, unlike its weekday; may be repeated.", show_default=False),
    ] = None,
    calendar: Annotated[
        str, typer.Option(help="Name of a calendar that ships, such as cn-2026.", show_default=False)
    ] = "",
    charged_kwh: Annotated[str, typer.Option(help="kWh that the vehicle was charged.")] = "0",
    charged_minutes: Annotated[int, typer.Option(min=0, help="Minutes that it was charged.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Prices one stay and explains the amount step by step.

    Examples:

    gatemeter parking price mall.yaml --entry 2026-05-01T08:00 --exit 2026-05-01T13:00 --class new-energy

    gatemeter parking price mall.yaml --entry 2026-05-01T08:00 --exit 2026-05-02T20:00
    --covered 2026-05-01T08:00/2026-05-02T00:00 --coupon hours=2 --coupon percentage=20

    gatemeter parking price street.yaml --entry 2026-10-01T08:00 --exit 2026-10-01T13:00 --calendar cn-2026 --json

    Exit codes: 0 priced, 2 a file or an option that cannot be used.
    """
    rule = _load(file)
    zone = _zone(time_zone)
    typed = TypedCircumstances(
        covered=tuple(covered or ()),
        quota_used=quota_used,
        coupons=tuple(coupon or ()),
        days=tuple(day or ()),
        calendar=calendar,
        kwh=charged_kwh,
        charged_minutes=charged_minutes,
    )
    try:
        entered_at, left_at = read_stay(entry, leave, zone)
        given = read_circumstances(typed, zone)
    except InvalidInput as error:
        _refuse(error)
    fee = price_stay(rule, entered_at, left_at, vehicle_class, zone, given)
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


def _table(fee: Fee, zone: ZoneInfo) -> Table:
    table = Table("what", "from", "to", "units", "price", "amount", show_footer=True)
    table.columns[-2].footer, table.columns[-1].footer = fee.currency, str(fee.amount)
    for step in fee.steps:
        begin, end = (f"{instant.astimezone(zone):%Y-%m-%d %H:%M:%S}" for instant in (step.start, step.end))
        table.add_row(_STEP_NAMES[step.kind], begin, end, _units(step), str(step.price), str(step.amount))
    for column in table.columns[-3:]:
        column.justify = "right"
    return table


def _units(step: FeeStep) -> str:
    if step.units:
        return f"{step.units} × {step.unit_minutes} min"
    return f"{step.unit_minutes} min" if step.unit_minutes else ""


def _refuse(error: InvalidInput) -> NoReturn:
    typer.echo(error.detail, err=True)
    raise typer.Exit(BAD_INPUT) from error
