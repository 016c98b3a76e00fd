"""The way to production: migrate, logins, keys, projects, users, doctor, through the real commands."""

import json
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from typer.testing import CliRunner

from cloud.commands import db, doctor, keys
from cloud.estate import commands as projects
from cloud.identity import commands as users
from cloud.kit.migrate import read_migrations

RUNNER = CliRunner()


@pytest.fixture
def empty_dsn(server_dsn: str) -> Iterator[str]:
    """A database without a schema."""
    name = sql.Identifier(f"gm_empty_{secrets.token_hex(6)}")
    with psycopg.connect(server_dsn, autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(name))
        yield make_conninfo(server_dsn, dbname=name.as_string(None).strip('"'))
        conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


def test_migrate_is_repeatable(empty_dsn: str) -> None:
    first = RUNNER.invoke(db.app, ["migrate", "--dsn", empty_dsn])
    assert first.exit_code == 0, first.output
    assert first.output.count("applied") == len(read_migrations())
    again = RUNNER.invoke(db.app, ["migrate", "--dsn", empty_dsn])
    assert (again.exit_code, again.output) == (0, "the schema is up to date\n")


def test_an_unreachable_database_is_told_without_a_traceback() -> None:
    done = RUNNER.invoke(db.app, ["migrate", "--dsn", "host=127.0.0.1 port=1 dbname=x"])
    assert done.exit_code == 2
    assert "Traceback" not in done.output


def test_a_process_logs_in_as_itself_and_cannot_pass_row_level_security(owner_dsn: str, tmp_path: Path) -> None:
    done = RUNNER.invoke(db.app, ["grant-login", "web", "--dsn", f"{owner_dsn}"])
    assert done.exit_code == 0, done.output
    dsn = done.output.strip()
    assert conninfo_to_dict(dsn)["user"] == "gatemeter_web"
    with psycopg.connect(dsn) as conn:
        assert conn.execute("SELECT count(*) FROM project").fetchone() == (0,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute("SET ROLE gatemeter_worker")


def test_a_given_password_is_not_printed(owner_dsn: str, tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("short")
    refused = RUNNER.invoke(db.app, ["grant-login", "ingest", "--dsn", owner_dsn, "--password-file", str(path)])
    assert (refused.exit_code, "at least 12" in refused.output) == (2, True)
    path.write_text("a long enough password\n")
    done = RUNNER.invoke(db.app, ["grant-login", "ingest", "--dsn", owner_dsn, "--password-file", str(path)])
    assert done.exit_code == 0, done.output
    assert "password" not in conninfo_to_dict(done.output.strip())
    with psycopg.connect(done.output.strip(), password="a long enough password") as conn:
        assert conn.info.user == "gatemeter_ingest"


def test_keys_are_made_once_and_their_public_half_shown(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    made = RUNNER.invoke(keys.app, ["create", str(path)])
    assert made.exit_code == 0, made.output
    assert RUNNER.invoke(keys.app, ["create", str(path)]).exit_code == 2
    shown = json.loads(RUNNER.invoke(keys.app, ["show-public", str(path), "--json"]).output)
    (key_id,) = shown
    assert f"{key_id}: {shown[key_id]}" in made.output
    assert json.loads(path.read_text())["command"]["private_key"] not in made.output


def test_the_first_project_and_its_users(owner_dsn: str) -> None:
    def invoke(app: object, *arguments: str) -> tuple[int, str]:
        done = RUNNER.invoke(app, [*arguments, "--dsn", owner_dsn])  # type: ignore[arg-type]  # a Typer
        return done.exit_code, done.output

    assert invoke(projects.app, "create", "sunshine", "阳光花园") == (0, "project 1: sunshine\n")
    code, output = invoke(projects.app, "create", "moon", "M", "--time-zone", "Mars/Olympus")
    assert (code, "IANA time zone" in output) == (2, True)
    code, output = invoke(projects.app, "create", "sunshine", "again")
    assert (code, "exists already" in output) == (2, True)
    code, output = invoke(users.app, "create", "li.na", "--role", "manager", "--project", "sunshine")
    assert (code, output.startswith("user 1: li.na  password: ")) == (0, True)
    code, output = invoke(users.app, "create", "LI.NA", "--role", "admin")
    assert (code, "already" in output) == (2, True)
    assert invoke(users.app, "create", "king", "--role", "king")[0] == 2
    assert invoke(users.app, "create", "x1", "--role", "viewer", "--project", "moon")[0] == 2
    assert invoke(users.app, "create", "x1", "--person", "7")[0] == 2
    assert invoke(users.app, "create", "x1")[0] == 2


def test_the_doctor_finds_what_is_missing(
    owner_dsn: str, empty_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "keys.json"
    monkeypatch.setenv("GATEMETER_KEYS_FILE", str(path))
    monkeypatch.setenv("GATEMETER_DATABASE_DSN", empty_dsn)
    with socket.create_server(("127.0.0.1", 0)) as broker:
        monkeypatch.setenv("GATEMETER_BROKER_PORT", str(broker.getsockname()[1]))
        code, found = _examined()
        assert (code, found["keys"], found["schema"], found["broker"]) == (1, "failed", "failed", "fine")
        RUNNER.invoke(keys.app, ["create", str(path)])
        monkeypatch.setenv("GATEMETER_DATABASE_DSN", owner_dsn)
        code, found = _examined()
        assert (code, found["keys"], found["schema"], found["database"]) == (0, "fine", "fine", "fine")
        with psycopg.connect(owner_dsn, autocommit=True) as conn:
            assert _waiting(conn) == {"ingest": "note"}
            conn.execute(
                "INSERT INTO store.dirty_window (meter_id, channel, project_id, from_at, until_at)"
                " VALUES (1, 1, 1, now(), now())"
            )
            assert _waiting(conn) == {"ingest": "note"}
            conn.execute("UPDATE store.dirty_window SET created_at = now() - interval '11 minutes'")
            conn.execute(
                "INSERT INTO store.changed_usage (meter_id, channel, project_id, from_at, until_at, created_at)"
                " VALUES (1, 1, 1, now(), now(), now() - interval '1 hour')"
            )
            conn.execute(
                "INSERT INTO dead_letter (topic, payload, payload_hash, reason, detail)"
                " VALUES ('t', '', '', 'empty', '')"
            )
            conn.execute("INSERT INTO job (kind, state, finished_at) VALUES ('x', 'failed', now())")
            assert _waiting(conn) == {
                "ingest": "note", "usage to derive": "late", "usage to judge": "late", "dead letters": "late",
                "failed jobs": "late",
            }  # fmt: skip
            proof = "INSERT INTO ledger_proof (project_id, proved_at, journals, bills, accounts, discrepancies, found)"
            conn.execute("INSERT INTO project (code, name, time_zone) VALUES ('p', 'P', 'Asia/Shanghai')")
            for ago, wrong, state in (("1 hour", 1, "late"), ("3 days", 0, "late"), ("1 hour", 0, None)):
                conn.execute(f"{proof} VALUES (1, now() - %s::interval, 1, 1, 1, %s, '[]')", (ago, wrong))
                assert _waiting(conn).get("ledger") == state
            conn.execute("UPDATE dead_letter SET replayed_at = now()")
            assert "dead letters" not in _waiting(conn)
        code, found = _examined()
        assert (code, found["usage to derive"]) == (3, "late")
    assert _examined()[0] == 1
    assert _examined()[1]["broker"] == "failed"


def _waiting(conn: psycopg.Connection[Any]) -> dict[str, str]:
    """Everything that is not fine."""
    return {finding.check: finding.state for finding in doctor.waiting(conn) if finding.state != "fine"}


def _examined() -> tuple[int, dict[str, str]]:
    done = RUNNER.invoke(doctor.app, ["--json"])
    return done.exit_code, {finding["check"]: finding["state"] for finding in json.loads(done.output)}
