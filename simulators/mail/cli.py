"""`gatemeter simulate mail`: a mail server that keeps what it takes, until it is told to stop."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from simulators.mail.server import MailServer

app = typer.Typer(help="A mail server.", no_args_is_help=True)


@app.command("mail")
def mail(
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port of this machine; 0: any.")] = 2525,
    keep: Annotated[Path | None, typer.Option(help="Directory that every message is written to (.eml).")] = None,
    slow_s: Annotated[float, typer.Option(min=0, help="How long slow@… waits for its answer.")] = 30,
) -> None:
    """Takes mail for everybody and delivers none.

    Addresses are treated by their beginning: refuses@…, busy@…, greylists@…, drops@…, drops-early@…,
    refuses-content@…, slow@…; numbers may follow (busy-3@…).

    Example: gatemeter simulate mail --port 2525 --keep /tmp/mail
    """
    import asyncio

    from simulators.mail.server import MailServer

    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
    asyncio.run(_serve(MailServer(port=port, keep=keep, slow_s=slow_s)))


async def _serve(server: "MailServer") -> None:
    import asyncio
    import signal

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await server.start()
    typer.echo(f"takes mail on {server.host}:{server.port}")
    await stop.wait()
    await server.stop()
