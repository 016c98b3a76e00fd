"""What real households and a real house used: from their files over the API into usage, to the last unit."""

import csv
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import httpx

from cloud.kit.db import SYSTEM, Database
from cloud.kit.jobs import JobContext
from cloud.metering import jobs
from cloud.metering import service as metering
from cloud.metering.records import NewMeter
from tests.integration.app import Auth, People, once
from tests.integration.metering.test_derivation import table

DATA: Final = Path(__file__).parents[2] / "data"
HOUSEHOLDS: Final = DATA / "electric" / "households.csv"
WATER: Final = DATA / "water" / "whole_house.csv"
SYDNEY: Final = ZoneInfo("Australia/Sydney")
HALF_HOUR: Final = 1_800
ML: Final = 1_000
CUBIC_METRES_5: Final = 100_000 * 1_000_000
"""Modulus of a water register of five digits."""
Q4: Final = 5_000_000
"""mL/h."""


async def run_jobs(db: Database) -> None:
    """What a worker would do, until nothing is left."""
    while True:
        async with db.transaction(SYSTEM) as conn:
            found = await conn.execute(
                """UPDATE job SET state = 'done'
                   WHERE id = (SELECT id FROM job WHERE state = 'queued' AND kind = ANY (%s) ORDER BY id LIMIT 1)
                   RETURNING id, kind, project_id, payload""",
                (["metering.import-readings", "metering.derive-usage"],),
            )
            job = await found.fetchone()
        if job is None:
            return
        await jobs.HANDLERS[job["kind"]](JobContext(job["id"], job["project_id"], job["payload"], db))


async def post_file(client: httpx.AsyncClient, auth: Auth, path: Path, **fields: str) -> dict[str, Any]:
    """Uploads a file and answers with the import."""
    answer = await client.post(
        "/api/v1/reading-imports",
        data=fields,
        files={"file": (path.name, path.read_bytes(), "text/csv")},
        headers={**auth, **once()},
    )
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def get(client: httpx.AsyncClient, auth: Auth, path: str) -> dict[str, Any]:
    answer = await client.get(f"/api/v1/{path}", headers=auth)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def confirm(client: httpx.AsyncClient, auth: Auth, db: Database, path: str, code: str, reason: str) -> None:
    """Confirms all rows of an import that this is asked about, and has them stored."""
    body = {"code": code, "reason": reason}
    told = await client.post(f"/api/v1/{path}/confirmations", json=body, headers={**auth, **once()})
    assert told.status_code == 201, told.text
    await run_jobs(db)


def half_hours() -> tuple[dict[str, dict[int, int]], int]:
    """By household the Wh of half hours by their start, and how many rows are of an hour that Sydney skips."""
    found: dict[str, dict[int, int]] = {}
    skipped = 0
    with HOUSEHOLDS.open(newline="") as stream:
        for row in csv.DictReader(stream):
            local = datetime.fromisoformat(row["reading_datetime"]).replace(tzinfo=SYDNEY)
            start = local.astimezone(UTC)
            if start.astimezone(SYDNEY).replace(tzinfo=None) != local.replace(tzinfo=None):
                skipped += 1
                continue
            found.setdefault(row["meter"], {})[int(start.timestamp())] = int(Decimal(row["general_supply_kwh"]) * 1000)
    return found, skipped


async def test_half_hours_of_households(
    app_client: httpx.AsyncClient, people: People, worker_db: Database, owner_db: Database
) -> None:
    project = await people.project()
    async with owner_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE project SET time_zone = 'Australia/Sydney'")
    wh, skipped = half_hours()
    async with worker_db.transaction(SYSTEM) as conn:
        new = [
            NewMeter(code, "electricity", None, 10**9, 60_000, date(2012, 1, 1), interval_s=HALF_HOUR) for code in wh
        ]
        made = await metering.create_meters(conn, project.id, new)
    auth = await people.staff("manager", project.id)
    fields = {"project_id": str(project.id), "kind": "interval", "interval_s": "1800", "opening": "999999.9"}
    path = f"reading-imports/{(await post_file(app_client, auth, HOUSEHOLDS, **fields))['id']}"
    await run_jobs(worker_db)
    rows = sum(len(one) for one in wh.values())
    counts = (await get(app_client, auth, path))["counts"]
    assert (skipped, counts["refused"], sum(counts.values())) == (2, 2, rows + 2)
    asked = await get(app_client, auth, f"{path}/rows?code=skipped-time")
    assert [row["cells"][1] for row in asked["items"]] == ["2013-10-06 02:00:00", "2013-10-06 02:30:00"]
    await confirm(app_client, auth, worker_db, path, "after-refused", "the publisher moved this hour")
    assert (await get(app_client, auth, path))["counts"] == {"stored": rows, "refused": 2}
    for meter in made:
        usage = await table(
            worker_db,
            f"SELECT start, length_s, quantity, method FROM store.usage WHERE meter_id = {meter.id} ORDER BY start",
        )
        assert {row["length_s"] for row in usage} == {HALF_HOUR}
        by_start = {int(row["start"].timestamp()): row["quantity"] for row in usage}
        # Nobody knows what was used in a gap: the register stands still.
        assert {start: quantity for start, quantity in by_start.items() if quantity or start in wh[meter.code]} == wh[
            meter.code
        ]
        # It began 100 Wh before its end: every one of them goes round, once.
        assert sum(row["method"] == 1 for row in usage) == 1


async def test_a_house_with_garbage_in_its_water(
    app_client: httpx.AsyncClient, people: People, worker_db: Database
) -> None:
    with WATER.open(newline="") as stream:
        file = list(csv.DictReader(stream))
    litres = [int(row["volume"]) for row in file]
    good = [n for n in litres if 0 <= n < CUBIC_METRES_5 // ML // 1000]
    project = await people.project()
    async with worker_db.transaction(SYSTEM) as conn:
        new = NewMeter("WH", "water", None, CUBIC_METRES_5, Q4, date(2020, 1, 1), interval_s=900)
        (meter,) = await metering.create_meters(conn, project.id, [new])
    auth = await people.staff("manager", project.id)
    put = await post_file(app_client, auth, WATER, project_id=str(project.id), kind="interval")
    path = f"reading-imports/{put['id']}"
    await run_jobs(worker_db)

    async def counts() -> dict[str, int]:
        done = await get(app_client, auth, path)
        assert done["state"] == "done"
        found: dict[str, int] = done["counts"]
        assert sum(found.values()) == done["rows"] == len(file)  # nothing is lost
        return found

    # A day's litres in the ten seconds before midnight are more than the meter can, and hold up what follows.
    first = await counts()
    assert first["refused"] == len(litres) - len(good) == 72
    assert 0 < first["stored"] < len(good) - 100
    asked = (await get(app_client, auth, f"{path}/rows?outcome=needs-confirmation&limit=1"))["items"][0]
    assert (asked["code"], asked["value"]) == ("maximum", "0.118000 m³")

    await confirm(app_client, auth, worker_db, path, "maximum", "counted at midnight for the whole day")
    second = await counts()
    assert first["stored"] < second["stored"] < len(good)
    await confirm(app_client, auth, worker_db, path, "after-refused", "garbage of the device is left out")
    assert await counts() == {"stored": len(good), "refused": 72}
    codes = [(await get(app_client, auth, f"{path}/rows?code={code}&limit=100"))["items"]
             for code in ("negative", "beyond-register")]  # fmt: skip
    assert [len(rows) for rows in codes] == [36, 36]

    usage = await table(worker_db, "SELECT start, length_s, quantity, method FROM store.usage ORDER BY start")
    assert sum(row["quantity"] for row in usage) == sum(good) * ML
    # The counter ran through the hole of 17 days: what it says is shared out, and shown as an estimate.
    hole = next(row for row in file if row["volume"] == "1136")
    start, end = (datetime.fromisoformat(hole[name]) for name in ("time", "end"))
    inside = [row for row in usage if start < row["start"] and row["start"].timestamp() + 900 < end.timestamp()]
    assert len(inside) > 17 * 23 * 4
    assert all(row["method"] >= 3 for row in inside)
    query = f"meters/{meter.id}/usage?from=2020-08-01&to=2020-09-01&step=month"
    (month,) = (await get(app_client, auth, query))["items"]
    assert (Decimal(month["quantity"]), month["estimated"]) == (Decimal(sum(good)) / 1000, True)
