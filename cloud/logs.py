"""How the cloud's processes log: structured, one line each, without secrets."""

import logging
import re
from collections.abc import MutableMapping
from typing import Any, Literal

import structlog

_SECRET = re.compile(r"password|secret|token|dsn|cookie|authorization|private_key", re.IGNORECASE)
_PASSWORD_IN_TEXT = re.compile(r"(password=|://[^:/\s]+:)[^\s@'\"]+", re.IGNORECASE)


def configure_logging(level: str = "info", form: Literal["json", "console"] = "json") -> None:
    """Sets up structlog and the standard library's logging for this process, on standard error."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        without_secrets,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    last: list[structlog.typing.Processor] = (
        [structlog.processors.format_exc_info, without_secrets, structlog.processors.JSONRenderer(ensure_ascii=False)]
        if form == "json"
        else [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("uvicorn.access", "apscheduler", "httpx"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def without_secrets(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Blackens values whose name says secret, and passwords inside connection strings."""
    for key, value in event.items():
        if _SECRET.search(key):
            event[key] = "***"
        elif isinstance(value, str) and ("password=" in value or "://" in value):
            event[key] = _PASSWORD_IN_TEXT.sub(r"\1***", value)
    return event
