"""A valve is closed and a relay opened from the cloud, and each is called done only when the meter shows it."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cloud.devices import service
from cloud.kit.db import SYSTEM, Database
from cloud.kit.errors import Conflict
from gateway.contract.messages import Action
from tests.acceptance.place import Place
from tests.acceptance.system import create_project, running_system, system_rows, until
from tests.ports import free_ports

DEVICES = ("w-1", "e-1", "m-1")
WATER, ELECTRICITY, MODBUS = range(3)


def mixed_bus() -> dict[str, Any]:
    """One RS-485 bus behind a converter: a water meter with a valve, two electricity meters, one with a relay."""
    return {
        "periods": {"billing_s": 2, "instant_s": 2},
        "recorder": {"linger_s": 0.1},
        "lines": [
            {
                "name": "riser",
                "protocol": "bus",
                "converter": {"host": "127.0.0.1", "port": free_ports(1)[0], "baud_rate": 9_600},
                "devices": [
                    {"id": "w-1", "template": "generic-cjt188-cold-water-valve", "address": "78330011223344"},
                    {
                        "id": "e-1",
                        "template": "generic-dlt645-2007-relay",
                        "address": "201709320072",
                        "password": {"env": "METER_PASSWORD"},
                    },
                    {"id": "m-1", "template": "gatemeter-demo-electricity", "unit_id": 1},
                ],
            }
        ],
    }


@pytest.fixture
async def place(tmp_path: Path, owner_dsn: str, worker_db: Database) -> AsyncIterator[Place]:
    async with worker_db.transaction(SYSTEM) as conn:
        project, gateway_id = await create_project(conn)
        devices = [
            (
                await service.create_device(
                    conn, project.id, gateway_id, code, "water" if code == "w-1" else "electricity"
                )
            ).id
            for code in DEVICES
        ]
    with running_system(tmp_path, owner_dsn, mixed_bus()) as system:
        system.start("meters", "simulate", "meters", "--site", str(system.site_file))
        system.start_ingest()
        system.start_gateway({"METER_PASSWORD": "02000000"})
        place = Place(worker_db, system, project.id, gateway_id, devices)

        async def all_are_read() -> bool:
            rows = await system_rows(worker_db, "SELECT DISTINCT device_code AS code FROM unclaimed_reading")
            return {row["code"] for row in rows} == set(DEVICES)

        await until(all_are_read, "every meter of the bus is read", 60.0)
        yield place
        system.stop("gateway")


async def shows(place: Place, device: str, channel: str, value: int) -> None:
    """The newest reading of a state becomes `value`."""

    async def newest() -> bool:
        rows = await system_rows(
            place.db,
            """SELECT value FROM unclaimed_reading WHERE device_code = %s AND channel_code = %s
               ORDER BY taken_at DESC LIMIT 1""",
            (device, channel),
        )
        return bool(rows) and rows[0]["value"] == value

    await until(newest, f"{device} shows {channel} {value}")


async def tells_what_it_can(place: Place, device: int) -> None:
    """The gateway's report says what the device can do; orders are quicker than the report while much goes on."""

    async def is_told() -> bool:
        async with place.db.transaction(SYSTEM) as conn:
            gateway = await service.get_gateway(conn, place.gateway_id)
        return bool(service.actions_told(gateway).get(DEVICES[device]))

    await until(is_told, f"the gateway has told what {DEVICES[device]} can do", 90.0)


@pytest.mark.slow
async def test_a_valve_and_a_relay_are_switched_and_read_back(place: Place) -> None:
    await shows(place, "w-1", "valve_state", 1)
    await shows(place, "e-1", "relay_state", 1)
    closed = await place.ends(await place.order(Action.CLOSE_VALVE, WATER))
    assert closed.state == "done", closed.detail
    await shows(place, "w-1", "valve_state", 0)
    cut = await place.ends(await place.order(Action.SWITCH_OFF, ELECTRICITY))
    assert cut.state == "done", cut.detail
    await shows(place, "e-1", "relay_state", 0)
    given = await place.ends(await place.order(Action.SWITCH_ON, ELECTRICITY))
    assert given.state == "done", given.detail
    await shows(place, "e-1", "relay_state", 1)
    assert (await place.ends(await place.order(Action.SET_CLOCK, WATER))).state == "done"
    await tells_what_it_can(place, MODBUS)
    with pytest.raises(Conflict, match="m-1 cannot switch-off"):
        await place.order(Action.SWITCH_OFF, MODBUS)
