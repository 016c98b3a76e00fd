"""What tests log: exceptions as Python writes them.

Where rich is installed structlog draws them with the source around and the value of every variable, which takes a
second of processor time for each; hundreds of tests log exceptions that nobody ever looks at.
"""

import structlog


def log_plainly() -> None:
    """Undoes what a test or a command has set, and what structlog comes with."""
    structlog.reset_defaults()
    *before, _ = structlog.get_config()["processors"]
    plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*before, plain])
