"""Which devices send what cannot be used."""

from datetime import UTC, datetime, timedelta

import httpx

from cloud.kit.db import SYSTEM, Database
from cloud.kit.paging import PageRequest, page_request
from cloud.metering.unusable import service as unusable
from tests.integration.app import People
from tests.integration.devices.test_orders import browser
from tests.integration.metering.site import Site, make_site

NOW = datetime.now(UTC).replace(microsecond=0)
HOUR = timedelta(hours=1)


async def fill(db: Database) -> Site:
    """m1 ran backward 3 times in a week, once today; m2 leapt once, one was left out; 2 of a stranger have no place."""
    site = await make_site(db)
    async with db.transaction(SYSTEM) as conn:
        for meter, code, hours in ((0, 2, (1, 30, 160)), (0, 2, (200,)), (1, 3, (2,)), (1, 6, (3,))):
            for ago in hours:
                key = (site.meters[meter], NOW - ago * HOUR)
                await conn.execute(
                    "INSERT INTO store.reading (meter_id, channel, taken_at, value, project_id)"
                    " VALUES (%s, 1, %s, 1, %s)",
                    (*key, site.project_id),
                )
                await conn.execute("INSERT INTO store.refused_reading VALUES (%s, 1, %s, %s)", (*key, code))
        for value in (1, 2):
            await conn.execute(
                """INSERT INTO unclaimed_reading (project_id, gateway_code, device_code, channel_code, taken_at, value,
                                                  quality, reason)
                   VALUES (%s, 'gw-1', 'stranger', 'x', now(), %s, 0, 'unknown-device')""",
                (site.project_id, value),
            )
    return site


async def test_counted_by_device_and_reason(worker_db: Database) -> None:
    site = await fill(worker_db)
    async with worker_db.transaction(SYSTEM) as conn:
        found = (await unusable.list_unusable(conn, PageRequest(), site.project_id, NOW)).items
        told = [
            (one.device_code, one.device_id, one.reason, one.stored, one.day_count, one.week_count) for one in found
        ]
        assert told == [
            ("m1", site.devices[0], "backward", True, 1, 3), ("stranger", None, "unknown-device", False, 2, 2),
            ("m2", site.devices[1], "maximum", True, 1, 1),
        ]  # fmt: skip
        paged: list[unusable.Unusable] = []
        cursor: str | None = None
        while True:
            asked = page_request(1, cursor, key_length=unusable.KEY_LENGTH)
            part = await unusable.list_unusable(conn, asked, site.project_id, NOW)
            paged += part.items
            cursor = part.next_cursor
            if cursor is None:
                break
        assert paged == found
        mine = await unusable.list_unusable(conn, PageRequest(), site.project_id, NOW, site.devices[1])
        assert [one.reason for one in mine.items] == ["maximum"]
        assert (await unusable.list_unusable(conn, PageRequest(), site.project_id + 1, NOW)).items == []


async def test_a_reading_counts_for_the_device_that_was_on_the_meter(worker_db: Database) -> None:
    site = await fill(worker_db)
    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute(
            "UPDATE device_binding SET valid = tstzrange(lower(valid), %s) WHERE device_id = %s",
            (NOW - 20 * HOUR, site.devices[0]),
        )
        await conn.execute(
            "INSERT INTO device_binding (project_id, device_id, meter_id, valid)"
            " VALUES (%s, %s, %s, tstzrange(%s, NULL))",
            (site.project_id, site.spare, site.meters[0], NOW - 20 * HOUR),
        )
        found = (await unusable.list_unusable(conn, PageRequest(), site.project_id, NOW)).items
    assert {(one.device_code, one.week_count) for one in found if one.reason == "backward"} == {("m1", 2), ("spare", 1)}


async def test_staff_see_it_and_get_to_where_it_is_mended(
    app_client: httpx.AsyncClient, owner_db: Database, people: People
) -> None:
    site = await fill(owner_db)
    viewer = await people.staff("viewer", site.project_id)
    address = f"/api/v1/unusable-readings?project_id={site.project_id}"
    listed = (await app_client.get(f"{address}&limit=2", headers=viewer)).json()
    assert [one["week_count"] for one in listed["items"]] == [3, 2]
    rest = await app_client.get(f"{address}&cursor={listed['next_cursor']}", headers=viewer)
    assert [one["reason"] for one in rest.json()["items"]] == ["maximum"]
    stranger = await people.staff("manager", (await people.project()).id)
    assert (await app_client.get(address, headers=stranger)).json()["items"] == []

    visitor = await browser(app_client, owner_db, viewer)
    assert f"/devices/unusable?device={site.devices[0]}" in await visitor.sees("/devices")
    page = await visitor.sees("/devices/unusable")
    assert f"/meter-exceptions?meter_id={site.meters[0]}&rule=backward" in page
    assert "device=stranger" in page
    only = await visitor.sees(f"/devices/unusable?device={site.devices[1]}")
    assert "The register advanced more than the meter can" in only
    assert "stranger" not in only
