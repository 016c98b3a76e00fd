"""`gatemeter ingest …`: run a worker; replay, discard, correct what could not be taken."""

import asyncio
import signal
from typing import TYPE_CHECKING, Annotated

import typer

from cloud.ingest import inbox_commands

if TYPE_CHECKING:
    from cloud.ingest.settings import Broker, IngestSettings
    from cloud.settings import CloudSettings

app = typer.Typer(help="From the broker into the database.", no_args_is_help=True)

inbox_commands.add_to(app)


@app.command()
def run(
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes that share the messages.")] = 1,
) -> None:
    """Take messages from the broker until SIGTERM or SIGINT."""
    from prometheus_client import start_http_server

    from cloud.ingest.settings import Broker, load_ingest_settings
    from cloud.logs import configure_logging
    from cloud.settings import SettingsError, load_settings

    try:
        settings, ingest = load_settings(), load_ingest_settings()
        broker = Broker.of(settings)
    except SettingsError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    configure_logging(settings.log_level, settings.log_format)
    if workers > 1:
        asyncio.run(_run_fleet(workers, ingest))
        return
    if ingest.metrics_port is not None:
        start_http_server(ingest.metrics_port, "127.0.0.1")
    asyncio.run(_run(settings, broker, ingest))


async def _run(settings: "CloudSettings", broker: "Broker", ingest: "IngestSettings") -> None:
    from cloud.ingest.process import Worker
    from cloud.kit.db import Database
    from cloud.kit.garbage import keep_what_is_loaded
    from cloud.kit.security import Keys

    keep_what_is_loaded()
    stop = _stop_signal()
    async with Database(settings.dsn(), "gatemeter_ingest", max_size=settings.database_pool) as db:
        await Worker(db, broker, ingest, Keys.load(settings.keys_file)).run(stop)


async def _run_fleet(workers: int, ingest: "IngestSettings") -> None:
    from cloud.ingest.fleet import run_fleet

    await run_fleet(workers, ingest, _stop_signal())


def _stop_signal() -> asyncio.Event:
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    return stop
