"""Meters that push and meters that are observed come through the whole gateway into its outbox."""

import asyncio
import socket
from pathlib import Path

from gateway.app import Gateway
from gateway.contract import codec
from gateway.contract.messages import Point
from gateway.contract.topics import Up
from gateway.settings import SiteSettings
from simulators.coap.fleet import CoapFleet, CoapFleetOptions
from tests.templates import LIBRARY


def free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def test_pushed_and_observed_values_reach_the_outbox(tmp_path: Path) -> None:
    site = SiteSettings.model_validate({
        "project": "demo",
        "gateway": "gw-1",
        "state_directory": tmp_path / "state",
        "broker": {"host": "127.0.0.1", "port": 1},
        "recorder": {"linger_s": 0.05},
        "lines": [
            {
                "name": "pushed", "protocol": "coap-server", "host": "127.0.0.1", "port": free_udp_port(),
                "devices": [{"id": "w-1", "template": "gatemeter-coap-water"}],
            },
            {
                "name": "observed", "protocol": "coap-client",
                "devices": [{
                    "id": "e-1", "template": "gatemeter-coap-electricity",
                    "uri": f"coap://127.0.0.1:{free_udp_port()}/meter",
                }],
            },
        ],
    })  # fmt: skip
    gateway, stop = Gateway(site, LIBRARY), asyncio.Event()
    running = asyncio.create_task(gateway.run(stop))
    lines = [line for line in site.lines if line.protocol in ("coap-server", "coap-client")]
    meters = asyncio.create_task(CoapFleet(lines, CoapFleetOptions(period_s=0.2)).run(stop))
    try:
        points: list[Point] = []
        async with asyncio.timeout(60):
            while {point.device for point in points} != {"w-1", "e-1"}:
                await asyncio.sleep(0.05)
                rows = await gateway.outbox.waiting(0, 100, [Up.READINGS])
                points = [point for row in rows for point in codec.decode_points(row.body)]
        assert "volume_total" in {point.channel for point in points if point.device == "w-1"}
    finally:
        stop.set()
        async with asyncio.timeout(60):
            await asyncio.gather(running, meters)
