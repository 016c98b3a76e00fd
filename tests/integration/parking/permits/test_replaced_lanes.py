"""A lane that takes the place of another one: permits and cards that named the old one name the new one, at once."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import pytest

from cloud.devices import service as devices
from cloud.kit.db import SYSTEM, Database
from cloud.kit.errors import Conflict, GatemeterError, InvalidInput, NotFound
from cloud.kit.paging import PageRequest
from cloud.parking import service as parking
from cloud.parking.permits import cards, lanes, service
from cloud.parking.permits.records import NewProduct, Pay, PermitFilter
from cloud.parking.places import lanes as places
from cloud.parking.records import Lane
from tests.integration.app import People, once
from tests.integration.browser import Browser, text_of
from tests.integration.parking.permits.holder import FIRST, SECOND, local, make_home, make_permit
from tests.integration.parking.permits.test_lanes import HOUR, another_entry, entries, fees, only_by
from tests.integration.parking.permits.test_telling import told
from tests.integration.parking.site import NOON, Site, rows, until_waiting


@pytest.fixture
async def goods(worker_db: Database, site: Site) -> Lane:
    """A second entry of the lot, at the same gateway."""
    return await another_entry(worker_db, site, "goods")


async def barrier(db: Database, site: Site, code: str) -> int:
    async with db.transaction(SYSTEM) as conn:
        gateway_id = (await devices.get_device(conn, site.entry.device_id)).gateway_id
        return (await devices.create_device(conn, site.project_id, gateway_id, code, "barrier")).id


async def in_place_of(db: Database, site: Site, old: Lane, code: str, device_id: int | None = None) -> Lane:
    """A lane at a barrier of the same name, unless another one is given."""
    device = device_id or await barrier(db, site, code)
    async with db.transaction(SYSTEM) as conn:
        return await parking.create_lane(
            conn, old.lot_id, code, old.name, old.direction, device, replaces_id=old.id
        )  # fmt: skip


async def test_permits_name_the_new_lane_and_gateways_know_it_at_once(
    worker_db: Database, owner_db: Database, site: Site, goods: Lane
) -> None:
    permit = await make_permit(worker_db, site, (FIRST,), until=None)
    other = await make_permit(worker_db, site, (SECOND,), until=None)
    await only_by(worker_db, permit, goods.id, site.entry.id)
    await only_by(worker_db, other, site.entry.id)
    await told(worker_db)
    new = await in_place_of(worker_db, site, goods, "goods-2")
    assert new.replaces_id == goods.id
    assert [one.lanes for one in entries(await told(worker_db))] == [("entry", "goods-2")], "and of the others nothing"
    async with worker_db.transaction(SYSTEM) as conn:
        detail = await service.get_detail(conn, permit.id)
        assert (await service.get_permit(conn, other.id)).lane_ids == [site.entry.id]
        assert (await parking.get_lane(conn, goods.id)).retired_at is not None
        found = await service.list_permits(conn, PageRequest(), PermitFilter(site.project_id, lane_id=new.id))
    assert [one.id for one in found.items] == [permit.id]
    assert detail.permit.lane_ids == sorted([site.entry.id, new.id])
    assert [one.valid_until is None for one in detail.lanes if one.lane_id == goods.id] == [False], "its time is kept"
    named = await rows(worker_db, "SELECT id FROM permit_lane WHERE lane_id IN (%s, %s)", (goods.id, new.id))
    trail = await rows(
        owner_db, "SELECT action FROM audit_entry WHERE table_name = 'permit_lane' AND row_id = ANY (%s) ORDER BY id",
        ([str(row["id"]) for row in named],),
    )  # fmt: skip
    assert [row["action"] for row in trail] == ["insert", "insert", "update"]


async def test_stays_that_began_before_stay_covered_and_so_do_those_by_the_new_barrier(
    ingest_db: Database, worker_db: Database, site: Site, goods: Lane
) -> None:
    """The barrier was changed in the morning, and entered here when vehicles had come in by it already."""
    now = datetime.now(UTC).replace(microsecond=0)
    permit = await make_permit(worker_db, site, (FIRST, SECOND), until=None)
    await only_by(worker_db, permit, goods.id, at=now - 9 * HOUR)
    await site.report(ingest_db, [site.passage("goods", FIRST, now - 8 * HOUR)], now)
    device = await barrier(worker_db, site, "goods-2")
    await site.report(ingest_db, [site.passage("goods-2", SECOND, now - 7 * HOUR)], now)
    await in_place_of(worker_db, site, goods, "goods-2", device)
    left = [site.passage("exit", plate, now) for plate in (FIRST, SECOND)]
    await site.report(ingest_db, left, now)
    assert await fees(worker_db) == {FIRST: Decimal("0.00"), SECOND: Decimal("0.00")}


async def test_a_lane_out_of_use_is_replaced_later_and_its_code_and_barrier_are_free(
    worker_db: Database, site: Site, goods: Lane
) -> None:
    permit = await make_permit(worker_db, site, (FIRST,), until=None)
    await only_by(worker_db, permit, goods.id)
    second = await in_place_of(worker_db, site, goods, goods.code, goods.device_id)
    async with worker_db.transaction(SYSTEM) as conn:
        await places.retire_lane(conn, second.id)
    third = await in_place_of(worker_db, site, second, "goods-3")
    async with worker_db.transaction(SYSTEM) as conn:
        assert (await service.get_permit(conn, permit.id)).lane_ids == [third.id]


async def test_cards_are_sold_for_the_new_lane(
    worker_db: Database, owner_db: Database, site: Site, goods: Lane
) -> None:
    home = await make_home(worker_db, site)
    async with worker_db.transaction(SYSTEM) as conn:
        new = NewProduct("Goods", Decimal("300.00"), (site.lot_id,), lane_ids=(goods.id,))
        product = await cards.create_product(conn, site.project_id, new)
    lane = await in_place_of(worker_db, site, goods, "goods-2")
    async with worker_db.transaction(SYSTEM) as conn:
        assert (await cards.get_product(conn, product.id)).lane_ids == [lane.id]
        pay = Pay(Decimal("300.00"), "cash")
        card = await cards.sell(conn, product.id, home.holds(FIRST), 1, pay, at=local(NOON.date()))
    assert card.lane_ids == [lane.id]
    trail = await rows(owner_db, "SELECT action FROM audit_entry WHERE table_name = 'permit_product_lane' ORDER BY id")
    assert [row["action"] for row in trail] == ["insert", "update"]


async def test_whose_place_cannot_be_taken(worker_db: Database, site: Site, goods: Lane) -> None:
    device = await barrier(worker_db, site, "new")
    async with worker_db.transaction(SYSTEM) as conn:
        other = await parking.create_lot(conn, site.project_id, "yard", "Yard", 5)
    foreign = await another_entry(worker_db, site, "yard-in", other.id)
    await in_place_of(worker_db, site, goods, "goods-2")

    async def refused(lane_id: int) -> GatemeterError:
        with pytest.raises(GatemeterError) as error:
            async with worker_db.transaction(SYSTEM) as conn:
                await parking.create_lane(conn, site.lot_id, "n", "N", "entry", device, replaces_id=lane_id)
        assert error.value.field == "replaces_id"
        return error.value

    assert isinstance(await refused(foreign.id), NotFound)
    assert isinstance(await refused(4711), NotFound)
    assert isinstance(way := await refused(site.exit.id), InvalidInput)
    assert way.code == "other-direction"
    assert isinstance(taken := await refused(goods.id), Conflict)
    assert (taken.code, taken.params["lane"]) == ("place-taken", "goods-2")
    async with worker_db.transaction(SYSTEM) as conn:
        assert (await parking.get_lane(conn, site.exit.id)).retired_at is None


async def test_a_permit_that_is_given_the_lane_at_the_same_moment_is_given_the_new_one(
    worker_db: Database, site: Site, goods: Lane
) -> None:
    permit = await make_permit(worker_db, site, (FIRST,), until=None)
    async with worker_db.transaction(SYSTEM) as conn:
        await lanes.change_lanes(conn, permit.id, [goods.id])
        replacing = asyncio.create_task(in_place_of(worker_db, site, goods, "goods-2"))
        await until_waiting(worker_db)
    new = await replacing
    async with worker_db.transaction(SYSTEM) as conn:
        assert (await service.get_permit(conn, permit.id)).lane_ids == [new.id]


async def test_a_permit_that_would_be_given_a_lane_which_is_being_replaced_is_refused(
    worker_db: Database, site: Site, goods: Lane
) -> None:
    device = await barrier(worker_db, site, "goods-2")
    permit = await make_permit(worker_db, site, (FIRST,), until=None)
    async with worker_db.transaction(SYSTEM) as conn:
        await parking.create_lane(conn, site.lot_id, "goods-2", "Goods", "entry", device, replaces_id=goods.id)
        changing = asyncio.create_task(only_by(worker_db, permit, goods.id, at=datetime.now(UTC)))
        await until_waiting(worker_db)
    with pytest.raises(InvalidInput, match="no entry in use"):
        await changing


async def test_over_http_and_on_the_page(
    app_client: httpx.AsyncClient, people: People, worker_db: Database, site: Site, goods: Lane
) -> None:
    manager = await people.staff("manager", site.project_id)
    permit = await make_permit(worker_db, site, (FIRST,), until=None)
    await only_by(worker_db, permit, goods.id)
    body: dict[str, Any] = {
        "lot_id": site.lot_id, "code": "goods-2", "name": "Ramp", "direction": "entry",
        "device_id": await barrier(worker_db, site, "goods-2"), "replaces_id": goods.id,
    }  # fmt: skip
    answer = await app_client.post("/api/v1/parking-lanes", json=body, headers={**manager, **once()})
    assert (answer.status_code, answer.json()["replaces_id"]) == (201, goods.id)
    (row,) = await rows(worker_db, "SELECT id FROM parking_lane WHERE code = 'goods-2'")
    seen = await app_client.get(f"/api/v1/parking-permits/{permit.id}", headers=manager)
    assert seen.json()["lane_ids"] == [row["id"]]

    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
    browser = Browser(app_client, manager)
    device = await barrier(worker_db, site, "goods-3")
    address = f"/parking-lots/{site.lot_id}"
    page = await browser.see(address)
    offered = page.partition('name="replaces_id"')[2].partition("</select>")[0]
    assert f'value="{row["id"]}"' in offered
    assert f'value="{goods.id}"' not in offered, "its place is taken"
    assert "its place was taken by Ramp" in text_of(page)
    typed: dict[str, Any] = {"code": "goods-3", "name": "Ramp 2", "direction": "entry", "device_id": str(device)}
    await browser.send(f"{address}/lanes", 422, **{**typed, "direction": "exit"}, replaces_id=str(row["id"]))
    await browser.send(f"{address}/lanes", **typed, replaces_id=str(row["id"]))
    last: dict[str, Any] = {**typed, "code": "side", "device_id": str(await barrier(worker_db, site, "side"))}
    await browser.send(f"{address}/lanes", **last, replaces_id="")
    assert "only by Ramp 2" in text_of(await browser.see(f"/parking/permits/{permit.id}"))
