"""`gatemeter users`: the first users, and residents' logins."""

import secrets
from pathlib import Path
from typing import Annotated

import typer

from cloud.commands.console import OwnerDsn, fail, finish, owner_database
from cloud.identity import service
from cloud.identity.policy import ROLES, Grant
from cloud.kit.db import SYSTEM

app = typer.Typer(help="Users.", no_args_is_help=True)


@app.callback()
def users() -> None:
    """Users."""


@app.command()
def create(
    login: Annotated[str, typer.Argument(help="What the user types to sign in.")],
    dsn: OwnerDsn,
    name: Annotated[str, typer.Option(help="Name shown to others; the login when absent.")] = "",
    role: Annotated[str, typer.Option(help=f"One of {', '.join(ROLES)}.")] = "",
    project: Annotated[str, typer.Option(help="Code of the project; every project when absent.")] = "",
    person: Annotated[
        int | None, typer.Option(help="Instead of a role: id of the person who is this resident.")
    ] = None,
    password_file: Annotated[
        Path | None, typer.Option(help="File with the password; without it one is made and shown once.")
    ] = None,
    locale: Annotated[str, typer.Option(help="Language of the pages.")] = "zh-CN",
) -> None:
    """Makes a user: staff with a role, or a resident.

    Example: gatemeter users create li.na --name 李娜 --role manager --project sunshine
    """
    if bool(role) == (person is not None):
        fail("expected either --role or --person")
    password = secrets.token_urlsafe(12)
    if password_file is not None:
        try:
            password = password_file.read_text("utf-8").strip()
        except OSError as error:
            fail(f"{password_file}: expected a readable file ({error.strerror})")
    user_id = finish(_create(dsn, login, name or login, password, role, project, person, locale))
    typer.echo(f"user {user_id}: {login}" + (f"  password: {password}" if password_file is None else ""))


async def _create(
    dsn: str, login: str, name: str, password: str, role: str, project: str, person: int | None, locale: str
) -> int:
    async with owner_database(dsn) as db, db.transaction(SYSTEM.named("command-line")) as conn:
        grants = [Grant(role, await service.project_id(conn, project) if project else None)] if role else []
        user_id = await service.create_user(conn, login, name, password, grants=grants, locale=locale)
        if person is not None:
            await service.link_person(conn, user_id, person)
        return user_id
