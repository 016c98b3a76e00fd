"""The whole system with every part within reach of a disaster: processes, network, disk, clock, database server."""

import asyncio
import os
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from cloud.devices import service as devices
from cloud.kit.db import SYSTEM, Database
from cloud.kit.embedded import EmbeddedPostgres
from cloud.kit.migrate import migrate
from cloud.parking import service as parking
from simulators.network.proxy import Proxy
from tests.acceptance.system import (
    System,
    create_metered_device,
    create_project,
    meter_site,
    running_system,
    system_rows,
    until,
)
from tests.crashes import crash

METERS: Final = 12
PERIOD_S: Final = 1.0
_DISK_MB: Final = 6


@dataclass
class Stage:
    """Everything that a disaster may touch, and what a proof needs to know of it afterwards."""

    system: System
    proxy: Proxy
    server: EmbeddedPostgres
    db: Database
    lane_id: int
    disk: Path
    clock_file: Path
    served_log: Path
    killed_at_ms: list[int] = field(default_factory=list)
    """When the gateway was killed: what it had read and not yet written died with it."""

    def start_gateway(self) -> None:
        """Starts it under a wall clock that `step_clock` moves."""
        self.system.start_gateway(
            {
                "LD_PRELOAD": str(_faketime()),
                "FAKETIME_TIMESTAMP_FILE": str(self.clock_file),
                "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }
        )

    def kill_gateway(self) -> None:
        """As a power cut would."""
        self.system.kill("gateway")
        self.killed_at_ms.append(time.time_ns() // 1_000_000)

    def step_clock(self, seconds: int) -> None:
        """The gateway's wall clock is `seconds` ahead of ours from now on, or behind it."""
        new = self.clock_file.with_suffix(".new")
        new.write_text(f"{seconds:+d}s\n")
        new.replace(self.clock_file)

    def kill_database(self) -> None:
        """See `crash`."""
        crash(self.server)

    @contextmanager
    def full_disk(self) -> Iterator[None]:
        """The gateway's disk takes nothing more."""
        filler = self.disk / "filler"
        with filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"\0" * 4096)
            except OSError:
                pass
        try:
            yield
        finally:
            filler.unlink()

    async def stored(self) -> int:
        """Readings in the database; waits for a database that is being restarted."""
        return int((await system_rows(self.db, "SELECT count(*) AS n FROM store.reading"))[0]["n"])

    async def works_again(self) -> None:
        """Two more rounds of all meters come through."""
        before = await self.stored()

        async def grown() -> bool:
            return await self.stored() >= before + 2 * METERS

        await until(grown, "readings come through again", 90.0)


def _faketime() -> Path:
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    assert found, "the package faketime is not installed: run .ci/system-packages"
    return found[0]


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of a few megabytes of its own. Needs the right to mount."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_DISK_MB}m,mode=0700", "gatemeter-chaos", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def may_mount() -> bool:
    """Whether a disk of its own can be made here; without, the disk cannot be filled."""
    return os.geteuid() == 0


@asynccontextmanager
async def chaos_stage(folder: Path) -> AsyncIterator[Stage]:
    """Starts everything, with readings flowing; ends everything."""
    with ExitStack() as stack:
        disk = folder / "disk"
        if may_mount():
            stack.enter_context(small_disk(disk))
        else:
            disk.mkdir()
        # A short path for the server's socket, and a folder that its own user may enter.
        place = stack.enter_context(TemporaryDirectory(prefix="gmchaos", ignore_cleanup_errors=True))
        server = stack.enter_context(EmbeddedPostgres(Path(place)))
        dsn = server.create_database("chaos")
        migrate(dsn)
        async with Database(dsn, "gatemeter_worker", max_size=4) as db:
            lane_id = await _set_up(db)
            site = _site(disk)
            system = stack.enter_context(running_system(folder, dsn, site))
            async with Proxy(system.broker.host, system.broker.port) as proxy:
                stage = Stage(system, proxy, server, db, lane_id, disk, folder / "clock", folder / "served.jsonl")
                stage.step_clock(0)
                system.rewrite_site({**site, "broker": {"port": proxy.port}})
                _start(stage)
                await stage.works_again()
                yield stage


def _start(stage: Stage) -> None:
    site, log = str(stage.system.site_file), str(stage.served_log)
    stage.system.start("meters", "simulate", "meters", "--site", site, "--advance", "--served-log", log)
    stage.system.start_ingest()
    stage.start_gateway()


def _site(disk: Path) -> dict[str, Any]:
    site = meter_site(METERS, period_s=PERIOD_S)
    return {
        **site,
        "state_directory": str(disk / "state"),
        "outbox_max_bytes": 1_000_000,
        "barriers": [
            {
                "name": "garage",
                "lot": "lot-1",
                "prefix": "barriers",
                "lanes": [{"device": "lane-in", "sn": "IN", "direction": "entry"}],
            }
        ],
    }


async def _set_up(db: Database) -> int:
    since = datetime.now(UTC).date() - timedelta(days=2)
    async with db.transaction(SYSTEM) as conn:
        project, gateway_id = await create_project(conn)
        for number in range(1, METERS + 1):
            await create_metered_device(conn, project, gateway_id, f"e-{number:03}", "electricity", since)
        lot = await parking.create_lot(conn, project.id, "lot-1", "Garage", 10_000)
        device = await devices.create_device(conn, project.id, gateway_id, "lane-in", "barrier")
        return (await parking.create_lane(conn, lot.id, "lane-in", "lane-in", "entry", device.id)).id


async def stop_in_order(stage: Stage) -> None:
    """The gateway finishes the polls it began and hands over what it has before the others go."""
    for name in ("gateway", "ingest", "meters"):
        # In a thread: the proxy that the gateway says its last words through runs in this loop.
        await asyncio.to_thread(stage.system.stop, name)
