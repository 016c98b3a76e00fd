"""Readings that do not fit their neighbours: asked about, confirmed with a reason, believed by usage; their photos."""

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from cloud.kit.db import SYSTEM, Asker, Database
from cloud.kit.errors import Conflict, InvalidInput
from cloud.kit.jobs import JobContext
from cloud.metering.exchanges.records import Exchange
from cloud.metering.exchanges.service import exchange
from cloud.metering.jobs import derive_usage
from cloud.metering.manual import photos
from cloud.metering.manual import service as manual
from cloud.metering.manual.service import Confirmation, ManualReading
from gateway.contract.quantities import BY_NUMBER
from tests.integration.app import Auth, People, once
from tests.integration.metering.site import Site, make_site

AT = datetime(2026, 1, 31, tzinfo=UTC)
DAY = timedelta(days=1)
JPEG = b"\xff\xd8\xff\xe0" + b"not much of a picture"


async def _stored(db: Database, site: Site, *values: tuple[int, int]) -> None:
    """Readings of the first meter: days from AT, and Wh."""
    meter = site.meters[0]
    async with db.transaction(SYSTEM) as conn:
        await manual.store_all(conn, [ManualReading(meter, 1, AT + days * DAY, value) for days, value in values])


async def _send(client: httpx.AsyncClient, auth: Auth, site: Site, **body: Any) -> httpx.Response:
    sent = {"value": "150", "taken_at": (AT + DAY).isoformat(), **body}
    return await client.post(f"/api/v1/meters/{site.meters[0]}/readings", json=sent, headers={**auth, **once()})


@pytest.mark.parametrize(
    ("value", "code", "said"),
    [
        ("99", "backward", "lower than the reading before: 100.000 kWh at 2026-01-31T08:00:00+08:00"),
        ("201", "backward", "higher than the reading after: 200.000 kWh at 2026-02-02T08:00:00+08:00"),
        ("9999", "maximum", "advances more than the meter can from the reading before"),
    ],
)
async def test_a_value_that_does_not_fit_is_asked_about(
    app_client: httpx.AsyncClient, people: People, worker_db: Database, value: str, code: str, said: str
) -> None:
    site = await make_site(worker_db)
    await _stored(worker_db, site, (0, 100_000), (2, 200_000))
    clerk = await people.staff("manager", site.project_id)
    asked = await _send(app_client, clerk, site, value=value)
    assert (asked.status_code, asked.json()["code"]) == (409, code)
    assert said in asked.json()["detail"]
    assert "expected 100.000 kWh to 200.000 kWh" in asked.json()["detail"]
    assert asked.json()["errors"][0]["field"] == "value"
    without = await _send(app_client, clerk, site, value=value, confirm=True)
    assert (without.status_code, without.json()["code"]) == (422, "no-reason")
    made = await _send(app_client, clerk, site, value=value, confirm=True, reason="read twice")
    assert made.status_code == 201, made.text
    edits = (await app_client.get(f"/api/v1/meters/{site.meters[0]}/reading-edits", headers=clerk)).json()["items"]
    assert [(edit["action"], edit["reason"]) for edit in edits] == [("use", "read twice")]
    # There already: nothing to ask, and no second edit.
    assert (await _send(app_client, clerk, site, value=value)).status_code == 201


async def test_a_value_that_fits_needs_no_word_and_its_author_is_known(
    app_client: httpx.AsyncClient, people: People, worker_db: Database
) -> None:
    site = await make_site(worker_db)
    await _stored(worker_db, site, (0, 100_000), (2, 200_000))
    clerk = await people.staff("manager", site.project_id)
    photo = base64.b64encode(JPEG).decode()
    made = await _send(app_client, clerk, site, note="dusty", photo=photo)
    assert made.status_code == 201, made.text
    async with worker_db.transaction(SYSTEM) as conn:
        found = await manual.entries(conn, site.meters[0], 1, AT, AT + 2 * DAY)
        pictures = await photos.of_readings(conn, site.meters[0], 1, AT, AT + 2 * DAY)
    assert found[AT + DAY].note == "dusty"
    assert found[AT + DAY].actor.startswith("user:")
    address = f"/api/v1/reading-photos/{pictures[AT + DAY]}"
    shown = await app_client.get(address, headers=clerk)
    assert (shown.content, shown.headers["Content-Type"]) == (JPEG, "image/jpeg")
    assert shown.headers["X-Content-Type-Options"] == "nosniff"
    assert shown.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    stranger = await people.staff("admin", (await people.project()).id)
    assert (await app_client.get(address, headers=stranger)).status_code == 404


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"channel": "volume_total"}, "wrong-channel", "channel"),
        ({"channel": "heat_total"}, "wrong-channel", "channel"),
        ({"taken_at": "2199-01-01T00:00:00+08:00"}, "in-future", "taken_at"),
        ({"photo": base64.b64encode(b"<svg xmlns='http://www.w3.org/2000/svg'/>").decode()}, "bad-photo", "photo"),
        ({"photo": "?"}, "bad-photo", "photo"),
        ({"photo": base64.b64encode(JPEG + b" " * photos.MAX_BYTES).decode()}, "invalid-input", "photo"),
    ],
)
async def test_what_is_refused_names_the_field(
    app_client: httpx.AsyncClient, people: People, worker_db: Database, change: dict[str, str], code: str, field: str
) -> None:
    site = await make_site(worker_db)
    answer = await _send(app_client, await people.staff("manager", site.project_id), site, **change)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert answer.json()["errors"][0]["field"] == field
    async with worker_db.transaction(SYSTEM) as conn:
        assert (await (await conn.execute("SELECT FROM store.reading")).fetchall()) == []


async def test_a_confirmed_reading_is_believed_by_usage(worker_db: Database, web_db: Database) -> None:
    site = await make_site(worker_db)
    await _stored(worker_db, site, (0, 100_000), (1, 200_000))
    async with web_db.transaction(Asker("staff", (site.project_id,))) as conn:
        looked = await manual.read_typed(conn, site.meters[0], "50", AT + 2 * DAY)
        with pytest.raises(Conflict):
            await manual.enter(conn, looked, "user:a")
        await manual.enter(conn, looked, "user:a", confirmed=Confirmation("display was changed", "user:a"))
        after = await manual.read_typed(conn, site.meters[0], "60", AT + 3 * DAY)
        assert (after.question, after.around.before and after.around.before.value) == (None, 50_000)
        await manual.enter(conn, after, "user:a")
    await derive_usage(JobContext(1, None, {}, worker_db))
    async with worker_db.transaction(SYSTEM) as conn:
        rows = await (await conn.execute("SELECT sum(quantity) AS used FROM store.usage")).fetchall()
        refused = await (await conn.execute("SELECT FROM store.refused_reading")).fetchall()
    assert (rows[0]["used"], refused) == (110_000, [])


async def test_neighbours_are_of_the_register_in_force_and_not_what_was_set_aside(
    worker_db: Database, web_db: Database
) -> None:
    site = await make_site(worker_db)
    await _stored(worker_db, site, (0, 900_000), (1, 100_000))
    async with worker_db.transaction(SYSTEM) as conn:
        wanted = Exchange(site.meters[0], AT + DAY / 2, "exchanged", 950_000, 90_000)
        await exchange(conn, wanted, "user:a", datetime.now(UTC))
    async with web_db.transaction(Asker("staff", (site.project_id,))) as conn:

        async def question(hours: int, value: str) -> tuple[object, ...]:
            looked = await manual.read_typed(conn, site.meters[0], value, AT + timedelta(hours=hours))
            return (None,) if looked.question is None else (looked.question.doubt, looked.question.neighbour.value)

        assert await question(6, "951") == ("backward", 950_000)
        assert await question(6, "949") == (None,)
        assert await question(18, "89") == ("backward", 90_000)
        assert await question(18, "95") == (None,)
        with pytest.raises(InvalidInput, match="volume"):
            await manual.read_typed(conn, site.meters[0], "1", AT, "", BY_NUMBER[70])
