"""The gateway's process: killed on probation, told to read its file again, ended by a signal."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml

from gateway.contract import codec
from gateway.contract.topics import Down
from tests.integration.broker import Mosquitto, until
from tests.integration.configuration.site import running_fleet, slower, write_site
from tests.integration.gateway_process.test_run import start
from tests.integration.uplink.cloud import Cloud

NOT_TAKEN = "site file not taken over, everything goes on as before"


class Process:
    """A gateway process and what it logs."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.log: list[dict[str, Any]] = []

    async def listen(self) -> None:
        """Reads the log until the process ends."""
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            if line.startswith(b"{"):
                self.log.append(json.loads(line))

    def said(self, event: str) -> list[dict[str, Any]]:
        """Log entries of one kind."""
        return [entry for entry in self.log if entry["event"] == event]

    async def kill(self) -> None:
        """As a power cut would end it."""
        self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def running_process(file: Path, cloud: Cloud) -> AsyncIterator[Process]:
    """A gateway process, as soon as the cloud has heard of it."""
    heard = cloud.received.total()
    running = Process(await start("run", "--site", str(file)))
    listening = asyncio.create_task(running.listen())
    try:
        await until(lambda: cloud.received.total() > heard)
        yield running
    finally:
        if running.process.returncode is None:
            running.process.kill()
        await running.process.wait()
        await listening


async def test_a_configuration_that_kills_its_gateway_is_taken_back_at_the_second_start(
    tmp_path: Path, mosquitto: Mosquitto, cloud: Cloud
) -> None:
    file = write_site(tmp_path, mosquitto, cloud)
    payload = codec.encode_configuration(cloud.configuration(1, "periods: {billing_s: 1}", confirm_s=3_600))
    async with running_process(file, cloud) as first:
        await cloud.send(payload, Down.CONFIG)
        await until(lambda: cloud.fates_of(1) == ["received", "applied"])
        await first.kill()
    async with running_process(file, cloud) as second:
        await until(lambda: cloud.fates_of(1) == ["received", "applied", "applied"])
        await second.kill()
    async with running_process(file, cloud) as third:
        await until(lambda: cloud.fates_of(1)[3:] == ["rolled-back"])
        assert "again and again" in cloud.configurations[-1].detail
        await third.kill()
    async with running_process(file, cloud):
        await until(lambda: cloud.fates_of(1)[4:] == ["rolled-back"])


async def test_sighup_reads_the_site_file_again(tmp_path: Path, mosquitto: Mosquitto, cloud: Cloud) -> None:
    file = write_site(tmp_path, mosquitto, cloud)
    good = file.read_text()
    async with running_fleet(file), running_process(file, cloud) as running:
        for text, key in (
            (good.replace("gateway: gw-1", "gatway: gw-1"), "gatway: unknown key"),
            (good.replace("gateway: gw-1", "gateway: gw-2"), "gateway can only change with a restart"),
            ("", "a mapping of keys to values"),
        ):
            file.write_text(text)
            running.process.send_signal(signal.SIGHUP)
            await until(lambda wanted=key: any(wanted in entry["reason"] for entry in running.said(NOT_TAKEN)))  # type: ignore[misc]  # bound now
        file.write_text(good)
        raw = yaml.safe_load(good)
        raw["lines"][0] |= slower(file, "e", 5)
        file.write_text(yaml.safe_dump(raw))
        running.process.send_signal(signal.SIGHUP)
        await until(lambda: running.said("site file taken over"))
        (entry,) = running.said("site file taken over")
        assert (entry["kept"], entry["changed"]) == (1, ["line e"])
        running.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            assert await running.process.wait() == 0
