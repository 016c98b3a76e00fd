"""The commands of what could not be taken, as administration types them."""

import asyncio
import json
from typing import Any

import pytest
from typer.testing import CliRunner

from cloud.ingest.commands import app
from cloud.ingest.writer import Writer
from cloud.kit.db import Database
from tests.integration.ingest.test_inbox import broken
from tests.integration.metering.site import hourly, make_site, message


async def run(*arguments: str, code: int = 0) -> Any:
    """Runs in a thread of its own: a command has an event loop of its own."""
    done = await asyncio.to_thread(CliRunner().invoke, app, [*arguments, "--json"])
    assert done.exit_code == code, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


async def test_counting_trying_discarding_and_taking_back(
    ingest_db: Database, worker_db: Database, owner_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEMETER_DATABASE_DSN", owner_dsn)
    monkeypatch.setenv("GATEMETER_KEYS_FILE", "not-needed.json")
    await make_site(worker_db)
    await broken(ingest_db, b"[1,", b"[2,", b"")
    await Writer(ingest_db).store([message(1, hourly("spare", 0, [1, 2]))])
    letters = ("replay-dead-letters", "--project", "demo")
    assert await run(*letters, "--dry-run") == [{"dry_run": True, "bad-json": 2, "empty": 1}]
    assert await run(*letters, "--reason", "bad-json", "--limit", "1") == [{"stored": 0, "kept": 1}]
    assert await run(*letters, "--since", "2999-01-01", "--dry-run") == [{"dry_run": True}]
    assert await run("claim", "--device", "spare", "--dry-run") == [{"dry_run": True, "unbound": 2}]
    assert await run("claim") == [{"stored": 0, "kept": 2}]
    [made] = await run("discard", "dead-letters", "--reason", "empty", "--because", "a test")
    assert (made["found"], made["reason"]) == (1, "a test")
    assert await run(*letters, "--dry-run") == [{"dry_run": True, "bad-json": 2}]
    await run("discard", "dead-letters", "--reason", "empty", "--because", "a test", code=2)
    await run("discard", "songs", "--because", "a test", code=2)
    await run("claim", "--project", "nowhere", code=2)
    assert [one["decision"] for one in await run("decisions")] == [made["decision"]]
    assert "undone_by" in (await run("undo", str(made["decision"])))[0]
    assert await run(*letters, "--dry-run") == [{"dry_run": True, "bad-json": 2, "empty": 1}]
    correct = ("correct-clock", "--project", "demo", "--gateway", "gw-1", "--device", "m1", "--because", "DST")
    await run(*correct, "--ahead-s", "60", code=2)
