"""`gatemeter gateway run`."""

from pathlib import Path
from typing import Annotated

import typer

from gateway.commands.options import Templates


def run(
    site: Annotated[Path, typer.Option(help="Site file.")],
    templates: Templates = None,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Polls meters, runs barriers and delivers to the cloud until SIGTERM or SIGINT.

    Example: gatemeter gateway run --site /etc/gatemeter/site.yaml
    """
    import asyncio

    from gateway.console import exit_code, serve
    from gateway.errors import GatewayError
    from gateway.logs import configure_logging
    from gateway.templates.library import Library

    configure_logging(log_level)
    try:
        asyncio.run(serve(site, Library(templates)))
    except (GatewayError, OSError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(exit_code(error)) from error
