"""What the administration's commands share: where the database is, and how a failure ends."""

from collections.abc import Coroutine
from typing import Annotated, Any, NoReturn, TypeVar

import psycopg
import typer
from psycopg_pool import PoolTimeout

from cloud.kit.constraints import meaning_of
from cloud.kit.db import Database
from cloud.kit.errors import GatemeterError

T = TypeVar("T")

BAD_INPUT = 2

OwnerDsn = Annotated[
    str,
    typer.Option(
        "--dsn",
        envvar=["GATEMETER_OWNER_DSN", "GATEMETER_DATABASE_DSN"],
        help="Connection string of the owner of the schema. Better given as variable: arguments are seen by others.",
        show_default=False,
    ),
]


def fail(message: str, code: int = BAD_INPUT) -> NoReturn:
    """Says what is wrong on standard error and ends with `code`."""
    typer.echo(message, err=True)
    raise typer.Exit(code)


def owner_database(dsn: str) -> Database:
    """The database past row-level security; it gives up soon when there is none."""
    return Database(dsn, None, max_size=2, timeout_s=5.0)


def finish(work: Coroutine[Any, Any, T]) -> T:
    """Runs `work`; what the input or the database forbids ends the command with exit code 2."""
    import asyncio

    try:
        return asyncio.run(work)
    except GatemeterError as error:
        fail(error.detail)
    except (psycopg.Error, PoolTimeout) as error:
        meaning = meaning_of(error)
        fail(meaning.detail if meaning else str(error))
