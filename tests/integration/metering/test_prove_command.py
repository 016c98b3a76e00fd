"""`gatemeter usage prove`: what was wrong, and exit codes that say so."""

import asyncio
import json
from collections.abc import Callable

import psycopg
import pytest
from typer.testing import CliRunner, Result

from cloud.kit.db import Database
from cloud.metering.commands import usage_app
from tests.integration.metering.site import Site, make_site

RUNNER = CliRunner()
Run = Callable[..., Result]


@pytest.fixture
def run(owner_dsn: str) -> Run:
    """The command over a project with an hour of usage in February and another in April that nobody counted."""

    async def make() -> Site:
        async with Database(owner_dsn, None, max_size=2) as db:
            return await make_site(db, meters=1)

    site = asyncio.run(make())
    with psycopg.connect(owner_dsn) as conn:
        for start in ("2026-02-10 05:00+00", "2026-04-10 05:00+00"):
            conn.execute(
                """INSERT INTO store.usage (meter_id, start, length_s, quantity, channel, project_id)
                   VALUES (%s, %s, 3600, 7, 1, %s)""",
                (site.meters[0], start, site.project_id),
            )

    def prove(*options: str, project: str = "demo", start: str = "2026-02-01", to: str = "2026-04-01") -> Result:
        given = ["prove", "--dsn", owner_dsn, "--project", project, "--from", start, "--to", to, *options]
        return RUNNER.invoke(usage_app, given)

    return prove


def test_what_was_wrong_of_these_days_is_mended_and_said(run: Run) -> None:
    found = run("--json")
    assert found.exit_code == 1, found.output
    first, second = map(json.loads, found.output.splitlines())
    assert first["wrong"] > 0
    assert first == {"from": "2026-02-01", "to": "2026-03-04", "wrong": first["wrong"]}
    assert second == {"from": "2026-03-04", "to": "2026-04-01", "wrong": 0}
    again = run()
    assert again.exit_code == 0
    assert again.output.splitlines()[-1] == "everything is right"
    rest = run(start="2026-04-01", to="2026-05-01")
    assert (rest.exit_code, rest.output.splitlines()[-1].split(" ", 1)[1]) == (1, "counts were wrong and are mended")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"start": "March"}, "--from: expected a day such as 2026-03-01, not March"),
        ({"to": "2026-02-01"}, "--to: expected a day after 2026-02-01, not 2026-02-01"),
        ({"project": "moon"}, "there is no project moon"),
    ],
)
def test_wrong_input_is_named(run: Run, wrong: dict[str, str], message: str) -> None:
    shown = run(**wrong)
    assert shown.exit_code == 2
    assert message in shown.output
