"""`gatemeter web run` and `gatemeter worker run`."""

import asyncio

import typer

from cloud.commands.console import BAD_INPUT, fail
from cloud.kit.garbage import look_rarely
from cloud.kit.security import KeysError
from cloud.logs import configure_logging
from cloud.settings import CloudSettings, SettingsError, load_settings

web_app = typer.Typer(help="The web process: pages and REST API.", no_args_is_help=True)
worker_app = typer.Typer(help="The worker: scheduled and queued jobs.", no_args_is_help=True)


@web_app.callback()
def web() -> None:
    """The web process: pages and REST API."""


@worker_app.callback()
def worker() -> None:
    """The worker: scheduled and queued jobs."""


@web_app.command("run")
def run_web() -> None:
    """Serves pages and REST API until SIGTERM or SIGINT.

    Example: GATEMETER_DATABASE_DSN=… GATEMETER_KEYS_FILE=/etc/gatemeter/keys.json gatemeter web run
    """
    look_rarely()
    from cloud.app import create_app
    from cloud.serving import serve_http

    settings = _settings()
    try:
        application = create_app(settings)
    except KeysError as error:
        fail(str(error))
    serve_http(application, settings.web_host, settings.web_port)


@worker_app.command("run")
def run_worker() -> None:
    """Does queued and scheduled jobs until SIGTERM or SIGINT; any number of workers may run.

    Example: GATEMETER_DATABASE_DSN=… GATEMETER_KEYS_FILE=/etc/gatemeter/keys.json gatemeter worker run
    """
    look_rarely()
    from cloud.worker import serve

    try:
        asyncio.run(serve(_settings()))
    except (KeysError, SettingsError) as error:
        fail(str(error))


def _settings() -> CloudSettings:
    try:
        settings = load_settings()
    except SettingsError as error:
        fail(str(error), BAD_INPUT)
    configure_logging(settings.log_level, settings.log_format)
    return settings
