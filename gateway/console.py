"""What the commands do once they are chosen: imported late, so that `--help` is quick."""

import asyncio
import logging
import signal
import sys
from pathlib import Path

import structlog

from gateway.app import Gateway
from gateway.errors import ConfigError
from gateway.settings import load_site
from gateway.templates.library import Library
from gateway.uplink.settings import CredentialsMissing


def configure_logging(level: str) -> None:
    """Log lines as JSON on stderr, from `level` on; an unknown level is info."""
    number = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
    logging.basicConfig(level=max(number, logging.WARNING))
    # Every retry of a dead device would be an error line of its own there; our counters say it once.
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
    )


def exit_code(error: Exception) -> int:
    """2 for what the operator must mend before a start, 1 for a failure while running."""
    return 2 if isinstance(error, ConfigError | CredentialsMissing) else 1


async def serve(site_file: Path, library: Library) -> None:
    """Runs the gateway of a site file until SIGTERM or SIGINT. Raises ConfigError and CredentialsMissing at once."""
    site = load_site(site_file, library)
    for broker in (site.broker, *(barrier.broker for barrier in site.barriers)):
        broker.password()
        broker.tls_context()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await Gateway(site, library).run(stop)
