"""What the commands do once they are chosen: imported late, so that `--help` is quick."""

import asyncio
import signal
from pathlib import Path

import structlog

from gateway.app import Gateway
from gateway.errors import ConfigError, GatewayError
from gateway.settings import SiteSettings, load_site
from gateway.tasks import end
from gateway.templates.library import Library
from gateway.uplink.settings import CredentialsMissing

log = structlog.get_logger(__name__)


def exit_code(error: Exception) -> int:
    """2 for what the operator must mend before a start, 1 for a failure while running."""
    return 2 if isinstance(error, ConfigError | CredentialsMissing) else 1


async def serve(site_file: Path, library: Library) -> None:
    """Runs the gateway of a site file until SIGTERM or SIGINT; SIGHUP reads the file again.

    Raises ConfigError and CredentialsMissing at once.
    """
    site = usable_site(site_file, library)
    stop, again = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, again.set)
    gateway = Gateway(site, library)
    reloading = asyncio.create_task(_reload_whenever(again, gateway, site_file, library.directory))
    try:
        await gateway.run(stop)
    finally:
        await end(reloading)


def usable_site(site_file: Path, library: Library) -> SiteSettings:
    """A site file with all the secrets that it names at hand. Blocks. Raises ConfigError, CredentialsMissing."""
    site = load_site(site_file, library)
    for broker in (site.broker, *(barrier.broker for barrier in site.barriers)):
        broker.password()
        broker.tls_context()
    return site


async def _reload_whenever(again: asyncio.Event, gateway: Gateway, site_file: Path, templates: Path) -> None:
    """Takes the site file and its templates over anew each time that `again` is set; a wrong one changes nothing."""
    while True:
        await again.wait()
        again.clear()
        library = Library(templates)
        try:
            with gateway.watch.reloading():
                # Reading a big file takes seconds, in which the lines must go on.
                site = await asyncio.to_thread(usable_site, site_file, library)
                await gateway.reload(site, library)
        except (GatewayError, OSError) as error:
            log.error("site file not taken over, everything goes on as before", reason=str(error))
