"""The calendar of a project: REST, the page with its previews, files, and the command."""

import asyncio
from datetime import date
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from cloud.estate.calendar import calendar_days
from cloud.estate.calendar_commands import app as commands
from cloud.estate.calendar_files import preset, presets, read_calendar
from cloud.identity.guards import SESSION_COOKIE
from cloud.kit.calendars import day_type
from cloud.kit.db import SYSTEM, Database
from cloud.kit.errors import InvalidInput
from cloud.kit.periods import Period
from tests.integration.app import People
from tests.integration.browser import text_of

YEAR = Period(date(2026, 1, 1), date(2027, 1, 1))


def test_the_calendars_that_ship_swap_days_as_announced() -> None:
    assert presets() == ["cn-2025", "cn-2026"]
    kinds = {one.day: one.kind for one in preset("cn-2026")}
    assert day_type(date(2026, 2, 14), kinds) == "work"  # a Saturday
    assert day_type(date(2026, 2, 16), kinds) == "holiday"  # a Monday
    for name, holidays, worked in (("cn-2025", 28, 5), ("cn-2026", 33, 6)):
        days = preset(name)
        assert sum(one.kind == "holiday" for one in days) == holidays
        assert [one.day.weekday() >= 5 for one in days if one.kind == "work"] == [True] * worked


def test_files() -> None:
    ics = (
        "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nDTSTART;VALUE=DATE:20261001\r\nDTEND;VALUE=DATE:20261003\r\n"
        "SUMMARY:国庆\r\n 节\r\nEND:VEVENT\r\nBEGIN:VEVENT\r\nDTSTART;VALUE=DATE:20261010\r\nSUMMARY:国庆节补班\r\n"
        "END:VEVENT\r\nEND:VCALENDAR\r\n"
    )
    found = [(one.day.day, one.kind, one.name) for one in read_calendar(ics)]
    assert found == [(1, "holiday", "国庆节"), (2, "holiday", "国庆节"), (10, "work", "国庆节补班")]
    assert [one.kind for one in read_calendar("day,kind,name\n2026-07-01,critical,Heat\n")] == ["critical"]


@pytest.mark.parametrize(
    "text",
    ["", "day,kind\n", "date,what\n2026-01-01,holiday\n", "day,kind\n2026-02-30,holiday\n",
     "day,kind\n2026-01-01,off\n",
     "day,kind\n2026-01-01,work\n2026-01-01,rest\n",
     "BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:20260101\nRRULE:FREQ=YEARLY\nEND:VEVENT\n"],
)  # fmt: skip
def test_files_that_are_no_calendar(text: str) -> None:
    with pytest.raises(InvalidInput):
        read_calendar(text)


async def test_rest_and_page(app_client: httpx.AsyncClient, owner_db: Database, people: People) -> None:
    project = await people.project()
    auth = await people.staff("manager", project.id)
    body = {"project_id": project.id, "days": [{"day": "2026-10-01", "kind": "holiday", "name": "国庆节"}]}
    for _ in range(2):
        assert (await app_client.put("/api/v1/calendar-days", json=body, headers=auth)).status_code == 200
    address = f"/api/v1/calendar-days?project_id={project.id}&start=2026-01-01&end=2027-01-01"
    listed = (await app_client.get(address, headers=auth)).json()["items"]
    assert listed == [{"day": "2026-10-01", "kind": "holiday", "name": "国庆节"}]
    viewer = await people.staff("viewer", project.id)
    assert (await app_client.put("/api/v1/calendar-days", json=body, headers=viewer)).status_code == 403
    async with owner_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
    app_client.cookies.set(SESSION_COOKIE, auth["Authorization"].removeprefix("Bearer "))
    assert "国庆节" in (await app_client.get("/calendar?year=2026")).text
    token = {"csrf_token": app_client.cookies.get("csrf_token") or ""}
    looked = await app_client.post("/calendar/preset", data={**token, "name": "cn-2026"})
    assert "春节调休上班" in looked.text
    text = "day,kind,name\n" + "\n".join(f'{one.day},{one.kind},"{one.name}"' for one in preset("cn-2026"))
    done = await app_client.post("/calendar/import", data={**token, "days": text})
    assert done.headers["location"] == "/calendar?year=2026&done=saved"
    marked = {**token, "first": "2026-10-01", "last": "2026-10-08", "kind": "", "name": ""}
    assert (await app_client.post("/calendar", data=marked)).status_code == 303
    async with owner_db.transaction(SYSTEM) as conn:
        days = await calendar_days(conn, project.id, YEAR)
    assert len(days) == 39 - 7
    file = {"file": ("c.csv", "day,kind,name\n2026-12-25,critical,Cold\n")}
    assert "Cold" in text_of((await app_client.post("/calendar/file", data=token, files=file)).text)


async def test_the_command(owner_dsn: str, people: People, tmp_path: Path) -> None:
    project = await people.project("sunshine")
    run = CliRunner().invoke
    done = await asyncio.to_thread(run, commands, ["calendar", "import", project.code, "cn-2025", "--dsn", owner_dsn])
    assert done.exit_code == 0, done.output
    assert "33 days" in done.output
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("nothing", "utf-8")
    refused = await asyncio.to_thread(
        run, commands, ["calendar", "import", project.code, str(wrong), "--dsn", owner_dsn]
    )
    assert refused.exit_code == 2
    unknown = await asyncio.to_thread(run, commands, ["calendar", "import", "nobody", "cn-2025", "--dsn", owner_dsn])
    assert unknown.exit_code == 2
