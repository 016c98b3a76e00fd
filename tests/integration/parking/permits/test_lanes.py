"""Permits for who comes in by certain lanes: who comes by another one pays as anybody does, whatever the exit."""

from datetime import UTC, datetime, timedelta
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
from cloud.parking.permits.records import NewProduct, Pay, Permit, PermitFilter
from cloud.parking.places import lanes as places
from cloud.parking.records import Lane
from gateway.contract.access import PermitEntry
from tests.integration.app import People, once
from tests.integration.browser import Browser, text_of
from tests.integration.parking.nested import set_policy
from tests.integration.parking.permits.holder import DAY, FIRST, SECOND, local, make_home, make_permit
from tests.integration.parking.permits.test_telling import told
from tests.integration.parking.site import NOON, Site, rows

HOUR = timedelta(hours=1)
LEFT = NOON + 5 * HOUR


@pytest.fixture
async def goods(worker_db: Database, site: Site) -> Lane:
    """A second entry of the lot, at the same gateway."""
    return await another_entry(worker_db, site, "goods")


async def another_entry(db: Database, site: Site, code: str, lot_id: int | None = None) -> Lane:
    async with db.transaction(SYSTEM) as conn:
        gateway_id = (await devices.get_device(conn, site.entry.device_id)).gateway_id
        device = await devices.create_device(conn, site.project_id, gateway_id, code, "barrier")
        return await parking.create_lane(conn, lot_id or site.lot_id, code, code.title(), "entry", device.id)


async def only_by(db: Database, permit: Permit, *lane_ids: int, at: datetime = NOON - HOUR) -> Permit:
    async with db.transaction(SYSTEM) as conn:
        return await lanes.change_lanes(conn, permit.id, lane_ids, at)


async def fees(db: Database) -> dict[str, Decimal]:
    return {row["plate"]: row["fee"] for row in await rows(db, "SELECT plate, fee FROM parking_session ORDER BY id")}


async def stays(db: Database, site: Site, plate: str, lane: str, since: datetime = NOON) -> None:
    """In by a lane for five hours."""
    await site.report(db, [site.passage(lane, plate, since)], since)
    left = since + 5 * HOUR
    await site.report(db, [site.passage("exit", plate, left)], left)


async def test_who_came_by_another_lane_pays_and_the_exit_does_not_matter(
    ingest_db: Database, worker_db: Database, site: Site, goods: Lane
) -> None:
    permit = await make_permit(worker_db, site, (FIRST, SECOND), until=None)
    assert (await only_by(worker_db, permit, goods.id)).lane_ids == [goods.id]
    await stays(ingest_db, site, FIRST, "goods")
    await stays(ingest_db, site, SECOND, "entry")
    assert await fees(worker_db) == {FIRST: Decimal("0.00"), SECOND: Decimal("8.00")}


async def test_who_came_by_another_lane_stands_on_no_space(
    ingest_db: Database, worker_db: Database, site: Site, goods: Lane
) -> None:
    permit = await make_permit(worker_db, site, (FIRST, SECOND), until=None, spaces=1)
    await only_by(worker_db, permit, goods.id)
    await site.report(ingest_db, [site.passage("entry", SECOND, NOON - HOUR / 2)], NOON)
    await stays(ingest_db, site, FIRST, "goods")
    await site.report(ingest_db, [site.passage("exit", SECOND, LEFT)], LEFT)
    assert await fees(worker_db) == {FIRST: Decimal("0.00"), SECOND: Decimal("9.00")}


async def test_other_lanes_count_for_who_comes_in_from_then_on(
    ingest_db: Database, worker_db: Database, site: Site, goods: Lane
) -> None:
    permit = await make_permit(worker_db, site, (FIRST, SECOND), until=None)
    await site.report(ingest_db, [site.passage("entry", FIRST, NOON)], NOON)
    await only_by(worker_db, permit, goods.id, at=NOON + HOUR)
    await stays(ingest_db, site, SECOND, "entry", NOON + 2 * HOUR)
    await site.report(ingest_db, [site.passage("exit", FIRST, LEFT)], LEFT)
    assert await fees(worker_db) == {FIRST: Decimal("0.00"), SECOND: Decimal("8.00")}
    await only_by(worker_db, permit, at=NOON + DAY)
    await stays(ingest_db, site, SECOND, "entry", NOON + DAY + HOUR)
    ended = await rows(worker_db, "SELECT plate, fee FROM parking_session ORDER BY entered_at")
    assert [(row["plate"], row["fee"]) for row in ended[-1:]] == [(SECOND, Decimal("0.00"))]
    async with worker_db.transaction(SYSTEM) as conn:
        detail = await service.get_detail(conn, permit.id)
    assert [(one.lane_id, one.valid_from, one.valid_until) for one in detail.lanes] == [
        (goods.id, NOON + HOUR, NOON + DAY)
    ]
    assert detail.permit.lane_ids == []


async def test_whose_entry_nobody_saw_is_covered_as_lanes_let_him_out(
    ingest_db: Database, worker_db: Database, site: Site, goods: Lane
) -> None:
    permit = await make_permit(worker_db, site, (FIRST,), until=None)
    await only_by(worker_db, permit, goods.id)
    await set_policy(worker_db, site.lot_id, unseen_entry=[{"then": "fixed-charge", "amount": "20.00"}])
    await site.report(ingest_db, [site.passage("exit", FIRST, NOON)], NOON)
    assert await fees(worker_db) == {FIRST: Decimal("0.00")}


async def test_each_gateway_is_told_its_own_lanes(worker_db: Database, site: Site, goods: Lane) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        second = await devices.create_gateway(conn, site.project_id, "gw2", "Yard")
        device = await devices.create_device(conn, site.project_id, second.id, "goods", "barrier")
        yard = await parking.create_lane(conn, site.lot_id, "yard", "Yard", "entry", device.id)
    permit = await make_permit(worker_db, site, (FIRST,), until=None)
    await told(worker_db)
    await only_by(worker_db, permit, goods.id)
    assert [(one.needs, one.lanes) for one in entries(await told(worker_db))] == [
        (("lanes",), ("goods",)),
        (("lanes",), ()),
    ]
    await only_by(worker_db, permit, goods.id, yard.id, site.entry.id)
    assert [one.lanes for one in entries(await told(worker_db))] == [("entry", "goods"), ("goods",)]
    await only_by(worker_db, permit)
    assert [(one.needs, one.lanes) for one in entries(await told(worker_db))] == [((), ()), ((), ())]


async def test_a_lane_that_is_taken_out_of_use_is_none_of_a_permit_for_gateways_at_once(
    worker_db: Database, site: Site, goods: Lane
) -> None:
    """Its barrier may be another lane's from now on, also one of another car park."""
    permit = await make_permit(worker_db, site, (FIRST,), until=None)
    await only_by(worker_db, permit, goods.id, site.entry.id)
    await told(worker_db)
    async with worker_db.transaction(SYSTEM) as conn:
        await places.retire_lane(conn, goods.id)
        assert (await service.get_permit(conn, permit.id)).lane_ids == sorted([goods.id, site.entry.id])
    assert [one.lanes for one in entries(await told(worker_db))] == [("entry",)]
    with pytest.raises(Conflict, match="these lanes already"):
        await only_by(worker_db, permit, site.entry.id, goods.id)
    new = await another_entry(worker_db, site, "goods-2")
    changed = await only_by(worker_db, permit, new.id, goods.id)
    assert changed.lane_ids == sorted([new.id, goods.id]), "what it has may be out of use"
    assert [one.lanes for one in entries(await told(worker_db))] == [("goods-2",)]


def entries(found: object) -> list[PermitEntry]:
    assert isinstance(found, list)
    return [one for one in found if isinstance(one, PermitEntry)]


async def test_lanes_that_would_never_count_are_refused(worker_db: Database, site: Site, goods: Lane) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        other = await parking.create_lot(conn, site.project_id, "yard", "Yard", 5)
    foreign = await another_entry(worker_db, site, "yard-in", other.id)
    permit = await make_permit(worker_db, site, (FIRST,), until=None)
    wide = await make_permit(worker_db, site, (SECOND,), until=None, lots=(site.lot_id, other.id))
    async with worker_db.transaction(SYSTEM) as conn:
        await places.retire_lane(conn, goods.id)

    async def refused(of: Permit, *lane_ids: int) -> GatemeterError:
        with pytest.raises(GatemeterError) as error:
            await only_by(worker_db, of, *lane_ids)
        assert error.value.field == "lane_ids"
        return error.value

    assert ((await refused(permit, site.exit.id)).code, (await refused(permit, goods.id)).code) == ("not-an-entry",) * 2
    assert isinstance(await refused(permit, foreign.id), NotFound)
    assert isinstance(await refused(permit, 999), NotFound)
    nowhere = await refused(wide, foreign.id)
    assert (nowhere.code, nowhere.params["lot"]) == ("lot-without-lane", "main")
    assert isinstance(nowhere, InvalidInput)
    assert (await only_by(worker_db, wide, foreign.id, site.entry.id)).lane_ids == sorted([foreign.id, site.entry.id])
    async with worker_db.transaction(SYSTEM) as conn:
        found = await service.list_permits(conn, PageRequest(), PermitFilter(site.project_id, lane_id=foreign.id))
    assert [one.id for one in found.items] == [wide.id]


async def test_a_card_has_the_lanes_of_its_product_that_are_in_use(
    worker_db: Database, site: Site, goods: Lane
) -> None:
    home = await make_home(worker_db, site)
    day = local(NOON.date())
    async with worker_db.transaction(SYSTEM) as conn:
        new = NewProduct("Goods", Decimal("300.00"), (site.lot_id,), lane_ids=(goods.id, site.entry.id))
        product = await cards.create_product(conn, site.project_id, new)
        assert product.lane_ids == sorted([goods.id, site.entry.id])
        await places.retire_lane(conn, site.entry.id)
    pay = Pay(Decimal("300.00"), "cash")
    async with worker_db.transaction(SYSTEM) as conn:
        card = await cards.sell(conn, product.id, home.holds(FIRST), 1, pay, at=day)
        assert card.lane_ids == [goods.id]
        await places.retire_lane(conn, goods.id)
    with pytest.raises(Conflict) as none_left:
        async with worker_db.transaction(SYSTEM) as conn:
            await cards.sell(conn, product.id, home.holds(SECOND), 1, pay, at=day)
    assert none_left.value.code == "lanes-out-of-use"


async def test_over_http_and_on_its_page(
    app_client: httpx.AsyncClient, people: People, worker_db: Database, site: Site, goods: Lane
) -> None:
    manager, guard = await people.staff("manager", site.project_id), await people.staff("guard", site.project_id)
    api = "/api/v1/parking-permits"
    body = {
        "project_id": site.project_id, "kind": "staff", "lot_ids": [site.lot_id], "plates": [FIRST], "note": "porter",
        "from_day": "2026-01-01", "lane_ids": [goods.id],
    }  # fmt: skip
    made = (await app_client.post(api, json=body, headers={**manager, **once()})).json()
    assert made["lane_ids"] == [goods.id]
    path = f"{api}/{made['id']}/lane-changes"

    async def change(lane_ids: list[int], status: int, auth: dict[str, str] = manager) -> None:
        answer = await app_client.post(path, json={"lane_ids": lane_ids}, headers={**auth, **once()})
        assert answer.status_code == status, answer.text

    await change([], 403, guard)
    await change([goods.id], 409)
    await change([site.exit.id], 422)
    await change([site.entry.id], 201)
    detail = (await app_client.get(f"{api}/{made['id']}", headers=manager)).json()
    assert [one["lane_id"] for one in detail["all_lanes"]] == [goods.id, site.entry.id]
    listed = await app_client.get(api, params={"lane_id": goods.id}, headers=manager)
    assert listed.json()["items"] == []

    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
    browser = Browser(app_client, manager)
    page = f"/parking/permits/{made['id']}"
    assert "only by entry" in text_of(await browser.see(page))
    await browser.send(f"{page}/lanes", lane_ids=str(goods.id))
    assert "only by Goods" in text_of(await browser.see(page))
    await browser.send(f"{page}/lanes", 409, lane_ids=str(goods.id))
    assert "only by Goods" in text_of(await browser.see(f"/parking/permits?lane_id={goods.id}"))
    await browser.see("/parking/permits/new")
    new: dict[str, Any] = {
        "kind": "vip",
        "plates": SECOND,
        "lot_ids": str(site.lot_id),
        "from_day": "2026-01-01",
        "note": "guest",
    }
    await browser.send("/parking/permits/new", 422, **new, lane_ids=str(site.exit.id))
    await browser.send("/parking/permits/new", **new, lane_ids=str(goods.id))
    await browser.see("/parking/cards")
    card: dict[str, Any] = {
        "name": "Goods card",
        "price": "100",
        "lot_ids": str(site.lot_id),
        "lane_ids": str(goods.id),
    }
    await browser.send("/parking/cards", **card)
    assert "only by Goods" in text_of(await browser.see("/parking/cards"))
    today = datetime.now(UTC).date().isoformat()
    query = "SELECT id FROM permit_product"
    (product,) = await rows(worker_db, query)
    sale = await browser.see(f"/parking/cards/sell?product_id={product['id']}&months=1&start={today}")
    assert "only by Goods" in text_of(sale)
