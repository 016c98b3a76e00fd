"""A gateway whose clock is wrong opens for the cloud all the same: through a real broker, database and barrier."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest
import yaml

from cloud.devices import service as devices
from cloud.kit.db import SYSTEM, Database
from cloud.kit.security import Keys
from gateway.app import Gateway
from gateway.contract.messages import Action
from gateway.polling.clock import Clock
from gateway.settings import load_site
from gateway.uplink.settings import MqttEndpoint
from simulators.barrier.lane import Lane
from tests.integration.broker import Mosquitto, mosquitto
from tests.integration.ingest.test_worker import eventually, running
from tests.integration.metering.site import Site, make_site
from tests.templates import LIBRARY

__all__ = ["mosquitto"]

MINUTE_NS = 60_000_000_000


@pytest.fixture
async def site(worker_db: Database) -> Site:
    return await make_site(worker_db)


@pytest.fixture
async def lane_id(worker_db: Database, site: Site) -> int:
    async with worker_db.transaction(SYSTEM) as conn:
        return (await devices.create_device(conn, site.project_id, site.gateway_id, "lane-in", "barrier")).id


@pytest.fixture
async def lane(mosquitto: Mosquitto) -> AsyncIterator[Lane]:
    async with Lane(MqttEndpoint(host=mosquitto.host, port=mosquitto.port), "barriers", "IN-1") as lane:
        yield lane


def site_file(tmp_path: Path, broker: Mosquitto, keys: Keys) -> Path:
    endpoint = {"host": broker.host, "port": broker.port}
    lane = {"device": "lane-in", "sn": "IN-1", "direction": "entry"}
    file = tmp_path / "site.yaml"
    file.write_text(yaml.safe_dump({
        "project": "demo", "gateway": "gw-1", "time_zone": "Asia/Shanghai", "broker": endpoint,
        "state_directory": str(tmp_path / "state"), "cloud_keys": {keys.command_key_id: keys.command_public_key()},
        "barriers": [{"name": "garage", "lot": "lot", "broker": endpoint, "lanes": [lane]}],
    }))  # fmt: skip
    return file


@pytest.mark.parametrize("minutes_ahead", [10, -10])
async def test_a_guard_opens_whatever_the_clock_of_the_gateway_says(
    worker_db: Database, ingest_db: Database, mosquitto: Mosquitto, site: Site, lane_id: int, lane: Lane,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, minutes_ahead: int,
) -> None:  # fmt: skip
    monkeypatch.setattr("gateway.app.Clock", partial(Clock, lambda: time.time_ns() + minutes_ahead * MINUTE_NS))
    keys, stop = Keys.generate(), asyncio.Event()

    async def ahead_s() -> int | None:
        async with worker_db.transaction(SYSTEM) as conn:
            return (await devices.get_gateway(conn, site.gateway_id)).clock_ahead_s

    async def order() -> UUID:
        async with worker_db.transaction(SYSTEM) as conn:
            return await devices.queue_command(
                conn, site.project_id, lane_id, Action.OPEN_BARRIER, {}, "guard", "delivery", timedelta(seconds=60)
            )

    async with running(ingest_db, mosquitto, tmp_path, keys):
        gateway = Gateway(load_site(site_file(tmp_path, mosquitto, keys)), LIBRARY)
        gateway._health._period_s = 0.2
        working = asyncio.create_task(gateway.run(stop))

        async def is_told() -> bool:
            found = await ahead_s()
            return found is not None and abs(found - minutes_ahead * 60) <= 5

        await eventually(is_told, 60.0)
        command_id = await order()

        async def is_over() -> bool:
            async with worker_db.transaction(SYSTEM) as conn:
                return (await devices.get_command(conn, command_id)).state in ("done", "failed", "expired", "uncertain")

        await eventually(is_over, 60.0)
        async with worker_db.transaction(SYSTEM) as conn:
            command = await devices.get_command(conn, command_id)
        stop.set()
        await working
    assert (command.state, command.detail, len(lane.orders)) == ("done", "", 1)
