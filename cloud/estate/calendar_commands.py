"""`gatemeter estate calendar`: brings the holidays of a year into a project."""

from pathlib import Path
from typing import Annotated

import typer

from cloud.commands.console import OwnerDsn, fail, finish, owner_database
from cloud.estate import service
from cloud.estate.calendar import CalendarDay, set_calendar_days
from cloud.estate.calendar_files import preset, presets, read_calendar
from cloud.kit.db import SYSTEM
from cloud.kit.errors import GatemeterError, NotFound

app = typer.Typer(help="Projects and their calendars.", no_args_is_help=True)
calendar = typer.Typer(help="Public holidays and worked week-ends.", no_args_is_help=True)
app.add_typer(calendar, name="calendar")


@app.callback()
def estate() -> None:
    """Projects and their calendars."""


@calendar.command("list")
def list_presets() -> None:
    """Lists the calendars that ship."""
    for name in presets():
        typer.echo(name)


@calendar.command("import")
def import_calendar(
    project: Annotated[str, typer.Argument(help="Code of the project.")],
    source: Annotated[str, typer.Argument(help="A calendar that ships, such as cn-2026, or a CSV or ICS file.")],
    dsn: OwnerDsn,
) -> None:
    """Sets the days of a calendar; days it does not name stay as they are.

    Example: gatemeter estate calendar import sunshine cn-2026
    """
    try:
        days = preset(source) if source in presets() else read_calendar(Path(source).read_text("utf-8-sig"))
    except GatemeterError as error:
        fail(error.detail)
    except (OSError, UnicodeDecodeError) as error:
        fail(str(error))
    finish(_set(dsn, project, days))
    typer.echo(f"{project}: {len(days)} days from {days[0].day} to {days[-1].day}")


async def _set(dsn: str, code: str, days: list[CalendarDay]) -> None:
    async with owner_database(dsn) as db, db.transaction(SYSTEM.named("command-line")) as conn:
        found = next((one for one in await service.projects(conn) if one.code == code), None)
        if found is None:
            raise NotFound("no-such-project", f"there is no project {code}")
        await set_calendar_days(conn, found.id, days)
