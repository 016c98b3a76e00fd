"""`gatemeter doctor`: what this machine and its settings lack for the service to run."""

import json
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Annotated, Literal

import psycopg
import typer

from cloud.kit.migrate import read_migrations
from cloud.kit.security import Keys, KeysError
from cloud.settings import CloudSettings, SettingsError, load_settings

app = typer.Typer()

State = Literal["fine", "note", "failed"]
_TIMEOUT_S = 5
_SIGN = {"fine": "✓", "note": "·", "failed": "✗"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `failed` ones keep the service from running."""

    check: str
    state: State
    detail: str


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False) -> None:
    """Looks at Python, settings, keys, database, broker and fonts; exit code 1 when something would not work.

    Example: gatemeter doctor --json
    """
    findings = list(examine())
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], ensure_ascii=False, indent=2))
    else:
        for finding in findings:
            typer.echo(f"{_SIGN[finding.state]} {finding.check}: {finding.detail}")
    if any(finding.state == "failed" for finding in findings):
        raise typer.Exit(1)


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


def _fonts() -> Finding:
    lister = shutil.which("fc-list")
    if lister is None:
        return Finding("fonts", "note", "fontconfig is not installed: printed documents need a CJK font")
    done = subprocess.run([lister, ":lang=zh", "family"], capture_output=True, text=True, timeout=30, check=False)
    families = sorted({line.split(",")[0].strip() for line in done.stdout.splitlines() if line.strip()})
    if not families:
        return Finding("fonts", "note", "no CJK font: printed documents will need one (Debian: fonts-noto-cjk)")
    return Finding("fonts", "fine", f"CJK: {families[0]}")
