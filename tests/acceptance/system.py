"""The real system as separate processes, for tests that kill parts of it."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any, Final, Literal

import yaml

from cloud.devices import service as devices
from cloud.estate import service as estate
from cloud.estate.records import Project
from cloud.kit.db import SYSTEM, Conn, Database
from cloud.kit.periods import day_start
from cloud.kit.security import Keys
from cloud.metering import service as metering
from simulators.broker import BrokerProcess, barrier_client, display_client, gateway_client, ingest_client
from tests.ports import free_ports

GATEMETER: Final = (sys.executable, "-m", "cloud.cli")
PASSWORDS: Final = {
    "gateway": "gateway-password",
    "ingest": "ingest-password",
    "barriers": "barrier-password",
    "display": "display-password",
}
PROJECT: Final = "acceptance"
GATEWAY: Final = "gw-1"
_STOP_LIMIT_S: Final = 60.0


async def until(condition: Callable[[], Awaitable[bool]], what: str, limit_s: float = 60.0) -> None:
    """Returns when `condition` says yes; fails the test after `limit_s`."""
    deadline = time.monotonic() + limit_s
    while not await condition():
        assert time.monotonic() < deadline, f"{what}: not within {limit_s} s"
        await asyncio.sleep(0.05)


class System:
    """Broker and processes of one project with one gateway. Everything it started ends with it."""

    def __init__(self, folder: Path, owner_dsn: str, site: Mapping[str, Any], others: Sequence[str] = ()) -> None:
        """`others` are more gateways that the broker knows; nothing of them is started here."""
        self.folder = folder
        self.owner_dsn = owner_dsn
        self.keys = Keys.generate()
        self.keys_file = folder / "keys.json"
        self.keys.save(self.keys_file)
        self.broker = BrokerProcess(
            folder / "broker",
            [
                *(gateway_client(PROJECT, gateway, PASSWORDS["gateway"]) for gateway in (GATEWAY, *others)),
                ingest_client(PASSWORDS["ingest"]),
                display_client("display", PASSWORDS["display"], PROJECT),
                barrier_client("barriers", PASSWORDS["barriers"], "barriers"),
            ],
        )
        self._state = Path(site.get("state_directory", folder / "gateway"))
        self.site_file = folder / "site.yaml"
        self.rewrite_site(site)
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def outbox(self) -> Path:
        """The gateway's outbox file."""
        return self._state / "outbox.sqlite"

    def rewrite_site(self, site: Mapping[str, Any]) -> None:
        """Writes the site file anew, for processes that start or reload from now on."""
        self.site_file.write_text(yaml.safe_dump(self._whole(dict(site)), allow_unicode=True))

    def start(self, name: str, *arguments: str, environment: Mapping[str, str] | None = None) -> int:
        """Starts `gatemeter <arguments>` as a process called `name`, with `environment` on top of the usual one.

        Gives its process id.
        """
        assert name not in self._running, f"{name} runs already"
        with (self.folder / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                [*GATEMETER, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self._environment(), **(environment or {})},
            )
        return self._running[name].pid

    def start_ingest(self) -> None:
        """Starts an ingest process."""
        self.start("ingest", "ingest", "run")

    def start_worker(self) -> None:
        """Starts a worker."""
        self.start("worker", "worker", "run")

    def start_gateway(self, environment: Mapping[str, str] | None = None) -> None:
        """Starts the gateway over its site file."""
        self.start("gateway", "gateway", "run", "--site", str(self.site_file), environment=environment)

    def kill(self, name: str) -> None:
        """Ends a process as a power cut would."""
        process = self._running.pop(name)
        assert process.poll() is None, f"{name} was dead already:\n{self.log(name)}"
        process.kill()
        process.wait(_STOP_LIMIT_S)

    def stop(self, name: str) -> None:
        """Asks a process to end and waits for it; it must end cleanly."""
        process = self._running.pop(name)
        process.send_signal(signal.SIGTERM)
        code = process.wait(_STOP_LIMIT_S)
        assert code in (0, -signal.SIGTERM), f"{name} ended with {code}:\n{self.log(name)}"

    def log(self, name: str) -> str:
        """The last lines that a process wrote."""
        return "\n".join((self.folder / f"{name}.log").read_text(errors="replace").splitlines()[-40:])

    def close(self) -> None:
        """Ends whatever still runs."""
        for process in self._running.values():
            process.kill()
            process.wait(_STOP_LIMIT_S)
        self._running.clear()
        self.broker.kill()

    def _environment(self) -> dict[str, str]:
        return {
            "GATEMETER_DATABASE_DSN": self.owner_dsn,
            "GATEMETER_KEYS_FILE": str(self.keys_file),
            "GATEMETER_BROKER_HOST": self.broker.host,
            "GATEMETER_BROKER_PORT": str(self.broker.port),
            "GATEMETER_BROKER_USERNAME": "cloud.ingest",
            "GATEMETER_BROKER_PASSWORD": PASSWORDS["ingest"],
            "GW_PASSWORD": PASSWORDS["gateway"],
            "BARRIER_PASSWORD": PASSWORDS["barriers"],
        }

    def _whole(self, site: dict[str, Any]) -> dict[str, Any]:
        address = {"host": self.broker.host, "port": self.broker.port}
        for line in site.get("barriers", ()):
            line["broker"] = {**address, "username": "barriers", "password_env": "BARRIER_PASSWORD"}
        return {
            "project": PROJECT,
            "gateway": GATEWAY,
            "state_directory": str(self._state),
            "cloud_keys": {self.keys.command_key_id: self.keys.command_public_key()},
            **site,
            "broker": {
                **address,
                "username": f"{PROJECT}.{GATEWAY}",
                "password_env": "GW_PASSWORD",
                "resend_after_s": 2.0,
                "drain_s": 30.0,
                **site.get("broker", {}),
            },
        }


@contextmanager
def running_system(folder: Path, owner_dsn: str, site: Mapping[str, Any]) -> Iterator[System]:
    """A system whose broker runs; its processes are started by the test."""
    system = System(folder, owner_dsn, site)
    try:
        system.broker.start()
        yield system
    finally:
        system.close()


def meter_site(count: int, *, period_s: float) -> dict[str, Any]:
    """A site with `count` electricity meters on one line, `e-001` and so on, polled every `period_s`."""
    return {
        "periods": {"billing_s": period_s, "instant_s": period_s},
        "recorder": {"max_points": 100, "linger_s": 0.2},
        "lines": [
            {
                "name": "line-1",
                "protocol": "modbus-tcp",
                "host": "127.0.0.1",
                "port": free_ports(1)[0],
                # An answer that is served must be taken, however busy the machine that runs this test is.
                "timeout_s": 30,
                "device_series": [
                    {
                        "id": "e-{number}",
                        "template": "gatemeter-demo-electricity",
                        "ranges": {"number": f"001..{count:03}"},
                    }
                ],
            }
        ],
    }


async def create_project(conn: Conn) -> tuple[Project, int]:
    """The project and its gateway's id."""
    project = await estate.create_project(conn, PROJECT, "Acceptance", "Asia/Shanghai", "CNY")
    return project, (await devices.create_gateway(conn, project.id, GATEWAY, "Gateway")).id


async def create_metered_device(
    conn: Conn,
    project: Project,
    gateway_id: int,
    code: str,
    medium: Literal["electricity", "water"],
    since: date,
    unit_id: int | None = None,
) -> int:
    """A device with its meter, bound from the local date `since` on; the meter's id."""
    device = await devices.create_device(conn, project.id, gateway_id, code, medium)
    modulus, max_per_hour = {"electricity": (10**9, 100_000), "water": (10**12, 10_000_000)}[medium]
    meter = await metering.create_meter(conn, project.id, code.upper(), medium, unit_id, modulus, max_per_hour, since)
    await devices.bind(conn, device.id, meter.id, day_start(since, project.zone))
    return meter.id


def chaos_rounds(short: int) -> int:
    """How many kills: `short` in every run, more by GATEMETER_CHAOS_ROUNDS."""
    return int(os.environ.get("GATEMETER_CHAOS_ROUNDS", short))


async def system_rows(db: Database, query: Any, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
    """Rows as the system processes see them."""
    async with db.transaction(SYSTEM) as conn:
        return await (await conn.execute(query, parameters)).fetchall()
