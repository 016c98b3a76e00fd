"""`gatemeter demo`: sets everything up, runs it, and ends it again."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


@app.command("demo")
def demo(
    folder: Annotated[Path, typer.Option(help="Where the demo keeps its data, passwords and logs.")] = Path(
        ".gatemeter/demo"
    ),
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port of the web pages on 127.0.0.1.")] = 8080,
    seed: Annotated[int, typer.Option(help="Same seed, same estate and same curves.")] = 1,
    history_months: Annotated[
        int, typer.Option(min=2, max=20, help="Closed months of history to generate on the first start.")
    ] = 13,
    floors: Annotated[
        int, typer.Option(min=1, max=10, help="Floors of each of the three buildings, four flats on each.")
    ] = 10,
    live: Annotated[bool, typer.Option(help="Keep running with live meters and barriers.")] = True,
) -> None:
    """Run the whole system on an embedded database and broker; Ctrl-C ends every process, a second start goes on."""
    import asyncio

    from simulators.demo.options import DemoError, DemoOptions
    from simulators.demo.supervisor import run_demo

    options = DemoOptions(folder.resolve(), port, seed, history_months, floors, live)
    try:
        asyncio.run(run_demo(options))
    except DemoError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
