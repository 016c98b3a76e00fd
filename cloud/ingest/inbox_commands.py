"""`gatemeter ingest replay-dead-letters`, `claim`, `discard`, `correct-clock`, `decisions`, `undo`."""

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from getpass import getuser
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from cloud.devices.records import InboxFilter, InboxSubject

if TYPE_CHECKING:
    from cloud.devices.records import InboxDecision
    from cloud.kit.db import Conn, Database

_Json = Annotated[bool, typer.Option("--json", help="One JSON object instead of text.")]
_Project = Annotated[str | None, typer.Option(help="Code of the project; without it all of them.")]
_Reason = Annotated[str | None, typer.Option(help="Only those kept for this reason, e.g. bad-schema, unbound.")]
_Since = Annotated[
    datetime | None,
    typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S%z"], help="Only those that came since; a day begins in UTC."),
]
_Gateway = Annotated[str | None, typer.Option(help="Code of the gateway (readings only).")]
_Device = Annotated[str | None, typer.Option(help="Code of the device (readings only).")]
_Because = Annotated[str, typer.Option(help="Why; kept with the decision.")]
_Limit = Annotated[int | None, typer.Option(min=1, help="At most so many, the oldest first.")]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Only count, by reason.")]

Result = TypeVar("Result")
Work = Callable[["Conn", InboxFilter], Awaitable["InboxDecision"]]


def add_to(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("replay-dead-letters")(replay_dead_letters)
    app.command("claim")(claim)
    app.command("discard")(discard)
    app.command("correct-clock")(correct_clock)
    app.command("decisions")(decisions)
    app.command("undo")(undo)


def replay_dead_letters(
    project: _Project = None,
    reason: _Reason = None,
    since: _Since = None,
    limit: _Limit = None,
    dry_run: _DryRun = False,
    as_json: _Json = False,
) -> None:
    """Try dead letters again; what can be stored now is stored once. May be repeated.

    Example: gatemeter ingest replay-dead-letters --project sunshine --reason bad-schema --dry-run
    """
    _replay("dead-letters", project, InboxFilter(reason=reason, since=_aware(since)), limit, dry_run, as_json)


def claim(
    project: _Project = None,
    reason: _Reason = None,
    since: _Since = None,
    gateway: _Gateway = None,
    device: _Device = None,
    limit: _Limit = None,
    dry_run: _DryRun = False,
    as_json: _Json = False,
) -> None:
    """Try unclaimed readings again; those that have a meter now are stored. May be repeated.

    Example: gatemeter ingest claim --project sunshine --device meter-7
    """
    wanted = InboxFilter(reason=reason, since=_aware(since), gateway_code=gateway, device_code=device)
    _replay("unclaimed-readings", project, wanted, limit, dry_run, as_json)


def discard(
    subject: Annotated[str, typer.Argument(help="dead-letters or unclaimed-readings")],
    because: _Because,
    project: _Project = None,
    reason: _Reason = None,
    since: _Since = None,
    gateway: _Gateway = None,
    device: _Device = None,
    letter: Annotated[int | None, typer.Option(help="Id of one dead letter.")] = None,
    as_json: _Json = False,
) -> None:
    """Put away what waits. It is kept, is not tried again, and `undo` brings it back.

    Example: gatemeter ingest discard dead-letters --reason bad-topic --because "a test of another system"
    """
    from cloud.devices import inbox_decisions

    subjects: dict[str, InboxSubject] = {"dead-letters": "dead-letters", "unclaimed-readings": "unclaimed-readings"}
    if subject not in subjects:
        raise typer.BadParameter("expected dead-letters or unclaimed-readings")
    wanted = InboxFilter(reason=reason, since=_aware(since), gateway_code=gateway, device_code=device, letter_id=letter)

    async def work(conn: "Conn", found: InboxFilter) -> "InboxDecision":
        return await inbox_decisions.discard(conn, subjects[subject], found, because, _actor())

    _decide(project, wanted, work, as_json)


def correct_clock(
    project: Annotated[str, typer.Option(help="Code of the project.")],
    gateway: Annotated[str, typer.Option(help="Code of the gateway.")],
    device: Annotated[str, typer.Option(help="Code of the device whose clock was ahead.")],
    ahead_s: Annotated[int, typer.Option(min=1, help="By how many seconds it was ahead.")],
    because: _Because,
    since: _Since = None,
    as_json: _Json = False,
) -> None:
    """Place readings with an impossible time so much earlier, flagged as of a doubtful clock.

    Example: gatemeter ingest correct-clock --project sunshine --gateway gw-1 --device m7 --ahead-s 3600 --because DST
    """
    from cloud.devices import inbox_decisions

    wanted = InboxFilter(since=_aware(since), gateway_code=gateway, device_code=device)

    async def work(conn: "Conn", found: InboxFilter) -> "InboxDecision":
        return await inbox_decisions.correct_clock(conn, found, timedelta(seconds=ahead_s), because, _actor())

    _decide(project, wanted, work, as_json)


def decisions(project: _Project = None, limit: _Limit = 50, as_json: _Json = False) -> None:
    """Show what was decided, the latest first."""
    from cloud.devices import inbox_decisions
    from cloud.kit.db import SYSTEM
    from cloud.kit.paging import PageRequest

    async def work(db: "Database") -> list[dict[str, Any]]:
        async with db.transaction(SYSTEM.named("command-line")) as conn:
            wanted = await _within(conn, project, InboxFilter())
            found = await inbox_decisions.list_decisions(conn, PageRequest(limit or 50), wanted.project_id)
        return [_told(one) for one in found.items]

    for row in _finish(work):
        _show(row, as_json)


def undo(decision: Annotated[int, typer.Argument(help="Its number.")], as_json: _Json = False) -> None:
    """Take a decision back: what it put away waits again."""
    from cloud.devices import inbox_decisions
    from cloud.kit.db import SYSTEM

    async def work(db: "Database") -> dict[str, Any]:
        async with db.transaction(SYSTEM.named("command-line")) as conn:
            return _told(await inbox_decisions.undo(conn, decision, _actor()))

    _show(_finish(work), as_json)


def _replay(
    subject: InboxSubject, project: str | None, wanted: InboxFilter, limit: int | None, dry_run: bool, as_json: bool
) -> None:
    from cloud.devices.replays import replay_of
    from cloud.ingest import replay as replaying
    from cloud.kit.db import SYSTEM

    async def told(tried: int) -> None:
        if not as_json:
            typer.echo(f"{tried} tried", err=True)

    async def work(db: "Database") -> dict[str, Any]:
        async with db.transaction(SYSTEM.named("command-line")) as conn:
            asked = replay_of(subject, await _within(conn, project, wanted), limit)
        if dry_run:
            return {"dry_run": True, **await replaying.count(db, asked)}
        done = await replaying.run(db, asked, told)
        return {"stored": done.stored, "kept": done.kept}

    _show(_finish(work), as_json)


def _decide(project: str | None, wanted: InboxFilter, work: Work, as_json: bool) -> None:
    from cloud.kit.db import SYSTEM

    async def decide(db: "Database") -> dict[str, Any]:
        async with db.transaction(SYSTEM.named("command-line")) as conn:
            return _told(await work(conn, await _within(conn, project, wanted)))

    _show(_finish(decide), as_json)


async def _within(conn: "Conn", project: str | None, wanted: InboxFilter) -> InboxFilter:
    from dataclasses import replace

    from cloud.estate import service as estate
    from cloud.kit.errors import NotFound

    if project is None:
        return wanted
    found = next((one for one in await estate.projects(conn) if one.code == project), None)
    if found is None:
        raise NotFound("no-such-project", f"there is no project {project}")
    return replace(wanted, project_id=found.id)


def _finish(work: Callable[["Database"], Awaitable[Result]]) -> Result:
    """Runs it as ingest; what is refused ends with exit code 2 and the reason."""
    from cloud.commands.console import fail, finish
    from cloud.kit.db import Database
    from cloud.settings import SettingsError, load_settings

    try:
        dsn = load_settings().dsn()
    except SettingsError as error:
        fail(str(error))

    async def run() -> Result:
        async with Database(dsn, "gatemeter_ingest", max_size=2) as db:
            return await work(db)

    return finish(run())


def _told(decision: "InboxDecision") -> dict[str, Any]:
    shown = {
        "decision": decision.id, "subject": decision.subject, "action": decision.action, "found": decision.found,
        "reason": decision.reason, "actor": decision.actor, "at": decision.created_at.isoformat(timespec="seconds"),
    }  # fmt: skip
    return shown if decision.undone_by is None else {**shown, "undone_by": decision.undone_by}


def _aware(at: datetime | None) -> datetime | None:
    return at if at is None or at.tzinfo is not None else at.replace(tzinfo=UTC)


def _actor() -> str:
    return f"command-line:{getuser()}"


def _show(result: dict[str, Any], as_json: bool) -> None:
    typer.echo(json.dumps(result) if as_json else "  ".join(f"{name}: {value}" for name, value in result.items()))
