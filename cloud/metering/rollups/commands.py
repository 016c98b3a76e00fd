"""`gatemeter usage prove`: the proof of roll-ups over days that somebody names."""

import json
from datetime import date
from typing import Annotated, Final

import typer

from cloud.commands.console import OwnerDsn, fail, finish
from cloud.metering.exports.commands import From, ProjectCode, To, project_named

SOME_WRONG: Final = 1
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object per portion of at most 31 days.")]


def prove_usage(dsn: OwnerDsn, project: ProjectCode, start: From, to: To, as_json: AsJson = False) -> None:
    """Compares the roll-ups of these local days with their rows, and mends at once what differs.

    The worker does so every night with the days that ended since and the three before them. It may run beside
    everything else and be broken off and repeated. Days whose rows are archived or dropped are left as they are.

    Exit codes: 0 everything was right, 1 something was wrong and is mended, 2 wrong usage.

    Example: gatemeter usage prove --project sunshine --from 2026-01-01 --to 2026-04-01 --json
    """
    wrong = finish(_prove(dsn, project, start, to, as_json))
    if not as_json:
        typer.echo(f"{wrong} counts were wrong and are mended" if wrong else "everything is right")
    raise typer.Exit(SOME_WRONG if wrong else 0)


async def _prove(dsn: str, code: str, start: str, to: str, as_json: bool) -> int:
    from cloud.kit.db import SYSTEM, Database
    from cloud.kit.periods import Period
    from cloud.metering.rollups.proving import prove_days

    try:
        asked = Period(_day("--from", start), _day("--to", to))
    except ValueError:
        fail(f"--to: expected a day after {start}, not {to}")
    asker = SYSTEM.named("command-line")
    total = 0
    async with Database(dsn, "gatemeter_worker", max_size=2, timeout_s=5.0) as db:
        async with db.transaction(asker) as conn:
            project = await project_named(conn, code)
        async for days, wrong in prove_days(db, asker, project, asked):
            total += wrong
            said = {"from": str(days.start), "to": str(days.end), "wrong": wrong}
            typer.echo(json.dumps(said) if as_json else f"{days.start} to {days.end}: {wrong} wrong")
    return total


def _day(option: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        fail(f"{option}: expected a day such as 2026-03-01, not {text}")
