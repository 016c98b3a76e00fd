"""`gatemeter doctor`: what this machine and its settings lack for the service to run."""

import json
import socket
import ssl
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Annotated, Literal

import psycopg
import typer

from cloud.billing.documents.pdf import NO_CHINESE_FONT, chinese_font, installed
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
            yield _migrations(conn)
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
