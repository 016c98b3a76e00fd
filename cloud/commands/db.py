"""`gatemeter db`: bring the schema up to date, let the processes log in."""

import secrets
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import psycopg
import typer
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import dict_row

from cloud.commands.console import OwnerDsn, fail
from cloud.kit import engine_upgrade
from cloud.kit import migrate as migrations

app = typer.Typer(help="The database: schema, logins, engine, retention.", no_args_is_help=True)
retention = typer.Typer(help="How long data is kept.", no_args_is_help=True)
app.add_typer(retention, name="retention")

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


@app.command("upgrade-to-timescaledb")
def upgrade_to_timescaledb(
    dsn: OwnerDsn, check: Annotated[bool, typer.Option("--check", help="Only say what it would copy.")] = False
) -> None:
    """Moves a plain database to TimescaleDB in one transaction. Readings that come meanwhile wait; none is lost.

    Example: gatemeter db upgrade-to-timescaledb --check
    """
    try:
        if check:
            for month in engine_upgrade.plan(dsn):
                typer.echo(f"{month.series} {month.start:%Y-%m}: {month.rows} rows to copy")
            return
        rows = engine_upgrade.upgrade(dsn, lambda line: typer.echo(line, err=True))
    except (engine_upgrade.UpgradeRefused, psycopg.Error) as error:
        fail(str(error).strip())
    typer.echo(f"{rows} rows are in TimescaleDB now; the worker fills days and months")


_Months = Annotated[int | None, typer.Option(min=0, help="Whole months that stay; 0 keeps everything.")]


@retention.command("set")
def set_retention(
    dsn: OwnerDsn,
    readings_months: _Months = None,
    usage_months: _Months = None,
    gaps_months: _Months = None,
    superseded_months: _Months = None,
    columnstore_after_days: Annotated[int | None, typer.Option(min=1, help="When data becomes cold.")] = None,
    drop_chunks: Annotated[
        bool | None, typer.Option(help="TimescaleDB cannot detach: whether it may drop chunks.")
    ] = None,
) -> None:
    """Changes what is named and leaves the rest. The worker acts on it every night.

    Example: gatemeter db retention set --readings-months 36
    """
    months = {
        "readings_months": readings_months,
        "usage_months": usage_months,
        "gaps_months": gaps_months,
        "superseded_months": superseded_months,
    }
    values: dict[str, int | bool | None] = {name: n or None for name, n in months.items() if n is not None}
    if columnstore_after_days is not None:
        values["columnstore_after_days"] = columnstore_after_days
    if drop_chunks is not None:
        values["drop_chunks"] = drop_chunks
    try:
        with psycopg.connect(dsn) as conn:
            for name, value in values.items():
                conn.execute(sql.SQL("UPDATE store.retention SET {} = %s").format(sql.Identifier(name)), (value,))
            if columnstore_after_days is not None:
                conn.execute("SELECT gm.set_columnstore()")
    except psycopg.Error as error:
        fail(str(error).strip())
    show_retention(dsn)


@retention.command("show")
def show_retention(dsn: OwnerDsn) -> None:
    """Settings, and from when on readings and usage are kept."""
    try:
        with psycopg.connect(dsn, row_factory=dict_row) as conn:
            rows = conn.execute(
                """SELECT readings_months, usage_months, gaps_months, superseded_months, columnstore_after_days,
                          drop_chunks, gm.readings_kept_from() AS readings_kept_from,
                          gm.usage_kept_from() AS usage_kept_from,
                          (SELECT count(*) FROM pg_class WHERE relnamespace = 'archive'::regnamespace
                           AND relkind = 'r') AS archived
                   FROM store.retention"""
            ).fetchall()
    except psycopg.Error as error:
        fail(str(error).strip())
    for name, value in rows[0].items():
        typer.echo(f"{name:<23} {'everything' if value is None else value}")


@retention.command("drop-archived")
def drop_archived(
    dsn: OwnerDsn, yes: Annotated[bool, typer.Option("--yes", help="Really; it cannot be undone.")] = False
) -> None:
    """Names the partitions in schema `archive`, and drops them with --yes.

    Example: gatemeter db retention drop-archived --yes
    """
    try:
        with psycopg.connect(dsn) as conn:
            names = conn.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'archive' ORDER BY 1").fetchall()
            for (name,) in names:
                if yes:
                    conn.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier("archive", name)))
                typer.echo(f"{name}: {'dropped' if yes else 'kept, --yes drops it'}")
    except psycopg.Error as error:
        fail(str(error).strip())


def _read(path: Path) -> str:
    try:
        password = path.read_text("utf-8").strip()
    except OSError as error:
        fail(f"{path}: expected a readable file ({error.strerror})")
    if len(password) < _MIN_PASSWORD_CHARS:
        fail(f"{path}: expected a password of at least {_MIN_PASSWORD_CHARS} characters")
    return password
