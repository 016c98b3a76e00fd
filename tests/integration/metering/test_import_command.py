"""`gatemeter readings import`: answers, exit codes, and nothing stored by a dry run."""

import asyncio
import json
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner, Result

from cloud.kit.db import Database
from cloud.metering.commands import app
from tests.integration.metering.site import make_site

RUNNER = CliRunner()
HEAD = "表号,抄表时间,读数,单位\n"
GOOD = "E1,2026-01-31 08:00,1.5,kWh\n"


@pytest.fixture
def dsn(owner_dsn: str) -> str:
    async def make() -> None:
        async with Database(owner_dsn, "gatemeter_worker", max_size=1) as db:
            await make_site(db)

    asyncio.run(make())
    return owner_dsn


def run(dsn: str, file: Path, *options: str) -> Result:
    return RUNNER.invoke(app, ["import", str(file), "--project", "demo", "--dsn", dsn, *options])


def stored(dsn: str) -> list[tuple[int, int]]:
    with psycopg.connect(dsn) as conn:
        return conn.execute("SELECT value, quality FROM store.reading ORDER BY value").fetchall()


def test_a_half_bad_file(dsn: str, tmp_path: Path) -> None:
    file = tmp_path / "readings.csv"
    file.write_bytes((HEAD + GOOD + "E9,2026-01-31,1,\n").encode("gb18030"))
    tried = run(dsn, file, "--dry-run")
    assert (tried.exit_code, stored(dsn)) == (1, [])
    assert f"{file}:3: refused unknown-meter (meter)" in tried.stdout
    done = run(dsn, file, "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.exit_code, [row["outcome"] for row in rows]) == (1, ["stored", "refused"])
    assert stored(dsn) == [(1_500, 32)]


def test_a_good_file_twice(dsn: str, tmp_path: Path) -> None:
    file = tmp_path / "readings.csv"
    file.write_text(HEAD + GOOD)
    for outcome in ("stored: 1  repeated: 0", "stored: 0  repeated: 1"):
        done = run(dsn, file)
        assert done.exit_code == 0, done.output
        assert outcome in done.stderr
    assert stored(dsn) == [(1_500, 32)]


def test_intervals_become_a_register_and_the_import_is_kept(dsn: str, tmp_path: Path) -> None:
    file = tmp_path / "halfhours.csv"
    file.write_text("meter,time,energy\nE1,2026-01-31 08:30,0.4\nE1,2026-01-31 09:00,0.6\n")
    done = run(dsn, file, "--kind", "interval", "--interval", "1800", "--stamped", "end", "--opening", "12.5")
    assert done.exit_code == 0, done.output
    assert stored(dsn) == [(12_500, 32), (12_900, 32), (13_500, 32)]
    with psycopg.connect(dsn) as conn:
        kept = conn.execute("SELECT file_name, kind, stamped, opening, state, actor FROM reading_import").fetchall()
    assert kept == [("halfhours.csv", "interval", "end", "12.5", "done", "command-line")]


@pytest.mark.parametrize(("content", "said"), [("a,b\n1,2\n", "a"), (None, "readable file")])
def test_a_file_that_cannot_be_read(dsn: str, tmp_path: Path, content: str | None, said: str) -> None:
    file = tmp_path / "readings.csv"
    if content is not None:
        file.write_text(content)
    done = run(dsn, file)
    assert done.exit_code == 2
    assert said in done.stderr
    assert stored(dsn) == []
