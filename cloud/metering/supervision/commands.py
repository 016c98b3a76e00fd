"""`gatemeter usage set-aside`: meters that cannot be worked on, and tried again at once."""

import json
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cloud.commands.console import OwnerDsn, finish
from cloud.metering.exports.commands import project_named

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloud.estate.records import Project
    from cloud.kit.db import Asker, Database
    from cloud.metering.set_aside_repository import SetAside

SOME_ARE: Final = 1


def list_set_aside(
    dsn: OwnerDsn,
    project: Annotated[str | None, typer.Option(help="Code of one; all unless named.", show_default=False)] = None,
    try_now: Annotated[bool, typer.Option("--try-now", help="Try each of them first, alone.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per meter and kind of work.")] = False,
) -> None:
    """Lists the meters whose usage cannot be derived (derive) or not be judged (settle), the longest first, and why.

    The worker tries them again after 1, 2, 4 … minutes, at most an hour; with --try-now they are tried here. It may be
    broken off and repeated.

    Exit codes: 0 none is set aside (any more), 1 some are, 2 wrong usage.

    Example: gatemeter usage set-aside --project sunshine --try-now
    """
    left = finish(_set_aside(dsn, project, try_now))
    for code, meter, one in left:
        said = {
            "project": code, "meter": meter, "work": one.work, "since": one.since.isoformat(),
            "attempts": one.attempts, "next_at": one.next_at.isoformat(), "reason": one.reason,
        }  # fmt: skip
        line = f"{code}/{meter} {one.work} since {said['since']}, {one.attempts} attempts: {one.reason}"
        typer.echo(json.dumps(said, ensure_ascii=False) if as_json else line)
    if not left and not as_json:
        typer.echo("no meter is set aside")
    raise typer.Exit(SOME_ARE if left else 0)


async def _set_aside(dsn: str, code: str | None, try_now: bool) -> "list[tuple[str, str, SetAside]]":
    """What is set aside, after the attempts if they are wanted, with the codes of project and meter."""
    from cloud.estate import service as estate
    from cloud.kit.db import SYSTEM, Database
    from cloud.metering import service
    from cloud.metering import set_aside_repository as repository

    asker = SYSTEM.named("command-line")
    async with Database(dsn, "gatemeter_worker", max_size=2, timeout_s=5.0) as db:
        async with db.transaction(asker) as conn:
            projects = await estate.projects(conn) if code is None else [await project_named(conn, code)]
            found = await repository.of_projects(conn, [one.id for one in projects])
        if try_now:
            await _try(db, asker, projects, sorted({one.meter_id for one in found}))
        async with db.transaction(asker) as conn:
            found = await repository.of_projects(conn, [one.id for one in projects])
            meters = await service.meters_by_id(conn, [one.meter_id for one in found])
    codes = {one.id: one.code for one in projects}
    named = ((meters[one.meter_id], one) for one in found)
    return [(codes[meter.project_id], meter.code, one) for meter, one in named]


async def _try(db: "Database", asker: "Asker", projects: "Sequence[Project]", meter_ids: "Sequence[int]") -> None:
    from datetime import UTC, datetime

    from cloud.metering.checks import apart as settling
    from cloud.metering.derivation import apart as derivation

    zones = {one.id: one.zone for one in projects}
    for meter_id in meter_ids:
        await derivation.bring_up(db, asker, [meter_id], zones, wait=True)
        await settling.settle(db, asker, [meter_id], datetime.now(UTC), wait=True)
