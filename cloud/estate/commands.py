"""`gatemeter projects`: the border of all data is drawn by administration, not by the web."""

from typing import Annotated

import typer

from cloud.commands.console import OwnerDsn, finish, owner_database
from cloud.estate import service
from cloud.estate.records import Project
from cloud.kit.db import SYSTEM

app = typer.Typer(help="Projects.", no_args_is_help=True)


@app.callback()
def projects() -> None:
    """Projects."""


@app.command()
def create(
    code: Annotated[str, typer.Argument(help="Short and lasting: gateways name it.")],
    name: Annotated[str, typer.Argument(help="Name shown to people.")],
    dsn: OwnerDsn,
    time_zone: Annotated[str, typer.Option(help="IANA name; bills begin and end on its midnights.")] = "Asia/Shanghai",
    currency: Annotated[str, typer.Option(help="ISO 4217 code.")] = "CNY",
    address: Annotated[str, typer.Option(help="Postal address.")] = "",
) -> None:
    """Makes a project.

    Example: gatemeter projects create sunshine 阳光花园 --time-zone Asia/Shanghai
    """
    made = finish(_create(dsn, code, name, time_zone, currency, address))
    typer.echo(f"project {made.id}: {made.code}")


async def _create(dsn: str, code: str, name: str, time_zone: str, currency: str, address: str) -> Project:
    async with owner_database(dsn) as db, db.transaction(SYSTEM.named("command-line")) as conn:
        return await service.create_project(conn, code, name, time_zone, currency, address)
