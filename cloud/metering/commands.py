"""`gatemeter readings` and `gatemeter usage`: files of readings from the command line, in and out."""

import json
import sys
from collections import Counter
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cloud.commands.console import OwnerDsn, fail, finish
from cloud.metering.exports.commands import export_readings, export_usage, project_named
from cloud.metering.rollups.commands import prove_usage
from cloud.metering.supervision.commands import list_set_aside

if TYPE_CHECKING:
    from cloud.metering.imports.records import ImportRow

app = typer.Typer(help="Readings: import and export files of them.", no_args_is_help=True)
usage_app = typer.Typer(help="Usage: export it, prove it, see what holds it up.", no_args_is_help=True)

SOME_REFUSED = 1
_OUTCOMES: Final = ("stored", "repeated", "other-value", "needs-confirmation", "refused")


class FileKind(Enum):
    """What the values of a file are."""

    REGISTER = "register"
    INTERVAL = "interval"


class Stamp(Enum):
    """Which end of an interval its time is."""

    START = "start"
    END = "end"


@app.callback()
def readings() -> None:
    """Readings."""


@usage_app.callback()
def usage() -> None:
    """Usage."""


app.command("export")(export_readings)
usage_app.command("export")(export_usage)
usage_app.command("prove")(prove_usage)
usage_app.command("set-aside")(list_set_aside)


@app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(help="CSV or XLSX file; docs/readings-import.md says what it may hold.")],
    dsn: OwnerDsn,
    project: Annotated[str, typer.Option(help="Code of the project whose meters are named.")],
    kind: Annotated[
        FileKind, typer.Option(help="Values of registers, or quantities of intervals.")
    ] = FileKind.REGISTER,
    stamped: Annotated[
        Stamp, typer.Option(help="Of intervals: whether the time is where one begins or ends.")
    ] = Stamp.START,
    interval: Annotated[
        int | None, typer.Option(help="Of intervals: seconds of the rows that do not state theirs.")
    ] = None,
    opening: Annotated[str, typer.Option(help="Of intervals: where registers without readings begin.")] = "",
    time_zone: Annotated[
        str, typer.Option(help="Of times without an offset, such as UTC; the project's unless named.")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per row.")] = False,
) -> None:
    """Stores the good rows and says of every other one what is wrong; the same file again stores nothing twice.

    The import and its answers are kept, as one from the pages is. Exit code 0: every row is stored; 1: some are not;
    2: the file cannot be read, or wrong usage.

    Example: gatemeter readings import march.xlsx --project sunshine --dry-run
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        fail(f"{file}: expected a readable file ({error.strerror})")
    options = {"kind": kind.value, "stamped": stamped.value, "interval_s": interval, "opening": opening}
    options["time_zone"] = time_zone
    answers = finish(_import(dsn, project, file.name, content, {**options, "dry_run": dry_run}))
    counts = Counter(answer.outcome for answer in answers)
    for answer in answers:
        if as_json:
            typer.echo(json.dumps(_shown(answer), ensure_ascii=False))
        elif answer.outcome not in ("stored", "repeated"):
            why = f" {answer.code} ({answer.field}): {answer.detail}" if answer.code else ""
            typer.echo(f"{file}:{answer.line}: {answer.outcome}{why}")
    sys.stderr.write("  ".join(f"{name}: {counts[name]}" for name in _OUTCOMES) + "\n")
    if any(counts[name] for name in _OUTCOMES[2:]):
        raise typer.Exit(SOME_REFUSED)


def _shown(answer: "ImportRow") -> dict[str, object]:
    names = ("line", "outcome", "code", "field", "detail")
    return {name: getattr(answer, name) for name in names}


async def _import(dsn: str, code: str, name: str, content: bytes, options: dict[str, Any]) -> "list[ImportRow]":
    from cloud.kit.db import SYSTEM, Database
    from cloud.kit.errors import InvalidInput
    from cloud.kit.paging import MAX_LIMIT, PageRequest
    from cloud.metering.imports import service as imports
    from cloud.metering.imports.records import NewImport, RowFilter
    from cloud.metering.imports.run import run_import

    asker = SYSTEM.named("command-line")
    async with Database(dsn, "gatemeter_worker", max_size=2, timeout_s=5.0) as db:
        async with db.transaction(asker) as conn:
            project = await project_named(conn, code)
            new = NewImport(project.id, name, "command-line", **options)
            made = await imports.create_import(conn, new, imports.content_of(content), again=True)
        done = await run_import(db, asker, made.id)
        if done.state == "failed":
            raise InvalidInput(done.error_code, done.error, field="file")
        rows: list[ImportRow] = []
        cursor = PageRequest(MAX_LIMIT)
        while True:
            async with db.transaction(asker) as conn:
                page = await imports.list_rows(conn, cursor, made.id, RowFilter())
            rows += page.items
            if page.next_cursor is None:
                return rows
            cursor = PageRequest(MAX_LIMIT, (rows[-1].line,))
