"""`gatemeter simulate meters`: runs the meters of a site file until it is told to stop."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Simulated field devices.", no_args_is_help=True)


@app.command("meters")
def meters(
    site: Annotated[Path, typer.Option(help="Site file; meters listen where its lines are.")],
    seed: Annotated[int, typer.Option(help="Same seed, same curves.")] = 1,
    served_log: Annotated[Path | None, typer.Option(help="Appends every served register as a JSON line.")] = None,
    time_zone: Annotated[str, typer.Option(help="Zone of the daily curves.")] = "Asia/Shanghai",
    advance: Annotated[bool, typer.Option(help="Every answer moves the cumulative registers.")] = False,
    fault: Annotated[list[str] | None, typer.Option(help="NAME=RATE per request, such as silent=0.01.")] = None,
) -> None:
    """Serves every Modbus TCP line of SITE with meters built from the device templates."""
    import asyncio

    from simulators.modbus.serve import Unusable, serve_site

    try:
        asyncio.run(serve_site(site, seed, served_log, time_zone, advance, fault or []))
    except Unusable as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
