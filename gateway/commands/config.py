"""`gatemeter gateway check-config`."""

from pathlib import Path
from typing import Annotated

import typer

from gateway.commands.options import BAD_INPUT, AsJson, Templates, print_json


def check_config(
    file: Annotated[Path, typer.Argument(help="Site file.")],
    templates: Templates = None,
    turnaround_ms: Annotated[
        int, typer.Option(min=0, max=5_000, help="What a device takes to begin its answer, for the computed load.")
    ] = 20,
    as_json: AsJson = False,
) -> None:
    """Checks a site file and the templates it uses: exit code 2 when the gateway would refuse to start with it.

    Shows how full each line will be by the cost of its medium, and warns of what this machine lacks: secrets, files,
    serial ports.

    Example: gatemeter gateway check-config /etc/gatemeter/site.yaml
    """
    from gateway.errors import ConfigError
    from gateway.onsite.check import check
    from gateway.settings import load_site
    from gateway.templates.library import Library

    library = Library(templates)
    try:
        site = load_site(file, library)
        checked = check(site, library, turnaround_ms / 1000)
    except ConfigError as error:
        if as_json:
            found = [
                {"file": str(one.file), "line": one.line, "key": one.key, "expected": one.expected}
                for one in error.problems
            ]
            print_json({"ok": False, "problems": found})
        else:
            typer.echo(str(error), err=True)
        raise typer.Exit(BAD_INPUT) from error
    devices = sum(line.devices for line in checked.lines)
    if as_json:
        head = {"ok": True, "gateway": site.gateway, "lines": len(site.lines), "devices": devices}
        print_json({**head, **checked.as_json()})
        return
    typer.echo(f"{file}: fine, gateway {site.gateway}, {len(site.lines)} lines, {devices} devices")
    for line in checked.lines:
        load = f"{line.requests_per_s:9.2f} requests/s  busy {line.utilisation:7.1%}"
        typer.echo(f"  {line.line:28} {line.devices:4} devices {load}  {line.endpoint}")
    for warning in checked.warnings:
        typer.echo(f"warning: {warning}", err=True)
