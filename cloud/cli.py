"""`gatemeter`: one command for every part. Loads only the part that is asked for, so that any extra alone suffices."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, NoReturn

import typer

from gateway.contract import __version__

_OURS = frozenset({"gateway", "cloud", "simulators"})
BAD_INPUT = 2


@dataclass(frozen=True, slots=True)
class Part:
    """One word after `gatemeter`: where it lives (`module:variable`) and which extra it needs."""

    name: str
    place: str
    extra: str
    help: str
    single: bool = False
    """The word is itself the command, not a group of commands."""


PARTS = (
    Part("demo", "simulators.demo.cli:app", "demo", "Run the whole system on this machine.", single=True),
    Part("doctor", "cloud.commands.doctor:app", "cloud", "Look for what keeps the service from running.", single=True),
    Part("gateway", "gateway.cli:app", "gateway", "The edge process: polls meters, runs barriers."),
    Part("devices", "gateway.cli:devices_app", "gateway", "Device templates."),
    Part("simulate", "simulators.cli:app", "demo", "Simulated field devices."),
    Part("web", "cloud.commands.processes:web_app", "cloud", "The web process: pages and REST API."),
    Part("worker", "cloud.commands.processes:worker_app", "cloud", "The worker: scheduled and queued jobs."),
    Part("ingest", "cloud.ingest.commands:app", "cloud", "Takes readings and passages in."),
    Part("db", "cloud.commands.db:app", "cloud", "The database: schema and logins."),
    Part("keys", "cloud.commands.keys:app", "cloud", "Keys that seal personal data and sign commands."),
    Part("projects", "cloud.estate.commands:app", "cloud", "Projects."),
    Part("estate", "cloud.estate.calendar_commands:app", "cloud", "Calendars of projects."),
    Part("gateways", "cloud.devices.commands:app", "cloud", "What gateways are to run."),
    Part("readings", "cloud.metering.commands:app", "cloud", "Readings: import and export files of them."),
    Part("usage", "cloud.metering.commands:usage_app", "cloud", "Usage: export it, prove it, see what holds it up."),
    Part("users", "cloud.identity.commands:app", "cloud", "Users."),
    Part("tariffs", "cloud.tariffs.commands:app", "cloud", "Tariff files: check them, rate usage by them."),
    Part("billing", "cloud.billing.commands:app", "cloud", "Billing: vouchers for accounting software."),
    Part("notices", "cloud.notices.commands:app", "cloud", "E-mail to people: try whether it goes out."),
    Part("parking", "cloud.parking.fees.commands:app", "cloud", "Parking rules: check them, price a stay."),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point. Exit code 2 for wrong usage or settings and for a missing extra."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    asked = next((part for part in PARTS if given[:1] == [part.name]), None)
    try:
        root = _root(asked)
        root(args=given, prog_name="gatemeter")
    except ModuleNotFoundError as error:
        if asked is None or error.name is None or error.name.split(".")[0] in _OURS:
            raise
        _missing_extra(asked, error.name)


def _missing_extra(part: Part, module: str) -> NoReturn:
    message = f"gatemeter {part.name} needs {module}: pip install 'gatemeter[{part.extra}]'"
    typer.echo(message, err=True)
    raise SystemExit(BAD_INPUT)


def _root(asked: Part | None) -> typer.Typer:
    """The command tree; only the part that is asked for is real, of the others just the help is known."""
    root = typer.Typer(
        name="gatemeter",
        help="From meter to bill, from barrier to fee.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    root.callback()(_options)
    for part in PARTS:
        if part is asked:
            module, _, variable = part.place.partition(":")
            app = getattr(import_module(module), variable)
            root.add_typer(app, name=None if part.single else part.name)
        else:
            root.command(part.name, help=part.help)(_unloaded)
    return root


def _unloaded() -> None:
    """Stands for a part in the overview."""


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gatemeter {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_version)
    ] = False,
) -> None:
    """From meter to bill, from barrier to fee."""


if __name__ == "__main__":
    main()
