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
    turnaround_ms: Annotated[float, typer.Option(min=0, help="What a meter on a bus takes to begin its answer.")] = 20,
    pty: Annotated[bool, typer.Option(help="Makes a pseudo-terminal at the path of every serial port.")] = False,
    recorded: Annotated[
        list[str] | None,
        typer.Option(help="DEVICE=FILE#METER: replays a meter of a CSV file of half-hourly kWh, beginning now."),
    ] = None,
    fault: Annotated[list[str] | None, typer.Option(help="NAME=RATE per request, such as silent=0.01.")] = None,
) -> None:
    """Serves every line of SITE with meters built from the device templates."""
    import asyncio

    from simulators.modbus.fleet import FleetOptions
    from simulators.modbus.serve import Unusable, rates_of, recordings_of, serve_site, zone_of

    try:
        options = FleetOptions(
            seed,
            zone_of(time_zone),
            advance,
            rates_of(fault or []),
            turnaround_s=turnaround_ms / 1000,
            ptys=pty,
            recordings=recordings_of(recorded or [], zone_of(time_zone)),
        )
        asyncio.run(serve_site(site, options, served_log))
    except Unusable as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
