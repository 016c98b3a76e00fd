"""A gateway with two lines of four simulated meters each, on a real broker, that takes configurations of a test."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gateway.app import Gateway
from gateway.contract import codec
from gateway.contract.topics import Down
from gateway.lines import RunningLine
from gateway.settings import load_site
from simulators.modbus.fleet import Fleet, FleetOptions
from tests.integration.broker import Mosquitto, until
from tests.integration.gateway_process.test_run import site_file
from tests.integration.uplink.cloud import Cloud
from tests.ports import free_ports
from tests.templates import LIBRARY


def write_site(tmp_path: Path, broker: Mosquitto, cloud: Cloud, **fields: Any) -> Path:
    """The site file: lines e and w, polled every half second."""
    file = site_file(tmp_path)
    raw = yaml.safe_load(file.read_text())
    raw["broker"] |= {"host": broker.host, "port": broker.port, "resend_after_s": 1, "drain_s": 2}
    raw["cloud_keys"] = cloud.keys
    raw["periods"] = {"billing_s": 0.5, "instant_s": 0.5}
    file.write_text(yaml.safe_dump(raw | fields))
    return file


def lines_of(file: Path, **changes: dict[str, Any]) -> str:
    """The lines of a site file as a configuration, with some fields of some lines changed."""
    lines = yaml.safe_load(file.read_text())["lines"]
    return yaml.safe_dump({"lines": [line | changes.get(line["name"], {}) for line in lines]})


def slower(file: Path, line: str, billing_s: float) -> dict[str, Any]:
    """What changes on a line when its meters are read with another period."""
    found = next(one for one in yaml.safe_load(file.read_text())["lines"] if one["name"] == line)
    periods = {"billing_s": billing_s, "instant_s": billing_s}
    return {"device_series": [found["device_series"][0] | {"periods": periods}]}


def nowhere() -> dict[str, Any]:
    """What changes on a line that is led to a port where nobody listens."""
    return {"port": free_ports(1)[0]}


@dataclass
class Running:
    """One life of a gateway."""

    gateway: Gateway
    cloud: Cloud

    async def configure(self, number: int, site: str, **fields: Any) -> None:
        """Sends a signed configuration, once."""
        configuration = self.cloud.configuration(number, site, **fields)
        await self.cloud.send(codec.encode_configuration(configuration), Down.CONFIG)

    def worker(self, line: str) -> RunningLine:
        """The worker of a line that runs now."""
        return next(worker for worker in self.gateway.plant.lines if worker.stats.name == line)

    def port_of(self, line: str) -> int:
        """Where a line is led to now."""
        found = next(one for one in self.gateway.plant.site.lines if one.name == line)
        return int(found.endpoint[1].split(":")[1])


@asynccontextmanager
async def running_fleet(file: Path) -> AsyncIterator[Fleet]:
    """The meters of a site."""
    fleet = Fleet(load_site(file), FleetOptions())
    await fleet.start()
    try:
        yield fleet
    finally:
        await fleet.stop()


@asynccontextmanager
async def running_gateway(file: Path, cloud: Cloud) -> AsyncIterator[Running]:
    """A gateway from its start, as soon as the cloud has heard of it, to its clean end."""
    heard = cloud.received.total()
    gateway = Gateway(load_site(file), LIBRARY)
    stop = asyncio.Event()
    task = asyncio.create_task(gateway.run(stop))
    try:
        await until(lambda: cloud.received.total() > heard)
        yield Running(gateway, cloud)
    finally:
        stop.set()
        async with asyncio.timeout(60):
            await asyncio.wait([task])
    await task
