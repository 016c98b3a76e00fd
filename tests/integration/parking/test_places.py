"""Lots and lanes: nested, changed, closed; lanes that are renamed, retired and replaced, and what gateways are told."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from cloud.devices import service as devices
from cloud.kit.db import SYSTEM, Database
from cloud.parking import service
from gateway.contract.access import LotEntry
from tests.integration.app import Auth, People, once
from tests.integration.parking.site import NOON, Site, make_site, minutes, rows, stays
from tests.integration.parking.told import heard, tell

PLATE = "京A12345"


class Desk:
    """What a manager asks of the API."""

    def __init__(self, client: httpx.AsyncClient, auth: Auth, site: Site) -> None:
        self.client, self.auth, self.site = client, auth, site

    async def post(self, path: str, status: int = 201, **body: Any) -> dict[str, Any]:
        answer = await self.client.post(f"/api/v1/{path}", json=body, headers={**self.auth, **once()})
        assert answer.status_code == status, answer.text
        return dict(answer.json())

    async def patch(self, path: str, status: int = 200, **body: Any) -> dict[str, Any]:
        answer = await self.client.patch(f"/api/v1/{path}", json=body, headers=self.auth)
        assert answer.status_code == status, answer.text
        return dict(answer.json())

    async def items(self, path: str) -> list[dict[str, Any]]:
        answer = await self.client.get(f"/api/v1/{path}", headers=self.auth)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["items"])

    async def lot(self, code: str, **body: Any) -> int:
        values = {"project_id": self.site.project_id, "code": code, "name": code, "capacity": 10, **body}
        return int((await self.post("parking-lots", **values))["id"])


@pytest.fixture
async def desk(app_client: httpx.AsyncClient, people: People, site: Site) -> Desk:
    return Desk(app_client, await people.staff("manager", site.project_id), site)


async def barrier(db: Database, site: Site, code: str, kind: str = "barrier") -> int:
    async with db.transaction(SYSTEM) as conn:
        gateway = (await devices.get_device(conn, site.entry.device_id)).gateway_id
        return (await devices.create_device(conn, site.project_id, gateway, code, kind)).id  # type: ignore[arg-type]


async def test_lots_are_nested_and_never_in_a_circle(desk: Desk) -> None:
    middle = await desk.lot("middle", parent_id=desk.site.lot_id)
    inner = await desk.lot("inner", parent_id=middle)
    for parent in (desk.site.lot_id, middle, inner):
        refused = await desk.patch(f"parking-lots/{desk.site.lot_id}", 409, parent_id=parent)
        assert refused["code"] == "lot-circle"
    assert (await desk.patch(f"parking-lots/{inner}", parent_id=None))["parent_id"] is None
    assert (await desk.patch(f"parking-lots/{middle}", parent_id=inner))["parent_id"] == inner


async def test_a_lot_is_changed_field_by_field(desk: Desk) -> None:
    lot = desk.site.lot_id
    changed = await desk.patch(f"parking-lots/{lot}", name="Basement", capacity=30)
    assert (changed["name"], changed["capacity"], changed["open"]) == ("Basement", 30, True)
    assert (await desk.patch(f"parking-lots/{lot}", open=False))["name"] == "Basement"
    wanted = [{"vehicle_class": "large", "kept": 5}, {"vehicle_class": "new-energy", "kept": 2, "at_most": 4}]
    await desk.patch(f"parking-lots/{lot}", classes=wanted)
    (shown,) = await desk.items("parking-lots")
    assert [(one["vehicle_class"], one["kept"], one["at_most"]) for one in shown["classes"]] == [
        ("large", 5, None),
        ("new-energy", 2, 4),
    ]
    assert (await desk.patch(f"parking-lots/{lot}", classes=wanted[:1]))["classes"] == shown["classes"][:1]
    assert (await desk.patch(f"parking-lots/{lot}", name="B"))["classes"] == shown["classes"][:1]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"name": " "}, 422, "name-missing"),
        ({"name": "x" * 201}, 422, "invalid-input"),
        ({"capacity": -1}, 422, "invalid-input"),
        ({"parent_id": 4711}, 404, "no-lot"),
        ({"colour": "red"}, 422, "invalid-input"),
        ({"classes": [{"vehicle_class": "large", "kept": 3}]}, 409, "more-kept-than-there-are"),
        ({"classes": [{"vehicle_class": "large"}]}, 422, "bad-classes"),
        ({"classes": [{"vehicle_class": "large", "kept": 2, "at_most": 1}]}, 422, "bad-classes"),
        ({"classes": [{"vehicle_class": "large", "kept": 1}] * 2}, 422, "bad-classes"),
        ({"classes": [{"vehicle_class": "Large!", "kept": 1}]}, 422, "invalid-input"),
    ],
)
async def test_changes_of_lots_that_are_refused(desk: Desk, body: dict[str, Any], status: int, code: str) -> None:
    assert (await desk.patch(f"parking-lots/{desk.site.lot_id}", status, **body))["code"] == code


async def test_lots_of_another_project_are_none_of_ours(desk: Desk, people: People, owner_db: Database) -> None:
    other = await people.project("other")
    async with owner_db.transaction(SYSTEM) as conn:
        foreign = await service.create_lot(conn, other.id, "foreign", "Foreign", 1)
    assert (await desk.patch(f"parking-lots/{foreign.id}", 404, name="x"))["code"] == "no-lot"
    refused = await desk.patch(f"parking-lots/{desk.site.lot_id}", 404, parent_id=foreign.id)
    assert refused["code"] == "no-lot"
    body: dict[str, Any] = {"project_id": other.id, "code": "x", "name": "x", "capacity": 1}
    assert (await desk.post("parking-lots", 404, **body))["code"] == "no-such-project"


async def test_gateways_are_told_of_closed_lots_and_of_room_for_classes(worker_db: Database, desk: Desk) -> None:
    async def told() -> dict[str, LotEntry]:
        await tell(worker_db, desk.site.project_id, NOON)
        return {entry.vehicle_class: entry for entry in await heard(worker_db) if isinstance(entry, LotEntry)}

    assert not (await told())[""].closed
    classes = [{"vehicle_class": "tram", "kept": 1, "at_most": 2}]
    await desk.patch(f"parking-lots/{desk.site.lot_id}", open=False, classes=classes)
    changed = await told()
    assert (changed[""].closed, changed[""].capacity) == (True, 2)
    assert (changed["tram"].kept, changed["tram"].capacity, changed["tram"].closed) == (1, 2, False)


async def test_a_lane_is_made_renamed_and_retired(owner_db: Database, desk: Desk) -> None:
    device = await barrier(owner_db, desk.site, "new")
    body: dict[str, Any] = {
        "lot_id": desk.site.lot_id,
        "code": "n1",
        "name": "North",
        "direction": "entry",
        "device_id": device,
    }
    lane = await desk.post("parking-lanes", **body)
    assert (await desk.post("parking-lanes", 409, **{**body, "code": "n2"}))["code"] == "barrier-in-use"
    other = await barrier(owner_db, desk.site, "other")
    assert (await desk.post("parking-lanes", 409, **{**body, "device_id": other}))["code"] == "already-exists"
    assert (await desk.patch(f"parking-lanes/{lane['id']}", name="Gate 1"))["name"] == "Gate 1"
    retired = await desk.post(f"parking-lanes/{lane['id']}/retirement")
    assert retired["retired_at"] is not None
    again = await desk.post(f"parking-lanes/{lane['id']}/retirement")
    assert again["retired_at"] == retired["retired_at"]
    listed = {one["id"] for one in await desk.items("parking-lanes")}
    everything = {one["id"] for one in await desk.items("parking-lanes?retired=true")}
    assert everything - listed == {lane["id"]}
    assert (await desk.post("parking-lanes", **body))["id"] != lane["id"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"lot_id": 4711}, 404, "no-lot"),
        ({"device_id": 4711}, 404, "no-device"),
        ({"direction": "up"}, 422, "invalid-input"),
        ({"code": "a b"}, 422, "invalid-input"),
        ({"name": ""}, 422, "invalid-input"),
        ({}, 422, "no-barrier"),
    ],
)
async def test_lanes_that_are_refused(
    owner_db: Database, desk: Desk, body: dict[str, Any], status: int, code: str
) -> None:
    meter = await barrier(owner_db, desk.site, "meter", "electricity")
    good: dict[str, Any] = {
        "lot_id": desk.site.lot_id,
        "code": "n1",
        "name": "N",
        "direction": "entry",
        "device_id": meter,
    }
    assert (await desk.post("parking-lanes", status, **{**good, **body}))["code"] == code


async def test_passages_of_before_stay_the_old_lanes_however_late_they_come(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        inner = await service.create_lot(conn, site.project_id, "inner", "Inner", 5)
        await service.retire_lane(conn, site.entry.id)
        await service.retire_lane(conn, site.entry.id)
        moved = await service.create_lane(conn, inner.id, "in", "in", "entry", site.entry.device_id)
    now = datetime.now(UTC)
    late = site.passage("entry", PLATE, now - timedelta(hours=2))
    new = site.passage("entry", "粤B00001", now + minutes(1))
    await site.report(ingest_db, [late, new], now + minutes(2))
    found = await rows(worker_db, "SELECT lane_id, plate FROM passage ORDER BY taken_at")
    assert [(row["lane_id"], row["plate"]) for row in found] == [(site.entry.id, PLATE), (moved.id, "粤B00001")]


async def test_a_barrier_whose_lane_is_retired_loses_no_vehicle(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    await site.report(ingest_db, [site.passage("entry", PLATE, NOON)], NOON)
    async with worker_db.transaction(SYSTEM) as conn:
        await service.retire_lane(conn, site.exit.id)
    now = datetime.now(UTC) + minutes(1)
    applied = await site.report(ingest_db, [site.passage("exit", PLATE, now)], now)
    assert (applied.stored, applied.unclaimed) == (1, 0)
    assert [stay[1] for stay in await stays(worker_db)] == ["closed"]


async def test_who_only_reads_changes_nothing(
    app_client: httpx.AsyncClient, people: People, worker_db: Database
) -> None:
    site = await make_site(worker_db, lanes=False)
    guard = Desk(app_client, await people.staff("guard", site.project_id), site)
    assert len(await guard.items("parking-lots")) == 1
    assert (await guard.patch(f"parking-lots/{site.lot_id}", 403, name="x"))["code"] == "no-permission"
    body: dict[str, Any] = {"project_id": site.project_id, "code": "x", "name": "x", "capacity": 1}
    assert (await guard.post("parking-lots", 403, **body))["code"] == "no-permission"
