"""`gatemeter gateways`: what gateways are to run, and what became of it."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cloud.commands.console import OwnerDsn, fail, finish, owner_database
from cloud.devices import configuring, service
from cloud.devices.records import ConfigurationSummary
from cloud.estate import service as estate
from cloud.kit.db import SYSTEM, Conn
from cloud.kit.errors import NotFound
from cloud.kit.paging import PageRequest

app = typer.Typer(help="What gateways are to run.", no_args_is_help=True)

_Gateway = Annotated[str, typer.Argument(help="As in its topics: project/gateway.", metavar="PROJECT/GATEWAY")]
_ASKER = SYSTEM.named("command-line")


@app.command()
def configure(
    gateway: _Gateway,
    file: Annotated[Path, typer.Argument(help="YAML: time_zone, periods, lines, barriers; only what is to change.")],
    dsn: OwnerDsn,
    reason: Annotated[str, typer.Option(help="Why, for those who come later.")],
    template: Annotated[
        list[Path] | None, typer.Option(help="Meter template to send along; its file name is its id. Repeatable.")
    ] = None,
    confirm_s: Annotated[
        int, typer.Option(help="How long the gateway has to prove that it works with it.")
    ] = configuring.DEFAULT_CONFIRM_S,
) -> None:
    """Sends a gateway a configuration; it takes it back by itself when it does not work.

    Example: gatemeter gateways configure sunshine/gw-1 slower.yaml --reason "fewer readings at night"
    """
    site = _text(file)
    templates = {path.stem: _text(path) for path in template or []}
    number = finish(_configure(dsn, gateway, site, templates, reason, confirm_s))
    typer.echo(f"{gateway}: configuration {number} is on its way; see `gatemeter gateways configurations {gateway}`")


@app.command()
def restore(
    gateway: _Gateway,
    number: Annotated[int, typer.Argument(help="Number of the configuration whose content is wanted again.")],
    dsn: OwnerDsn,
    reason: Annotated[str, typer.Option(help="Why, for those who come later.")],
) -> None:
    """Sends the content of an earlier configuration again, as a new one."""
    made = finish(_restore(dsn, gateway, number, reason))
    typer.echo(f"{gateway}: configuration {made} has the content of {number} and is on its way")


@app.command("configurations")
def list_configurations(
    gateway: _Gateway,
    dsn: OwnerDsn,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many, newest first.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """What a gateway was to run, and what became of it."""
    found = finish(_list(dsn, gateway, limit))
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in found], ensure_ascii=False, indent=2, default=str))
        return
    for one in found:
        again = f", content of {one.restores}" if one.restores is not None else ""
        typer.echo(f"{one.number:>5}  {one.state:11}  {one.issued_at:%Y-%m-%d %H:%M}  {one.actor}: {one.reason}{again}")
        for line in one.detail.splitlines():
            typer.echo(f"       {line}")


async def _configure(dsn: str, gateway: str, site: str, templates: dict[str, str], reason: str, confirm_s: int) -> int:
    async with owner_database(dsn) as db, db.transaction(_ASKER) as conn:
        made = await configuring.configure(
            conn, await _id(conn, gateway), site, templates, "command-line", reason, confirm_s
        )
        return made.number


async def _restore(dsn: str, gateway: str, number: int, reason: str) -> int:
    async with owner_database(dsn) as db, db.transaction(_ASKER) as conn:
        made = await configuring.restore(conn, await _id(conn, gateway), number, "command-line", reason)
        return made.number


async def _list(dsn: str, gateway: str, limit: int) -> Sequence[ConfigurationSummary]:
    async with owner_database(dsn) as db, db.transaction(_ASKER) as conn:
        page = await configuring.list_configurations(conn, PageRequest(limit), await _id(conn, gateway))
        return page.items


async def _id(conn: Conn, gateway: str) -> int:
    """Id of a gateway by its name on the wire. Raises NotFound."""
    project_code, _, code = gateway.partition("/")
    project = next((one for one in await estate.projects(conn) if one.code == project_code), None)
    found = {} if project is None else await service.resolve_gateways(conn, [(project.id, code)])
    if project is None or (project.id, code) not in found:
        raise NotFound("no-gateway", f"there is no gateway {gateway}: expected PROJECT/GATEWAY")
    return found[project.id, code]


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{path}: expected a readable UTF-8 file ({error})")
