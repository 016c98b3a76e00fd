"""A broker with a cloud, a gateway's barrier line and two simulated lanes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from gateway.access.book import AccessBook
from gateway.access.intake import AccessIntake
from gateway.drivers.barrier import BarrierLine, BarrierLineSettings
from gateway.drivers.barrier.pictures import Pictures
from gateway.outbox import Outbox
from gateway.uplink import BrokerSettings, LinkState, MqttEndpoint, Uplink
from simulators.barrier.lane import Lane
from tests.integration.broker import Mosquitto, mosquitto, until
from tests.integration.uplink.cloud import GATEWAY, PROJECT, Cloud, running_cloud

__all__ = ["mosquitto"]


def line_settings(broker: Mosquitto, **changes: object) -> BarrierLineSettings:
    return BarrierLineSettings.model_validate(
        {
            "name": "garage",
            "lot": "lot-1",
            "broker": {"host": broker.host, "port": broker.port},
            # An answer that is given must be taken, however busy the machine is; who wants none waits less.
            "answer_s": 20,
            "duplicate_s": 5,
            "lanes": [
                {"device": "lane-in", "sn": "IN-1", "direction": "entry"},
                {"device": "lane-out", "sn": "OUT-1", "direction": "exit"},
            ],
            **changes,
        }
    )


@contextlib.asynccontextmanager
async def running_gateway(
    outbox: Outbox,
    broker: Mosquitto,
    cloud: Cloud,
    book: AccessBook | None = None,
    pictures: Pictures | None = None,
    **changes: object,
) -> AsyncIterator[BarrierLine]:
    """Barrier line and uplink as a gateway runs them."""
    line = BarrierLine(line_settings(broker, **changes), outbox, book=book, pictures=pictures)
    uplink = Uplink(
        BrokerSettings(host=broker.host, port=broker.port, drain_s=0.5),
        PROJECT,
        GATEWAY,
        outbox,
        line.execute,
        on_access=AccessIntake(PROJECT, GATEWAY, book, cloud.keys).handle if book is not None else None,
        cloud_keys=cloud.keys,
    )
    tasks = [asyncio.ensure_future(line.run()), asyncio.ensure_future(uplink.run())]
    try:
        # What the cloud tells before the gateway listens is told to nobody.
        await until(lambda: line.connected and uplink.state is LinkState.ONLINE)
        yield line
    finally:
        line.stop()
        uplink.stop()
        async with asyncio.timeout(60):
            await asyncio.gather(*tasks)


@pytest_asyncio.fixture
async def lanes(mosquitto: Mosquitto) -> AsyncIterator[tuple[Lane, Lane]]:
    endpoint = MqttEndpoint(host=mosquitto.host, port=mosquitto.port)
    async with Lane(endpoint, "barriers", "IN-1") as lane_in, Lane(endpoint, "barriers", "OUT-1") as lane_out:
        yield lane_in, lane_out


@pytest_asyncio.fixture
async def cloud(mosquitto: Mosquitto) -> AsyncIterator[Cloud]:
    async with running_cloud(mosquitto) as running:
        yield running


@pytest_asyncio.fixture
async def outbox(tmp_path: Path) -> AsyncIterator[Outbox]:
    box = Outbox.open(tmp_path / "outbox.db", 64 * 1024 * 1024)
    yield box
    box.close()
