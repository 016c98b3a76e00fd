"""Log lines as JSON on standard error."""

import logging
import sys

import structlog


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
        logger_factory=_to_stderr,
    )


def _to_stderr(*_: object) -> structlog.WriteLogger:
    """Looked up for every line: a stream that stood there earlier may be closed."""
    return structlog.WriteLogger(sys.stderr)
