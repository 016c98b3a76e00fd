"""The simulated fleet of a site, through both kinds of lines, with spells offline and repetitions."""

import asyncio
import itertools
import socket

from gateway.drivers.coap.settings import CoapClientLineSettings
from simulators.coap.fleet import CoapFleet, CoapFleetOptions
from tests.integration.coap.lines import (
    ELECTRICITY,
    URN,
    WATER,
    Recording,
    client_line,
    now_s,
    running,
    server_line,
    until,
)


def free_udp_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def test_every_reading_of_the_fleet_arrives_once() -> None:
    pushed, observed, port = Recording(), Recording(), free_udp_port()
    devices = [{"id": f"w-{n}", "template": WATER, "name": f"{URN}{n}:" if n % 2 else None} for n in range(1, 7)]
    line, client = server_line(pushed, 0, devices=devices), client_line(observed, port)
    async with running(line):
        await until(lambda: line.port)
        clock = itertools.count(now_s() - 200)
        options = CoapFleetOptions(seed=3, period_s=0.02, offline=0.5, repeats=0.3, now_s=lambda: next(clock))
        serving = CoapClientLineSettings(
            name="mains",
            protocol="coap-client",
            devices=({"id": "e-1", "template": ELECTRICITY, "uri": f"coap://127.0.0.1:{port}/meter"},),
        )
        fleet = CoapFleet([line.settings.model_copy(update={"port": line.port}), serving], options)
        stop = asyncio.Event()
        running_fleet = asyncio.create_task(fleet.run(stop))
        async with running(client):
            await until(lambda: len(observed.of("energy_import_total")) >= 5)
            await until(lambda: all(device.points >= 5 * 15 for device in line.stats.devices))
        stop.set()
        await running_fleet
    assert line.counters.duplicates > 0
    for device in line.devices:
        times = [point.taken_at for point in pushed.of("volume_total") if point.device == device]
        assert times == list(range(times[0], times[0] + 1000 * len(times), 1000))
        waiting = fleet.batteries[device].waiting
        assert not waiting or waiting[0] * 1000 == times[-1] + 1000
    assert len({(point.device, point.channel, point.taken_at) for point in pushed.points}) == len(pushed.points)
