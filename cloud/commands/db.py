"""`gatemeter db`: bring the schema up to date, let the processes log in."""

import secrets
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import psycopg
import typer
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from cloud.commands.console import OwnerDsn, fail
from cloud.kit import migrate as migrations

app = typer.Typer(help="The database: schema and logins.", no_args_is_help=True)

_MIN_PASSWORD_CHARS = 12


class LoginRole(StrEnum):
    """The processes, each with a role of its own."""

    WEB = "web"
    INGEST = "ingest"
    WORKER = "worker"


@app.command()
def migrate(dsn: OwnerDsn) -> None:
    """Brings the schema up to date; safe to repeat.

    Example: GATEMETER_OWNER_DSN='host=db dbname=gatemeter user=owner' gatemeter db migrate
    """
    try:
        applied = migrations.migrate(dsn)
    except (migrations.MigrationError, psycopg.Error) as error:
        fail(str(error).strip())
    for name in applied:
        typer.echo(f"applied {name}")
    typer.echo("the schema is up to date")


@app.command("grant-login")
def grant_login(
    role: Annotated[LoginRole, typer.Argument(help="Which process shall log in.")],
    dsn: OwnerDsn,
    password_file: Annotated[
        Path | None, typer.Option(help="File with the password; without it one is made and shown once.")
    ] = None,
) -> None:
    """Gives a process its own login that cannot pass row-level security, and prints its connection string.

    Example: gatemeter db grant-login web --password-file /run/secrets/web-password
    """
    given = None if password_file is None else _read(password_file)
    password = given or secrets.token_urlsafe(24)
    name = f"gatemeter_{role.value}"
    try:
        with psycopg.connect(dsn, autocommit=True) as conn:
            # The server is given the verifier, so that no log of statements can hold the password.
            verifier = conn.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256")
            conn.execute(
                sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(name), sql.Literal(verifier.decode()))
            )
    except psycopg.Error as error:
        fail(str(error).strip())
    # The owner's own password must not travel into the settings of a process.
    place = {key: value for key, value in conninfo_to_dict(dsn).items() if key != "password"}
    place["user"] = name
    typer.echo(make_conninfo("", **(place if given else {**place, "password": password})))


def _read(path: Path) -> str:
    try:
        password = path.read_text("utf-8").strip()
    except OSError as error:
        fail(f"{path}: expected a readable file ({error.strerror})")
    if len(password) < _MIN_PASSWORD_CHARS:
        fail(f"{path}: expected a password of at least {_MIN_PASSWORD_CHARS} characters")
    return password
