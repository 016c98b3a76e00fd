"""Files of readings and usage: the same as the API answers, within walls, whole or broken off, in bounded memory."""

import asyncio
import csv
import io
import tracemalloc
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import openpyxl
import psycopg
import pyarrow
import pytest
import uvicorn
from fastapi import FastAPI
from pyarrow import parquet
from structlog.testing import capture_logs

from cloud.identity.guards import SESSION_COOKIE
from cloud.kit.db import SYSTEM, Database
from cloud.kit.periods import Period
from cloud.metering.consumption.selection import MOST_METER_DAYS
from cloud.metering.exports import making as exports
from cloud.metering.exports import table_files
from cloud.metering.exports.making import readings_export, written
from cloud.metering.exports.table_files import Format
from cloud.metering.readings import placed as placed_readings
from cloud.metering.readings.place_query import Place, PlaceQuery, place_of
from cloud.metering.readings.placed import Connect, PlacedReading, Wanted
from tests.integration.app import Auth, People
from tests.integration.metering.tenants import MONDAY, House, make_read_house, read_every

FORMATS: list[Format] = ["csv", "parquet", "xlsx"]
TWO_DAYS: dict[str, Any] = {"from": "2026-01-05", "to": "2026-01-07"}


@pytest.fixture
async def house(owner_db: Database, people: People) -> House:
    """Three meters with readings, two of them with usage."""
    return await make_read_house(owner_db, people)


async def download(client: httpx.AsyncClient, auth: Auth, what: str, expect: int = 200, **query: Any) -> httpx.Response:
    answer = await client.get(f"/api/v1/{what}/export", params=TWO_DAYS | query, headers=auth)
    assert answer.status_code == expect, answer.text
    return answer


def table(answer: httpx.Response, form: Format) -> list[dict[str, Any]]:
    """Rows by name: numbers as decimals or integers, times as instants, nothing as None."""
    if form == "parquet":
        rows: list[dict[str, Any]] = parquet.read_table(io.BytesIO(answer.content)).to_pylist()
        return rows
    if form == "csv":
        return [_typed(row) for row in csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig")))]
    head, *lines = openpyxl.load_workbook(io.BytesIO(answer.content)).worksheets[0].values
    return [_typed(dict(zip(map(str, head), line, strict=True))) for line in lines]


def _typed(row: dict[str, Any]) -> dict[str, Any]:
    kinds: dict[str, Callable[[str], Any]] = {
        **dict.fromkeys(("id", "meters", "meter_id", "edit_version"), int),
        **dict.fromkeys(("value", "edited_value", "quantity"), Decimal),
        **dict.fromkeys(("taken_at", "start", "end"), datetime.fromisoformat),
        "complete": lambda text: text.lower() == "true",
    }
    nothing = dict.fromkeys(("flags", "edit"), "")
    return {
        name: nothing.get(name) if cell in ("", None) else kinds.get(name, str)(str(cell)) for name, cell in row.items()
    }


@pytest.mark.parametrize("form", FORMATS)
async def test_readings_are_those_of_the_api(
    app_client: httpx.AsyncClient, people: People, house: House, owner_db: Database, form: Format
) -> None:
    async with owner_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE store.reading SET quality = 33 WHERE meter_id = %s", (house.shop,))
        await conn.execute("UPDATE meter SET code = '=SUM(A1)' WHERE id = %s", (house.shop,))
        await conn.execute(
            """INSERT INTO reading_edit (project_id, meter_id, channel, taken_at, version, action, value, reason, actor)
               VALUES (%s, %s, 1, %s, 1, 'set', 1234, 'looked', 'test')""",
            (house.project, house.sub, MONDAY),
        )
    staff = await people.staff()
    answer = await download(app_client, staff, "readings", project_id=house.project, format=form)
    listed = await app_client.get(
        "/api/v1/readings", params=TWO_DAYS | {"project_id": house.project, "limit": 500}, headers=staff
    )
    expected = [
        {
            "meter": "'=SUM(A1)" if item["meter"][:1] == "=" and form == "csv" else item["meter"],
            "meter_id": item["meter_id"],
            "channel": item["channel"],
            "taken_at": datetime.fromisoformat(item["taken_at"]),
            "value": Decimal(item["value"]["quantity"]),
            "unit": item["value"]["unit"],
            "flags": " ".join(item["flags"]),
            "edit": item["edit"]["action"] if item["edit"] else "",
            "edited_value": Decimal(item["edit"]["value"]["quantity"]) if item["edit"] else None,
            "edit_version": item["edit"]["version"] if item["edit"] else None,
        }
        for item in listed.json()["items"]
    ]
    assert len(expected) == 3 * 48
    assert table(answer, form) == sorted(expected, key=lambda row: (row["meter_id"], row["taken_at"]))
    name = f"readings-project-{house.project}-2026-01-05-2026-01-07.{form}"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{name}"'
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("group", "step"), [("total", "15min"), ("meter", "hour"), ("unit", "day"), ("building", "day")]
)
async def test_usage_is_that_of_the_api(
    app_client: httpx.AsyncClient,
    people: People,
    house: House,
    monkeypatch: pytest.MonkeyPatch,
    group: str,
    step: str,
) -> None:
    # So small that the file is read in many windows.
    monkeypatch.setattr(exports, "BATCH_ROWS", 7)
    staff = await people.staff()
    query: dict[str, Any] = {"project_id": house.project, "group": group, "step": step}
    listed = await app_client.get("/api/v1/usage", params=TWO_DAYS | query, headers=staff)
    every: dict[str, dict[int | None, str]] = {
        "total": {None: "project-0"},
        "meter": {house.master: "MASTER", house.sub: "SUB", house.shop: "SHOP"},
        # What is below the master of the house is in no sum with it, and the master is in no unit.
        "unit": {house.shop_unit: "House 2 1"},
        "building": {house.shop_building: "B2"},
    }
    names = every[group]
    expected = [
        {
            "id": item["id"],
            "name": names[item["id"]],
            "meters": item["meters"],
            "channel": "energy_import_total",
            "start": datetime.fromisoformat(bar["start"]),
            "end": datetime.fromisoformat(bar["end"]),
            "quantity": None if bar["quantity"] is None else Decimal(bar["quantity"]),
            "unit": "kWh",
            "quality": bar["quality"],
            "complete": bar["complete"],
        }
        for item in listed.json()["items"]
        for bar in item["bars"]
    ]
    assert {row["id"] for row in expected} == set(names)
    for form in FORMATS:
        answer = await download(app_client, staff, "usage", **query, format=form)
        assert table(answer, form) == expected, form


async def test_a_total_is_called_after_its_place(app_client: httpx.AsyncClient, people: People, house: House) -> None:
    staff = await people.staff()
    places = {"project": "project-0", "building": "B1", "unit": "House 1 101", "sub": "SUB"}
    for place, name in places.items():
        key = "meter_id" if place == "sub" else f"{place}_id"
        found = table(await download(app_client, staff, "usage", **{key: getattr(house, place)}), "csv")
        assert [(row["id"], row["name"]) for row in found] == [(None, name)] * 2


async def test_decimals_are_never_floats(app_client: httpx.AsyncClient, people: People, house: House) -> None:
    staff = await people.staff()
    for what, name in (("readings", "value"), ("usage", "quantity")):
        answer = await download(app_client, staff, what, meter_id=house.sub, format="parquet")
        schema = parquet.read_schema(io.BytesIO(answer.content))
        assert schema.field(name).type == pyarrow.decimal128(19, 3)
        assert not any(pyarrow.types.is_floating(field.type) for field in schema)


async def test_a_resident_gets_what_is_his(app_client: httpx.AsyncClient, people: People, house: House) -> None:
    resident = await people.resident(house.project, house.person)
    for form in FORMATS:
        query: dict[str, Any] = {"project_id": house.project, "format": form}
        found = table(await download(app_client, resident, "readings", **query), form)
        assert ({row["meter"] for row in found}, len(found)) == ({"SUB"}, 25)
        days = table(await download(app_client, resident, "usage", **query, group="meter"), form)
        assert [(row["name"], row["quantity"]) for row in days] == [("SUB", 24), ("SUB", None)]
        await download(app_client, resident, "readings", 404, meter_id=house.master, format=form)


async def test_who_may_not_and_what_is_too_much(
    app_client: httpx.AsyncClient, people: People, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    staff, cashier = await people.staff(), await people.staff("cashier")
    project = house.project
    await download(app_client, cashier, "readings", 403, project_id=project)
    await download(app_client, cashier, "usage", project_id=project)
    await download(app_client, await people.staff("guard"), "usage", 403, project_id=project)
    elsewhere = await people.staff("admin", (await people.project()).id)
    for what in ("readings", "usage"):
        await download(app_client, elsewhere, what, 404, project_id=project)
        for wrong in ({"format": "ods"}, {"limit": 5}, {"meter_id": house.sub}, {"to": "2026-01-05"}):
            await download(app_client, staff, what, 422, **{"project_id": project, **wrong})
    await download(app_client, staff, "usage", 422, project_id=project, step="15min", to="2030-01-05")
    monkeypatch.setattr(exports, "XLSX_ROWS", 47)
    hours = {"readings": {}, "usage": {"step": "hour"}}
    for what, step in hours.items():
        refused = await download(app_client, staff, what, 422, meter_id=house.sub, format="xlsx", **step)
        assert (refused.json()["code"], refused.json()["errors"][0]["field"]) == ("too-many-rows", "format")
    monkeypatch.setitem(MOST_METER_DAYS, "month", 0)
    refused = await download(app_client, staff, "usage", 422, building_id=house.building, step="month")
    assert refused.json()["code"] == "too-much-usage"
    # The totals of a project are there already, of however many meters.
    found = table(await download(app_client, staff, "usage", project_id=project, step="month"), "csv")
    assert [(row["meters"], row["quantity"]) for row in found] == [(2, 96)]


async def test_pages_have_the_same_files_and_their_errors_are_pages(
    app_client: httpx.AsyncClient, people: People, house: House, owner_db: Database
) -> None:
    staff = await people.staff()
    by_api = (await download(app_client, staff, "readings", meter_id=house.sub)).content
    async with owner_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
    app_client.cookies.set(SESSION_COOKIE, staff["Authorization"].removeprefix("Bearer "))
    page = (await app_client.get(f"/meters/{house.sub}", params={"on": "2026-01-05"})).text
    assert 'action="/exports/usage"' in page
    assert 'action="/exports/readings"' in page
    assert page.count(f'name="meter_id" value="{house.sub}"') == 2
    assert page.count('name="to" value="2026-02-01"') == 2
    answer = await app_client.get("/exports/readings", params=TWO_DAYS | {"meter_id": house.sub, "format": "csv"})
    assert answer.content == by_api
    usage: dict[str, Any] = {"meter_id": house.sub, "step": "day", "format": "csv"}
    assert (await app_client.get("/exports/usage", params=TWO_DAYS | usage)).text.count("24.000") == 2
    refused = await app_client.get("/exports/usage", params=TWO_DAYS | usage | {"to": "2026-01-05"})
    assert (refused.status_code, refused.headers["Content-Type"]) == (422, "text/html; charset=utf-8")


@asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[str]:
    """The application on a port of its own, for what only a connection shows."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, lifespan="off", log_level="critical"))
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


def readings(count: int) -> list[PlacedReading]:
    return [PlacedReading(1, "M", MONDAY + timedelta(hours=n), n, 0, None, None, None) for n in range(count)]


def failing(after: int, error: Exception) -> Callable[..., AsyncGenerator[Sequence[PlacedReading], None]]:
    """Batches of which the one after so many fails."""

    async def batches(connect: Connect, wanted: Wanted) -> AsyncGenerator[Sequence[PlacedReading], None]:
        for _ in range(after):
            yield readings(5_000)
        raise error

    return batches


async def test_a_file_that_cannot_be_finished_is_broken_off(
    app: FastAPI, people: People, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "batches", failing(3, psycopg.OperationalError("the server went away")))
    query = TWO_DAYS | {"meter_id": house.sub, "format": "csv"}
    async with served(app) as url, httpx.AsyncClient(base_url=url, headers=await people.staff(), timeout=60) as client:
        for encoding in ("identity", "gzip"):
            with capture_logs() as logs, pytest.raises(httpx.RemoteProtocolError):
                await client.get("/api/v1/readings/export", params=query, headers={"Accept-Encoding": encoding})
            assert [entry["event"] for entry in logs] == ["web.crashed"]


@pytest.mark.parametrize(("form", "after"), [("csv", 0), ("xlsx", 1)])
async def test_what_fails_before_anything_was_sent_is_a_problem(
    app_client: httpx.AsyncClient, people: People, house: House, monkeypatch: pytest.MonkeyPatch, form: str, after: int
) -> None:
    monkeypatch.setattr(exports, "batches", failing(after, psycopg.OperationalError("the server went away")))
    staff = await people.staff()
    with capture_logs():
        answer = await download(app_client, staff, "readings", 503, meter_id=house.sub, format=form)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert "Content-Disposition" not in answer.headers


@pytest.mark.parametrize("form", FORMATS)
async def test_when_the_reader_goes_the_work_ends(
    app: FastAPI, people: People, house: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, form: Format
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    busy, ended = asyncio.Event(), asyncio.Event()

    async def endless(connect: Connect, wanted: Wanted) -> AsyncGenerator[Sequence[PlacedReading], None]:
        try:
            while True:
                async with connect() as conn:
                    await conn.execute("SELECT 1")
                    busy.set()
                    yield readings(100)
        finally:
            ended.set()

    monkeypatch.setattr(exports, "batches", endless)
    query = TWO_DAYS | {"meter_id": house.sub, "format": form}
    async with served(app) as url:
        async with httpx.AsyncClient(base_url=url, headers=await people.staff(), timeout=60) as client:
            asking = asyncio.create_task(client.get("/api/v1/readings/export", params=query))
            await asyncio.wait_for(busy.wait(), 60)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        await asyncio.wait_for(ended.wait(), 60)
    # The server has ended the request before it stopped; nothing of it is left.
    assert list(tmp_path.iterdir()) == []
    async with asyncio.timeout(60):  # a connection that was cut off is replaced a little later
        while (pool := app.state.db._pool.get_stats())["pool_available"] != pool["pool_size"]:
            await asyncio.sleep(0.01)


async def _peak(db: Database, place: Place, form: Format) -> tuple[int, int]:
    """Bytes of the file and the most that Python and Arrow held while it was made."""
    connect = partial(db.transaction, SYSTEM)
    async with connect() as conn:
        export = await readings_export(conn, connect, place, Period(MONDAY.date(), date(2050, 1, 1)), form)
    size = arrow = 0
    tracemalloc.start()
    try:
        async for part in written(export, form):
            size += len(part)
            arrow = max(arrow, pyarrow.total_allocated_bytes())
        return size, tracemalloc.get_traced_memory()[1] + arrow
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("form", FORMATS)
async def test_ten_times_the_rows_need_no_more_memory(
    worker_db: Database, owner_db: Database, house: House, form: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_files, "_ROW_GROUP", 400)
    monkeypatch.setattr(exports, "batches", partial(placed_readings.batches, size=200))
    counts = (450, 4_500)
    quarter = timedelta(minutes=15)
    async with owner_db.transaction(SYSTEM) as conn:
        await conn.execute("TRUNCATE store.reading")
        places = [
            await place_of(conn, PlaceQuery.model_validate({"meter_id": meter} | TWO_DAYS))
            for meter in (house.sub, house.master)
        ]
    for place, count in zip(places, counts, strict=True):
        assert place.selector.meter_id is not None
        await read_every(owner_db, house.project, place.selector.meter_id, count, quarter)
    # The first time loads what writes the file.
    _, few, many = [await _peak(worker_db, place, form) for place in (places[0], *places)]
    assert many[0] > few[0] * 5
    assert many[1] < few[1] * 1.3 + 2**18


async def test_no_transaction_is_open_while_a_batch_is_sent(
    worker_db: Database, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "batches", partial(placed_readings.batches, size=10))
    open_now = 0

    @asynccontextmanager
    async def connect() -> AsyncIterator[Any]:
        nonlocal open_now
        async with worker_db.transaction(SYSTEM) as conn:
            open_now += 1
            yield conn
            open_now -= 1

    async with worker_db.transaction(SYSTEM) as conn:
        place = await place_of(conn, PlaceQuery.model_validate({"meter_id": house.sub} | TWO_DAYS))
        export = await readings_export(conn, connect, place, Period(MONDAY.date(), date(2026, 2, 1)), "csv")
    open_then = [open_now async for _ in written(export, "csv")]
    assert (len(open_then), set(open_then)) == (5 + 1, {0})
