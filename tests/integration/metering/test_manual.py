"""Readings that people type in."""

from datetime import UTC, datetime, timedelta

import httpx
import psycopg
import pytest

from cloud.kit.db import SYSTEM, Asker, Database
from cloud.kit.errors import Conflict, InvalidInput
from cloud.metering.manual import service as manual
from tests.integration.app import People
from tests.integration.metering.site import make_site

AT = datetime(2026, 1, 31, tzinfo=UTC)


async def test_stored_once_and_never_over_another_value(worker_db: Database, web_db: Database) -> None:
    site = await make_site(worker_db)
    staff = Asker("staff", (site.project_id,))
    for _ in range(2):
        async with web_db.transaction(staff) as conn:
            looked = await manual.read_typed(conn, site.meters[0], "12.5", AT)
            assert (await manual.enter(conn, looked, "user:a")).value == 12_500
    with pytest.raises(Conflict, match=r"12\.500 kWh"):
        async with web_db.transaction(staff) as conn:
            await manual.enter(conn, await manual.read_typed(conn, site.meters[0], "13", AT), "user:a")
    async with worker_db.transaction(SYSTEM) as conn:
        rows = await (await conn.execute("SELECT value, quality FROM store.reading")).fetchall()
        dirty = await (await conn.execute("SELECT from_at FROM store.dirty_window")).fetchall()
    assert [tuple(row.values()) for row in rows] == [(12_500, 32)]
    assert [row["from_at"] for row in dirty] == [AT]


@pytest.mark.parametrize(
    ("text", "unit", "at", "code"),
    [
        ("x", "", AT, "bad-value"),
        ("-1", "", AT, "negative"),
        ("1", "m³", AT, "other-unit"),
        ("1000000", "kWh", AT, "beyond-register"),
        ("0.0001", "kWh", AT, "too-fine"),
        ("1.00000000000000000000000001", "kWh", AT, "too-fine"),
        ("1.0000000000000000000000000001", "kWh", AT, "bad-value"),
        ("1", "", datetime(2024, 12, 31, tzinfo=UTC), "before-installation"),
        ("1", "", datetime.now(UTC) + timedelta(days=1), "in-future"),
    ],
)
async def test_refused(worker_db: Database, web_db: Database, text: str, unit: str, at: datetime, code: str) -> None:
    site = await make_site(worker_db)
    async with web_db.transaction(Asker("staff", (site.project_id,))) as conn:
        with pytest.raises(InvalidInput) as caught:
            await manual.read_typed(conn, site.meters[0], text, at, unit)
    assert caught.value.code == code


@pytest.mark.parametrize("kind", ["nobody", "resident", "staff", "system"])
async def test_nobody_else_gets_through_the_door(worker_db: Database, web_db: Database, kind: str) -> None:
    site = await make_site(worker_db)
    elsewhere = (site.project_id,) if kind == "resident" else (site.project_id + 1,)
    with pytest.raises(psycopg.Error):
        async with web_db.transaction(Asker(kind, elsewhere)) as conn:  # type: ignore[arg-type]
            await manual.store_all(conn, [manual.ManualReading(site.meters[0], 1, AT, 1)])


async def test_staff_enter_a_reading_over_the_api(
    app_client: httpx.AsyncClient, people: People, worker_db: Database
) -> None:
    site = await make_site(worker_db)
    address = f"/api/v1/meters/{site.meters[0]}/readings"
    body = {"value": "0.0125", "unit": "MWh", "taken_at": "2026-01-31T08:00:00+08:00"}
    clerk = await people.staff("manager", site.project_id)
    for key, status in (("a", 201), ("a", 201), ("b", 201)):
        answer = await app_client.post(address, json=body, headers={**clerk, "Idempotency-Key": f"reading-{key}"})
        assert answer.status_code == status, answer.text
        assert (answer.status_code, answer.json()["value"]) == (status, {"quantity": "12.500", "unit": "kWh"})
    other = await app_client.post(
        address, json={**body, "value": "1000"}, headers={**clerk, "Idempotency-Key": "reading-c"}
    )
    assert (other.status_code, other.json()["code"]) == (422, "beyond-register")
    other = await app_client.post(
        address, json={**body, "value": "0.013"}, headers={**clerk, "Idempotency-Key": "reading-d"}
    )
    assert (other.status_code, other.json()["code"]) == (409, "other-value")
    viewer = await people.staff("viewer", site.project_id)
    refused = await app_client.post(address, json=body, headers={**viewer, "Idempotency-Key": "reading-e"})
    assert refused.status_code == 403
    shown = (await app_client.get(address, headers=clerk)).json()["items"]
    assert [(item["value"]["quantity"], item["quality"]) for item in shown] == [("12.500", 32)]
