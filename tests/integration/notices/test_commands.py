"""`gatemeter notices test-mail` and the doctor's look at mail: against a real server, and what they exit with."""

import asyncio
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner

from cloud.commands import doctor
from cloud.notices import commands
from cloud.settings import load_settings
from simulators.mail.server import MailServer as Peer
from simulators.mail.server import serving


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Settings of an installation without mail."""
    for name, value in {"DATABASE_DSN": "x", "KEYS_FILE": "k", "SMTP_TLS": "off", "SMTP_TIMEOUT_S": "5"}.items():
        monkeypatch.setenv(f"GATEMETER_{name}", value)
    return monkeypatch


def _points_to(environment: pytest.MonkeyPatch, peer: Peer) -> None:
    environment.setenv("GATEMETER_SMTP_HOST", peer.host)
    environment.setenv("GATEMETER_SMTP_PORT", str(peer.port))
    environment.setenv("GATEMETER_MAIL_FROM", "bills@garden.example.com")


async def _test_mail(to: str) -> tuple[int, str]:
    done = await asyncio.to_thread(CliRunner().invoke, commands.app, ["test-mail", "--to", to])
    return done.exit_code, done.output


async def test_a_test_mail_says_what_the_server_answered(environment: pytest.MonkeyPatch) -> None:
    assert (await _test_mail("li@example.com"))[0] == 3
    async with serving(Peer()) as peer:
        _points_to(environment, peer)
        code, told = await _test_mail("li@example.com")
        assert (code, "took the message for li@example.com" in told) == (0, True)
        code, told = await _test_mail("refuses@example.com")
        assert (code, "550 5.1.1 <refuses@example.com>: no such mailbox" in told) == (4, True)
        assert (await _test_mail("li"))[0] == 2
    assert (await _test_mail("li@example.com"))[0] == 1
    environment.setenv("GATEMETER_MAIL_FROM", "nobody")
    code, told = await _test_mail("li@example.com")
    assert (code, "GATEMETER_MAIL_FROM" in told) == (2, True)
    assert [mail.sender for mail in peer.taken] == ["bills@garden.example.com"]


async def test_the_doctor_knocks_at_the_mail_server(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def state() -> str:
        return (await asyncio.to_thread(doctor._mail, load_settings())).state

    assert await state() == "note"
    peer = Peer(credentials=("gm", "geheim"))
    async with serving(peer):
        _points_to(environment, peer)
        environment.setenv("GATEMETER_SMTP_USERNAME", "gm")
        environment.setenv("GATEMETER_SMTP_PASSWORD_FILE", str(tmp_path / "password"))
        assert await state() == "failed"
        (tmp_path / "password").write_text("geheim\n")
        assert await state() == "fine"
        (tmp_path / "password").write_text("wrong\n")
        assert await state() == "failed"
    assert peer.taken == []


def test_the_doctor_tells_of_notices_that_wait_too_long(owner_dsn: str) -> None:
    def found() -> dict[str, str]:
        with psycopg.connect(owner_dsn) as conn:
            return {one.check: one.state for one in doctor.waiting(conn) if one.check.startswith("notices")}

    assert found() == {"notices to send": "fine", "notices given up": "fine"}
    with psycopg.connect(owner_dsn) as conn:
        conn.execute(
            """WITH p AS (INSERT INTO project (code, name, time_zone, currency)
                          VALUES ('a', 'A', 'Asia/Shanghai', 'CNY') RETURNING id),
                    m AS (INSERT INTO person (project_id, name) SELECT id, 'Li' FROM p RETURNING project_id, id)
               INSERT INTO notice (project_id, person_id, kind, dedupe_key, language, subject, paragraphs, state,
                                   reason, queued_at, ended_at)
               SELECT m.project_id, m.id, 'bill', n.key, 'en', 'Bill', '{text}', n.state, n.reason,
                      now() - interval '11 minutes', n.ended_at
               FROM m, (VALUES ('1', 'queued', '', NULL), ('2', 'given_up', 'refused', now()))
                       AS n (key, state, reason, ended_at)"""
        )
    assert found() == {"notices to send": "late", "notices given up": "late"}
