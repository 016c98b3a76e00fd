"""A car enters, is charged by the rule, pays, is let out by a signed command, and its stay is closed and settled."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from cloud.devices import service as devices
from cloud.kit.db import SYSTEM, Database
from cloud.kit.paging import PageRequest
from cloud.parking import service as parking
from cloud.parking.fees.models import ParkingRule
from cloud.parking.records import Session, SessionFilter
from gateway.contract import topics
from gateway.uplink.settings import MqttEndpoint
from simulators.barrier.lane import Lane
from tests.acceptance.system import PASSWORDS, PROJECT, System, create_project, running_system, until

PLATE = "京A12345"
SITE: dict[str, Any] = {
    "barriers": [
        {
            "name": "garage",
            "lot": "lot-1",
            "prefix": "barriers",
            "lanes": [
                {"device": "lane-in", "sn": "IN", "direction": "entry"},
                {"device": "lane-out", "sn": "OUT", "direction": "exit"},
            ],
        }
    ]
}
RULE = ParkingRule.model_validate(
    {"name": "five an hour", "schedule": {"unit": {"minutes": 60, "price": "5.00"}}, "leave_within_minutes": 15}
)


@pytest.fixture
def barrier_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BARRIER_PASSWORD", PASSWORDS["barriers"])


@pytest.mark.slow
@pytest.mark.usefixtures("barrier_password")
async def test_a_car_enters_pays_by_the_rule_and_leaves(tmp_path: Path, owner_dsn: str, worker_db: Database) -> None:
    project_id = await set_up(worker_db)
    with running_system(tmp_path, owner_dsn, SITE) as system:
        system.start_ingest()
        system.start_gateway()
        async with lane(system, "IN") as entry, lane(system, "OUT") as exit_:
            await online(worker_db, project_id)
            coming = await entry.arrive(PLATE)
            await until(is_set(coming.left), "the entry opens and the car passes")
            inside = await the_session(worker_db, project_id, "open")
            assert inside.plate == PLATE
            assert inside.fee is None

            await until(second_after(inside.entered_at), "time that costs something passes: seconds are counted")
            going = await exit_.arrive(PLATE)
            due = await amount_due(worker_db, inside.id)
            assert due == Decimal("5.00")
            assert exit_.orders == [], "nobody paid yet"
            assert not going.left.is_set()

            async with worker_db.transaction(SYSTEM) as conn:
                paid = await parking.pay(conn, inside.id, due, "cash", "cashier")
            assert paid.command_id is not None, "the waiting car is let out"
            await until(is_set(going.left), "the exit opens by the signed command")
            assert len(exit_.orders) == 1

            closed = await the_session(worker_db, project_id, "closed")
            assert (closed.id, closed.fee, closed.paid) == (inside.id, Decimal("5.00"), Decimal("5.00"))
            assert closed.left_at is not None
            async with worker_db.transaction(SYSTEM) as conn:
                assert [lot.inside for lot in await parking.cars_inside(conn, project_id)] == [0]

            async def done() -> bool:
                async with worker_db.transaction(SYSTEM) as conn:
                    return (await devices.get_command(conn, paid.command_id)).state == "done"  # type: ignore[arg-type]

            await until(done, "the gateway reports the command as done")
            await until(shown_free(system, 10), "a display that comes late reads that all places are free again")
        system.stop("gateway")
        system.stop("ingest")


@pytest.mark.slow
@pytest.mark.usefixtures("barrier_password")
async def test_an_order_that_the_cloud_did_not_sign_opens_nothing(
    tmp_path: Path, owner_dsn: str, worker_db: Database
) -> None:
    project_id = await set_up(worker_db)
    with running_system(tmp_path, owner_dsn, SITE) as system:
        # Another cloud key than the gateway was told: as if somebody else owned broker and database.
        type(system.keys).generate().save(tmp_path / "foreign.json")
        (tmp_path / "foreign.json").replace(system.keys_file)
        system.start_ingest()
        system.start_gateway()
        async with lane(system, "OUT") as exit_:
            await online(worker_db, project_id)
            await exit_.arrive(PLATE)
            async with worker_db.transaction(SYSTEM) as conn:
                device = await devices.get_device_by_code(conn, project_id, "gw-1", "lane-out")
                assert device is not None
                lanes = (await parking.list_lanes(conn, PageRequest(10), project_id)).items
                lane_id = next(one.id for one in lanes if one.device_id == device.id)
                command = await parking.open_lane(conn, lane_id, "test", "intruder")

            async def refused() -> bool:
                async with worker_db.transaction(SYSTEM) as conn:
                    found = await devices.get_command(conn, command)
                    return found.state == "failed" and "signature" in found.detail

            await until(refused, "the gateway refuses the command")
            assert exit_.orders == []


async def set_up(db: Database) -> int:
    async with db.transaction(SYSTEM) as conn:
        project, gateway_id = await create_project(conn)
        lot = await parking.create_lot(conn, project.id, "lot-1", "Garage", 10)
        for code, direction in (("lane-in", "entry"), ("lane-out", "exit")):
            device = await devices.create_device(conn, project.id, gateway_id, code, "barrier")
            await parking.create_lane(conn, lot.id, code, code, direction, device.id)  # type: ignore[arg-type]
        await parking.publish_rule(conn, lot.id, RULE, (datetime.now(UTC) - timedelta(days=2)).date())
    return project.id


def lane(system: System, serial: str) -> Lane:
    endpoint = MqttEndpoint(
        host=system.broker.host, port=system.broker.port, username="barriers", password_env="BARRIER_PASSWORD"
    )
    return Lane(endpoint, "barriers", serial)


def shown_free(system: System, free: int) -> Callable[[], Awaitable[bool]]:
    """Whether the message that the broker keeps for displays says so; each look is a new display."""

    async def check() -> bool:
        broker = system.broker
        async with asyncio.timeout(60), aiomqtt.Client(
            broker.host, broker.port, username="display", password=PASSWORDS["display"]
        ) as display:  # fmt: skip
            await display.subscribe(topics.counts(PROJECT, "lot-1"))
            message = await anext(aiter(display.messages))
            return bool(message.retain and json.loads(message.payload)["free"] == free)

    return check


def is_set(event: Any) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        return bool(event.is_set())

    return check


def second_after(entered_at: datetime | None) -> Callable[[], Awaitable[bool]]:
    assert entered_at is not None

    async def check() -> bool:
        return datetime.now(UTC) >= entered_at + timedelta(seconds=1)

    return check


async def online(db: Database, project_id: int) -> None:
    """The gateway has reported its health: it is connected to the broker, and ingest takes what it sends."""

    async def heard() -> bool:
        async with db.transaction(SYSTEM) as conn:
            gateways = await devices.list_gateways(conn, PageRequest(1), project_id)
            return gateways.items[0].seen_at is not None

    await until(heard, "the gateway is heard of")


async def the_session(db: Database, project_id: int, state: str) -> Session:
    found: list[Session] = []

    async def there() -> bool:
        async with db.transaction(SYSTEM) as conn:
            found[:] = (await parking.list_sessions(conn, PageRequest(5), SessionFilter(project_id, state=state))).items
        return bool(found)

    await until(there, f"a stay that is {state}")
    assert len(found) == 1
    return found[0]


async def amount_due(db: Database, session_id: int) -> Decimal:
    """What is to pay once the car is known to wait at the exit."""

    async def waits() -> bool:
        async with db.transaction(SYSTEM) as conn:
            detail = await parking.get_session(conn, session_id)
        return any(passage.direction == "exit" for passage in detail.passages)

    await until(waits, "the car waits at the exit")
    async with db.transaction(SYSTEM) as conn:
        return (await parking.quote(conn, session_id)).due
