"""`gatemeter doctor`: what this machine and its settings lack for the service to run, and what waits too long."""

import asyncio
import json
import socket
import ssl
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal

import psycopg
import typer
from psycopg.rows import class_row

from cloud.billing.documents.pdf import NO_CHINESE_FONT, chinese_font, installed
from cloud.kit.backlog import BACKLOG, Backlog
from cloud.kit.migrate import read_migrations
from cloud.kit.security import Keys, KeysError
from cloud.notices.smtp import MailServer, NotSent, Session, mail_server
from cloud.settings import CloudSettings, SettingsError, load_settings

app = typer.Typer()

State = Literal["fine", "note", "late", "failed"]
_TIMEOUT_S = 5
_PROOF_LATE_S = 2 * 86_400
_SIGN = {"fine": "✓", "note": "·", "late": "!", "failed": "✗"}
_WAITS_TOO_LONG_S: Final = 600
"""Usage is derived and judged every minute, and due jobs start at once: after ten minutes something stands still."""
_SILENT_S: Final = 1800
"""Gateways report far more often than this."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `failed` keeps the service from running, `late` waits too long or for somebody."""

    check: str
    state: State
    detail: str


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False) -> None:
    """Looks at Python, settings, keys, database, backlog, broker, mail and fonts.

    Exit codes: 0 all is well, 1 something would not work, 2 wrong usage, 3 all works but something waits too long or
    for somebody to decide.

    Example: gatemeter doctor --json
    """
    findings = list(examine())
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], ensure_ascii=False, indent=2))
    else:
        for finding in findings:
            typer.echo(f"{_SIGN[finding.state]} {finding.check}: {finding.detail}")
    raise typer.Exit(_exit_code({finding.state for finding in findings}))


def _exit_code(states: set[State]) -> int:
    return 1 if "failed" in states else 3 if "late" in states else 0


def examine() -> Iterator[Finding]:
    """All findings, in order of dependence."""
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("python", "fine" if sys.version_info >= (3, 11) else "failed", f"{version}, 3.11 or newer is needed")
    try:
        settings = load_settings()
    except SettingsError as error:
        yield Finding("settings", "failed", str(error))
    else:
        yield Finding("settings", "fine", "complete")
        yield _keys(settings)
        yield from _database(settings)
        yield _broker(settings)
        yield _mail(settings)
        yield _public_url(settings)
    yield _fonts()


def _keys(settings: CloudSettings) -> Finding:
    try:
        keys = Keys.load(settings.keys_file)
    except KeysError as error:
        return Finding("keys", "failed", str(error))
    return Finding(
        "keys", "fine", f"{settings.keys_file}: seal keys {sorted(keys.seal)}, commands {keys.command_key_id}"
    )


def _database(settings: CloudSettings) -> Iterator[Finding]:
    try:
        with psycopg.connect(settings.dsn(), autocommit=True, connect_timeout=_TIMEOUT_S) as conn:
            yield Finding("database", "fine", f"PostgreSQL {conn.info.server_version // 10000} as {conn.info.user}")
            yield _timescale(conn)
            schema = _migrations(conn)
            yield schema
            if schema.state == "fine":
                yield _holidays(conn, datetime.now(UTC).year)
                yield from waiting(conn)
    except psycopg.Error as error:
        yield Finding("database", "failed", str(error).strip())


def _timescale(conn: psycopg.Connection[tuple[object, ...]]) -> Finding:
    row = conn.execute("SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'").fetchone()
    detail = f"TimescaleDB {row[0]}" if row else "no TimescaleDB: plain partitions are used"
    return Finding("time series", "fine" if row else "note", detail)


def _migrations(conn: psycopg.Connection[tuple[object, ...]]) -> Finding:
    known = {migration.name for migration in read_migrations()}
    found = conn.execute("SELECT to_regclass('schema_migration') IS NOT NULL").fetchone()
    rows = conn.execute("SELECT name FROM schema_migration").fetchall() if found and found[0] else []
    applied = {str(row[0]) for row in rows}
    if applied - known:
        return Finding("schema", "failed", f"newer than this software: {', '.join(sorted(applied - known))}")
    if known - applied:
        detail = f"not applied: {', '.join(sorted(known - applied))}; run gatemeter db migrate"
        return Finding("schema", "failed", detail)
    return Finding("schema", "fine", "up to date")


def _ledger(conn: psycopg.Connection[Any]) -> Finding:
    row = conn.execute("SELECT projects, wrong, oldest_s FROM gm.ledger_proved()").fetchone()
    assert row is not None
    projects, wrong, oldest_s = row
    if wrong:
        return Finding("ledger", "late", f"does not balance in {wrong} of {projects} projects: see its proofs")
    if oldest_s > _PROOF_LATE_S:
        return Finding("ledger", "late", f"last proved {_long(int(oldest_s))} ago: is a worker running?")
    return Finding("ledger", "fine", f"proved in {projects} projects")


def waiting(conn: psycopg.Connection[Any]) -> Iterator[Finding]:
    """What waits, and whether that is too long."""
    with conn.cursor(row_factory=class_row(Backlog)) as cursor:
        found = cursor.execute(BACKLOG).fetchone()
    assert found is not None
    yield _heard(found)
    yield _aged("usage to derive", found.dirty_windows, found.dirty_age_s, "is a worker running?")
    yield _aged("usage to judge", found.unsettled, found.unsettled_age_s, "is a worker running?")
    yield _set_aside(conn)
    yield _aged("due jobs", found.jobs_due, found.job_age_s, "is a worker running?")
    yield _none_of("failed jobs", found.jobs_failed, "failed for good in the last 24 hours, see the exceptions page")
    yield _aged("notices to send", found.notices_due, found.notice_age_s, "is a worker running, does mail go out?")
    yield _none_of("notices given up", found.notices_given_up, "in the last 24 hours: see the page of notices")
    yield _ledger(conn)
    yield _none_of(
        "dead letters",
        found.dead_letters,
        f"wait, the oldest for {_long(found.dead_letter_age_s)}: replay or discard them",
    )
    yield _none_of(
        "unclaimed readings",
        found.unclaimed,
        f"wait, the oldest for {_long(found.unclaimed_age_s)}: set up their devices, or discard them",
    )


def _set_aside(conn: psycopg.Connection[Any]) -> Finding:
    """Meters whose derivation or judgement raises: no other meter waits for them, but their own bills do."""
    row = conn.execute("SELECT meters, age_s, example FROM gm.meters_set_aside()").fetchone()
    assert row is not None
    meters, age_s, example = row
    if not meters:
        return Finding("meters set aside", "fine", "none")
    detail = f"{meters} cannot be worked on, the first for {_long(age_s)}, {example}; see `gatemeter usage set-aside`"
    return Finding("meters set aside", "late", detail)


def _heard(found: Backlog) -> Finding:
    if not found.gateways:
        return Finding("ingest", "note", "no gateway is registered yet")
    if found.heard_age_s is None:
        return Finding("ingest", "note", f"none of {found.gateways} gateways was ever heard of")
    state: State = "late" if found.heard_age_s > _SILENT_S else "fine"
    return Finding(
        "ingest", state, f"{found.gateways} gateways, one of them was heard of {_long(found.heard_age_s)} ago"
    )


def _aged(check: str, count: int, age_s: int | None, question: str) -> Finding:
    if not count:
        return Finding(check, "fine", "nothing waits")
    late = (age_s or 0) > _WAITS_TOO_LONG_S
    return Finding(
        check, "late" if late else "fine", f"{count} wait, the oldest for {_long(age_s)}{late * ('; ' + question)}"
    )


def _none_of(check: str, count: int, detail: str) -> Finding:
    return Finding(check, "late", f"{count} {detail}") if count else Finding(check, "fine", "none")


def _long(seconds: int | None) -> str:
    return str(timedelta(seconds=seconds or 0))


def _holidays(conn: psycopg.Connection[tuple[object, ...]], year: int) -> Finding:
    """Tariffs by the hour take a holiday that is not set for an ordinary day."""
    rows = conn.execute(
        """SELECT code FROM project WHERE NOT EXISTS (
               SELECT FROM calendar_day WHERE project_id = project.id AND kind = 'holiday'
                                          AND extract(year FROM day) = %s)
           ORDER BY code""",
        (year + 1,),
    ).fetchall()
    if rows:
        codes = ", ".join(str(row[0]) for row in rows[:10])
        return Finding("holidays", "note", f"none set for {year + 1} in {len(rows)} projects: {codes}")
    return Finding("holidays", "fine", f"set for {year + 1}")


def _broker(settings: CloudSettings) -> Finding:
    where = f"{settings.broker_host}:{settings.broker_port}"
    try:
        with socket.create_connection((settings.broker_host, settings.broker_port), _TIMEOUT_S) as plain:
            if settings.broker_tls:
                with ssl.create_default_context().wrap_socket(plain, server_hostname=settings.broker_host):
                    return Finding("broker", "fine", f"{where} answers with a valid certificate")
    except OSError as error:
        return Finding("broker", "failed", f"{where}: {error}")
    return Finding("broker", "fine", f"{where} answers")


def _mail(settings: CloudSettings) -> Finding:
    """Whether the mail server lets us in: with TLS and password as they are set, without sending anything."""
    try:
        server = mail_server(settings)
        if server is None:
            return Finding("mail", "note", "GATEMETER_SMTP_HOST is not set: nothing is sent by e-mail")
        asyncio.run(_signs_in(replace(server, timeout_s=_TIMEOUT_S)))
    except (SettingsError, NotSent) as error:
        return Finding("mail", "failed", str(error))
    return Finding("mail", "fine", f"{server.host}:{server.port} lets us in, mail comes from {server.sender}")


async def _signs_in(server: MailServer) -> None:
    async with Session(server) as session:
        await session.open()


def _public_url(settings: CloudSettings) -> Finding:
    if settings.public_url is None:
        return Finding("public address", "note", "GATEMETER_PUBLIC_URL is not set: bills carry no code to pay by")
    return Finding("public address", "fine", settings.public_url)


def _fonts() -> Finding:
    """Whether documents can be written in Chinese: asked of the typesetter itself, which is who must find the font."""
    found = chinese_font(installed().families())
    if found is None:
        return Finding("fonts", "note", f"{NO_CHINESE_FONT}: documents are only written in Latin letters until then")
    return Finding("fonts", "fine", f"CJK: {found}")
