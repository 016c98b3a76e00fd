"""`gatemeter readings export` and `gatemeter usage export`: the file, or none and the reason."""

import asyncio
import csv
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from pyarrow import parquet
from typer.testing import CliRunner, Result

from cloud.kit.db import Database
from cloud.metering.commands import app, usage_app
from cloud.metering.exports import making as exports
from tests.integration.app import People
from tests.integration.metering.tenants import House, make_house, read_every

RUNNER = CliRunner()
Run = Callable[..., Result]


@pytest.fixture
def run(owner_dsn: str) -> Run:
    """The command over a house with usage and readings."""

    async def make() -> House:
        async with Database(owner_dsn, None, max_size=2) as db:
            house = await make_house(db, People(db))
            await read_every(db, house.project, house.sub)
            return house

    asyncio.run(make())

    def export(command: typer.Typer, file: Path, *options: str) -> Result:
        days = ["--from", "2026-01-05", "--to", "2026-01-07"]
        given = ["export", str(file), "--dsn", owner_dsn, "--project", "project-0", *days, *options]
        return RUNNER.invoke(command, given)

    return export


def test_readings_of_a_meter(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "sub.parquet"
    done = run(app, file, "--meter", "SUB")
    assert done.exit_code == 0, done.output
    assert [(row["meter"], str(row["value"])) for row in parquet.read_table(file).slice(0, 2).to_pylist()] == [
        ("SUB", "1.000"), ("SUB", "1.001"),
    ]  # fmt: skip


def test_usage_of_a_building_by_unit(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "usage.csv"
    done = run(usage_app, file, "--building", "B1", "--group", "unit", "--step", "day")
    assert done.exit_code == 0, done.output
    with file.open(encoding="utf-8-sig", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [(row["name"], row["quantity"], row["start"]) for row in rows] == [
        ("House 1 101", "24.000", "2026-01-05T00:00:00+08:00"),
        ("House 1 101", "24.000", "2026-01-06T00:00:00+08:00"),
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--meter", "E9"), "no meter E9"),
        (("--building", "B9"), "no building B9"),
        (("--building", "B1", "--meter", "SUB"), "exactly one of"),
        (("--from", "yesterday"), "from: "),
        (("--to", "2026-01-01"), "expected 1 to"),
        (("--channel", "x"), "code of a channel"),
        (("--project", "nowhere"), "no project nowhere"),
    ],
)
def test_what_is_wrong_is_said(run: Run, tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    done = run(app, tmp_path / "readings.csv", *options)
    assert (done.exit_code, said in done.stderr) == (2, True), done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_no_known_kind_or_place(run: Run, tmp_path: Path) -> None:
    done = run(app, tmp_path / "readings.ods")
    assert (done.exit_code, "'csv'" in done.stderr) == (2, True), done.stderr
    done = run(app, tmp_path / "nowhere" / "readings.csv")
    assert (done.exit_code, "place to write to" in done.stderr) == (2, True), done.stderr


def test_a_file_that_fails_leaves_the_one_before(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "readings.csv"
    file.write_text("before")

    def fails(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(exports, "_reading_row", fails)
    assert isinstance(run(app, file).exception, ZeroDivisionError)
    assert ([one.name for one in tmp_path.iterdir()], file.read_text()) == (["readings.csv"], "before")
