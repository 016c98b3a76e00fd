"""`gatemeter readings` and `gatemeter usage`: files of readings from the command line, in and out."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cloud.commands.console import OwnerDsn, fail, finish
from cloud.metering.export_commands import export_readings, export_usage, project_named

if TYPE_CHECKING:
    from cloud.metering.imports import RowAnswer

app = typer.Typer(help="Readings: import and export files of them.", no_args_is_help=True)
usage_app = typer.Typer(help="Usage: export files of it.", no_args_is_help=True)

SOME_REFUSED = 1


@app.callback()
def readings() -> None:
    """Readings."""


@usage_app.callback()
def usage() -> None:
    """Usage."""


app.command("export")(export_readings)
usage_app.command("export")(export_usage)


@app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(help="CSV or XLSX file; docs/readings-import.md says what it may hold.")],
    dsn: OwnerDsn,
    project: Annotated[str, typer.Option(help="Code of the project whose meters are named.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per row.")] = False,
) -> None:
    """Stores the good rows and says of every other one what is wrong; the same file again stores nothing twice.

    Exit code 0: every row is stored; 1: some are not; 2: the file cannot be read, or wrong usage.

    Example: gatemeter readings import march.xlsx --project sunshine --dry-run
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        fail(f"{file}: expected a readable file ({error.strerror})")
    answers = finish(_import(dsn, project, content, dry_run=dry_run))
    for answer in answers:
        if as_json:
            typer.echo(json.dumps(asdict(answer), ensure_ascii=False))
        elif answer.outcome not in ("stored", "repeated"):
            why = f" {answer.code} ({answer.field}): {answer.detail}" if answer.code else ""
            typer.echo(f"{file}:{answer.line}: {answer.outcome}{why}")
    counts = {
        name: sum(one.outcome == name for one in answers) for name in ("stored", "repeated", "other-value", "refused")
    }
    sys.stderr.write("  ".join(f"{name}: {count}" for name, count in counts.items()) + "\n")
    if counts["other-value"] or counts["refused"]:
        raise typer.Exit(SOME_REFUSED)


async def _import(dsn: str, code: str, content: bytes, *, dry_run: bool) -> "list[RowAnswer]":
    from cloud.kit.db import SYSTEM, Database
    from cloud.metering.imports import import_readings

    async with (
        Database(dsn, "gatemeter_worker", max_size=2, timeout_s=5.0) as db,
        db.transaction(SYSTEM.named("command-line")) as conn,
    ):
        project = await project_named(conn, code)
        return await import_readings(conn, project.id, content, dry_run=dry_run)
