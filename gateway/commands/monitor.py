"""`gatemeter gateway monitor`."""

from pathlib import Path
from typing import Annotated

import typer

from gateway.commands.options import TROUBLE, AsJson, Templates, refuse


def monitor(
    site: Annotated[
        Path | None, typer.Option(help="Site file of the running gateway; its health_port is used.")
    ] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65_535, help="Health port of the running gateway.")] = None,
    once: Annotated[
        bool, typer.Option("--once", help="Shows the state once; exit code 1 when something hangs.")
    ] = False,
    line: Annotated[str | None, typer.Option(help="Only lines whose name contains this.")] = None,
    device: Annotated[str | None, typer.Option(help="Only devices whose id contains this.")] = None,
    templates: Templates = None,
    as_json: AsJson = False,
) -> None:
    """Shows what a running gateway reads, every second until Ctrl-C: lines, devices, last values, outbox, uplink.

    Without a terminal it shows the state once. With --json: one document a line, a second apart, or one with --once.

    Examples:

      gatemeter gateway monitor --site /etc/gatemeter/site.yaml --device e-1-03

      gatemeter gateway monitor --port 9108 --once --json
    """
    from gateway.errors import ConfigError
    from gateway.onsite.monitor import Chosen, NoGateway, watch
    from gateway.settings import load_site
    from gateway.templates.library import Library

    if (site is None) == (port is None):
        refuse("expected one of --site and --port")
    if site is not None:
        try:
            port = load_site(site, Library(templates)).health_port
        except ConfigError as error:
            refuse(str(error))
    if not port:
        refuse(f"{site} has no health_port: the gateway can then not be looked at; or give its --port")
    try:
        well = watch(port, Chosen(line, device), once=once, as_json=as_json)
    except NoGateway as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(TROUBLE) from error
    if not well:
        raise typer.Exit(TROUBLE)
